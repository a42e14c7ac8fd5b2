"""What the simulation holds to be true of a region: its oracles ask for nothing that nobody could know."""

from dataclasses import replace

import pytest

from repave_agent.core.ports import Backend, HostSpec, Route, Server, Structure
from repave_controller.core.domain.application import (
    Application,
    GroupState,
    Instant,
    Part,
    Policy,
    ServerGroup,
)
from repave_controller.core.domain.by_region import ByRegion
from repave_controller.core.domain.rollout import (
    GroupNumber,
    Phase,
    Rollout,
    RolloutKind,
    Track,
    TrackPhase,
    Wave,
)
from repave_protos.protocol.values import (
    ApplicationName,
    DesiredGroup,
    DesiredState,
    Digest,
    Epoch,
    GroupName,
    HostName,
    Probe,
    RegionName,
)
from repave_simulation.checks.oracle import Oracle
from repave_simulation.kernel.timeline import Heap
from repave_simulation.scenarios.scenario import Behaviour, Command, Scenario, Strike, draw
from repave_simulation.tiers.run import run
from repave_simulation.world.bench import Bench
from repave_simulation.world.place import Place
from repave_simulation.world.world import World
from tests.fakes.templates import a_template

SHOP, PARIS, IMAGE = ApplicationName("shop"), RegionName("paris"), Digest("1" * 64)
BLUE, GREEN = GroupName("shop-v001"), GroupName("shop-v002")
PROBE = Probe("command", 8080, command=("healthy",), interval_seconds=0.5)


def group(number: int, state: GroupState, size: int = 2) -> ServerGroup:
    part = Part(PARIS, size, state, 0.0 if state is GroupState.RETIRING else 100.0)
    return ServerGroup(
        GroupName(f"shop-v{number:03d}"), GroupNumber(number), str(number), IMAGE, ByRegion((part,)),
        a_template(probe=PROBE, min_healthy_seconds=3.0, drain_seconds=8.0), Instant(0.0),
    )  # fmt: skip


def decided(*groups: ServerGroup) -> Application:
    return Application(SHOP, "shop", GroupNumber(9), groups=groups, policy=Policy())


def releasing(application: Application) -> Application:
    running = Rollout(
        number=3,
        kind=RolloutKind.RELEASE,
        target=GroupNumber(3),
        steps=(),
        tracks=ByRegion((Track(PARIS, 0, GroupNumber(1), TrackPhase.RUNNING),)),
        phase=Phase.RUNNING,
        started_at=Instant(0.0),
        started_by="somebody",
        waves=(Wave((PARIS,)),),
    )
    return replace(application, rollout=running)


@pytest.fixture
def place() -> Place:
    """A region with nothing in it, of a world in which nothing happens by itself."""
    world = World(Scenario(1, (PARIS,), {IMAGE: Behaviour(boot_seconds=0.1)}, ()), Heap())
    Oracle(world)
    know(world, group(1, GroupState.SERVING), group(2, GroupState.SERVING))
    return world.places[PARIS]


def know(world: Bench, *groups: ServerGroup) -> None:
    world.ledger.applications[SHOP] = decided(*groups)
    world.ledger.groups = {each.name: each for each in groups}


def spec(number: int, of: GroupName = BLUE) -> HostSpec:
    return HostSpec(HostName(f"{of}-{number}"), of, SHOP, IMAGE, a_template())


def wait(place: Place, seconds: float) -> None:
    heap = place.world.timeline
    assert isinstance(heap, Heap)
    heap.run(heap.now + seconds)


def put_behind(place: Place, *hosts: HostSpec) -> None:
    groups = {each.group for each in hosts}
    place.arrange(
        Structure(
            (),
            tuple(
                Backend(name, tuple(Server(h.name, "", 8080) for h in hosts if h.group == name), PROBE)
                for name in sorted(groups)
            ),
        )
    )


def broken(place: Place) -> str:
    return place.world.story.broken.text if place.world.story.broken else ""


# ------------------------------------------------------------------------------------------ names of hosts


def test_a_name_is_used_twice_by_one_memory_only_by_mistake(place: Place) -> None:
    place.make(spec(1), place.memory)
    place.end(spec(1).name)
    place.lose_power()  # names are on disk before anything is launched
    place.make(spec(1), place.memory)
    assert "used for a second host" in broken(place)


def test_a_launch_from_before_the_journal_was_lost_may_come_after_its_namesake(place: Place) -> None:
    before = place.memory
    place.lose_journal()
    place.make(spec(1), place.memory)
    place.end(spec(1).name)
    place.make(spec(1), before)
    assert broken(place) == ""


