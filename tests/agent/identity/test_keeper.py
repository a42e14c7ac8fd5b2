"""When an agent renews, and what it does when that fails: days in milliseconds, on a clock of the test's."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from repave_agent.identity.identity import (
    FILE,
    Identity,
    IdentityError,
    check,
    objection,
    read,
    renew_at,
    write,
)
from repave_agent.identity.keeper import LOOK_SECONDS, Keeper
from repave_controller.security.authority import AGENT_SECONDS
from repave_protos.protocol.certificates import certificates_in, identity_of, key_pem, new_key
from tests.fakes.controller.enrolled import BEGAN, Credentials, Enrolled
from tests.fakes.virtual_time import in_virtual_time

HOUR = 3600.0


async def never() -> None:
    raise AssertionError("nothing was renewed")


def identity_with(agent: Credentials) -> Identity:
    shown = agent.shown
    return Identity("https://controller:7444", "controller:7443", shown.key, shown.chain, shown.authorities)


class LoopClock:
    """The loop's virtual time, as Unix time."""

    def wall(self) -> float:
        return BEGAN + asyncio.get_running_loop().time()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class World(Enrolled):
    """A controller that may be away, and one agent's keeper."""

    is_away = False
    renewed_at: list[float]
    told: list[str]
    attempts = 0

    def clock(self) -> float:
        return LoopClock().wall()

    async def begin(self) -> "World":
        self.renewed_at, self.told = [], []
        await self.open()
        self.state = self.directory / "agent"
        write(self.state, identity_with(await self.agent()))
        self.keeper = Keeper(self.state, LoopClock(), self.renew, lambda: 0.5, self.note, self.told.append)
        self.task = asyncio.create_task(self.keeper.run())
        return self

    def renew(self, identity: Identity, directory: Path) -> Identity:
        """As the door does it, without the network."""
        self.attempts += 1
        if self.is_away:
            raise IdentityError("can't reach the controller")
        key = new_key()
        agent = self.enrolment.recognise(identity.certificate.encode())
        chain, _ = self.authority.issue(key.public_key(), agent.region, agent.agent)
        return replace(identity, key=key_pem(key), certificate=chain)

    async def note(self) -> None:
        self.renewed_at.append(LoopClock().wall() - BEGAN)

    async def end(self) -> None:
        assert not self.task.done()
        self.task.cancel()
        await asyncio.wait({self.task})


@in_virtual_time
async def test_an_agent_renews_at_half_of_each_certificates_life_for_ever(tmp_path: Path) -> None:
    world = await World(tmp_path).begin()
    await asyncio.sleep(4 * AGENT_SECONDS)
    assert len(world.renewed_at) == 7
    gaps = [b - a for a, b in zip([0.0, *world.renewed_at], world.renewed_at, strict=False)]
    assert all(abs(gap - AGENT_SECONDS / 2) <= LOOK_SECONDS for gap in gaps)
    assert world.attempts == 7
    kept = read(world.state)
    assert kept is not None
    assert world.enrolment.recognise(kept.certificate.encode())
    assert world.keeper.shown() == kept.shown
    await world.end()


@in_virtual_time
@pytest.mark.parametrize("away_from_hours", [0.0, 35.9, 36.0])
async def test_a_controller_that_is_away_for_a_day_costs_no_certificate(
    tmp_path: Path, away_from_hours: float
) -> None:
    world = await World(tmp_path).begin()
    await asyncio.sleep(away_from_hours * HOUR)
    world.is_away = True
    await asyncio.sleep(24 * HOUR)
    assert world.keeper.shown()
    world.is_away = False
    await asyncio.sleep(14 * HOUR)
    assert len(world.renewed_at) >= 1
    assert world.keeper.identity.says.expires_at > LoopClock().wall() + 24 * HOUR
    await world.end()


@in_virtual_time
async def test_an_agent_whose_certificate_has_expired_says_so_and_goes_on_when_it_joins_again(
    tmp_path: Path,
) -> None:
    world = await World(tmp_path).begin()
    world.is_away = True
    await asyncio.sleep(AGENT_SECONDS - HOUR)
    assert world.told[-1].startswith("this agent's certificate ends in ")
    assert world.told[-1].endswith("and could not be renewed: can't reach the controller")
    assert "" not in world.told[-5:]
    await asyncio.sleep(4 * HOUR)
    with pytest.raises(
        ConnectionError, match=r"expired 3 h ago; .*let it join again \(repave agents join paris\)"
    ):
        world.keeper.shown()
    assert world.told[-1].startswith("this agent's certificate expired ")
    assert world.attempts < 120, "it asks no more than about every half hour"
    before = world.attempts
    write(world.state, identity_with(await world.agent()))  # repave-agent join, beside it
    assert world.keeper.shown()
    world.is_away = False
    await asyncio.sleep(AGENT_SECONDS)
    assert world.attempts > before
    assert world.told[-1] == ""
    await world.end()


@in_virtual_time
async def test_what_can_not_be_written_is_not_used(tmp_path: Path) -> None:
    world = await World(tmp_path).begin()
    kept = world.keeper.identity
    (world.state / f"{FILE}.new").mkdir()  # where the next one is written first
    await asyncio.sleep(40 * HOUR)
    assert world.keeper.identity == kept
    assert world.renewed_at == []
    (world.state / f"{FILE}.new").rmdir()
    await asyncio.sleep(HOUR)
    assert len(world.renewed_at) == 1
    await world.end()


async def test_a_file_that_is_broken_later_changes_nothing_while_the_agent_runs(tmp_path: Path) -> None:
    world = await Enrolled(tmp_path).open()
    state = tmp_path / "agent"
    write(state, identity_with(await world.agent()))
    keeper = Keeper(state, LoopClock(), lambda *_: never(), lambda: 0.5, never, lambda _: None)  # type: ignore[arg-type]  # never called
    kept = keeper.identity
    (state / FILE).write_text('{"url": "https://')
    assert keeper.identity == kept
    (state / FILE).unlink()
    assert keeper.identity == kept
    with pytest.raises(IdentityError, match="let this agent join again"):
        Keeper(state, LoopClock(), lambda *_: never(), lambda: 0.5, never, lambda _: None)  # type: ignore[arg-type]  # never called


# ------------------------------------------------------------------------------------------------- as values


async def test_key_and_certificate_have_to_belong_together(tmp_path: Path) -> None:
    world = await Enrolled(tmp_path).open()
    one, other = identity_with(await world.agent()), identity_with(await world.agent())
    check(one)
    for broken in (
        replace(one, key=other.key),
        replace(one, certificate=other.certificate),
        replace(one, certificate=world.authority.authorities),
        replace(one, certificate=""),
        replace(one, key="x"),
        replace(one, authorities=""),
    ):
        with pytest.raises(IdentityError):
            check(broken)


async def test_agents_that_joined_together_renew_at_different_times(tmp_path: Path) -> None:
    world = await Enrolled(tmp_path).open()
    says = identity_of(certificates_in((await world.agent()).shown.chain)[0])
    times = [(renew_at(says, chance) - BEGAN) / HOUR for chance in (0.0, 0.5, 1.0)]
    assert times == pytest.approx([32.4, 36.0, 39.6])
    assert objection(says, BEGAN + AGENT_SECONDS - 1) == ""
    assert "expired 1 min ago" in objection(says, BEGAN + AGENT_SECONDS + 1)
