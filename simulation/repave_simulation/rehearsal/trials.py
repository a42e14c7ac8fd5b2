"""One run of a rehearsal and what is measured in it; many of them on all cores."""

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from repave_controller.core.domain.rollout import Rollout
from repave_controller.wording.render import text_of
from repave_protos.protocol.values import FULL_WEIGHT_BP, RegionName
from repave_simulation.kernel.chance import Chance
from repave_simulation.rehearsal.sampling import Sample, Samples, Span, within
from repave_simulation.scenarios.faults import IMAGES, Fault
from repave_simulation.scenarios.scenario import RATES, Command, Scenario, Strike
from repave_simulation.scenarios.staging import BEGINS_SECONDS, NEW, OLD, SETTLED_SECONDS, Stage, scenario_of
from repave_simulation.tiers.cores import TierOne
from repave_simulation.tiers.processes import TierTwo
from repave_simulation.world.world import World

ALONE_MAX = 12
"""So few trials are run here; more on all cores."""
SWARM_STRIKES_MAX = 3
RESTS = ("at rest", "before")


@dataclass(frozen=True, slots=True)
class Trial:
    """One run to be made, `seconds` long. `step` and `group` say for people where it strikes; all instants
    are those of the run."""

    seconds: float
    fault: str = ""
    step: str = ""
    group: str = ""
    region: RegionName | None = None
    at: float = 0.0
    rollback_at: float | None = None
    swarm: int | None = None  # a seed: a random mixture of faults
    tier: int = 1


@dataclass(frozen=True, slots=True)
class Capacity:
    """Of one region, from the beginning of the user's release on. Percent is of `size`."""

    region: RegionName
    size: int
    floor: int
    lowest: int  # hosts that answered
    lowest_percent: float
    below_floor_seconds: float
    peak: int
    peak_hosts: int  # in all, the old group's too
    peak_hosts_percent: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a trial. Instants count from when the release was asked for; the samples' too."""

    ended: str  # a phase, "refused", or "" for a release that never ended
    reason: str
    seconds: float  # until it ended
    asked_at: float  # in the run's own time
    steps: tuple[Span, ...]
    regions: tuple[Capacity, ...]
    samples: tuple[Sample, ...]
    rollback: "Rollback | None"
    broken: str

    @property
    def lowest_percent(self) -> float:
        return min(each.lowest_percent for each in self.regions)

    @property
    def below_floor_seconds(self) -> float:
        return max(each.below_floor_seconds for each in self.regions)


@dataclass(frozen=True, slots=True)
class Rollback:
    """What came of asking to go back. None: it never got there."""

    is_refused: bool
    why: str
    traffic_seconds: float | None  # until all traffic was with the old group, in every region
    settled_seconds: float | None  # until nothing was left to do


def scenario_for(stage: Stage, trial: Trial) -> Scenario:
    """The world of a trial."""
    if trial.swarm is not None:
        return _swarm(stage, trial)
    commands: tuple[Command, ...] = ()
    if trial.rollback_at is not None:
        commands = (Command(trial.rollback_at, "rollback", stage.spec.application, "back"),)
    if trial.fault in IMAGES:
        return scenario_of(stage, trial.seconds, image=IMAGES[trial.fault], commands=commands)
    strikes: tuple[Strike, ...] = ()
    if trial.fault and trial.region is not None:
        digest = {"old": OLD, "new": NEW}.get(trial.group)
        strikes = (
            Strike(0, trial.at, trial.fault, trial.region, stage.outage_seconds, digest=digest),
        )  # fmt: skip
    return scenario_of(stage, trial.seconds, strikes=strikes, commands=commands)


def _swarm(stage: Stage, trial: Trial) -> Scenario:
    """A few faults at random moments of the release, and effects that fail, are slow or not answered."""
    chance = Chance(f"{trial.swarm}/rehearsal")
    kinds = [name for name in trial.fault.split(",") if name and not Fault(name).is_of_image]
    strikes = [
        Strike(
            number,
            trial.at + chance.between(0.0, trial.seconds - trial.at, number, "at") * 0.7,
            chance.one_of(kinds, number, "kind"),
            chance.one_of(stage.regions, number, "region"),
            chance.one_of((2.0, 8.0, stage.outage_seconds), number, "seconds"),
        )
        for number in range(chance.number(1, SWARM_STRIKES_MAX, "strikes") if kinds else 0)
    ]
    rates = {
        trouble: chance.one_of(known, "rate", trouble)
        for trouble, known in RATES.items()
        if chance.happens(0.35, "swarm", trouble)
    }
    strikes.sort(key=lambda each: each.at)
    return scenario_of(
        stage,
        trial.seconds,
        seed=trial.swarm or 0,
        strikes=tuple(strikes),
        rates=rates,
        rates_from=trial.at,
    )


