"""Rollouts by chance, over strategies, waves and policies. Regions do at once what they are told, unless a
trouble holds them up."""

from dataclasses import replace
from typing import Any

from hypothesis import event
from hypothesis import strategies as st

from repave_controller.core.commands.release import request_release
from repave_controller.core.commands.rollback import request_rollback
from repave_controller.core.domain.application import (
    Application,
    Decision,
    Instant,
    Policy,
    RegionView,
    ReleaseOrder,
    Tenure,
)
from repave_controller.core.domain.reasons import Refused
from repave_controller.core.domain.rollout import GroupNumber, Wave
from repave_controller.core.domain.steps import Step
from repave_controller.core.rollout.step import step
from repave_controller.core.strategies import presets
from repave_controller.core.strategies.presets import Pace, Stage
from repave_protos.protocol.values import ApplicationReport, GroupName, GroupReport, RegionName
from tests.fakes.controller.stepping import HELLO, an_order

REGIONS = tuple(RegionName(name) for name in ("bergen", "lyon", "oslo", "paris"))
TENURE = Tenure(1, 1)
PACE = Pace(30.0, 1.0, 10.0)
STILL_MAX = 60
SIZE = 4
TROUBLES = ("", "ill", "half", "one", "deaf", "away", "old half", "both half")
"""None; no host is healthy; half of them are; one is not; it does nothing that it is told; its agent is not
connected; half of the old group's are healthy; half of both."""

# ------------------------------------------------------------------------------------------------ chance


@st.composite
def ways(draw: Any) -> tuple[Step, ...]:
    role, hold = draw(st.sampled_from((None, "", "ops"))), draw(st.sampled_from((0.0, 20.0)))
    shares = sorted(draw(st.sets(st.sampled_from((500, 2000, 5000)), max_size=2)))
    stages = [*(Stage(share, hold, role) for share in shares), Stage(10_000, hold)]
    pauses = [presets.soak(15.0), presets.keep(25.0), presets.approval(""), presets.weight(3000)]
    pauses.append(replace(presets.approval("ops"), expires_seconds=45.0))
    pauses.append(presets.approval("ops", unless_objected_seconds=35.0))
    own = st.lists(st.sampled_from(pauses), max_size=3)
    known: tuple[tuple[Step, ...], ...] = (
        presets.blue_green(PACE, 20.0, role),
        presets.highlander(PACE, 20.0),
        presets.canary(PACE, stages, 20.0),
        presets.rolling(PACE, stages, is_old_first=False),
        presets.phased(PACE, stages),
        (*presets.up(PACE, 100.0), *draw(own), presets.weight(10_000), *draw(own)),
    )
    chosen: tuple[Step, ...] = draw(st.sampled_from(known))
    return chosen


@st.composite
def wave_lists(draw: Any) -> tuple[Wave, ...]:
    order = draw(st.permutations(REGIONS))[: draw(st.sampled_from((1, 2, 3, 4, 4)))]
    first = draw(st.integers(1, len(order)))
    return tuple(draw(waves_of(tuple(sorted(part)))) for part in (order[:first], order[first:]) if part)


@st.composite
def waves_of(draw: Any, regions: tuple[RegionName, ...]) -> Wave:
    parallel, bake = draw(st.sampled_from((0, 0, 1, 2))), draw(st.sampled_from((0.0, 40.0)))
    role = draw(st.sampled_from((None, None, "", "ops")))
    seconds = draw(st.sampled_from((0.0, 0.0, 35.0))) if role is not None else 0.0
    is_lockstep = parallel == 0 and draw(st.booleans())
    expires = draw(st.sampled_from((0.0, 0.0, 50.0))) if role is not None else 0.0
    return Wave(regions, parallel, bake, role, is_lockstep, seconds, expires)


