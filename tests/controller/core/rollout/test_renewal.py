"""The promises about replacing worn hosts, on the controller's side: who is replaced, how many at once, and
when nobody is. Regions are played: whoever is named in `replace` is replaced when the region gets to it."""

from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from repave_controller.core.commands.release import request_release
from repave_controller.core.commands.renewal import request_renewal, request_taint
from repave_controller.core.commands.rollback import request_rollback
from repave_controller.core.domain.application import (
    Application,
    GroupState,
    Instant,
    Observed,
    RegionView,
    Tainted,
    Tenure,
    Upkeep,
)
from repave_controller.core.domain.reasons import Why, reason_of
from repave_controller.core.domain.rollout import GroupNumber
from repave_controller.core.domain.sequences import Listed
from repave_controller.core.rollout.renewal import TAINTED_MAX, renew
from repave_controller.core.rollout.step import step
from repave_controller.core.rules.safety import check
from repave_controller.stores.codec import decode_application, encode_application
from repave_controller.wording.render import event_text, text_of
from repave_protos.protocol.values import (
    ApplicationReport,
    DesiredGroup,
    DesiredState,
    GroupName,
    GroupReport,
    HostName,
    RegionName,
    Wear,
    Worn,
)
from tests.fakes.controller.scheduled import OSLO, PARIS, SHOP, an_order
from tests.support.refusals import refused

BLUE, GREEN = GroupName("shop-v001"), GroupName("shop-v002")
UPKEEP = Upkeep(max_age_seconds=600.0, drift="taint", renew_percent=20.0)


def host(number: int, group: GroupName = BLUE) -> HostName:
    return HostName(f"{group}-{number}")


@dataclass
class Place:
    """A region with hosts 1 to `count` of each group; the worn ones are told, fresh ones are numbered on."""

    desired: DesiredState | None = None
    hosts: dict[GroupName, list[HostName]] = field(default_factory=dict)
    worn: dict[HostName, Wear] = field(default_factory=dict)
    made: int = 0
    up: int | None = None  # so many are verified and up, if not all
    reported: ApplicationReport | None = None
    is_connected: bool = True

    def report(self) -> None:
        """Says what it sees under the desired state that it has."""
        if self.desired is not None:
            groups = tuple(map(self._group, self.desired.groups))
            self.reported = ApplicationReport(SHOP, self.desired.epoch, groups)

    def _group(self, group: DesiredGroup) -> GroupReport:
        hosts = self.hosts.setdefault(group.name, [])
        while len(hosts) < group.count:
            self._launch(group)
        if group.count == 0:
            hosts.clear()
        worn = tuple(
            Worn(each, self.worn.get(each, "asked"), "so it is")
            for each in sorted(hosts)
            if each in self.worn or each in group.replace
        )
        up = group.count if self.up is None else self.up
        return GroupReport(
            group.name, verified=up, balancer_up=up, weight_bp=group.weight_bp, worn=worn[:100]
        )

    def _launch(self, group: DesiredGroup) -> None:
        self.made += 1
        self.hosts[group.name].append(host(self.made, group.name))

    def replace_one(self) -> None:
        """The first one that may be replaced has been."""
        for group in self.desired.groups if self.desired is not None else ():
            for each in group.replace:
                if each in self.hosts[group.name]:
                    self.hosts[group.name].remove(each)
                    self._launch(group)
                    return


