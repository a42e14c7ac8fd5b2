"""The strategies that have a name, as lists of steps. Shares, not hosts: no strategy knows a region.

A deadline counts from the last progress. A host is healthy within the launch deadline and proven
`min_healthy_seconds` later, or it never will be: that is how long nothing may happen while hosts come up.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from repave_controller.core.domain.analyses import AnalysisPlan
from repave_controller.core.domain.application import FULL_PERCENT
from repave_controller.core.domain.steps import Step, course_of
from repave_controller.core.steps import (
    Analyse,
    Approve,
    Baseline,
    Keep,
    Retire,
    Scale,
    Soak,
    Verify,
    Weight,
)
from repave_protos.protocol.copies import replace
from repave_protos.protocol.values import FULL_WEIGHT_BP, HostTemplate

MARGIN_SECONDS = 30.0
"""For reports to arrive, and for an agent that connects again, on top of what a step takes by itself."""
WEIGHT_DEADLINE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How long hosts may take, from the spec's health section."""

    launch_deadline_seconds: float
    min_healthy_seconds: float
    drain_seconds: float = 0.0

    @property
    def proven_seconds(self) -> float:
        return self.launch_deadline_seconds + self.min_healthy_seconds + MARGIN_SECONDS


def pace_of(template: HostTemplate) -> Pace:
    return Pace(template.launch_deadline_seconds, template.min_healthy_seconds, template.drain_seconds)


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of a canary or of a rolling release: a share, and what happens before the next one."""

    weight_bp: int
    hold_seconds: float = 0.0
    approve: str | None = None  # role; "": any person
    unless_objected_seconds: float = 0.0  # after so long it needs no approval; 0: it does
    expires_seconds: float = 0.0  # it is waited for so long; 0: for ever
    takes_two: bool = True  # who released may not approve
    analysis: AnalysisPlan | None = None  # how it is compared with the old group at this share


def blue_green(
    pace: Pace,
    warm_seconds: float,
    approve: str | None = None,
    unless_objected_seconds: float = 0.0,
    expires_seconds: float = 0.0,
    takes_two: bool = True,
    analysis: AnalysisPlan | None = None,
) -> tuple[Step, ...]:
    """The whole new group beside the old one, one flip, a soak; or an analysis, which watches as well."""
    return (
        *up(pace, FULL_PERCENT),
        *_gate(approve, unless_objected_seconds, expires_seconds, takes_two),
        weight(FULL_WEIGHT_BP),
        analyse(analysis) if analysis is not None else soak(warm_seconds),
    )


def highlander(pace: Pace, warm_seconds: float, analysis: AnalysisPlan | None = None) -> tuple[Step, ...]:
    """There can be only one: as blue/green, and then nothing of the old group is kept."""
    return (*blue_green(pace, warm_seconds, analysis=analysis), retire(pace, 0.0))


def canary(
    pace: Pace, stages: Sequence[Stage], headroom_percent: float, hosts_least: int = 0
) -> tuple[Step, ...]:
    """Growing shares of the traffic; at each the new group has the hosts for its share, and some more, and
    `hosts_least` of them in any case."""
    steps: list[Step] = []
    for stage in stages:
        percent = min(FULL_PERCENT, stage.weight_bp / 100 * (1 + headroom_percent / 100))
        steps += [*up(pace, percent, at_least=hosts_least), weight(stage.weight_bp), *_pause(stage)]
    return tuple(steps)


def rolling(pace: Pace, stages: Sequence[Stage], is_old_first: bool) -> tuple[Step, ...]:
    """Both groups move in the same shares, of hosts and of traffic alike. `is_old_first` needs no more hosts
    than there are, and lets capacity fall by one stage meanwhile: 8 hosts in quarters are 6 in between."""
    steps: list[Step] = []
    has = 0.0
    for stage in stages:
        percent = stage.weight_bp / 100
        left = FULL_PERCENT - percent
        grow, shrink = up(pace, percent), retire(pace, left, makes_room=True)
        share = _share_of_hosts(stage.weight_bp, left)
        if not is_old_first:
            steps += [*grow, share, *_pause(stage), shrink]
        else:
            # Before old hosts go, their share of the traffic moves to the new ones that are there.
            before = (_share_of_hosts(round(FULL_WEIGHT_BP * has / (has + left)), left),) if has else ()
            steps += [*before, shrink, *grow, *((share,) if left else ()), *_pause(stage)]
        has = percent
    return tuple(steps)


def _share_of_hosts(weight_bp: int, stays_percent: float) -> Weight:
    return Weight(weight_bp, WEIGHT_DEADLINE_SECONDS, stays_percent)


def phased(pace: Pace, stages: Sequence[Stage]) -> tuple[Step, ...]:
    """The whole new group first, then growing shares of the traffic."""
    steps: list[Step] = [*up(pace, FULL_PERCENT)]
    for stage in stages:
        steps += [weight(stage.weight_bp), *_pause(stage)]
    return tuple(steps)


def _pause(stage: Stage) -> tuple[Step, ...]:
    watched: tuple[Step, ...] = (soak(stage.hold_seconds),) if stage.hold_seconds else ()
    if stage.analysis is not None:
        watched = (analyse(stage.analysis),)
    gate = _gate(stage.approve, stage.unless_objected_seconds, stage.expires_seconds, stage.takes_two)
    return (*watched, *gate)


def _gate(
    role: str | None, unless_objected_seconds: float, expires_seconds: float, takes_two: bool
) -> tuple[Step, ...]:
    return () if role is None else (approval(role, unless_objected_seconds, expires_seconds, takes_two),)


def with_baselines(pace: Pace, steps: Sequence[Step]) -> tuple[Step, ...]:
    """The same with a baseline behind each launch of new hosts, from those whose share is compared with one
    first. Its hosts come up beside the new ones."""
    first = next((index for index, step in enumerate(steps) if step.needs_baseline), None)
    if first is None or any(step.is_baseline for step in steps):
        return tuple(steps)
    last = max(index for index, step in enumerate(steps) if step.needs_baseline)
    begin = max((index for index in range(first) if steps[index].is_launch), default=first)
    found: list[Step] = []
    for index, step in enumerate(steps):
        found.append(step)
        if step.is_launch and begin <= index < last:
            found.append(Baseline(pace.proven_seconds))
    return tuple(found)


# --------------------------------------------------------------------------------------- single steps


def up(pace: Pace, percent: float, count: int = 0, at_least: int = 0) -> tuple[Step, Step]:
    """So many fresh hosts, and all of them proven."""
    return Scale(percent, pace.proven_seconds, count, at_least), Verify(pace.proven_seconds)


def weight(weight_bp: int) -> Weight:
    return Weight(weight_bp, WEIGHT_DEADLINE_SECONDS)


def soak(seconds: float) -> Soak:
    """It ends by itself: its deadline only bounds how long a region may stay unheard at its end."""
    return Soak(seconds, seconds + MARGIN_SECONDS)


def analyse(plan: AnalysisPlan) -> Analyse:
    """Its deadline only bounds how long a region may stay unheard, as that of a soak."""
    return Analyse(plan, plan.seconds + MARGIN_SECONDS)


def approval(
    role: str, unless_objected_seconds: float = 0.0, expires_seconds: float = 0.0, takes_two: bool = True
) -> Approve:
    return Approve(role, expires_seconds, unless_objected_seconds, is_distinct=takes_two)


def keep(seconds: float) -> Keep:
    return Keep(seconds)


def retire(pace: Pace, percent: float, makes_room: bool = False) -> Retire:
    seconds = pace.drain_seconds + pace.launch_deadline_seconds + MARGIN_SECONDS
    return Retire(percent, seconds, makes_room)


# --------------------------------------------------------------------------------------- special cases


def first_steps(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """The same for a first release: no group serves yet, so going slowly gains nothing, and there is nothing
    to compare with. Approvals stay, and what follows the last share of the traffic; an analysis is a soak."""
    steps = tuple(soak(step.analysis.seconds) if step.analysis is not None else step for step in steps)
    last = max((index for index, step in enumerate(steps) if step.share_bp is not None), default=-1)
    launches = [step for step in steps if step.is_launch]
    proofs = [step for step in steps if step.is_proof]
    if last < 0 or not launches or not proofs:
        return steps
    approvals = [step for step in steps[:last] if step.approver is not None]
    rest = [step for step in steps[last + 1 :] if not (step.is_move or step.is_proof)]
    whole = Scale(FULL_PERCENT, launches[-1].deadline_seconds)
    return (whole, proofs[-1], *approvals, steps[last], *rest)


def for_worker(pace: Pace, steps: Sequence[Step]) -> tuple[Step, ...]:
    """The same for a worker, which takes no requests. Both groups work until old hosts are stopped, and they
    are as the last step."""
    stops = () if course_of(steps).old == 0 else (retire(pace, 0.0),)
    return _of_work((*steps, *stops))


def _of_work(steps: Sequence[Step]) -> tuple[Step, ...]:
    return tuple(replace(step, of="work") if isinstance(step, Weight | Verify) else step for step in steps)


def way_back_steps(templates: Sequence[HostTemplate]) -> tuple[Step, ...]:
    """Straight back, without canary, with the time that the slowest of these hosts needs. Only the last step
    is needed where a group runs in full."""
    pace = max((pace_of(each) for each in templates), key=lambda each: each.proven_seconds)
    steps = (*up(pace, FULL_PERCENT), weight(FULL_WEIGHT_BP))
    return _of_work(steps) if any(each.is_worker for each in templates) else steps
