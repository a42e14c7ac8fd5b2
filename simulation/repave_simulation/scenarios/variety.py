"""How the releases of a seed go, and what people ask of them on their way: strategies, waves, policies, and
the verbs that steer a rollout. Half of the releases are plain blue/green."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Literal, TypeVar

from repave_controller.core.analysis.values import Direction, JudgeConfig, Metric, MetricKind
from repave_controller.core.commands.promotion import Object, Override, Promote
from repave_controller.core.commands.rollback import Rollback
from repave_controller.core.commands.steering import (
    Abort,
    Pause,
    Resize,
    Resume,
    Retry,
    StepBack,
)
from repave_controller.core.commands.verb import Verb
from repave_controller.core.domain.analyses import AnalysisPlan, Reading
from repave_controller.core.domain.application import Policy, ReleaseOrder
from repave_controller.core.domain.jobs import Job, Jobs
from repave_controller.core.domain.rollout import Step, Wave
from repave_controller.core.steps import Approve, Soak
from repave_controller.core.strategies import presets
from repave_controller.core.strategies.checks import objection
from repave_controller.core.strategies.presets import Stage, pace_of
from repave_protos.protocol.fronts import TrafficFront
from repave_protos.protocol.values import BY_REQUEST, RegionName
from repave_simulation.kernel.chance import Chance

VARIED = 0.5
"""Share of the releases that are more than blue/green."""
ANALYSED = 0.3
FRONTED = 0.35
"""Of the applications."""
JOBS = 0.4
HALF_BP, FULL_BP = 5_000, 10_000
Gated = TypeVar("Gated", Step, Wave)
ON_INCONCLUSIVE: tuple[Literal["hold", "rollback", "pass"], ...] = ("hold", "hold", "rollback", "pass")
SCOPES: tuple[Literal["", "region"], ...] = ("", "region")


def varied(chance: Chance, names: tuple[object, ...], order: ReleaseOrder) -> ReleaseOrder:
    """The order with another strategy, waves and rules; or as it is."""
    if not chance.happens(VARIED, *names, "varied"):
        return order
    regions = tuple(region for region, _ in order.sizes)
    steps, policy = _steps(chance, names, order), _policy(chance, names, order.policy)
    if objection(steps, policy, order.sizes) is not None:  # as a spec it would be refused
        steps = order.steps
    waves = _waves(chance, names, regions)
    if chance.happens(0.6, *names, "open gates"):  # they open by themselves unless a person objects
        seconds = chance.one_of((5.0, 40.0), *names, "objections")
        steps = tuple(_opening(each, seconds) for each in steps)
        waves = tuple(_opening(each, seconds) for each in waves)
    return replace(order, steps=steps, waves=waves, policy=policy)


def with_jobs(
    chance: Chance, names: tuple[object, ...], order: ReleaseOrder, *, is_good: bool
) -> ReleaseOrder:
    """The order with jobs, whose words say what they do; or as it is. Those before a good version succeed."""
    if not chance.happens(JOBS, *names, "jobs"):
        return order
    good, bad = ("succeeds", "succeeds", "fails-once"), ("succeeds", "fails", "hangs")
    before = (
        _job(chance, (*names, "before"), good if is_good else bad)
        if chance.happens(0.8, *names, "before")
        else ()
    )
    ends = ("succeeds", "succeeds", "fails-once", "fails", "hangs")
    after = _job(chance, (*names, "after"), ends) if chance.happens(0.4, *names, "after") else ()
    back = _job(chance, (*names, "back"), ends) if chance.happens(0.5, *names, "back") else ()
    return replace(order, jobs=Jobs(before, after, back))


def _job(chance: Chance, names: tuple[object, ...], ends: tuple[str, ...]) -> tuple[Job, ...]:
    how, seconds = chance.one_of(ends, *names, "how"), chance.one_of((0.2, 2.0, 8.0, 15.0), *names, "seconds")
    retries = 1 if how == "fails-once" else chance.number(0, 2, *names, "retries")
    return (Job(str(names[-1]), ("./job", how, str(seconds)), timeout_seconds=20.0, retries=retries),)


def fronted(chance: Chance, names: tuple[object, ...], port: int) -> tuple[TrafficFront, ...]:
    """Those of a release, which adds some and leaves out others; of most applications the plain one. `names`
    begin with the application's."""
    if not chance.happens(FRONTED, names[0], "fronted") or chance.happens(0.15, *names, "plain"):
        return ()
    further = (TrafficFront("admin", port + 1_000), TrafficFront("chat", port + 2_000, "tcp"))
    kept = (each for each in further if chance.happens(0.6, *names, "front", each.name))
    return TrafficFront("web", port), *kept