class World:
    """An application of which `shop-v001` serves in two regions with ten hosts each."""

    def __init__(self, size: int = 10, upkeep: Upkeep = UPKEEP) -> None:
        self.application = Application(SHOP, "shop", GroupNumber(1))
        self.places = {PARIS: Place(), OSLO: Place()}
        self.now = Instant(1000.0)
        self.kinds: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.size, self.upkeep = size, upkeep
        self.waits: list[str] = []
        self.release("a")

    @property
    def observed(self) -> Observed:
        return {
            name: RegionView(place.is_connected, place.reported, Instant(0))
            for name, place in self.places.items()
        }

    def release(self, digest: str) -> None:
        self.begin(digest)
        self.settle()
        self.now = Instant(self.now + 60)
        self.settle()
        assert self.application.running is None

    def begin(self, digest: str) -> None:
        sizes = ((OSLO, self.size), (PARIS, self.size))
        order = an_order(digest, sizes=sizes, upkeep=self.upkeep)
        self.application, _ = request_release(self.application, order, False, self.now)
        self.decide()

    def decide(self) -> None:
        decision = step(self.application, self.observed, self.now, Tenure(1, 1))
        assert check(self.application, decision, self.observed) == []
        self.application = decision.application
        self.kinds += [(event.kind, event.host) for event in decision.events]
        self.texts += [event_text(event) for event in decision.events]
        self.waits = [text_of(each.reason) for each in decision.because]
        for name, state in self.application.desired:
            if self.places[name].is_connected:
                self.places[name].desired = state
        for name in self.places:
            assert len(self.replaced(name)) <= self.upkeep.at_once(self.size)

    def settle(self) -> None:
        for _ in range(30):
            before = (self.application, [place.reported for place in self.places.values()])
            for place in self.places.values():
                place.report()
            self.decide()
            if (self.application, [place.reported for place in self.places.values()]) == before:
                return
        raise AssertionError("it never comes to rest")

    def taint(self, *numbers: int, region: RegionName = PARIS, reason: str = "odd") -> None:
        for number in numbers:
            self.application, events = request_taint(
                self.application, BLUE, region, host(number), "ann", reason, self.now
            )
            self.kinds += [(event.kind, event.host) for event in events]
        self.settle()

    def wear(self, why: Wear, *numbers: int, region: RegionName = PARIS) -> None:
        self.places[region].worn |= {host(number): why for number in numbers}
        self.settle()

    def replaced(self, region: RegionName = PARIS, group: GroupName = BLUE) -> list[HostName]:
        """Whom the region is told to replace."""
        state = self.application.desired_in(region)
        found = state.group(group) if state is not None else None
        return list(found.replace) if found is not None else []

    def replace_all(self, region: RegionName = PARIS) -> int:
        """Lets the region replace whom it may until nobody is left; how many that were."""
        for count in range(1000):
            if not self.replaced(region):
                return count
            self.places[region].replace_one()
            self.settle()
        raise AssertionError("it never ends")

    def told(self, kind: str) -> list[str]:
        return [each for found, each in self.kinds if found == kind]


# ------------------------------------------------------------------------------------------- who and when


def test_a_tainted_host_is_replaced_and_then_forgotten() -> None:
    world = World()
    world.taint(3)
    assert world.replaced() == [host(3)]
    assert world.replaced(OSLO) == []
    assert world.replace_all() == 1
    assert (world.application.tainted, world.application.replacing) == ((), ())
    assert world.told("host.tainted") == world.told("host.replaced") == [host(3)]
    assert f"{host(3)} is gone and a fresh host has its place: tainted by ann: odd" in world.texts


def test_hosts_that_are_too_old_are_replaced_a_few_at_a_time_until_none_is_left() -> None:
    world = World()
    world.wear("age", *range(1, 11))
    assert world.replaced() == [host(1), host(10)], "a fifth of ten"
    assert world.replace_all() == 10
    assert len(world.told("host.replaced")) == 10
    assert world.told("host.tainted") == []


def test_at_least_one_host_is_replaced_at_a_time_and_never_more_than_a_message_holds() -> None:
    assert [Upkeep(renew_percent=10.0).at_once(size) for size in (1, 9, 10, 19, 20, 1000)] == [
        1,
        1,
        1,
        1,
        2,
        100,
    ]
    assert Upkeep(renew_percent=100.0).at_once(1000) == 100


def test_a_changed_host_is_tainted_where_the_spec_says_so_and_only_there() -> None:
    world = World()
    world.wear("drift", 2)
    assert world.told("host.tainted") == [host(2)]
    assert world.replaced() == [host(2)]
    reporting = World(upkeep=replace(UPKEEP, drift="report"))
    reporting.wear("drift", 2)
    assert (reporting.replaced(), reporting.application.tainted) == ([], ())


def test_a_host_that_was_found_changed_stays_tainted_when_it_is_put_back() -> None:
    world = World()
    world.places[PARIS].up = 3
    world.wear("drift", 2)
    world.places[PARIS].worn.clear()
    world.places[PARIS].up = None
    world.settle()
    assert world.replaced() == [host(2)]


