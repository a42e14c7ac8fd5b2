"""Weight: the target gets a share of the traffic."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from repave_controller.core.domain.application import Because, GroupState, Instant, Observed
from repave_controller.core.domain.hosts import hosts_left
from repave_controller.core.domain.place import Place, Side
from repave_controller.core.domain.reasons import Rule, Why, cli, reason_of
from repave_controller.core.domain.rollout import RolloutKind
from repave_controller.core.domain.steps import register
from repave_controller.core.rules.guards import Guard, uncounted
from repave_controller.core.rules.verdicts import Done, Verdict, Waiting, current_report
from repave_controller.core.steps.step import CountingStep
from repave_protos.protocol.copies import replace
from repave_protos.protocol.values import FULL_WEIGHT_BP, GroupReport


@register
@dataclass(frozen=True, slots=True)
class Weight(CountingStep):
    """Give the target group `weight_bp` of the traffic, the origin the rest; done when balancers say so.

    `of` work: those who have a share work, and nothing has to move.

    With `stays_percent` the share follows the hosts: those that the target has, beside so many of the
    origin's as stay. In a region of 3 hosts one of them is a third, whatever `weight_bp` says.
    """

    weight_bp: int
    deadline_seconds: float
    stays_percent: float | None = None
    of: Literal["traffic", "work"] = "traffic"
    kind: Literal["weight"] = "weight"

    why: ClassVar[Why] = Why.WEIGHT
    is_move: ClassVar[bool] = True

    @property
    def share_bp(self) -> int:
        return self.weight_bp

    def enter(self, place: Place) -> tuple[Side, ...]:
        """A region without an origin opens when the target is to have everything."""
        group, part, origin = place.target.group, place.target.part, place.origin
        if origin is None:
            opened_bp = FULL_WEIGHT_BP if self.weight_bp == FULL_WEIGHT_BP else 0
            return (Side(group, replace(part, weight_bp=opened_bp)),)
        if place.track.refuge == group.number:  # the origin could not serve its share: it is given none
            return ()
        share_bp = self._share_in(place, origin)
        given = replace(part, weight_bp=share_bp)
        rest = replace(origin.part, weight_bp=FULL_WEIGHT_BP - share_bp)
        return Side(group, given), Side(origin.group, rest)

    def _share_in(self, place: Place, origin: Side | None) -> int:
        """By the part of its size that each group has, for a release may change a region's size."""
        if origin is None or self.stays_percent is None:
            return self.weight_bp
        left = hosts_left(origin.part.size, self.stays_percent)
        new = place.target.part.count / max(1, place.target.part.size)
        old = min(left, origin.part.count) / max(1, origin.part.size)
        return round(FULL_WEIGHT_BP * new / (new + old)) if new + old else self.weight_bp

    def measure(self, place: Place, report: GroupReport) -> tuple[int, int]:
        return int(report.weight_bp == place.target.part.weight_bp), 1

    def judge(self, place: Place, observed: Observed, now: Instant) -> Verdict:
        """A baseline has its share as well."""
        verdict = CountingStep.judge(self, place, observed, now)
        baseline, view = place.baseline, observed.get(place.region)
        if not isinstance(verdict, Done) or baseline is None or view is None:
            return verdict
        has_bp, shall_bp = view.group(baseline.group.name).weight_bp, place.target.part.weight_bp
        if has_bp == shall_bp == baseline.part.weight_bp:
            return verdict
        reason = reason_of(
            Why.BASELINE_SHARE,
            cli("hosts", place.application.name),
            group=baseline.group.name,
            weight_bp=shall_bp,
            trouble=view.group(baseline.group.name).trouble,
        )
        return Waiting(Because(reason, place.region, since=place.track.entered_at))

    def guard(self, place: Place, observed: Observed) -> Guard | None:
        """The target is ready for its share at this moment, not only when it was verified, and by the size
        that it has by now: one that grew on the way has the hosts that its share needs."""
        if place.rollout.kind is RolloutKind.ROLLBACK and place.target.part.state is not GroupState.NEW:
            return None
        application, group, part = place.application, place.target.group, place.target.part
        report, absent = current_report(application, group, place.region, observed)
        if absent is not None:
            return uncounted(absent)
        policy, up = application.policy, min(report.verified, report.balancer_up)
        share = policy.carrying(part.size, self._share_in(place, place.origin))
        needed = max(policy.needed(part.judged), min(share, policy.needed(part.count)))
        reason = reason_of(
            Rule.CAPACITY_FOR_SHARE,
            cli("hosts", application.name),
            up=up,
            hosts=part.count,
            group=group.name,
            needed=needed,
        )
        return Guard(up < needed, reason)

    def describe(self) -> str:
        share = f"{self.weight_bp / 100:g} %"
        if self.of == "work":
            what = "all of the work" if self.weight_bp == FULL_WEIGHT_BP else f"about {share} of the work"
            return f"weight: {what} is counted as the new group's; old hosts work until they are stopped"
        if self.stays_percent is None:
            return f"weight: {share} of the traffic to the new group"
        return f"weight: the new group gets the share of its hosts, about {share}"

    @property
    def name(self) -> str:
        return f"weight {self.weight_bp / 100:g} %"