def judged(chance: Chance, names: tuple[object, ...], order: ReleaseOrder) -> ReleaseOrder:
    """The order by a canary, or all at once, with an analysis at each share of the traffic."""
    plan, pace = _analysis(chance, names), pace_of(order.template)
    analyse = presets.analyse(plan)
    is_fresh = chance.happens(0.5, *names, "fresh baseline")
    first = presets.analyse(replace(plan, baseline="fresh" if is_fresh else "current"))
    shares = (presets.weight(2_500), first) if chance.happens(0.7, *names, "canary") else ()
    steps = presets.with_baselines(
        pace, (*presets.up(pace, 100.0), *shares, presets.weight(FULL_BP), analyse)
    )
    policy = replace(order.policy, scope="release", failures_max=0)  # all regions fail at once
    return replace(order, steps=steps, policy=policy)


def _analysis(chance: Chance, names: tuple[object, ...]) -> AnalysisPlan:
    """Of the errors that the balancer counts, with limits such as people choose."""
    metric = Metric("errors", MetricKind.RATE, Direction.INCREASE, is_critical=True, must_have_data=True)
    return AnalysisPlan(
        judge=JudgeConfig(),
        readings=(Reading(metric, "balancer", "errors"),),
        interval_seconds=chance.one_of((1.0, 4.0), *names, "look every"),
        count=chance.number(1, 3, *names, "looks"),
        warm_up_seconds=chance.one_of((0.0, 0.0, 2.0), *names, "warm-up"),
        failure_limit=chance.one_of((0, 0, 1), *names, "failure limit"),
        inconclusive_limit=chance.one_of((None, None, 1), *names, "inconclusive limit"),
        error_limit=chance.one_of((0, 2), *names, "error limit"),
        source_deadline_seconds=chance.one_of((10.0, 40.0), *names, "source deadline"),
        on_inconclusive=ON_INCONCLUSIVE[chance.number(0, 3, *names, "on inconclusive")],
        may_end_early=chance.happens(0.5, *names, "ends early"),
        scope=SCOPES[chance.number(0, 1, *names, "judged by")],
    )


def analysed(chance: Chance, names: tuple[object, ...], order: ReleaseOrder) -> ReleaseOrder:
    """The order with analyses in the place of its soaks, some with fresh baselines; or as it is."""
    if not chance.happens(ANALYSED, *names, "analysed"):
        return order
    plan, is_fresh = _analysis(chance, names), chance.happens(0.5, *names, "fresh baselines")
    steps = presets.with_baselines(pace_of(order.template), tuple(_compared(order.steps, plan, is_fresh)))
    return order if objection(steps, order.policy, order.sizes) else replace(order, steps=steps)


def at_work(chance: Chance, names: tuple[object, ...], order: ReleaseOrder) -> ReleaseOrder:
    """The order as that of a worker: all at once, or hosts in shares."""
    pace, seconds = pace_of(order.template), chance.one_of((1.0, 10.0), *names, "watched")
    whole = presets.blue_green(pace, seconds)
    shares = [Stage(HALF_BP, seconds), Stage(FULL_BP)]
    in_shares = presets.rolling(pace, shares, is_old_first=chance.happens(0.3, *names, "old first"))
    steps = presets.for_worker(pace, chance.one_of((whole, in_shares), *names, "strategy at work"))
    if objection(steps, order.policy, order.sizes) is not None:
        steps = presets.for_worker(pace, whole)
    probe = replace(order.template.probe, port=0)
    return replace(
        order,
        frontend_port=0,
        split=BY_REQUEST,
        template=replace(order.template, probe=probe, is_worker=True, fronts=()),
        steps=steps,
        policy=replace(order.policy, keep_groups=0, retain=0, keep_failed_seconds=0.0, protects=False),
    )


def _compared(steps: Iterable[Step], plan: AnalysisPlan, is_fresh: bool) -> Iterator[Step]:
    """A fresh baseline has as much of the traffic as the new group, so both have less than half of it."""
    share = 0
    for each in steps:
        share = share if each.share_bp is None else each.share_bp
        if isinstance(each, Soak):
            fresh = is_fresh and 0 < share < FULL_BP / 2
            yield presets.analyse(replace(plan, baseline="fresh" if fresh else "current"))
        else:
            yield each