def test_tainted_hosts_come_before_those_that_are_only_old() -> None:
    world = World(upkeep=replace(UPKEEP, renew_percent=10.0))
    world.places[PARIS].up = 0  # nothing begins yet
    world.wear("age", 1, 2, 4)
    world.taint(3)
    world.places[PARIS].up = None
    world.settle()
    assert world.replaced() == [host(3)]


def test_a_renewal_grows_the_generation_of_who_serves() -> None:
    world = World()
    world.release("b")
    before = world.application
    renewed, events = request_renewal(before, "ann", "new kernel", world.now)
    assert [group.generation for group in renewed.groups] == [0, 1]
    assert (events[0].kind, events[0].by) == ("group.renewing", "ann")
    assert "all 20 hosts of shop-v002" in event_text(events[0])
    assert "ann: new kernel" in event_text(events[0])
    world.application = renewed
    world.decide()
    state = world.application.desired_in(PARIS)
    assert state is not None
    assert [group.generation for group in state.groups] == [0, 1]
    world.places[PARIS].worn = {host(number, GREEN): "renewal" for number in range(11, 21)}
    world.settle()
    assert world.replaced(group=GREEN) == [host(11, GREEN), host(12, GREEN)]


def test_warm_hosts_are_renewed_too_after_those_that_serve() -> None:
    world = World()
    world.release("b")
    world.wear("age", 1)
    assert world.application.group(GroupNumber(1)).state is GroupState.WARM  # type: ignore[union-attr]  # it is there
    assert world.replaced() == [host(1)]


# -------------------------------------------------------------------------------------------- when nobody is


def test_while_a_release_runs_nobody_is_replaced_and_what_was_begun_is_taken_back() -> None:
    world = World()
    world.taint(3)
    world.wear("age", 4, 5)
    assert world.replaced() == [host(3), host(4)]
    world.begin("b")
    assert world.replaced() == []
    world.settle()
    assert world.replaced() == []
    assert [each.host for each in world.application.tainted] == [host(3)], "that is not forgotten"
    world.now = Instant(world.now + 60)
    world.settle()
    assert world.replaced() == [host(3), host(4)]


def test_a_rollback_takes_back_what_was_begun_in_the_same_decision() -> None:
    world = World()
    world.release("b")
    world.taint(3)
    assert world.replaced() == [host(3)]
    world.application, _ = request_rollback(world.application, world.observed, "ann", "", False, world.now)
    world.decide()
    state = world.application.desired_in(PARIS)
    assert state is not None
    assert [(group.weight_bp, group.replace) for group in state.groups] == [(10_000, ()), (0, ())]


def test_nothing_begins_while_the_group_is_below_its_floor() -> None:
    world = World()
    world.places[PARIS].up = 9
    world.taint(3)
    assert world.replaced() == []
    assert world.waits == [
        "renewal: 0 of shop-v001 being replaced, 1 more due; nothing begins now: 9 hosts are verified and "
        "up, the floor is 10"
    ]
    world.places[PARIS].up = 10
    world.settle()
    assert world.replaced() == [host(3)]


def test_what_has_begun_goes_on_when_a_host_falls_ill() -> None:
    """The agent sees to capacity; to take it back would only make hosts for nothing."""
    world = World()
    world.taint(3)
    world.places[PARIS].up = 9
    world.settle()
    assert world.replaced() == [host(3)]


def test_where_it_is_closed_nothing_begins_and_what_has_begun_is_finished() -> None:
    outside = reason_of(Why.TEXT, text="outside its window")
    world = World()
    world.taint(3)
    world.places[PARIS].worn[host(4)] = "age"
    world.places[PARIS].report()
    turn = renew(world.application, world.observed, world.now, closed={PARIS: outside})
    assert [each.host for each in turn.application.replacing] == [host(3)]
    assert "1 more due; nothing begins now: outside its window" in text_of(turn.because[0].reason)
    world.places[PARIS].replace_one()
    world.places[PARIS].report()
    turn = renew(world.application, world.observed, world.now, closed={PARIS: outside})
    assert turn.application.replacing == ()
    assert [event.kind for event in turn.events] == ["host.replaced"]


