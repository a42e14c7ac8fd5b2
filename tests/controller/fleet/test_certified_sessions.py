"""Streams of agents that show certificates: whose region they may speak for, and when they end. Over links in
memory; test_sessions_tls.py has the same over gRPC."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from repave_controller.fleet.holders import FREE_SECONDS, LEASE_SECONDS, Holder
from repave_controller.security.authority import AGENT_SECONDS
from repave_protos.protocol.values import AskLease, Notice, RegionName, Rejection, Report, Welcome
from tests.fakes.controller.enrolled import BEGAN, Enrolled, of_own_authority
from tests.fakes.controller.links import (
    HELLO,
    PARIS,
    SHOP,
    Controller,
    MemoryLink,
    Observer,
    desired,
    seen,
    settle,
)
from tests.fakes.virtual_time import in_virtual_time

OSLO = RegionName("oslo")
FOLLOWED = replace(HELLO, capabilities=("take_over",), leases=True)


class World(Controller):
    """A controller that enrols."""

    def __init__(self, enrolled: Enrolled, ticket_of: Callable[[RegionName], str] | None = None) -> None:
        super().__init__(clock=lambda: enrolled.now, ticket_of=ticket_of)
        self.enrolled = enrolled
        self.sessions.guard_with(enrolled.enrolment)

    async def show(
        self, certificate: bytes | None, region: RegionName = PARIS, instance: str = ""
    ) -> MemoryLink:
        link = MemoryLink()
        self.tasks.append(asyncio.create_task(self.sessions.serve(link, certificate)))
        link.say(replace(FOLLOWED, region=region, instance=instance))
        await settle()
        return link

    async def pass_time(self, seconds: float) -> None:
        """The loop's clock, which is virtual, and the controller's."""
        self.enrolled.now += seconds
        await asyncio.sleep(seconds)
        await settle()


async def world_of(directory: Path) -> World:
    return World(await Enrolled(directory).open())


async def nothing_kept(holder: Holder, gone: tuple[RegionName, ...], *, is_other: bool) -> None:
    """Of a controller whose store is of no matter here."""


def refusal_of(link: MemoryLink) -> str:
    (message,) = link.heard
    assert isinstance(message, Rejection)
    assert link.is_closed
    return message.reason


async def test_an_agent_speaks_for_the_region_of_its_certificate(tmp_path: Path) -> None:
    world = await world_of(tmp_path)
    agent = await world.enrolled.agent()
    link = await world.show(agent.certificate)
    assert isinstance(link.heard[0], Welcome)
    assert world.view.is_connected
    assert world.sessions.denials() == []


async def test_an_agent_that_says_it_is_another_region_gets_and_changes_nothing_there(tmp_path: Path) -> None:
    world = await world_of(tmp_path)
    world.wanted = {OSLO: [desired(1)]}
    agent, its_own = await world.enrolled.agent("paris"), await world.enrolled.agent("oslo")
    honest = await world.show(its_own.certificate, OSLO)
    link = await world.show(agent.certificate, OSLO)
    text = refusal_of(link)
    assert text == (
        "the agent's certificate is of paris, and the agent says that it is oslo: set its region to paris, "
        "or let it join again: repave agents join oslo"
    )
    assert not honest.is_closed
    assert world.sessions.views()[OSLO].is_connected
    assert PARIS not in world.sessions.views()
    (denial,) = world.sessions.denials()
    assert (denial.region, denial.why) == ("paris", text)


async def test_what_an_agent_reports_counts_for_its_own_region_alone(tmp_path: Path) -> None:
    """Nothing after Hello names a region: it can't be said for another one."""
    world = await world_of(tmp_path)
    paris = await world.show((await world.enrolled.agent("paris")).certificate)
    await world.show((await world.enrolled.agent("oslo")).certificate, OSLO)
    report = Observer().report(seen(SHOP, 9), is_full=True)
    paris.say(replace(report, notices=(Notice("host.failed", "oslo burns", SHOP),)))
    await settle()
    assert SHOP in world.sessions.views()[PARIS].observations.applications
    assert SHOP not in world.sessions.views()[OSLO].observations.applications
    assert [region for region, _ in world.noticed] == [PARIS]
    paris.say(replace(HELLO, region=OSLO))
    await settle()
    assert paris.is_closed, "a second Hello ends the stream"
    assert world.sessions.views()[OSLO].is_connected
    assert all(region != OSLO for region, changed in world.changes if SHOP in changed)
    assert isinstance(report, Report)


