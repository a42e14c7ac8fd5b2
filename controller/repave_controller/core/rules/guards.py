"""Says which rules stand against the next move of a region, with the numbers and the way on. Pure.

The same rules speak of the whole plan beforehand, and of what is so at the moment of each step.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from repave_controller.core.domain.application import (
    Application,
    Because,
    Instant,
    Observed,
    Policy,
    ReleaseOrder,
)
from repave_controller.core.domain.freezes import Freezes, held
from repave_controller.core.domain.limits import Limits, Load, Wants, refusals, wants_of
from repave_controller.core.domain.reasons import Reason, Refusal, Refused, Rule, Why, cli, reason_of
from repave_controller.core.domain.rollout import Rollout, RolloutKind
from repave_controller.core.domain.steps import Step, baseline_range
from repave_controller.core.rules.verdicts import current_report
from repave_protos.protocol.capabilities import nearest_shares
from repave_protos.protocol.copies import replace
from repave_protos.protocol.values import FULL_WEIGHT_BP, RegionName


@dataclass(frozen=True, slots=True)
class Guard:
    """The answer of one rule: `refuses` or not, with its numbers."""

    refuses: bool
    reason: Reason
    until: Instant | None = None  # when it may say otherwise by itself

    @property
    def rule(self) -> str:
        return self.reason.kind.root

    @property
    def waiting(self) -> Reason:
        """Of that which waits for the rule."""
        return reason_of(Why.GUARD, *self.reason.remedies, rule=self.rule, answer=self.reason)

    def because(self, region: str = "") -> Because:
        return Because(self.waiting, region, until=self.until)


@dataclass(frozen=True, slots=True)
class Constraints:
    """What is so beyond one application: the freezes, the limits over all of them, what the others have under
    way. By default nothing stands against it."""

    freezes: Freezes = Freezes()  # noqa: RUF009  # frozen
    limits: Limits = Limits()  # noqa: RUF009  # frozen
    others: Load = Load()  # noqa: RUF009  # frozen
    asks_room: bool = False  # regions can be asked whether a queued release fits, before it begins
    room: "Room | None" = None  # what they have said


@dataclass(frozen=True, slots=True)
class Room:
    """What the regions say of the queued release of that number, just now: where it has no room, and why."""

    number: int
    lacks: tuple[tuple[RegionName, Reason], ...] = ()


NO_CONSTRAINTS = Constraints()

OVERRIDABLE = frozenset(
    rule.root
    for rule in (
        Rule.FREEZE_ALL,
        Rule.FREEZE,
        Rule.WINDOW,
        Rule.LIMIT_OF_RELEASES,
        Rule.LIMIT_OF_REGIONS,
        Rule.LIMIT_OF_HOSTS,
        Rule.LIMIT_OF_EXTRA_HOSTS,
        Rule.CAPACITY,
    )
)
"""The rules that a rollout in its way may meet, and that a person may override; others speak of plans."""


def is_overridden(rollout: Rollout, rule: str) -> bool:
    return rollout.has_overridden(rule)


def outside(
    application: Application,
    rollout: Rollout,
    step: Step,
    now: Instant,
    constraints: Constraints,
    wants: Wants | None,
) -> list[Guard]:
    """Windows and freezes for each move of a release; limits where a region begins, which makes
    the application want `wants`. A way back is always open."""
    if rollout.kind is RolloutKind.ROLLBACK or not step.is_move:
        return []
    answers = _times(application, constraints, application.policy, now)
    return [*answers, *_limits(wants, constraints)] if wants is not None else answers


def standing(application: Application, now: Instant, constraints: Constraints) -> Guard | None:
    """Why nothing of the application may begin at this time; None when it may."""
    return next(iter(_times(application, constraints, application.policy, now)), None)


def _times(application: Application, constraints: Constraints, policy: Policy, now: Instant) -> list[Guard]:
    closed = held(constraints.freezes, application.name, policy.windows, policy.freezes, now)
    if closed is None:
        return []
    reason = closed.reason
    if not reason.remedies:
        remedy = cli("promote", application.name, override=reason.kind.root, reason="TEXT")
        reason = replace(reason, remedies=(remedy,))
    return [Guard(True, reason, closed.opens_at)]


def _limits(wants: Wants, constraints: Constraints) -> list[Guard]:
    found = refusals(constraints.limits, constraints.others, wants)
    return [Guard(True, each) for each in found]


def traffic(application: Application, region: RegionName, observed: Observed) -> Guard:
    """An old group goes only while another one serves there with enough healthy hosts."""
    serving = application.serving_in(region)
    if serving is None:
        return Guard(False, reason_of(Rule.TRAFFIC_TO_NONE))
    report, absent = current_report(application, serving, region, observed)
    floor = application.policy.floor(serving.size(region))
    up = min(report.verified, report.balancer_up)
    if absent is not None:
        return Guard(
            True,
            reason_of(
                Rule.TRAFFIC_UNKNOWN, *absent.reason.remedies, group=serving.name, absent=absent.reason
            ),
        )
    remedy = cli("hosts", application.name)
    return Guard(up < floor, reason_of(Rule.TRAFFIC, remedy, group=serving.name, up=up, floor=floor))


def uncounted(absent: Because) -> Guard:
    """What can't be seen can't serve."""
    return Guard(True, reason_of(Rule.CAPACITY_UNKNOWN, *absent.reason.remedies, absent=absent.reason))


def precision(order: ReleaseOrder, precisions: Mapping[RegionName, int]) -> Iterator[Guard]:
    """Shares that a region's balancer can't give exactly; `precisions`: the least it can, where known. One
    that only switches gives none: check_shares refuses it."""
    wanted = sorted({step.share_bp for step in order.steps if step.share_bp is not None})
    if order.template.is_worker:
        return
    for region, _ in order.sizes:
        if precisions.get(region) == FULL_WEIGHT_BP:
            continue
        for weight_bp in wanted:
            below, above = nearest_shares(weight_bp, precisions.get(region, 1))
            if below != above:
                shares = {"below_bp": below, "above_bp": above, "weight_bp": weight_bp}
                yield Guard(False, reason_of(Rule.TRAFFIC_PRECISION, region=region, **shares))


def check_shares(
    order: ReleaseOrder, precisions: Mapping[RegionName, int], balancers: Mapping[RegionName, str]
) -> None:
    """No region whose balancer only switches is to share its traffic between two groups: it would give all of
    it at once. Raises Refused."""
    if order.template.is_worker:
        return
    shares = [step.share_bp for step in order.steps if step.share_bp is not None]
    between = [share_bp for share_bp in shares if 0 < share_bp < FULL_WEIGHT_BP]
    regions = tuple(name for name, _ in order.sizes if precisions.get(name) == FULL_WEIGHT_BP)
    if between and regions:
        kinds = tuple(dict.fromkeys(balancers[name] for name in regions if name in balancers))
        raise Refused(Refusal.ONLY_SWITCHES, regions=regions, balancers=kinds, weight_bp=min(between))


def check_baselines(
    order: ReleaseOrder, lacking: Collection[RegionName], balancers: Mapping[RegionName, str]
) -> None:
    """A fresh baseline needs a third share of the traffic. `lacking`: where the balancer, or an older agent,
    has none. Raises Refused."""
    regions = tuple(name for name, _ in order.sizes if name in lacking)
    if regions and baseline_range(order.steps):
        kinds = tuple(dict.fromkeys(balancers[name] for name in regions if name in balancers))
        raise Refused(Refusal.NO_BASELINES, regions=regions, balancers=kinds)


def split(order: ReleaseOrder, told_apart: Mapping[RegionName, bool]) -> Iterator[Guard]:
    """Regions whose balancer can't tell users apart, and the spec asks for it; `told_apart`: where known."""
    for region, _ in order.sizes:
        if order.split.by != "request" and not told_apart.get(region, True):
            yield Guard(True, reason_of(Rule.TRAFFIC_SPLIT, region=region, by=order.split.by))


