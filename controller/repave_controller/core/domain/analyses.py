"""What an analysis is to a rollout: its plan, as a step has it, and what its looks have said so far.

Only what decides is here. The samples, and what was found in each metric, are kept beside it.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol, TypeVar

from repave_controller.core.analysis.values import JudgeConfig, Judgement, Metric, Outcome
from repave_controller.core.domain.instants import Instant
from repave_controller.core.domain.reasons import Reason, Why, reason_of
from repave_controller.core.domain.sequences import ByKey
from repave_protos.protocol.copies import replace
from repave_protos.protocol.values import RegionName

TOGETHER = RegionName("")
"""In the place of a region: those of a wave are judged together."""
SAID_MAX = 20
"""Outcomes of the last looks that are kept with the rollout."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A metric, and where its numbers come from. `query`: of the values, or the events; `total`: of the
    trials, where events are counted out of something."""

    metric: Metric
    source: str
    query: str
    total: str = ""
    options: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class AnalysisPlan:
    """How the new group is compared with the old one. Look 1 is made one interval after the warm-up."""

    judge: JudgeConfig
    readings: tuple[Reading, ...]
    interval_seconds: float
    count: int  # looks that have to be judged; an error is none
    warm_up_seconds: float = 0.0
    look_back_seconds: float = 0.0  # that a look sees; 0: all since the warm-up
    failure_limit: int = 0  # so many looks may fail
    inconclusive_limit: int | None = None  # so many may be inconclusive; None: only the last may not
    error_limit: int = 4  # so many in a row may be errors
    source_deadline_seconds: float = 600.0  # without a look that could be judged, it is held
    on_inconclusive: Literal["hold", "rollback", "pass"] = "hold"
    may_end_early: bool = False  # once it is clearly good
    scope: Literal["", "wave", "region"] = ""  # "": the wave in lock-step, else each region for itself
    baseline: Literal["current", "fresh"] = "current"
    expected_rate: float = 0.0  # requests a second of the application, all regions; 0: not known

    @property
    def seconds(self) -> float:
        """How long it takes if nothing comes between and nothing ends it early."""
        return self.warm_up_seconds + self.count * self.interval_seconds


class Ending(StrEnum):
    """How an analysis came out."""

    PASSED = "passed"
    FAILED = "failed"
    UNDECIDED = "undecided"  # marginal or inconclusive: what then happens is the spec's to say
    UNJUDGED = "unjudged"  # its sources failed too often: a person decides


@dataclass(frozen=True, slots=True)
class Finding:
    """What a look came to. `is_final`: more looks would not change it."""

    outcome: Outcome
    score: float | None = None
    is_final: bool = False
    reason: Reason | None = None  # what decided

    @classmethod
    def of(cls, judgement: Judgement) -> "Finding":
        return cls(judgement.outcome, judgement.score, judgement.is_final, _decisive(judgement))

    @classmethod
    def error(cls, source: str, trouble: str) -> "Finding":
        """No judgement could be made: the numbers could not be read, or the judge failed."""
        return cls(Outcome.ERROR, reason=reason_of(Why.SOURCE_FAILED, source=source, trouble=trouble))


def _decisive(judgement: Judgement) -> Reason | None:
    """The numbers of the metric that decided first; None where all are well."""
    named = judgement.decisive[:1]
    verdict = next((each for each in judgement.verdicts if each.metric in named), None)
    if verdict is None:
        return None
    return reason_of(
        Why.METRIC,
        metric=verdict.metric,
        verdict=str(verdict.verdict),
        rule=str(verdict.rule),
        mean=verdict.canary.mean,
        base=verdict.baseline.mean,
        events=verdict.canary.events,
        trials=verdict.canary.trials,
        base_events=verdict.baseline.events,
        base_trials=verdict.baseline.trials,
        samples=verdict.canary.samples,
        base_samples=verdict.baseline.samples,
        needed=verdict.needed,
        trouble=verdict.trouble,
        others=len(judgement.decisive) - 1,
    )


@dataclass(frozen=True, slots=True)
class Analysis:
    """The looks at one step of a wave (`gate`), at all its regions together or at one of them."""

    gate: str  # "step 1.3"
    region: RegionName = TOGETHER
    run: int = 1  # the next one begins when the step is entered again, or tried again
    begun_at: Instant = Instant(0)  # when its regions came to the step; tells runs apart
    moved_at: Instant = Instant(0)  # when they came to the step with the share that they have in it
    looks: int = 0  # made in this run, errors too
    judged: int = 0  # of these, without errors
    passed: int = 0
    failed: int = 0
    inconclusive: int = 0  # or marginal
    errors: int = 0  # in a row, the last ones
    looked_after_seconds: float = 0.0  # from the step's beginning, as far as it was seen; of the last look
    judged_after_seconds: float = 0.0  # the same of the last one without an error
    said: tuple[Outcome, ...] = ()  # by the last looks
    last: Finding | None = None
    ending: Ending | None = None

    @property
    def is_suspected(self) -> bool:
        """Its last look has seen something that looks bad, and may be chance: a person has to say."""
        return self.last is not None and self.last.outcome is Outcome.MARGINAL

    def with_finding(self, plan: AnalysisPlan, finding: Finding, after_seconds: float) -> "Analysis":
        """After one more look."""
        outcome, is_error = finding.outcome, finding.outcome is Outcome.ERROR
        looked = replace(
            self,
            looks=self.looks + 1,
            judged=self.judged + (not is_error),
            passed=self.passed + (outcome is Outcome.PASS),
            failed=self.failed + (outcome is Outcome.FAIL),
            inconclusive=self.inconclusive + (outcome in (Outcome.MARGINAL, Outcome.INCONCLUSIVE)),
            errors=self.errors + 1 if is_error else 0,
            looked_after_seconds=after_seconds,
            judged_after_seconds=self.judged_after_seconds if is_error else after_seconds,
            said=(*self.said, outcome)[-SAID_MAX:],
            last=finding,
        )
        return replace(looked, ending=_ending(looked, plan, finding))


class Gated(Protocol):
    """A value that knows its gate and its region."""

    @property
    def gate(self) -> str: ...

    @property
    def region(self) -> RegionName: ...


Entry = TypeVar("Entry", bound=Gated)


class ByGate(ByKey[tuple[str, RegionName], Entry]):
    """One analysis at most for each region at each gate, or for all regions together."""

    __slots__ = ()

    @staticmethod
    def key_of(entry: Gated) -> tuple[str, RegionName]:
        return entry.gate, entry.region


def _ending(analysis: Analysis, plan: AnalysisPlan, finding: Finding) -> Ending | None:
    """None: more looks follow. An error decides nothing but that no one can judge."""
    outcome = finding.outcome
    if outcome is Outcome.ERROR:
        return Ending.UNJUDGED if analysis.errors > plan.error_limit else None
    if analysis.failed > plan.failure_limit:
        return Ending.FAILED
    is_limited = plan.inconclusive_limit is not None
    if plan.inconclusive_limit is not None and analysis.inconclusive > plan.inconclusive_limit:
        return Ending.UNDECIDED
    if outcome is Outcome.PASS and (
        analysis.judged >= plan.count or (finding.is_final and plan.may_end_early)
    ):
        return Ending.PASSED
    if analysis.judged < plan.count:
        return None
    if outcome is Outcome.FAIL:
        return Ending.PASSED if analysis.passed else Ending.FAILED
    return Ending.PASSED if is_limited and analysis.passed else Ending.UNDECIDED
