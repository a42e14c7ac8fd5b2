"""The worker ends the hosts that nobody wants, and no other: over fakes that outlive it, with journals that
are lost and controllers that are away."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from repave_agent.core.ports import Host, TransientError
from repave_protos.protocol.queries import Hosts, Orphans
from repave_protos.protocol.values import (
    FULL_WEIGHT_BP,
    ApplicationName,
    DesiredState,
    Epoch,
    GroupName,
    HostDetail,
    HostName,
    Welcome,
)
from tests.fakes.agent.region_values import BLUE, GREEN, SHOP, a_state
from tests.fakes.agent.worker_rig import WorkerRig, fast_group, worker_rig
from tests.fakes.templates import changed
from tests.fakes.waiting import until, until_async

OLD = fast_group(BLUE, weight_bp=FULL_WEIGHT_BP)
NEW = fast_group(GREEN)
SERVES = a_state(OLD, rev=2)
FLIPPED = a_state(replace(OLD, weight_bp=0), replace(NEW, weight_bp=FULL_WEIGHT_BP), rev=4)
FORGOTTEN = a_state(replace(NEW, weight_bp=FULL_WEIGHT_BP), rev=6)
TILL, TILL_GROUP = ApplicationName("till"), GroupName("till-v001")
TILL_HOST = HostName("till-v001-1")


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[WorkerRig]:
    async with worker_rig(tmp_path) as rig:
        yield rig


async def bring(rig: WorkerRig, *states: DesiredState) -> None:
    for state in states:
        await rig.desire(state)
        await rig.converged(state)


def welcome(*applications: ApplicationName) -> Welcome:
    return Welcome("1", "ours", "", applications)


def add_till(rig: WorkerRig, owner: str = "installation/region") -> None:
    """A host of an application that this agent has never heard of."""
    host = Host(TILL_HOST, TILL_GROUP, TILL, OLD.digest, "127.90.7.7", 8080, 0.0, is_running=True)
    rig.cloud.hosts[host.name] = (owner, replace(host, age_seconds=3_600.0))


async def orphans(rig: WorkerRig) -> dict[HostName, HostDetail]:
    answer = await rig.worker.answer(Orphans())
    assert isinstance(answer, Hosts)
    return {host.host: host for host in answer.hosts}


async def seen_by_a_later_listing(rig: WorkerRig, times: int = 3) -> None:
    """Enough fresh listings, each a grace after the one before, to end whatever may be ended."""
    for _ in range(times):
        before = rig.provider.times_listed
        rig.skip(6.0)
        await until(lambda before=before: rig.provider.times_listed > before)  # type: ignore[misc]  # bound now
    looks = len(rig.told.reports)
    rig.skip(1.0)
    await until(lambda: len(rig.told.reports) > looks or not rig.told.newest)


# -------------------------------------------------------------------------------- what is known against them


async def test_a_group_that_the_desired_state_has_dropped_is_ended_and_detached(rig: WorkerRig) -> None:
    await bring(rig, SERVES, FLIPPED)
    await rig.desire(replace(FORGOTTEN, epoch=Epoch(1, 1, 9)))
    await seen_by_a_later_listing(rig)
    await until(lambda: set(rig.cloud.hosts) == rig.hosts(GREEN))
    await until(lambda: rig.machine.structure.backend(BLUE) is None)
    told = [(notice.kind, notice.host) for notice in rig.told.notices if notice.group == BLUE]
    assert sorted(told[2:]) == [
        (kind, f"shop-v001-{number}") for kind in ("host.destroyed", "host.orphaned") for number in (1, 2)
    ]
    (first, *_) = [notice.text for notice in rig.told.notices if notice.kind == "host.orphaned"]
    assert first == "shop-v001-1 is an orphan: the desired state of shop does not name shop-v001"


async def test_an_application_that_the_controller_does_not_have_is_ended(rig: WorkerRig) -> None:
    await bring(rig, SERVES)
    add_till(rig)
    assert rig.worker.welcome(welcome(SHOP))
    await seen_by_a_later_listing(rig)
    await until(lambda: TILL_HOST not in rig.cloud.hosts)
    assert rig.hosts(BLUE) == set(rig.cloud.hosts)


# ------------------------------------------------------------------------------------------ what is not known


async def test_a_journal_that_was_lost_costs_neither_hosts_nor_traffic_while_the_controller_is_away(
    rig: WorkerRig,
) -> None:
    await bring(rig, SERVES, FLIPPED)
    hosts, routes, structure = set(rig.cloud.hosts), rig.machine.routes, rig.machine.structure
    await rig.kill()
    rig.journal_path.unlink()
    await rig.begin()
    await seen_by_a_later_listing(rig)
    assert (set(rig.cloud.hosts), rig.machine.routes, rig.machine.structure) == (hosts, routes, structure)
    doubts = {detail.orphan for detail in (await orphans(rig)).values()}
    assert doubts == {"kept: the controller has not spoken since the agent began"}
    rig.worker.welcome(welcome(SHOP))
    await seen_by_a_later_listing(rig)
    assert (set(rig.cloud.hosts), rig.machine.routes, rig.machine.structure) == (hosts, routes, structure)
    doubts = {detail.orphan for detail in (await orphans(rig)).values()}
    assert doubts == {"kept: the desired state of shop has not come yet"}
    await bring(rig, FLIPPED)
    assert (set(rig.cloud.hosts), rig.machine.structure) == (hosts, structure)
    assert await orphans(rig) == {}


async def test_whoever_serves_goes_on_serving_without_a_break_when_the_journal_was_lost(
    rig: WorkerRig,
) -> None:
    """Though their proof would take an hour, and their time to start has long been over."""
    await bring(rig, SERVES)
    structure = rig.machine.structure
    await rig.kill()
    rig.journal_path.unlink()
    await rig.begin()
    rig.skip(3_600.0)
    patient = a_state(changed(OLD, {"min_healthy_seconds": 3_600.0}), rev=9)
    await rig.desire(patient)
    first = await rig.reported(patient)
    assert [group.verified for group in first.groups] == [2]
    await until(lambda: rig.prober.record(HostName("shop-v001-1")))
    assert rig.machine.structure == structure


async def test_a_controller_that_can_not_say_what_there_is_proves_nothing(rig: WorkerRig) -> None:
    await bring(rig, SERVES)
    add_till(rig)
    assert rig.worker.welcome(Welcome("1", "ours", ""))
    await seen_by_a_later_listing(rig)
    assert TILL_HOST in rig.cloud.hosts


async def test_an_application_whose_state_is_refused_is_still_one_that_the_controller_has(
    rig: WorkerRig,
) -> None:
    add_till(rig)
    assert rig.worker.welcome(welcome(SHOP))
    wrong = replace(a_state(replace(OLD, weight_bp=5_000)), application=TILL)
    await rig.desire(wrong)
    await seen_by_a_later_listing(rig)
    assert TILL_HOST in rig.cloud.hosts


async def test_a_stranger_is_neither_listed_nor_ended(rig: WorkerRig) -> None:
    await bring(rig, SERVES)
    add_till(rig, owner="somebody/else")
    assert rig.worker.welcome(welcome(SHOP))
    await seen_by_a_later_listing(rig)
    assert await orphans(rig) == {}
    assert TILL_HOST in rig.cloud.hosts


# ------------------------------------------------------------------------------------------------- the guards


async def test_one_listing_looked_at_for_long_proves_nothing(rig: WorkerRig) -> None:
    await bring(rig, SERVES)
    add_till(rig)
    assert rig.worker.welcome(welcome(SHOP))
    await until(lambda: rig.worker._region.records.get(TILL_HOST))
    rig.provider.list_trouble = "the cloud is away"
    for _ in range(3):
        rig.skip(600.0)
        before = rig.provider.times_listed
        await until(lambda before=before: rig.provider.times_listed > before)  # type: ignore[misc]  # bound now
    assert TILL_HOST in rig.cloud.hosts
    assert "host.orphaned" not in {notice.kind for notice in rig.told.notices}
    rig.provider.list_trouble = ""
    await seen_by_a_later_listing(rig)
    await until(lambda: TILL_HOST not in rig.cloud.hosts)


async def test_traffic_that_nobody_desires_keeps_its_hosts_and_says_so(rig: WorkerRig) -> None:
    await bring(rig, SERVES)
    routes, hosts = rig.machine.routes, set(rig.cloud.hosts)
    await rig.kill()
    rig.journal_path.unlink()
    await rig.begin()
    assert rig.worker.welcome(welcome())
    await seen_by_a_later_listing(rig)
    assert (rig.machine.routes, set(rig.cloud.hosts)) == (routes, hosts)
    assert {detail.orphan for detail in (await orphans(rig)).values()} == {"kept: it has traffic"}


async def test_an_orphan_is_told_once_and_its_true_age_is_said(rig: WorkerRig) -> None:
    await bring(rig, SERVES)
    add_till(rig)
    rig.provider.refuse_destroys = [TransientError("busy")] * 3
    assert rig.worker.welcome(welcome(SHOP))

    async def is_listed() -> bool:
        return TILL_HOST in await orphans(rig)

    await until_async(is_listed)
    detail = (await orphans(rig))[TILL_HOST]
    assert (detail.group, detail.application) == (TILL_GROUP, TILL)
    assert 3_600.0 <= detail.age_seconds < 3_700.0
    await seen_by_a_later_listing(rig)
    await until(lambda: TILL_HOST not in rig.cloud.hosts)
    kinds = [notice.kind for notice in rig.told.notices if notice.host == TILL_HOST]
    assert kinds == ["host.orphaned", "host.destroyed"]
    assert rig.provider.refuse_destroys == []


async def test_a_host_that_is_claimed_in_time_lives_on(rig: WorkerRig) -> None:
    await bring(rig, SERVES)
    add_till(rig)
    assert rig.worker.welcome(welcome(SHOP))

    async def is_listed() -> bool:
        return TILL_HOST in await orphans(rig)

    await until_async(is_listed)
    group = fast_group(TILL_GROUP, count=1)
    await rig.desire(DesiredState(TILL, Epoch(1, 1, 1), 8_001, (group,)))
    await seen_by_a_later_listing(rig)
    assert TILL_HOST in rig.cloud.hosts
    assert await orphans(rig) == {}