@pytest.mark.parametrize(
    "case", ["none", "nonsense", "self-made", "server", "authority", "expired", "revoked"]
)
async def test_a_certificate_that_does_not_count_is_refused_with_its_reason(
    tmp_path: Path, case: str
) -> None:
    world = await world_of(tmp_path / "ours")
    authority = world.enrolled.authority
    agent = await world.enrolled.agent()
    shown: bytes | None = agent.certificate
    match case:
        case "none":
            shown = None
        case "nonsense":
            shown = b"-----BEGIN CERTIFICATE-----"
        case "self-made":
            shown = of_own_authority(tmp_path / "theirs", "paris").chain.encode()
        case "server":
            shown = authority.server().chain.encode()
        case "authority":
            shown = authority.authorities.encode()
        case "expired":
            world.enrolled.now += AGENT_SECONDS
        case "revoked":
            await world.enrolled.enrolment.revoke("paris", "", "ann")
    text = refusal_of(await world.show(shown))
    expected = {
        "none": "it is no certificate",
        "nonsense": "it is no certificate",
        "self-made": "not issued by an authority that this controller trusts",
        "server": "it is no certificate of an agent",
        "authority": "it is no certificate of an agent",
        "expired": "its certificate has expired",
        "revoked": "was revoked by ann",
    }
    assert expected[case] in text
    assert text.startswith("the agent's certificate is refused: ")
    assert text.endswith("let it join again: repave agents join paris")
    assert [each.region for each in world.sessions.denials()] == ["paris"]
    assert PARIS not in world.sessions.views()


async def test_a_revoked_agents_stream_ends_at_once_and_it_hears_why(tmp_path: Path) -> None:
    world = await world_of(tmp_path)
    agent, other = await world.enrolled.agent(), await world.enrolled.agent("oslo")
    link, kept = await world.show(agent.certificate), await world.show(other.certificate, OSLO)
    await world.enrolled.enrolment.revoke("paris", "", "ann")
    world.sessions.recheck()
    await settle()
    assert isinstance(link.heard[-1], Rejection)
    assert "was revoked by ann" in link.heard[-1].reason
    assert link.is_closed
    assert not world.view.is_connected
    assert not kept.is_closed
    assert "was revoked" in refusal_of(await world.show(agent.certificate))


@in_virtual_time
async def test_a_stream_ends_with_its_certificate(tmp_path: Path) -> None:
    world = await world_of(tmp_path)
    link = await world.show((await world.enrolled.agent()).certificate)
    await world.pass_time(AGENT_SECONDS - 1)
    assert not link.is_closed
    await world.pass_time(1)
    assert link.is_closed
    assert isinstance(link.heard[-1], Rejection)
    assert "its certificate has expired" in link.heard[-1].reason
    (denial,) = world.sessions.denials()
    assert denial.at == BEGAN + AGENT_SECONDS


@in_virtual_time
async def test_an_agent_that_renews_in_time_is_connected_throughout(tmp_path: Path) -> None:
    world = await world_of(tmp_path)
    agent = await world.enrolled.agent()
    await world.show(agent.certificate)
    for _ in range(5):
        await world.pass_time(AGENT_SECONDS / 2)
        agent = await world.enrolled.renewed(agent)
        await world.show(agent.certificate)
        assert world.view.is_connected
    assert world.sessions.denials() == []


async def test_a_refusal_is_forgotten_when_the_region_connects(tmp_path: Path) -> None:
    world = await world_of(tmp_path)
    refusal_of(await world.show(None))
    assert len(world.sessions.denials()) == 1
    await world.show((await world.enrolled.agent()).certificate)
    assert world.sessions.denials() == []