# -------------------------------------------------------------------------------------------- measuring


def rehearse(stage: Stage, trial: Trial) -> Outcome:
    """Makes the run and measures it."""
    scenario = scenario_for(stage, trial)
    engine = TierOne(scenario) if trial.tier == 1 else TierTwo(scenario)
    samples = Samples(engine.world, NEW)
    engine.world.on_change, engine.world.on_step = samples.changed, samples.entered
    world = engine.run()
    asked_at = _asked_at(stage, samples)
    ended_at = next(
        (at for at, step in samples.steps if at > asked_at + 0.0001 and step in RESTS), None
    )  # fmt: skip
    rollout = _rollout(world, "new")
    until = min(trial.seconds, world.now)
    end = ended_at if ended_at is not None else until
    spans = tuple(
        Span(each.step, each.begins - asked_at, each.ends - asked_at)
        for each in samples.spans(asked_at, max(end, asked_at + 0.001))
    )
    return Outcome(
        ended=_how(world, rollout),
        reason=text_of(rollout.undo_reason) if rollout is not None else "",
        seconds=end - asked_at,
        asked_at=asked_at,
        steps=spans,
        regions=tuple(_capacity(stage, region, samples, asked_at, until) for region in stage.regions),
        samples=_shifted(samples, asked_at, until),
        rollback=None if trial.rollback_at is None else _rollback(world, samples, trial.rollback_at),
        broken=str(world.story.broken) if world.story.broken is not None else "",
    )


def _asked_at(stage: Stage, samples: Samples) -> float:
    if not stage.has_old:
        return BEGINS_SECONDS
    rested = next((at for at, step in samples.steps if step == "at rest"), 0.0)
    return rested + SETTLED_SECONDS


def _rollout(world: World, by: str) -> Rollout | None:
    return next((each for each in world.ledger.ended.values() if each.started_by == by), None)


def _how(world: World, rollout: Rollout | None) -> str:
    if rollout is not None:
        return str(rollout.phase)
    is_begun = "new" in world.ledger.rollouts.values()
    return "" if is_begun else "refused"


def _capacity(stage: Stage, region: RegionName, samples: Samples, begins: float, until: float) -> Capacity:
    """A region in which no group serves yet has no lowest capacity."""
    known = within(samples.of[region], begins, until)
    first = next((index for index, (each, _) in enumerate(known) if each.routed_bp), len(known))
    served = known[first:] if not stage.has_old else known
    size, floor = stage.size(region), stage.floor(region)
    lowest = min((each.answering for each, _ in served), default=0)
    peak_hosts = max((each.old + each.new for each, _ in known), default=0)
    return Capacity(
        region,
        size,
        floor,
        lowest,
        100.0 * lowest / size,
        sum(seconds for each, seconds in served if each.answering < floor),
        max((each.answering for each, _ in served), default=0),
        peak_hosts,
        100.0 * peak_hosts / size,
    )


def _shifted(samples: Samples, begins: float, until: float) -> tuple[Sample, ...]:
    return tuple(
        replace(each, at=max(each.at, begins) - begins)
        for known in samples.of.values()
        for each, _ in within(known, begins, until)
    )


def _rollback(world: World, samples: Samples, asked_at: float) -> Rollback:
    refused = next((line for line in world.story.lines if "people: back is refused" in line), "")
    if refused:
        return Rollback(True, refused.partition("is refused: ")[2], None, None)
    back = max(
        (_with_old_since(samples.of[region], asked_at, world.now) for region in samples.of), default=asked_at
    )
    rested = next((at for at, step in samples.steps if at > asked_at and step in RESTS), None)
    return Rollback(
        False,
        "",
        None if back == float("inf") else back - asked_at,
        None if rested is None else rested - asked_at,
    )


def _with_old_since(known: Sequence[Sample], asked_at: float, until: float) -> float:
    """The first instant from which no traffic is with the new group."""
    for sample, _ in within(known, asked_at, until):
        if sample.share_bp == 0 and sample.routed_bp in (0, FULL_WEIGHT_BP):
            return max(sample.at, asked_at)
    return float("inf")


# ------------------------------------------------------------------------------------------- many of them


def rehearse_all(stage: Stage, trials: Sequence[Trial]) -> Iterator[tuple[Trial, Outcome]]:
    """Each with its outcome, in order."""
    jobs = len(os.sched_getaffinity(0))
    if len(trials) <= ALONE_MAX or jobs == 1:
        for trial in trials:
            yield trial, rehearse(stage, trial)
        return
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        works = [(stage, trial) for trial in trials]
        yield from zip(trials, pool.imap(_rehearse, works), strict=True)


def _rehearse(work: tuple[Stage, Trial]) -> Outcome:
    return rehearse(*work)