policies = st.builds(
    Policy,
    keep_seconds=st.just(100_000.0),
    keep_percent=st.sampled_from((100.0, 50.0)),
    goes_back_on=st.sampled_from((*[("deadline", "health")] * 3, ("health",), ("deadline",))),
    heal_seconds=st.sampled_from((300.0, 15.0, 0.0)),
    scope=st.sampled_from(("region", "wave", "release")),
    failures_max=st.sampled_from((0, 0, 1, 2)),
    unreachable=st.sampled_from(("wait", "skip", "fail")),
)


# ----------------------------------------------------------------------------------------------- a world


class World:
    """One application, and regions that do at once what they are told unless in trouble."""

    def __init__(self) -> None:
        self.application = Application(HELLO, "hello", GroupNumber(1))
        self.now = Instant(1000.0)
        self.trouble: dict[RegionName, str] = {}
        self.views: dict[RegionName, RegionView] = {}

    def strike(self, region: RegionName, trouble: str) -> None:
        is_away = trouble == "away"
        if is_away != (self.trouble.get(region) == "away"):
            view = self.views.get(region, RegionView(True, None))
            self.views[region] = replace(view, is_connected=not is_away, since=self.now)
        self.trouble[region] = trouble

    def decide(self) -> Decision:
        decision = step(self.application, self.views, self.now, TENURE)
        self.application = decision.application
        return decision

    def settle(self) -> Decision:
        """Until nothing moves any more at this instant."""
        for _ in range(STILL_MAX):
            before = self.application, dict(self.views)
            for region, state in self.application.desired:
                trouble = self.trouble.get(region, "")
                view = self.views.setdefault(region, RegionView(True, None))
                if trouble not in ("deaf", "away"):
                    groups = tuple(
                        self._report(each.name, each.count, each.weight_bp, trouble) for each in state.groups
                    )
                    report = ApplicationReport(state.application, state.epoch, groups)
                    self.views[region] = replace(view, report=report)
            decision = self.decide()
            if (self.application, self.views) == before:
                return decision
        raise AssertionError("it never stands still")

    def _report(self, name: GroupName, count: int, weight_bp: int, trouble: str) -> GroupReport:
        rollout = self.application.rollout
        target = self.application.group(rollout.target) if rollout is not None else None
        is_target = target is not None and name == target.name
        ill = {"ill": count, "half": -(-count // 2), "one": 1, "both half": -(-count // 2)}
        of_old = {"old half": -(-count // 2), "both half": -(-count // 2)}
        healthy = max(0, count - (ill if is_target else of_old).get(trouble, 0))
        return GroupReport(
            name, verified=healthy, unhealthy=count - healthy, balancer_up=healthy, weight_bp=weight_bp
        )

    def release(self, order: ReleaseOrder) -> None:
        self.application, _ = request_release(self.application, order, False, self.now)

    def finish(self) -> None:
        """Until the rollout has ended, where nothing holds it up."""
        while self.application.running is not None:
            self.settle()
            self.now = Instant(self.now + 30)


def begun(waves: tuple[Wave, ...], way: tuple[Step, ...], policy: Policy, kind: str, old: int) -> World:
    """A world in which a first release, a later one (`old` of its regions served before) or a rollback has
    begun."""
    world, regions = World(), sorted(region for wave in waves for region in wave.regions)
    sizes = tuple((region, SIZE) for region in regions)
    quick = presets.blue_green(PACE, 5.0)
    world.views = {region: RegionView(True, None) for region in regions}
    if kind != "first":
        world.release(an_order("a", sizes=sizes[:old], steps=quick, policy=Policy()))
        world.finish()
    if kind == "rollback":
        world.release(an_order("b", sizes=sizes, steps=quick, policy=policy))
        world.finish()
        try:
            world.application, _ = request_rollback(
                world.application, world.views, "ann", "", True, world.now
            )
        except Refused:
            event("nothing to roll back to")
        return world
    world.release(an_order("c", sizes=sizes, steps=way, policy=policy, waves=waves))
    return world
