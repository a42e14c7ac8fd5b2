"""Analyses: which looks count, and what may pass. Reckons by what sources and judge have said, and by the
limits as users know them; knows nothing of the code that follows them.
"""

from dataclasses import dataclass, field

from repave_controller.core.analysis.values import Outcome
from repave_controller.core.domain.analyses import TOGETHER, Analysis, AnalysisPlan
from repave_controller.core.domain.application import Application
from repave_controller.core.domain.rollout import Phase, Rollout, RolloutKind, Track, TrackPhase
from repave_controller.core.steps import Analyse
from repave_protos.protocol.values import ApplicationName, RegionName
from repave_simulation.world.world import World

PROMISE = 11
ROUNDING_SECONDS = 0.05
FORWARD = (TrackPhase.RUNNING, TrackPhase.DONE)

Key = tuple[ApplicationName, int, str, RegionName]


@dataclass(slots=True)
class _Run:
    """The looks of one run that were counted, as they became durable."""

    number: int
    since: float  # of the world's clock: when it was decided that the last look counts, or the run begins
    said: list[Outcome] = field(default_factory=list)
    is_final: bool = False  # the last one would not change


@dataclass(slots=True)
class Analyses:
    """What was counted of the analyses of each rollout."""

    world: World
    runs: dict[Key, _Run] = field(default_factory=dict)

    def check(self, before: Application | None, after: Application) -> None:
        """`after` has just become durable in place of `before`."""
        rollout = after.rollout
        if rollout is None:
            return
        was = before.rollout if before is not None else None
        was = was if was is not None and was.number == rollout.number else None
        for analysis in rollout.analyses:
            self._count(after, rollout, was, analysis)
        for track in rollout.tracks:
            former = was.track(track.region) if was is not None else None
            if former is not None:
                self._check_move(after, rollout, former, track)
        if rollout.phase is Phase.SUCCEEDED and was is not None and was.phase is not rollout.phase:
            self._check_end(after, rollout)

    def _count(self, after: Application, rollout: Rollout, was: Rollout | None, analysis: Analysis) -> None:
        key: Key = (after.name, rollout.number, analysis.gate, analysis.region)
        known, decided_at = self.runs.get(key), self.world.decided_at[after.name]
        if known is None or known.number != analysis.run:
            known = self.runs[key] = _Run(analysis.run, decided_at)
        grown = analysis.looks - len(known.said)
        if grown not in (0, 1):
            self._broken(after.name, f"{analysis.gate}: {grown} looks are counted at once")
        if grown != 1:
            return
        found = self.world.ledger.found.get((*key, analysis.run, analysis.looks), [])
        if analysis.said[-1] not in found:
            self._broken(after.name, f"{analysis.gate}: {analysis.said[-1]} is counted, found was {found}")
        if was is not None and was.pause is not None and rollout.pause is not None:
            self._broken(after.name, f"{analysis.gate}: a look is counted in a pause")
        plan = _plan(rollout, analysis.gate)
        self._check_time(after.name, analysis, plan, known, decided_at - known.since)
        known.said.append(analysis.said[-1])
        known.since = decided_at
        known.is_final = analysis.last is not None and analysis.last.is_final

    def _check_time(
        self, name: ApplicationName, analysis: Analysis, plan: AnalysisPlan, run: _Run, passed: float
    ) -> None:
        """A disk that is slow takes nothing from the time between two looks."""
        least = plan.interval_seconds + (0.0 if run.said else plan.warm_up_seconds)
        if passed < least - ROUNDING_SECONDS:
            self._broken(name, f"{analysis.gate}: a look is counted after {passed:.2f} of {least:g} s")

    def _check_move(self, after: Application, rollout: Rollout, former: Track, track: Track) -> None:
        step = rollout.steps[former.cursor]
        is_over = track.phase is TrackPhase.DONE or track.cursor > former.cursor
        is_forward = former.phase is TrackPhase.RUNNING and track.phase in FORWARD and is_over
        if not isinstance(step, Analyse) or not is_forward or track.origin is None:
            return
        gate = f"step {former.wave + 1}.{former.cursor + 1}"
        if rollout.may_pass(gate, track.region):
            return
        runs = (
            self.runs.get((after.name, rollout.number, gate, where)) for where in (track.region, TOGETHER)
        )
        run = next((each for each in runs if each is not None), None)
        if run is None or not _may_go_on(step.plan, run):
            said = [str(each) for each in run.said] if run is not None else None
            self._broken(after.name, f"{track.region} passes {gate}, and the looks say: {said}")

    def _check_end(self, after: Application, rollout: Rollout) -> None:
        """What is worse comes back, where sources tell the truth and no person lets it pass."""
        scenario = self.world.scenario
        has_lies = scenario.rates.get("lies", 0.0) > 0 or "lies" in (scenario.fates or {}).values()
        if has_lies or rollout.kind is not RolloutKind.RELEASE:
            return
        for track in rollout.tracks:
            group = after.group(rollout.target_of(track))
            is_worse = group is not None and self.world.behaviour(group.digest).is_worse
            if not is_worse or track.origin is None or track.phase is not TrackPhase.DONE:
                continue
            for index, step in enumerate(rollout.steps):
                gate = f"step {track.wave + 1}.{index + 1}"
                is_let = rollout.may_pass(gate, track.region)
                if isinstance(step, Analyse) and step.plan.on_inconclusive != "pass" and not is_let:
                    self._broken(after.name, f"{track.region} keeps a version that is clearly worse")

    def _broken(self, name: ApplicationName, text: str) -> None:
        self.world.broken(PROMISE, f"{name}: {text}")


def _plan(rollout: Rollout, gate: str) -> AnalysisPlan:
    step = rollout.steps[int(gate.rpartition(".")[2]) - 1]
    assert isinstance(step, Analyse), "it is of an analysis"
    return step.plan


def _may_go_on(plan: AnalysisPlan, run: _Run) -> bool:
    """By the looks as they were counted. Errors are none."""
    judged = [each for each in run.said if each is not Outcome.ERROR]
    unsure = sum(each in (Outcome.MARGINAL, Outcome.INCONCLUSIVE) for each in judged)
    if not judged or judged.count(Outcome.FAIL) > plan.failure_limit:
        return False
    is_unsure = plan.inconclusive_limit is not None and unsure > plan.inconclusive_limit
    is_over = is_unsure or len(judged) >= plan.count
    if plan.on_inconclusive == "pass" and is_over and judged[-1] is Outcome.INCONCLUSIVE:
        return True
    if is_unsure or Outcome.PASS not in judged:
        return False
    if judged[-1] is Outcome.PASS and run.is_final and plan.may_end_early:
        return True
    if len(judged) < plan.count:
        return False
    is_unsure_last = judged[-1] in (Outcome.MARGINAL, Outcome.INCONCLUSIVE)
    return not is_unsure_last or plan.inconclusive_limit is not None