def unheard(order: ReleaseOrder, known: Collection[str]) -> Iterator[Guard]:
    """Targets that the spec names to be told, and the settings don't have; `known`: those that they have."""
    for name in dict.fromkeys(each.to for each in order.policy.notify):
        if name not in known:
            yield Guard(False, reason_of(Rule.NOTIFY, target=name, known=tuple(sorted(known))))


def foreseen(
    application: Application,
    planned: Application,
    order: ReleaseOrder,
    observed: Observed,
    now: Instant,
    constraints: Constraints,
) -> tuple[Guard, ...]:
    """The rules that a release would meet, with their answers of now; `planned`: the application with it."""
    answers = [
        *(_times(application, constraints, order.policy, now) or [Guard(False, reason_of(Rule.TIMES))]),
        *_limits(replace(wants_of(planned, constraints.others), begins=True), constraints),
    ]
    for region, size in order.sizes:
        serving = application.serving_in(region)
        if serving is None:
            continue
        report, absent = current_report(application, serving, region, observed)
        floor = order.policy.floor(serving.size(region))
        if absent is not None:
            reason = reason_of(Rule.REGION, *absent.reason.remedies, region=region, absent=absent.reason)
            answers.append(Guard(True, reason))
            continue
        up = min(report.verified, report.balancer_up)
        reason = reason_of(Rule.CAPACITY, region=region, up=up, group=serving.name, floor=floor, size=size)
        answers.append(Guard(up < floor, reason))
    return tuple(answers)