# ------------------------------------------------------------------------------- two agents of one region


@in_virtual_time
async def test_a_second_agent_of_a_region_stands_by_until_the_first_is_away(tmp_path: Path) -> None:
    world = await world_of(tmp_path)
    first, second = await world.enrolled.agent(), await world.enrolled.agent()
    link = await world.show(first.certificate, instance="a" * 32)
    for number in range(3):
        refused = refusal_of(await world.show(second.certificate, instance="b" * 32))
        assert "another agent serves paris" in refused
        await world.pass_time(LEASE_SECONDS)
        link.say(AskLease(number))
        await settle()
    assert not link.is_closed
    link.hang_up()
    await settle()
    await world.pass_time(FREE_SECONDS - 1)
    assert "its lease ends in 1 s" in refusal_of(await world.show(second.certificate, instance="b" * 32))
    await world.pass_time(1)
    taken_over = await world.show(second.certificate, instance="b" * 32)
    assert isinstance(taken_over.heard[0], Welcome)
    assert world.sessions.stream_of(PARIS) == second.identity
    assert "another agent serves paris" in refusal_of(await world.show(first.certificate, instance="a" * 32))


@in_virtual_time
async def test_who_was_revoked_or_has_expired_keeps_no_other_agent_out(tmp_path: Path) -> None:
    world = await world_of(tmp_path)
    first, second = await world.enrolled.agent(), await world.enrolled.agent()
    await world.show(first.certificate, instance="a" * 32)
    await world.enrolled.enrolment.revoke("paris", first.identity.agent, "ann")
    world.sessions.recheck()
    taken_over = await world.show(second.certificate, instance="b" * 32)
    assert isinstance(taken_over.heard[0], Welcome)
    await world.pass_time(AGENT_SECONDS)
    third = await world.enrolled.agent()
    assert isinstance((await world.show(third.certificate, instance="c" * 32)).heard[0], Welcome)


@in_virtual_time
async def test_a_revoked_agent_that_acts_by_lease_keeps_others_out_until_its_end(
    tmp_path: Path,
) -> None:
    """It may be cut off, and not have heard of it."""
    world = await world_of(tmp_path)
    first, second = await world.enrolled.agent(), await world.enrolled.agent()
    link = await world.show(first.certificate, instance="a" * 32)
    await world.show(second.certificate, instance="b" * 32)
    link.say(AskLease(1))
    await settle()
    await world.enrolled.enrolment.revoke("paris", first.identity.agent, "ann")
    world.sessions.recheck()
    refused = refusal_of(await world.show(second.certificate, instance="b" * 32))
    assert f"its lease ends in {FREE_SECONDS:.0f} s" in refused
    await world.pass_time(FREE_SECONDS)
    taken_over = await world.show(second.certificate, instance="b" * 32)
    assert isinstance(taken_over.heard[0], Welcome)


async def test_who_was_revoked_keeps_no_other_agent_out_after_a_restart_of_the_controller(
    tmp_path: Path,
) -> None:
    world = await world_of(tmp_path)
    first, second = await world.enrolled.agent(), await world.enrolled.agent()
    world.sessions.recall([Holder(PARIS, "a" * 32, 1, agent=first.identity.agent)], nothing_kept)
    assert "may act on there" in refusal_of(await world.show(second.certificate, instance="b" * 32))
    await world.enrolled.enrolment.revoke("paris", first.identity.agent, "ann")
    assert isinstance((await world.show(second.certificate, instance="b" * 32)).heard[0], Welcome)


async def test_an_agent_with_a_certificate_gets_no_ticket_that_outlives_it(tmp_path: Path) -> None:
    world = World(await Enrolled(tmp_path).open(), ticket_of=lambda region: f"rpa_{region}")
    link = await world.show((await world.enrolled.agent()).certificate)
    (welcome,) = link.heard
    assert isinstance(welcome, Welcome)
    assert welcome.image_ticket == ""