def test_a_region_that_is_away_keeps_what_it_was_told() -> None:
    world = World()
    world.taint(3)
    place = world.places[PARIS]
    place.is_connected = False
    world.taint(4, 5)
    assert world.replaced() == [host(3)]
    place.is_connected = True
    world.settle()
    assert world.replaced() == [host(3), host(4)]


def test_an_older_report_does_not_end_a_replacement() -> None:
    """It can't name a host that it was not asked about."""
    world = World()
    old = world.places[PARIS].reported
    world.application, _ = request_taint(world.application, BLUE, PARIS, host(3), "ann", "", world.now)
    world.decide()
    world.places[PARIS].reported = old
    world.decide()
    assert world.replaced() == [host(3)]
    assert world.told("host.replaced") == []


def test_what_was_tainted_of_a_group_that_goes_is_forgotten() -> None:
    world = World()
    world.release("b")
    world.places[PARIS].up = 0
    world.taint(3)
    world.places[PARIS].up = None
    world.now = Instant(world.now + 700)  # longer than old groups are kept
    world.settle()
    assert world.application.tainted == ()
    assert world.told("host.replaced") == []


# -------------------------------------------------------------------------------------------- commands


def test_the_same_taint_again_changes_nothing() -> None:
    world = World()
    world.taint(3)
    again, events = request_taint(world.application, BLUE, PARIS, host(3), "bob", "x", world.now)
    assert (again, events) == (world.application, ())


def test_too_many_taints_are_refused_with_the_way_to_replace_all() -> None:
    application = World().application
    application = replace(
        application,
        tainted=Listed(
            Tainted(host(number), OSLO, BLUE, "", "", Instant(0)) for number in range(TAINTED_MAX)
        ),
    )
    with refused(match="repave renew shop") as caught:
        request_taint(application, BLUE, PARIS, host(3), "", "", Instant(0))
    assert caught.value.rule == "too-many-tainted"


def test_a_host_of_a_group_that_goes_can_not_be_tainted() -> None:
    with refused(match="shop-v007 is being destroyed"):
        request_taint(World().application, GroupName("shop-v007"), PARIS, host(1), "", "", Instant(0))


def test_a_renewal_is_refused_while_a_rollout_runs_or_nobody_serves() -> None:
    world = World()
    world.begin("b")
    with refused(match="repave watch shop"):
        request_renewal(world.application, "", "", world.now)
    with refused(match="no group serves"):
        request_renewal(Application(SHOP, "shop", GroupNumber(1)), "", "", world.now)


def test_what_is_worn_survives_the_store() -> None:
    world = World()
    world.taint(3)
    world.application, _ = request_renewal(world.application, "ann", "", world.now)
    assert decode_application(encode_application(world.application)) == world.application


# ------------------------------------------------------------------------------------ whatever happens


HAPPENINGS = ("taint", "age", "drift", "replace", "ill", "well", "leave", "come", "look")


@given(st.lists(st.tuples(st.sampled_from(HAPPENINGS), st.integers(1, 12)), max_size=60))
@settings(max_examples=40, deadline=None)
def test_no_more_are_replaced_at_once_than_allowed_and_all_are_in_the_end(
    happenings: list[tuple[str, int]],
) -> None:
    """`decide` checks the bound, and every promise, at each decision."""
    world, asked = World(), set()
    place = world.places[PARIS]
    for what, number in happenings:
        match what:
            case "taint" | "age" | "drift" if host(number) in place.hosts[BLUE]:
                asked.add(host(number))
                if what == "taint":
                    world.application, _ = request_taint(
                        world.application, BLUE, PARIS, host(number), "ann", "", world.now
                    )
                else:
                    place.worn[host(number)] = "age" if what == "age" else "drift"
            case "replace":
                place.replace_one()
            case "ill" | "well":
                place.up = None if what == "well" else 9
            case "leave" | "come":
                place.is_connected = what == "come"
            case _:
                place.report()
        world.decide()
    place.up, place.is_connected = None, True
    world.settle()
    world.replace_all()
    assert not asked & set(place.hosts[BLUE])
    assert (world.application.tainted, world.application.replacing, world.waits) == ((), (), [])
