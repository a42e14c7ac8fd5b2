"""Who may become an agent, and who may stay one: join tokens, renewals, revocations, restarts."""

import asyncio
from pathlib import Path

import pytest

from repave_controller.core.domain.reasons import Refusal, Refused
from repave_controller.core.ports import StoreError
from repave_controller.security.authority import AGENT_SECONDS
from repave_controller.security.enrolment import Enrolment
from repave_controller.security.roster import ENDED_SECONDS, SPENT_SECONDS, TOKEN_SECONDS
from repave_controller.wording.render import event_text, text_of
from repave_protos.protocol.certificates import (
    CertificateError,
    hash_of,
    new_key,
    read_join_word,
    request_for,
)
from tests.fakes.controller.enrolled import Enrolled, enrolled, of_own_authority


async def refusal(world: Enrolled, token: str) -> str:
    with pytest.raises(Refused) as caught:
        await world.join(token)
    return text_of(caught.value.reason)


async def test_a_token_makes_one_agent_of_its_region(tmp_path: Path) -> None:
    async with enrolled(tmp_path) as world:
        token = await world.token("eu-1")
        assert read_join_word(token).pin == world.authority.pin
        agent = await world.join(token)
        assert agent.identity.region == "eu-1"
        assert world.enrolment.recognise(agent.certificate) == agent.identity
        (member,) = world.enrolment.members()
        assert (member.name, member.joined_from) == (f"eu-1/{agent.identity.agent}", "192.0.2.7")
        assert member.state(world.now) == "valid"
        assert [(each.kind, event_text(each)) for each in world.events] == [
            ("agent.invited", "a join token for an agent of eu-1 was made by ann"),
            ("agent.joined", f"{member.name} joined from 192.0.2.7, with a token of ann"),
        ]


async def test_a_token_is_used_once_even_by_two_at_the_same_time(tmp_path: Path) -> None:
    async with enrolled(tmp_path) as world:
        token = await world.token()
        both = await asyncio.gather(world.join(token), world.join(token), return_exceptions=True)
        assert sorted(type(each).__name__ for each in both) == ["Credentials", "Refused"]
        world.now += 60
        assert await refusal(world, token) == (
            "this join token of paris was used 60 s ago, from 192.0.2.7; make another one: repave agents "
            "join paris; if that was not your machine: repave agents revoke paris"
        )
        assert len(world.enrolment.members()) == 1


@pytest.mark.parametrize("is_restarted", [False, True])
async def test_a_token_expires_after_an_hour_and_outlives_a_restart(
    tmp_path: Path, is_restarted: bool
) -> None:
    async with enrolled(tmp_path) as world:
        good, late = await world.token(), await world.token()
        world.now += TOKEN_SECONDS - 1
        if is_restarted:
            await world.open()
        await world.join(good)
        world.now += 1
        assert await refusal(world, late) == (
            "this join token of paris expired 0 s ago; make another one: repave agents join paris"
        )
        assert "was used" in await refusal(world, good)


async def test_a_token_of_another_controller_is_unknown_here(tmp_path: Path) -> None:
    async with enrolled(tmp_path / "a") as here, enrolled(tmp_path / "b") as there:
        assert "is not known here" in await refusal(here, await there.token())


async def test_neither_the_store_nor_an_event_has_a_tokens_secret(tmp_path: Path) -> None:
    async with enrolled(tmp_path) as world:
        word = read_join_word(await world.token())
        kept = repr((world.shelf.records, world.events))
        assert word.secret not in kept
        assert hash_of(word.secret) in kept


@pytest.mark.parametrize("region", ["", "Paris", "a_b", "a--b", "-a", "a/b", "x" * 49, "é"])
async def test_no_token_is_made_for_what_no_region_is_called(tmp_path: Path, region: str) -> None:
    async with enrolled(tmp_path) as world:
        with pytest.raises(Refused) as caught:
            await world.token(region)
        assert caught.value.rule == "region-name"


async def test_a_renewal_goes_on_with_the_same_agent_and_a_new_key(tmp_path: Path) -> None:
    async with enrolled(tmp_path) as world:
        agent = await world.agent()
        world.now += AGENT_SECONDS / 2
        chain = await world.enrolment.renew(agent.identity, request_for(new_key()))
        renewed = world.enrolment.recognise(chain.encode())
        assert (renewed.region, renewed.agent) == (agent.identity.region, agent.identity.agent)
        assert renewed.expires_at == world.now + AGENT_SECONDS
        assert world.enrolment.recognise(agent.certificate), "until the agent uses the new one"
        (member,) = world.enrolment.members()
        assert (member.serial, member.joined_at) == (renewed.serial, agent.identity.issued_at)