def _opening(gated: Gated, seconds: float) -> Gated:
    """A step or a wave that needs no approval after so long; others are as they were."""
    is_gate = isinstance(gated, Approve) or (isinstance(gated, Wave) and gated.approve is not None)
    return replace(gated, unless_objected_seconds=seconds) if is_gate else gated  # type: ignore[type-var]


def _steps(chance: Chance, names: tuple[object, ...], order: ReleaseOrder) -> tuple[Step, ...]:
    pace = pace_of(order.template)
    hold = chance.one_of((0.0, 2.0, 8.0), *names, "hold")
    gate = "" if chance.happens(0.2, *names, "gate") else None
    stages = [Stage(chance.one_of((100, 2_500, HALF_BP), *names, "share"), hold, gate), Stage(FULL_BP, hold)]
    halves = [Stage(HALF_BP, hold, gate), Stage(FULL_BP, hold)]
    match chance.one_of(("canary", "canary", "rolling", "old-first", "phased", "highlander", "gate"), *names):
        case "canary":
            return presets.canary(pace, stages, chance.one_of((0.0, 20.0), *names, "headroom"))
        case "rolling":
            return presets.rolling(pace, stages, is_old_first=False)
        case "old-first":
            return presets.rolling(pace, halves, is_old_first=True)
        case "phased":
            return presets.phased(pace, stages)
        case "highlander":
            return presets.highlander(pace, hold)
        case _:
            return presets.blue_green(pace, hold, approve="")


def _waves(chance: Chance, names: tuple[object, ...], regions: tuple[RegionName, ...]) -> tuple[Wave, ...]:
    bake = chance.one_of((0.0, 5.0, 20.0), *names, "bake")
    match chance.one_of(("one", "one", "two", "by-one"), *names, "waves"):
        case "two" if len(regions) > 1:
            gate = "" if chance.happens(0.2, *names, "wave gate") else None
            return Wave(regions[:1], 0, bake), Wave(regions[1:], 0, bake, gate)
        case "by-one":
            return (Wave(regions, 1, bake, is_lockstep=False),)
        case _:
            return (Wave(regions, 0, bake),)


def _policy(chance: Chance, names: tuple[object, ...], policy: Policy) -> Policy:
    causes = ("analysis", "deadline", "health")
    return replace(
        policy,
        keep_percent=chance.one_of((100.0, 100.0, 50.0), *names, "keep percent"),
        min_capacity_percent=50.0,
        goes_back_on=chance.one_of((causes, causes, ()), *names, "goes back on"),
        scope=chance.one_of(("release", "wave", "region"), *names, "scope"),
        failures_max=chance.one_of((0, 0, 1), *names, "failures"),
        unreachable=chance.one_of(("fail", "wait", "skip", "skip"), *names, "unreachable"),
    )


def steered(chance: Chance, names: tuple[object, ...], regions: tuple[RegionName, ...]) -> Verb:
    """Something that a person asks of a rollout on its way, whether it fits or not."""
    region = chance.one_of(regions, *names, "where")
    options: tuple[Verb, ...] = (
        Pause(),
        Resume(),
        Retry(),
        StepBack(),
        Promote(skips=True),
        Promote(is_full=True),
        Abort(region),
        Rollback(regions=(region,)),
        Rollback(at_once=True),
        Resize(((region, chance.number(1, 5, *names, "hosts")),)),
        Rollback(to=chance.one_of(("1", "2", "3"), *names, "version")),
        Override("capacity"),  # refused: it takes a reason
    )
    return chance.one_of(options, *names, "steered")


def met_by(chance: Chance, names: tuple[object, ...], regions: tuple[RegionName, ...]) -> tuple[Verb, str]:
    """Something that a person asks while a release is in a step, and that step."""
    region = chance.one_of(regions, *names, "met where")
    options: tuple[Verb, ...] = (
        Pause(),
        Pause(),
        StepBack(),
        Promote(skips=True),
        Promote(is_full=True),
        Abort(region),
        Abort(),
        Resize(((region, chance.number(1, 5, *names, "met hosts")),)),
    )
    step = chance.one_of(("scale", "verify", "weight", "soak", "soak", "retire"), *names, "met step")
    if chance.happens(0.2, *names, "met analysis"):
        step = "analyse"
    if chance.happens(0.3, *names, "objects"):
        return Object(), chance.one_of(("approve", "approve", "soak"), *names, "objected step")
    return chance.one_of(options, *names, "met"), step
