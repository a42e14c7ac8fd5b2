"""A rehearsal of a user's release: the calm run, going back at each step, each fault at each step, swarms of
faults, and which settings would help. `rehearse_release` makes it; `repave simulate` shows it."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import structlog

from repave_simulation.rehearsal.advice import Advice, Adviser
from repave_simulation.rehearsal.trials import Outcome, Rollback, Trial, rehearse, rehearse_all
from repave_simulation.scenarios.faults import Fault
from repave_simulation.scenarios.staging import (
    AFTER_SECONDS,
    SLACK_SECONDS,
    Stage,
    deadline_of,
    order_of,
    patience_of,
)

AFTER = "after"
"""Where a trial is that begins when the release has ended."""
PROBES_OF_TIER_TWO_MAX = 12_000
"""More of them in one run take too long in the second tier."""
ROLLBACK_WATCHED_SECONDS = 30.0
SAVED = ("succeeded", "rolled-back")

Told = Callable[[str, int, int], None]
"""What is being done, how many of it are done, and how many there are."""


@dataclass(frozen=True, slots=True)
class Back:
    """Going back, asked for at one step. `fault` is what had happened a moment before; to be refused then is
    no mistake: a person may overrule it."""

    step: str
    asked_at: float
    fault: str
    rollback: Rollback
    is_fine: bool
    broken: str


@dataclass(frozen=True, slots=True)
class Struck:
    """What one fault did at one step. `verdict`: "came-through", "went-back" (rolled back, no request lost),
    or what is wrong: "fell-below" (the floor, by more than the fault took itself), "not-seen" (a bad image
    serves), "held", "never-ended", "promise-broken"."""

    fault: str
    text: str
    step: str
    group: str
    region: str
    at: float
    ended: str
    reason: str
    seconds: float
    lowest_percent: float
    below_floor_seconds: float
    verdict: str
    broken: str

    @property
    def is_fine(self) -> bool:
        return self.verdict in ("came-through", "went-back")

    @property
    def name(self) -> str:
        whose = f" ({self.group})" if self.group else ""
        return f"{self.fault}{whose} at {self.step}" if self.step else f"{self.fault}{whose}"


@dataclass(frozen=True, slots=True)
class Swarms:
    """Random mixtures of faults. `broken` are promises, by seed."""

    seeds: int
    ended: dict[str, int]
    lowest_percent: float | None
    slowest_seconds: float
    broken: dict[int, str]


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """All of it. `unhelped` went wrong, or back, and no setting was found that would have helped."""

    calm: Outcome
    is_calm_fine: bool
    is_whole_code: bool  # the second tier: also scheduler, sessions, worker and prober
    backs: tuple[Back, ...]
    struck: tuple[Struck, ...]
    swarms: Swarms
    advice: tuple[Advice, ...]
    unhelped: tuple[str, ...]

    @property
    def broken(self) -> tuple[str, ...]:
        """Broken promises: mistakes of repave."""
        found = [self.calm.broken, *(each.broken for each in self.backs)]
        found += [each.broken for each in self.struck]
        return tuple(each for each in (*found, *self.swarms.broken.values()) if each)

    @property
    def is_fine(self) -> bool:
        return (
            self.is_calm_fine
            and not self.broken
            and all(each.is_fine for each in self.backs)
            and all(each.is_fine for each in self.struck)
            and not set(self.swarms.ended) & {"held", ""}
        )


def rehearse_release(stage: Stage, faults: Sequence[str], seeds: int, tell: Told) -> Rehearsal:
    """Makes every run. Each is as it would be again: chance depends on names only."""
    known = structlog.get_config()
    try:
        return _Rehearsing(stage, tuple(faults), seeds, tell).run()
    finally:
        structlog.configure(**known)


class _Rehearsing:
    def __init__(self, stage: Stage, faults: tuple[str, ...], seeds: int, tell: Told) -> None:
        self._stage, self._faults, self._seeds, self._tell = stage, faults, seeds, tell
        self._adviser = Adviser(stage, is_good, {})
        self._unhelped: list[str] = []

    def run(self) -> Rehearsal:
        stage = self._stage
        quick = Trial(patience_of(order_of(stage)) + SLACK_SECONDS)
        self._tell("the calm run", 0, 1)
        calm = rehearse(stage, quick)
        is_whole = self._is_whole_code(calm)
        is_fine = is_good(stage, quick, calm)
        if not is_fine:
            self._help(quick, calm, "the release when nothing goes wrong")
            return self._result(calm, is_fine, is_whole=False)
        whole = calm
        if is_whole:
            whole = rehearse(
                stage, replace(quick, seconds=calm.asked_at + calm.seconds + AFTER_SECONDS, tier=2)
            )
        backs = self._backs(whole, 2 if is_whole else 1)  # each tier has moments of its own
        struck = self._struck(calm)
        swarms = self._swarms(calm)
        return self._result(whole, is_good(stage, quick, whole), is_whole, backs, struck, swarms)

    def _result(
        self,
        calm: Outcome,
        is_calm_fine: bool,
        is_whole: bool,
        backs: tuple[Back, ...] = (),
        struck: tuple[Struck, ...] = (),
        swarms: Swarms | None = None,
    ) -> Rehearsal:
        return Rehearsal(
            calm,
            is_calm_fine,
            is_whole,
            backs,
            struck,
            swarms or Swarms(0, {}, None, 0.0, {}),
            self._adviser.advice(),
            tuple(self._unhelped),
        )

    def _is_whole_code(self, calm: Outcome) -> bool:
        order = order_of(self._stage)
        hosts = sum(size for _, size in (*self._stage.sizes, *self._stage.old_sizes))
        return (
            hosts * (calm.asked_at + calm.seconds) / order.template.probe.interval_seconds
            < PROBES_OF_TIER_TWO_MAX
        )

    def _help(self, trial: Trial, outcome: Outcome, name: str) -> None:
        self._tell("looking for settings that help", self._adviser.runs, 0)
        if not self._adviser.help(trial, outcome, name):
            self._unhelped.append(name)

    # ------------------------------------------------------------------------------------- going back

    def _backs(self, calm: Outcome, tier: int) -> tuple[Back, ...]:
        if not self._stage.has_old:
            return ()
        trials = []
        for step, at in _moments(calm):
            when = calm.asked_at + at
            trials.append(
                Trial(when + ROLLBACK_WATCHED_SECONDS, step=step, rollback_at=when, tier=tier)
            )  # fmt: skip
        if "host-dies" in self._faults:
            trials.append(self._back_to_less(trials[-1]))
        backs = []
        for trial, outcome in self._made("going back", trials):
            assert trial.rollback_at is not None
            rollback = outcome.rollback
            assert rollback is not None
            back = Back(
                trial.step,
                trial.rollback_at - calm.asked_at,
                trial.fault,
                rollback,
                rollback.traffic_seconds is not None or (rollback.is_refused and bool(trial.fault)),
                outcome.broken,
            )
            backs.append(back)
            if rollback.traffic_seconds is None and not back.broken:
                why = " when a host of the old group has just died" if trial.fault else ""
                self._help(replace(trial, tier=1), outcome, f"going back {trial.step} the release{why}")
        return tuple(backs)

    def _back_to_less(self, last: Trial) -> Trial:
        """One host of the old group has died a moment before."""
        assert last.rollback_at is not None
        order = order_of(self._stage)
        seen = (order.template.probe.interval_seconds + 1.0) * (order.template.probe.unhealthy_after + 1)
        at = last.rollback_at
        region = self._stage.regions[0]
        return replace(
            last, fault="host-dies", group="old", region=region, at=at,
            rollback_at=at + min(seen, 2.0), tier=1, seconds=last.seconds + seen,
        )  # fmt: skip

    # ---------------------------------------------------------------------------------------- faults

    def _struck(self, calm: Outcome) -> tuple[Struck, ...]:
        struck, helped = [], set()
        outcomes = list(self._made("faults", list(self._trials(calm))))
        for trial, outcome in outcomes:
            each = judge(self._stage, trial, outcome, calm)
            struck.append(each)
            if each.verdict in ("came-through", "promise-broken") or _is_right(each):
                continue
            kind = (each.fault, each.group, each.step, each.verdict)
            if kind not in helped:
                helped.add(kind)
                self._help(trial, outcome, each.name)
        return tuple(struck)

    def _trials(self, calm: Outcome) -> Iterator[Trial]:
        stage, order = self._stage, order_of(self._stage)
        longest = max(map(deadline_of, order.steps))
        end = calm.asked_at + calm.seconds + AFTER_SECONDS
        for name in self._faults:
            fault = Fault(name)
            if fault.is_of_image:
                yield Trial(end + patience_of(order) + stage.ill_after_seconds, name)
                continue
            groups = ("new", "old") if fault.has_victims and stage.has_old else ("",)
            for step, at in _moments(calm):
                for group in groups:
                    yield Trial(
                        end + longest + stage.outage_seconds + SLACK_SECONDS,
                        name, step, group, stage.regions[0], calm.asked_at + at,
                    )  # fmt: skip

    def _swarms(self, calm: Outcome) -> Swarms:
        end = calm.asked_at + calm.seconds + self._stage.outage_seconds
        trials = [
            Trial(end + SLACK_SECONDS, ",".join(self._faults), at=calm.asked_at, swarm=seed)
            for seed in range(1, self._seeds + 1)
        ]
        outcomes = [(trial.swarm or 0, outcome) for trial, outcome in self._made("seeds", trials)]
        return Swarms(
            len(outcomes),
            dict(Counter(outcome.ended for _, outcome in outcomes)),
            min((outcome.lowest_percent for _, outcome in outcomes), default=None),
            max((outcome.seconds for _, outcome in outcomes), default=0.0),
            {seed: outcome.broken for seed, outcome in outcomes if outcome.broken},
        )

    def _made(self, what: str, trials: Sequence[Trial]) -> Iterator[tuple[Trial, Outcome]]:
        for number, made in enumerate(rehearse_all(self._stage, trials), start=1):
            self._tell(what, number, len(trials))
            yield made


# ------------------------------------------------------------------------------------------------ judging


def judge(stage: Stage, trial: Trial, outcome: Outcome, calm: Outcome) -> Struck:
    """What a fault did, in one word."""
    fault = Fault(trial.fault)
    return Struck(
        trial.fault,
        fault.text,
        trial.step,
        trial.group,
        trial.region or "",
        trial.at - calm.asked_at if trial.at else 0.0,
        outcome.ended,
        outcome.reason,
        outcome.seconds,
        outcome.lowest_percent,
        outcome.below_floor_seconds,
        _verdict(stage, trial, outcome),
        outcome.broken,
    )


def _verdict(stage: Stage, trial: Trial, outcome: Outcome) -> str:
    if outcome.broken:
        return "promise-broken"
    if outcome.ended not in SAVED:
        return "held" if outcome.ended == "held" else "never-ended"
    fault = Fault(trial.fault)
    if fault.is_of_image and outcome.ended == "succeeded":
        return "not-seen"
    taken = {"nothing": 0, "one": 1}.get(fault.takes)
    if taken is not None:
        for each in outcome.regions:
            if stage.has_old and each.lowest < each.floor - taken:
                return "fell-below"
    return "came-through" if outcome.ended == "succeeded" else "went-back"


def is_good(stage: Stage, trial: Trial, outcome: Outcome) -> bool:
    """Whether a trial went as every user would want it: what advice aims at."""
    if outcome.broken:
        return False
    if trial.rollback_at is not None:
        return outcome.rollback is not None and outcome.rollback.traffic_seconds is not None
    verdict = _verdict(stage, trial, outcome)
    return verdict == ("went-back" if Fault(trial.fault).is_of_image else "came-through")


def _is_right(struck: Struck) -> bool:
    """A bad image shall go back; what kills a whole group may."""
    fault = Fault(struck.fault)
    return struck.verdict == "went-back" and (fault.is_of_image or fault.takes in ("group", "all"))


def _moments(calm: Outcome) -> list[tuple[str, float]]:
    """The middle of each step, and a while after the end; seconds from the beginning of the release."""
    found = [(span.step, (span.begins + span.ends) / 2) for span in calm.steps if span.step != "undoing"]
    return [*found, (AFTER, calm.seconds + AFTER_SECONDS)]