async def test_a_revoked_agent_is_refused_for_ever_and_another_one_may_join(tmp_path: Path) -> None:
    async with enrolled(tmp_path) as world:
        first, other, far = await world.agent(), await world.agent(), await world.agent("oslo")
        waiting = await world.token()
        await world.enrolment.revoke("paris", first.identity.agent, "ann", "stolen")
        assert world.withdrawals == 1
        for _ in range(2):
            with pytest.raises(CertificateError, match=r"the agent paris/\w{8} was revoked by ann"):
                world.enrolment.recognise(first.certificate)
            with pytest.raises(CertificateError, match="was revoked"):
                await world.enrolment.renew(first.identity, request_for(new_key()))
            assert world.enrolment.recognise(other.certificate)
            await world.open()  # also after a restart
        await world.enrolment.revoke("paris", "", "ann")
        with pytest.raises(CertificateError, match="was revoked"):
            world.enrolment.recognise(other.certificate)
        assert "is not known" in await refusal(world, waiting), "its tokens go with the region"
        assert world.enrolment.recognise(far.certificate)
        assert (await world.agent()).identity.region == "paris"


async def test_what_is_not_there_can_not_be_revoked(tmp_path: Path) -> None:
    async with enrolled(tmp_path) as world:
        agent = await world.agent()
        for region, named in (("oslo", ""), ("paris", "00000000")):
            with pytest.raises(Refused) as caught:
                await world.enrolment.revoke(region, named, "ann")
            assert f"there are: paris/{agent.identity.agent}" in text_of(caught.value.reason)


async def test_an_agent_that_joined_after_the_backup_is_known_again_and_can_be_revoked(
    tmp_path: Path,
) -> None:
    async with enrolled(tmp_path) as world:
        agent = await world.agent()
        world.shelf.records.clear()
        await world.open()
        assert world.enrolment.members() == []
        assert world.enrolment.recognise(agent.certificate) == agent.identity
        await world.enrolment.revoke("paris", "", "ann")
        with pytest.raises(CertificateError, match="was revoked"):
            world.enrolment.recognise(agent.certificate)


async def test_what_was_not_saved_did_not_happen(tmp_path: Path) -> None:
    async with enrolled(tmp_path) as world:
        token, agent = await world.token(), await world.agent("oslo")
        world.store.trouble = "the disk is full"
        with pytest.raises(StoreError):
            await world.join(token)
        with pytest.raises(StoreError):
            await world.enrolment.revoke("oslo", "", "ann")
        assert world.enrolment.recognise(agent.certificate)
        world.store.trouble = ""
        assert (await world.join(token)).identity.region == "paris"


async def test_only_what_is_needed_is_kept(tmp_path: Path) -> None:
    async with enrolled(tmp_path) as world:
        await world.agent()
        await world.enrolment.revoke("paris", "", "ann")
        world.now += TOKEN_SECONDS + SPENT_SECONDS
        await world.agent("oslo")
        kept = sorted(name for (kind, name), each in world.shelf.records.items() if each.state)
        assert len(kept) == 3  # both agents, one used token
        world.now += AGENT_SECONDS + ENDED_SECONDS
        await world.agent("oslo")
        assert [each.region for each in world.enrolment.members()] == ["oslo"]


async def test_a_rotation_is_told_and_a_second_one_waits_for_its_end(tmp_path: Path) -> None:
    async with enrolled(tmp_path) as world:
        agent = await world.agent()
        world.now += 60
        assert await world.enrolment.rotate("ann") == world.now + AGENT_SECONDS
        assert world.enrolment.recognise(agent.certificate)
        with pytest.raises(Refused) as caught:
            await world.enrolment.rotate("ann")
        assert text_of(caught.value.reason) == (
            "a rotation is under way, and is over in 72 h, when every agent has renewed; if the key of the "
            "authority was stolen: repave agents rotate --now"
        )
        assert await world.enrolment.rotate("ann", at_once=True) is None
        with pytest.raises(CertificateError):
            world.enrolment.recognise(agent.certificate)
        assert "trusted no longer" in event_text(world.events[-1])


async def test_an_impostors_certificate_of_the_right_name_is_not_recognised(tmp_path: Path) -> None:
    async with enrolled(tmp_path / "a") as world:
        with pytest.raises(CertificateError, match="not issued by an authority"):
            world.enrolment.recognise(of_own_authority(tmp_path / "b", "paris").chain.encode())


async def test_an_authority_of_one_controller_is_not_rotated_beside_others(tmp_path: Path) -> None:
    others = [7]
    async with enrolled(tmp_path) as world:
        shared = Enrolment(
            world.authority, world.store, world.clock, world.tell, world.withdrawn, lambda: others
        )
        for is_at_once in (False, True):
            with pytest.raises(Refused) as refused:
                await shared.rotate("ann", at_once=is_at_once)
            assert refused.value.kind is Refusal.AUTHORITY_OF_SEVERAL
        assert len(world.authority.pins) == 1
        others.clear()
        await shared.rotate("ann")
        assert len(world.authority.pins) == 2
