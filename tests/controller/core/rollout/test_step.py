"""The promises of a blue/green release, on the pure step function with regions that are obedient, slow,
failing or away. Nothing here waits: time is an argument."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from repave_controller.core.commands.release import request_release
from repave_controller.core.commands.rollback import request_abort, request_rollback
from repave_controller.core.domain.application import (
    Application,
    Because,
    GroupState,
    Instant,
    Observed,
    Policy,
    RegionView,
    ReleaseOrder,
    Tenure,
)
from repave_controller.core.domain.reasons import Refused
from repave_controller.core.domain.rollout import GroupNumber, Phase
from repave_controller.core.rollout.step import after_suspension, step
from repave_controller.core.rules.safety import check
from repave_controller.core.steps import Scale, Soak, Verify, Weight
from repave_controller.wording.render import remedy_of, text_of
from repave_protos.protocol.values import (
    ApplicationName,
    ApplicationReport,
    DesiredGroup,
    DesiredState,
    Digest,
    GroupName,
    GroupReport,
    RegionName,
)
from tests.fakes.templates import a_template, changed
from tests.support.refusals import refused

PARIS, OSLO = RegionName("paris"), RegionName("oslo")
HELLO = ApplicationName("hello")
KEEP_SECONDS = 600.0


def an_order(digest: str = "a", size: int = 3, **changes: Any) -> ReleaseOrder:
    order = ReleaseOrder(
        version=digest,
        digest=Digest(digest * 64),
        frontend_port=8000,
        sizes=((PARIS, size), (OSLO, size)),
        template=a_template(("./app",)),
        steps=(Scale(100, 60.0), Verify(60.0), Weight(10_000, 60.0), Soak(20.0, 60.0)),
        policy=Policy(keep_seconds=KEEP_SECONDS),
        by="ann",
    )
    return changed(order, changes)


@dataclass
class Region:
    """A region that does at each `work` what it was asked, unless told to misbehave."""

    desired: DesiredState | None = None
    reported: ApplicationReport | None = None
    is_connected: bool = True
    present: dict[GroupName, int] = field(default_factory=dict)
    sick: set[GroupName] = field(default_factory=set)
    unseen: set[GroupName] = field(default_factory=set)  # healthy hosts that the balancer finds down
    broken: set[GroupName] = field(default_factory=set)
    draining: set[GroupName] = field(default_factory=set)  # no hosts are left, but requests
    most: dict[GroupName, int] = field(default_factory=dict)  # no more hosts of it come up

    def work(self) -> None:
        if self.desired is None:
            return
        groups = tuple(
            self._group(each.name, self._wanted(each), each.weight_bp) for each in self.desired.groups
        )
        self.reported = ApplicationReport(self.desired.application, self.desired.epoch, groups)

    def _wanted(self, group: DesiredGroup) -> int:
        is_left_alone = group.keeps_failed and group.count == 0
        return self.present.get(group.name, 0) if is_left_alone else group.count

    def _group(self, name: GroupName, count: int, weight_bp: int) -> GroupReport:
        count = min(count, self.most.get(name, count))
        self.present[name] = count
        if name in self.draining:
            return GroupReport(name, in_flight=1)
        if name in self.broken:
            return GroupReport(name, failed=count, has_given_up=count > 0, trouble="exited with code 1")
        if name in self.sick:
            return GroupReport(name, unhealthy=count, weight_bp=weight_bp, trouble="answered 500")
        up = 0 if name in self.unseen else count
        return GroupReport(name, verified=count, balancer_up=up, weight_bp=weight_bp)


class World:
    """One application, its regions and a clock."""

    def __init__(self) -> None:
        self.application = Application(HELLO, "hello", GroupNumber(1))
        self.regions = {PARIS: Region(), OSLO: Region()}
        self.now = Instant(1000.0)
        self.tenure = Tenure(1, 1)
        self.kinds: list[str] = []
        self.because: tuple[Because, ...] = ()

    @property
    def observed(self) -> Observed:
        return {
            name: RegionView(region.is_connected, region.reported, Instant(0))
            for name, region in self.regions.items()
        }

    def decide(self) -> None:
        """One decision; every promise is checked on it, then it is published to connected regions."""
        decision = step(self.application, self.observed, self.now, self.tenure)
        assert check(self.application, decision, self.observed) == []
        self.application, self.because = decision.application, decision.because
        self.kinds += [event.kind for event in decision.events]
        for name, state in self.application.desired:
            if self.regions[name].is_connected:
                self.regions[name].desired = state

    def settle(self) -> None:
        """Works and decides until nothing moves any more at this instant."""
        for _ in range(50):
            before = (self.application, [(each.desired, each.reported) for each in self.regions.values()])
            for region in self.regions.values():
                region.work()
            self.decide()
            if before == (
                self.application,
                [(each.desired, each.reported) for each in self.regions.values()],
            ):
                return
        raise AssertionError("it never settles")

    def release(self, digest: str = "a", queue: bool = False, **changes: Any) -> None:
        order = an_order(digest, **changes)
        self.application, events = request_release(self.application, order, queue, self.now)
        self.kinds += [event.kind for event in events]
        self.decide()

    def finish(self) -> None:
        self.settle()
        self.now = Instant(self.now + 21)
        self.settle()

    def weights(self, region: RegionName = PARIS) -> dict[str, int]:
        state = self.application.desired_in(region)
        assert state is not None
        return {group.name: group.weight_bp for group in state.groups if group.weight_bp}

    def is_in(self, phase: Phase) -> bool:
        return self.application.rollout is not None and self.application.rollout.phase is phase


def released(*digests: str) -> World:
    world = World()
    for digest in digests or ("a",):
        world.release(digest)
        world.finish()
        assert world.is_in(Phase.SUCCEEDED)
    return world


# ---------------------------------------------------------------------------------------------- the way


def test_a_first_release_takes_traffic_only_when_every_region_is_verified() -> None:
    world = World()
    world.regions[OSLO].is_connected = False
    world.release()
    world.settle()
    assert world.weights() == {}
    world.regions[OSLO].is_connected = True
    world.settle()
    assert world.weights() == {"hello-v001": 10_000}


def test_a_release_goes_through_its_steps_and_keeps_the_old_group_warm() -> None:
    world = released("a", "b")
    assert world.weights() == {"hello-v002": 10_000}
    assert [(group.name, group.state) for group in world.application.groups] == [
        ("hello-v001", GroupState.WARM),
        ("hello-v002", GroupState.SERVING),
    ]


def test_no_region_flips_before_all_are_verified() -> None:
    world = released("a")
    world.regions[OSLO].sick.add(GroupName("hello-v002"))
    world.release("b")
    world.settle()
    assert world.weights(PARIS) == world.weights(OSLO) == {"hello-v001": 10_000}


def test_the_soak_counts_from_the_moment_the_last_balancer_acknowledged() -> None:
    world = World()
    world.release()
    for region in world.regions.values():
        region.work()
    world.decide()  # all verified: the flip is published
    world.now = Instant(world.now + 30)  # longer than the soak, nobody has acknowledged
    world.decide()
    assert world.is_in(Phase.RUNNING)
    world.settle()
    assert world.is_in(Phase.RUNNING)
    world.now = Instant(world.now + 20)
    world.settle()
    assert world.is_in(Phase.SUCCEEDED)


def test_an_old_group_is_destroyed_when_its_time_is_over_and_then_forgotten() -> None:
    world = released("a", "b")
    world.now = Instant(world.now + KEEP_SECONDS + 1)
    world.settle()
    assert [group.name for group in world.application.groups] == ["hello-v002"]
    assert world.kinds[-2:] == ["group.retiring", "group.destroyed"]


def test_a_group_is_not_forgotten_while_requests_to_it_are_not_over() -> None:
    """Its hosts may have died while it was drained; who is forgotten is drained no longer."""
    world = released("a", "b")
    world.regions[OSLO].draining.add(GroupName("hello-v001"))
    world.now = Instant(world.now + KEEP_SECONDS + 1)
    world.settle()
    assert [group.name for group in world.application.groups] == ["hello-v001", "hello-v002"]
    world.regions[OSLO].draining.clear()
    world.settle()
    assert [group.name for group in world.application.groups] == ["hello-v002"]


def test_only_as_many_old_groups_are_kept_as_the_policy_says() -> None:
    world = released("a", "b", "c")
    assert [group.name for group in world.application.groups] == ["hello-v002", "hello-v003"]


def test_retained_groups_outlive_their_time() -> None:
    world = World()
    for digest in "ab":
        world.release(digest, policy=Policy(keep_seconds=1.0, keep_groups=1, retain=1))
        world.finish()
    world.now = Instant(world.now + 1e6)
    world.settle()
    assert [group.name for group in world.application.groups] == ["hello-v001", "hello-v002"]


# ---------------------------------------------------------------------------------------------- failure


def test_a_failure_before_the_flip_leaves_traffic_untouched_and_cleans_up() -> None:
    world = released("a")
    world.regions[OSLO].broken.add(GroupName("hello-v002"))
    world.release("b")
    world.settle()
    assert world.is_in(Phase.ROLLED_BACK)
    assert "traffic.moved" not in world.kinds[world.kinds.index("release.failed") :]
    assert world.weights() == {"hello-v001": 10_000}
    assert [group.name for group in world.application.groups] == ["hello-v001"]
    assert world.application.rollout is not None
    assert text_of(world.application.rollout.undo_reason) == "oslo: exited with code 1"


def test_a_failure_in_the_soak_flips_every_region_back_by_itself() -> None:
    world = released("a")
    world.release("b")
    world.settle()
    assert world.weights() == {"hello-v002": 10_000}
    world.regions[PARIS].sick.add(GroupName("hello-v002"))
    world.settle()
    assert world.weights(PARIS) == world.weights(OSLO) == {"hello-v001": 10_000}
    assert world.is_in(Phase.ROLLED_BACK)


def test_a_group_that_the_balancer_finds_down_goes_back_though_the_agent_finds_it_well() -> None:
    world = released("a")
    world.release("b")
    world.settle()
    world.regions[PARIS].unseen.add(GroupName("hello-v002"))
    world.settle()
    assert world.weights(PARIS) == world.weights(OSLO) == {"hello-v001": 10_000}
    assert world.is_in(Phase.ROLLED_BACK)
    assert world.application.rollout is not None
    told = "paris: the balancer finds none of hello-v002 up, though 3 are healthy to the agent in the soak"
    assert text_of(world.application.rollout.undo_reason) == told


def test_a_group_that_the_balancer_finds_down_never_gets_traffic() -> None:
    world = released("a")
    world.regions[PARIS].unseen.add(GroupName("hello-v002"))
    world.release("b")
    world.settle()
    assert world.weights(PARIS) == world.weights(OSLO) == {"hello-v001": 10_000}
    assert "weight" not in world.kinds[-1]


def test_a_first_release_that_fails_in_the_soak_is_held_because_nobody_else_can_serve() -> None:
    world = World()
    world.release()
    world.settle()
    world.regions[PARIS].sick.add(GroupName("hello-v001"))
    world.settle()
    assert world.is_in(Phase.HELD)
    assert world.weights() == {"hello-v001": 10_000}


def test_a_step_without_progress_fails_at_its_deadline_and_progress_resets_it() -> None:
    world = released("a")
    world.release("b")
    world.regions[OSLO].is_connected = False
    world.settle()
    world.now = Instant(world.now + 59)
    world.settle()
    assert world.is_in(Phase.RUNNING)
    world.now = Instant(world.now + 2)
    world.settle()
    assert world.is_in(Phase.UNDOING)
    assert world.application.rollout is not None
    assert "oslo: its agent is not connected" in text_of(world.application.rollout.undo_reason)


def test_a_region_that_is_away_during_an_undo_is_told_when_it_returns() -> None:
    world = released("a")
    world.release("b")
    world.settle()
    world.regions[OSLO].is_connected = False
    world.application, _ = request_rollback(
        world.application, world.observed, "ann", "", force=False, now=world.now
    )
    world.settle()
    assert world.is_in(Phase.UNDOING)
    (waited,) = world.because
    assert (waited.region, waited.until) == (OSLO, world.now + 60)
    assert "it is told when it returns" in remedy_of(waited.reason)
    world.now = Instant(world.now + 61)
    world.settle()
    assert world.is_in(Phase.ROLLED_BACK)
    assert [group.state for group in world.application.groups] == [GroupState.SERVING, GroupState.RETIRING]
    (left,) = world.because
    assert (left.region, text_of(left.reason)) == (
        OSLO,
        "its agent is not connected; hosts of hello-v002 may be left there",
    )
    world.regions[OSLO].is_connected = True
    world.settle()
    assert [group.name for group in world.application.groups] == ["hello-v001"]
    assert world.because == ()


def test_a_region_that_listens_but_can_not_follow_is_never_said_to_have_gone_back() -> None:
    world = released("a")
    world.release("b")
    world.settle()
    stale = world.regions[OSLO].reported
    assert stale is not None
    world.application, _ = request_rollback(
        world.application, world.observed, "ann", "", force=False, now=world.now
    )
    world.decide()
    world.regions[PARIS].work()
    world.regions[OSLO].reported = replace(stale, refusal="the disk is full")
    world.now = Instant(world.now + 299)
    world.decide()
    assert world.is_in(Phase.UNDOING)
    (waited,) = world.because
    assert waited.region == OSLO
    assert "not confirmed yet (the disk is full)" in text_of(waited.reason)
    world.now = Instant(world.now + 12)
    world.decide()
    assert world.is_in(Phase.HELD)


def test_time_in_which_no_controller_looked_counts_for_no_deadline() -> None:
    world = released("a")
    world.release("b")
    world.regions[OSLO].is_connected = False
    world.settle()
    world.now = Instant(world.now + 3600)
    world.application = after_suspension(world.application, world.now)
    world.settle()
    assert world.is_in(Phase.RUNNING)
    world.application, _ = request_abort(world.application, "ann", "", world.now)
    world.settle()
    world.now = Instant(world.now + 3600)
    world.application = after_suspension(world.application, world.now)
    world.settle()
    assert world.is_in(Phase.UNDOING)
    world.now = Instant(world.now + 61)
    world.settle()
    assert world.is_in(Phase.ABORTED)
    assert after_suspension(world.application, world.now) == world.application


def test_an_old_report_never_completes_a_step() -> None:
    world = released("a")
    stale = world.regions[PARIS].reported
    world.release("b")
    world.settle()
    assert world.application.running is not None
    world.regions[PARIS].reported = stale
    world.decide()
    assert world.is_in(Phase.RUNNING)
    assert any(
        "confirmed" in text_of(each.reason)
        for each in step(world.application, world.observed, world.now, world.tenure).because
    )


# --------------------------------------------------------------------------------------------- commands


def test_rollback_is_one_switch_to_the_group_before() -> None:
    world = released("a", "b")
    world.application, _ = request_rollback(
        world.application, world.observed, "ann", "too slow", force=False, now=world.now
    )
    world.decide()
    assert world.weights() == {"hello-v001": 10_000}
    world.settle()
    assert world.is_in(Phase.SUCCEEDED)
    assert world.application.serving == 1
    assert [group.state for group in world.application.groups] == [GroupState.SERVING, GroupState.WARM]


def test_a_rollback_never_returns_to_what_it_left_because_a_region_is_away() -> None:
    world = released("a", "b")
    world.regions[OSLO].is_connected = False
    world.application, _ = request_rollback(
        world.application, world.observed, "ann", "", force=False, now=world.now
    )
    world.settle()
    world.now = Instant(world.now + 61)
    world.settle()
    assert world.is_in(Phase.SUCCEEDED)
    assert world.application.rollout is not None
    outcome = text_of(world.application.rollout.undo_reason)
    assert outcome == "oslo: its agent is not connected; all its traffic goes to hello-v001 when it returns"
    assert world.weights(PARIS) == {"hello-v001": 10_000}
    world.regions[OSLO].is_connected = True
    world.settle()
    assert world.weights(OSLO) == {"hello-v001": 10_000}
    assert [group.state for group in world.application.groups] == [GroupState.SERVING, GroupState.WARM]


def test_a_rollback_to_a_sick_group_needs_force() -> None:
    world = released("a", "b")
    world.regions[OSLO].sick.add(GroupName("hello-v001"))
    world.settle()
    with refused(match="hello-v001 has 0 healthy hosts of 3 in oslo, a release would need 3"):
        request_rollback(world.application, world.observed, "ann", "", force=False, now=world.now)
    request_rollback(world.application, world.observed, "ann", "b is worse", force=True, now=world.now)


def test_abort_before_the_flip_cleans_up_and_ends() -> None:
    world = released("a")
    world.release("b")
    world.application, _ = request_abort(world.application, "ann", "typo", world.now)
    world.settle()
    assert world.is_in(Phase.ABORTED)
    assert [group.name for group in world.application.groups] == ["hello-v001"]


def test_a_second_release_is_refused_or_queued_as_the_user_chose() -> None:
    world = released("a")
    world.release("b")
    with refused(match="hello-v002 is being rolled out"):
        request_release(world.application, an_order("c"), queue=False, now=world.now)
    world.release("c", queue=True)
    world.finish()
    world.finish()
    assert world.is_in(Phase.SUCCEEDED)
    assert world.weights() == {"hello-v003": 10_000}


def test_what_a_release_may_not_change_is_refused() -> None:
    world = released("a")
    with refused(match="hello-v001 serves in oslo"):
        request_release(world.application, an_order("b", sizes=((PARIS, 3),)), queue=False, now=world.now)
    with refused(match=r"traffic\.port"):
        request_release(world.application, an_order("b", frontend_port=81), queue=False, now=world.now)


def test_a_region_added_by_a_release_is_closed_again_when_it_is_undone() -> None:
    world = World()
    world.release("a", sizes=((PARIS, 3),))
    world.finish()
    world.release("b")
    world.settle()
    assert world.weights(OSLO) == {"hello-v002": 10_000}
    world.application, _ = request_abort(world.application, "ann", "", world.now)
    world.settle()
    assert world.weights(PARIS) == {"hello-v001": 10_000}
    closed = world.application.desired_in(OSLO)
    assert closed is not None
    assert (closed.frontend_port, closed.groups) == (0, ())


def test_a_new_term_republishes_everything_under_higher_epochs() -> None:
    world = released("a")
    before = dict(world.application.desired)
    world.tenure = Tenure(1, 2)
    world.decide()
    for region, state in world.application.desired:
        assert state.epoch > before[region].epoch
        assert state.groups == before[region].groups


def test_step_is_idempotent_when_nothing_new_is_seen() -> None:
    world = released("a", "b")
    decision = step(world.application, world.observed, world.now, world.tenure)
    assert decision.application == world.application
    assert (decision.desired, decision.events) == ((), ())


# -------------------------------------------------------------------------------------- any interleaving


class AnyInterleaving(RuleBasedStateMachine):
    """Releases, rollbacks, aborts, sick and absent regions in any order: `World.decide` checks every promise
    at each decision, and when the faults end everything comes to its end."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    @rule(digest=st.sampled_from("abc"), queue=st.booleans())
    def release(self, digest: str, queue: bool) -> None:
        with self._only_refused("rollout-running", "queue-full"):
            self.world.release(digest, queue=queue)

    @rule(force=st.booleans())
    def rollback(self, force: bool) -> None:
        self._command(
            lambda world: request_rollback(
                world.application, world.observed, "ann", "", force=force, now=world.now
            )[0]
        )

    @rule()
    def abort(self) -> None:
        self._command(lambda world: request_abort(world.application, "ann", "", world.now)[0])

    def _command(self, command) -> None:  # type: ignore[no-untyped-def]
        with self._only_refused(
            "nothing-to-abort", "nothing-to-roll-back-to", "already-back", "unhealthy-target", "undoing"
        ):
            self.world.application = command(self.world)
        self.world.decide()

    @contextmanager
    def _only_refused(self, *rules: str) -> Iterator[None]:
        try:
            yield
        except Refused as refused:
            if refused.rule not in rules:
                raise

    @rule(region=st.sampled_from([PARIS, OSLO]))
    def work(self, region: RegionName) -> None:
        if self.world.regions[region].is_connected:
            self.world.regions[region].work()

    @rule(region=st.sampled_from([PARIS, OSLO]), connected=st.booleans())
    def connect(self, region: RegionName, connected: bool) -> None:
        self.world.regions[region].is_connected = connected

    @rule(
        region=st.sampled_from([PARIS, OSLO]),
        number=st.integers(1, 5),
        kind=st.sampled_from(["sick", "broken"]),
    )
    def fall_ill(self, region: RegionName, number: int, kind: str) -> None:
        getattr(self.world.regions[region], kind).add(GroupName(f"hello-v{number:03d}"))

    @rule(region=st.sampled_from([PARIS, OSLO]))
    def recover(self, region: RegionName) -> None:
        self.world.regions[region].sick.clear()

    @rule(seconds=st.sampled_from([0.5, 21.0, 70.0, 700.0]))
    def pass_time(self, seconds: float) -> None:
        self.world.now = Instant(self.world.now + seconds)

    @rule()
    def decide(self) -> None:
        self.world.decide()

    @rule()
    def restart_controller(self) -> None:
        self.world.tenure = Tenure(1, self.world.tenure.term + 1)
        self.world.decide()

    @precondition(lambda self: self.world.application.desired)
    @invariant()
    def epochs_never_go_back_and_clients_are_never_left_alone(self) -> None:
        for name, state in self.world.application.desired:
            accepted = self.world.regions[name].desired
            assert accepted is None or state.epoch >= accepted.epoch

    def teardown(self) -> None:
        for region in self.world.regions.values():
            region.is_connected = True
            region.sick.clear()
            region.broken.clear()
        self.world.application = replace(self.world.application, queue=())
        for _ in range(8):
            self.world.settle()
            self.world.now = Instant(self.world.now + 700)
        assert self.world.application.running is None
        for group in self.world.application.groups:
            assert group.state is not GroupState.RETIRING
            assert group.state is not GroupState.NEW


TestAnyInterleaving = AnyInterleaving.TestCase
TestAnyInterleaving.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