# ---------------------------------------------------------------------------------------------- the proven


def test_a_blip_that_no_probe_sees_does_not_put_off_the_proof(place: Place) -> None:
    place.make(spec(1), place.memory)
    wait(place, 2.0)
    machine = place.machines[spec(1).name]
    place.fall_ill(machine, "refuses")
    wait(place, 0.2)  # the instant of its proof is in here
    place.fall_ill(machine, "")
    wait(place, 0.1)
    assert place.proven == {BLUE: {spec(1).name}}


# -------------------------------------------------------------------------------------- what is in flight


def test_requests_end_with_the_last_host_that_could_answer_them(place: Place) -> None:
    place.make(spec(1), place.memory)
    place.balancer.busy_until[BLUE] = 10.0
    assert place.is_busy(BLUE)
    place.end_by_itself(place.machines[spec(1).name])
    assert not place.is_busy(BLUE)


# ------------------------------------------------------------------------------------------- the way back


@pytest.mark.parametrize(("state", "is_fine"), [(GroupState.RETIRING, True), (GroupState.SERVING, False)])
def test_a_region_that_was_away_leaves_a_group_that_was_given_up_at_once(
    place: Place, state: GroupState, is_fine: bool
) -> None:
    hosts = (spec(1), *(spec(number, GREEN) for number in (1, 2)))
    for each in hosts:
        place.make(each, place.memory)
    wait(place, 30.0)
    put_behind(place, *hosts)
    place.balancer.routes = (Route(SHOP, GREEN),)
    know(place.world, group(1, GroupState.SERVING), group(2, state))
    known = place.world.ledger.applications[SHOP]
    place.world.ledger.applications[SHOP] = releasing(known)  # the next release is under way by now
    told: list[int] = []
    place.world.broken = lambda promise, text: told.append(promise)  # type: ignore[method-assign]
    place.route((Route(SHOP, BLUE),), place.world.now)
    assert (1 in told) is not is_fine


# ------------------------------------------------------------------------------------------------ workers


@pytest.mark.parametrize(("at_work", "is_fine"), [(2, True), (1, False)])
def test_an_old_host_of_a_worker_is_stopped_only_while_enough_new_ones_work(
    place: Place, at_work: int, is_fine: bool
) -> None:
    template = a_template(probe=replace(PROBE, port=0), is_worker=True)
    old, new = group(1, GroupState.SERVING), group(2, GroupState.NEW)
    (whole,) = new.parts
    left = replace(whole, state=GroupState.SERVING, percent=0.0)
    old, new = old.with_part(left), new.with_part(replace(whole, weight_bp=10_000))
    know(place.world, replace(old, template=template), replace(new, template=template))
    place.world.ledger.applications[SHOP] = releasing(place.world.ledger.applications[SHOP])
    wanted = (
        DesiredGroup(name, IMAGE, count, weight_bp, template)
        for name, count, weight_bp in ((BLUE, 0, 0), (GREEN, 2, 10_000))
    )
    place.accepted[SHOP] = DesiredState(SHOP, Epoch(1, 1, 1), 0, tuple(wanted))
    hosts = (spec(1), *(spec(number, GREEN) for number in range(1, at_work + 1)))
    for each in hosts:
        place.make(each, place.memory)
    wait(place, 60.0)
    place.condemn(hosts[0].name)
    assert broken(place) == (
        "" if is_fine else "paris: shop-v001-1 works and is stopped: 1 of shop are left, the floor is 2"
    )


# ------------------------------------------------------------------------------------------- the first tier


def test_no_agent_of_the_first_tier_begins_without_a_list_of_its_hosts() -> None:
    release = next(each for each in draw(3).commands if each.kind == "release")
    strikes = (
        Strike(0, 20.0, "provider-down", PARIS, 40.0),
        Strike(1, 25.0, "agent-loses-journal", PARIS, 0.2),
    )
    calm = Scenario(1, (PARIS,), {Digest(f"{1:064x}"): Behaviour()}, (only_here(release),), strikes)
    result = run(1, replace(calm, unfair_seconds=80.0))
    assert result.broken is None
    starts = [line for line in result.lines if "paris: starts" in line]
    assert len(starts) > 10, "it is started again and again until the provider answers"


def only_here(command: Command) -> Command:
    assert command.order is not None
    return replace(command, at=1.0, step="", order=replace(command.order, sizes=((PARIS, 2),)))
