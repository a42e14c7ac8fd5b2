"""Whether an agent may act: by its own clocks, from the moment at which it asked."""

import asyncio
from pathlib import Path

import pytest

from repave_agent.core.host_secrets import HostSecrets
from repave_agent.core.ports import BalancerError, Host, HostSpec, NotActingError, ProviderError
from repave_agent.core.region import Entries
from repave_agent.runtime.journal import Journal
from repave_agent.runtime.journal_file import FileDisk
from repave_agent.runtime.tenancy import HELD_SHARE, Tenancy
from repave_agent.runtime.timeouts import BalancerWithTimeouts, ProviderWithTimeouts
from repave_protos.protocol.values import HostName, Lease, Rejection, Welcome
from tests.fakes.agent.balancer import FakeBalancer, FakeMachine
from tests.fakes.agent.provider import FakeProvider
from tests.fakes.agent.session_rig import WELCOME, Region, running, settle
from tests.fakes.agent.worker_rig import worker_rig
from tests.fakes.virtual_time import in_virtual_time

LEASE = 60.0


class Clock:
    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def test_an_agent_alone_may_act_for_ever() -> None:
    clock = Clock()
    tenancy = Tenancy(clock)
    clock.now = 1e9
    assert tenancy.may_act
    assert not tenancy.has_lease


def test_one_that_knows_of_another_may_act_only_while_its_lease_lasts_and_ends_before_it() -> None:
    clock = Clock()
    tenancy = Tenancy(clock)
    tenancy.bind()
    assert not tenancy.may_act
    asked = tenancy.now()
    clock.now = 20.0  # the answer took its time
    tenancy.grant(asked, LEASE)
    assert tenancy.has_lease
    clock.now = HELD_SHARE * LEASE - 0.1
    assert tenancy.may_act
    clock.now = HELD_SHARE * LEASE
    assert not tenancy.may_act
    with pytest.raises(NotActingError):
        tenancy.check()


def test_answers_that_overtake_each_other_or_come_twice_shorten_and_lengthen_nothing() -> None:
    clock = Clock()
    tenancy = Tenancy(clock)
    tenancy.bind()
    tenancy.grant((30.0,), LEASE)
    tenancy.grant((0.0,), LEASE)
    tenancy.grant((30.0,), LEASE)
    clock.now = 30.0 + HELD_SHARE * LEASE - 0.1
    assert tenancy.may_act
    clock.now += 0.1
    assert not tenancy.may_act


@pytest.mark.parametrize("which", [0, 1])
def test_a_lease_is_over_when_one_of_the_clocks_says_so(which: int) -> None:
    """A machine that slept: one clock went on, the other stood still."""
    clocks = Clock(5.0), Clock(1_700_000_000.0)
    tenancy = Tenancy(*clocks)
    tenancy.bind()
    tenancy.grant(tenancy.now(), LEASE)
    clocks[which].now += LEASE
    assert not tenancy.may_act


@in_virtual_time
async def test_who_waits_for_the_lease_or_for_its_end_is_woken() -> None:
    loop = asyncio.get_running_loop()
    tenancy = Tenancy(loop.time)
    tenancy.bind()
    held = asyncio.create_task(tenancy.until_held())
    await asyncio.sleep(5.0)
    assert not held.done()
    tenancy.grant(tenancy.now(), LEASE)
    await held
    lost = asyncio.create_task(tenancy.until_lost())
    await asyncio.sleep(40.0)
    tenancy.grant(tenancy.now(), LEASE)
    await asyncio.sleep(50.0)
    assert not lost.done()
    await lost
    assert loop.time() == pytest.approx(5.0 + 40.0 + HELD_SHARE * LEASE, abs=0.1)
    tenancy.grant(tenancy.now(), LEASE)
    tenancy.give_up()
    await tenancy.until_lost()


async def test_nothing_is_begun_without_a_lease(tmp_path: Path) -> None:
    tenancy = Tenancy(Clock())
    tenancy.bind()
    launched: list[HostSpec] = []

    class Cloud(FakeProvider):
        async def launch(self, spec: HostSpec, package: Path, secrets: HostSecrets = ()) -> Host:
            launched.append(spec)
            return await super().launch(spec, package, secrets)

    provider = ProviderWithTimeouts(Cloud(), tenancy.check)
    machine = FakeMachine()
    balancer = BalancerWithTimeouts(FakeBalancer(machine), tenancy.check)
    for effect in (
        lambda: provider.launch(None, tmp_path),  # type: ignore[arg-type]  # it is never looked at
        lambda: provider.destroy(HostName("h-1")),
        provider.list_hosts,
        balancer.start,
        balancer.observe,
        lambda: balancer.arrange(None),  # type: ignore[arg-type]
        lambda: balancer.route(()),
    ):
        with pytest.raises((ProviderError, BalancerError)) as refused:
            await effect()
        assert isinstance(refused.value, NotActingError)
    assert not launched
    assert not machine.is_running


# --------------------------------------------------------------------------------------------- the session


BY_LEASE = Welcome(
    WELCOME.controller_version, WELCOME.installation, WELCOME.image_url, lease_seconds=LEASE, term=1
)


async def test_a_lease_is_asked_for_again_and_again_and_counts_from_the_asking() -> None:
    region = Region()
    tenancy = Tenancy(region.time.clock)
    tenancy.bind()
    region.session._tenancy = tenancy
    async with running(region):
        await settle()
        region.time.stand_still(4.0)  # Hello was said before, Welcome comes late
        region.link.say(BY_LEASE)
        await settle()
        assert tenancy.may_act
        asked = [each.number for each in region.link.leases_asked]
        assert asked == [1]
        await region.time.advance(10.0)
        assert [each.number for each in region.link.leases_asked] == [1, 2]
        region.link.say(Lease(1, LEASE, 1))
        await settle()
        await region.time.advance(4.0 + HELD_SHARE * LEASE - 14.0 - 0.1)
        assert tenancy.may_act
        await region.time.advance(0.2)
        assert not tenancy.may_act, "number 2 was not answered"


async def test_one_that_is_told_to_stand_by_hears_it_before_the_stream_ends() -> None:
    async with running(Region()) as region:
        await settle()
        region.link.say(Rejection("another agent serves paris", stands_by=True))
        await settle()
        assert region.handler.told_to_stand_by == "another agent serves paris"


# ---------------------------------------------------------------------------------------------- the worker


async def test_that_another_agent_is_known_and_the_term_outlive_the_process(tmp_path: Path) -> None:
    async with worker_rig(tmp_path) as rig:
        assert not rig.worker.take_term(3, is_bound=True)
        entries = Journal(FileDisk(rig.journal_path)).load()
        assert (entries.term, entries.is_bound) == (3, True)
        rig.worker.stand_by()


async def test_what_was_known_of_hosts_is_void_once_another_agent_had_the_region(tmp_path: Path) -> None:
    async with worker_rig(tmp_path) as rig:
        assert not rig.worker.take_term(3, is_bound=False)
        assert not rig.worker.take_term(3, is_bound=False)
        assert rig.worker.take_term(5, is_bound=True)
        entries = Journal(FileDisk(rig.journal_path)).load()
        assert entries == Entries(
            installation=entries.installation, desired=entries.desired, term=5, is_bound=True
        )
