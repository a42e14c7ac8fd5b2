"""Says which rules stand against the next move of a region, with the numbers and the way on. Pure.

The same rules speak of the whole plan beforehand, and of what is so at the moment of each step.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

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
from repave_controller.core.domain.rollout import Rollout, RolloutKind
from repave_controller.core.domain.steps import Step
from repave_controller.core.rules.verdicts import current_report
from repave_protos.protocol.capabilities import nearest_shares
from repave_protos.protocol.values import RegionName


@dataclass(frozen=True, slots=True)
class Guard:
    """The answer of one rule: `refuses` or not, in words with its numbers."""

    rule: str
    refuses: bool
    text: str
    remedy: str = ""
    until: Instant | None = None  # when it may say otherwise by itself

    def because(self, region: str = "") -> Because:
        return Because(f"guard {self.rule}: {self.text}", region, until=self.until, remedy=self.remedy)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is so beyond one application: the freezes, the limits over all of them, what the others have under
    way. By default nothing stands against it."""

    freezes: Freezes = Freezes()  # noqa: RUF009  # frozen
    limits: Limits = Limits()  # noqa: RUF009  # frozen
    others: Load = Load()  # noqa: RUF009  # frozen


ALONE = Surroundings()


def is_overridden(rollout: Rollout, rule: str) -> bool:
    return any(each.gate == f"guard {rule}" for each in rollout.passes)


def outside(
    application: Application,
    rollout: Rollout,
    step: Step,
    now: Instant,
    around: Surroundings,
    wants: Wants | None,
) -> list[Guard]:
    """Windows and freezes for each move of a release; limits where a region begins, which makes
    the application want `wants`. A way back is always open."""
    if rollout.kind is RolloutKind.ROLLBACK or not step.is_move:
        return []
    answers = _times(application, around, application.policy, now)
    return [*answers, *_limits(wants, around)] if wants is not None else answers


def standing(application: Application, now: Instant, around: Surroundings) -> Guard | None:
    """Why nothing of the application may begin at this time; None when it may."""
    return next(iter(_times(application, around, application.policy, now)), None)


def _times(application: Application, around: Surroundings, policy: Policy, now: Instant) -> list[Guard]:
    closed = held(around.freezes, application.name, policy.windows, policy.freezes, now)
    if closed is None:
        return []
    remedy = closed.remedy or f"repave promote {application.name} --override {closed.rule} --reason TEXT"
    return [Guard(closed.rule, True, closed.text, remedy, closed.opens_at)]


def _limits(wants: Wants, around: Surroundings) -> list[Guard]:
    found = refusals(around.limits, around.others, wants)
    return [Guard(each.rule, True, each.text, each.remedy) for each in found]


def traffic(application: Application, region: RegionName, observed: Observed) -> Guard:
    """An old group goes only while another one serves there with enough healthy hosts."""
    serving = application.serving_in(region)
    if serving is None:
        return Guard("traffic", False, "nobody serves there")
    report, absent = current_report(application, serving, region, observed)
    floor = application.policy.floor(serving.size(region))
    up = min(report.verified, report.balancer_up)
    if absent is not None:
        return Guard("traffic", True, f"{serving.name} serves there, and {absent.what}", absent.remedy)
    text = f"{serving.name} serves with {up} healthy hosts, the floor is {floor}"
    return Guard("traffic", up < floor, text, f"repave hosts {application.name} shows each host")


def precision(order: ReleaseOrder, precisions: Mapping[RegionName, int]) -> Iterator[Guard]:
    """Shares that a region's balancer can't give exactly; `precisions`: the least it can, where known."""
    wanted = sorted({step.share_bp for step in order.steps if step.share_bp is not None})
    for region, _ in order.sizes:
        for weight_bp in wanted:
            below, above = nearest_shares(weight_bp, precisions.get(region, 1))
            if below != above:
                nearest = f"{below / 100:g} % or {above / 100:g} %"
                text = f"{region}: its balancer gives {nearest}, not {weight_bp / 100:g} %"
                yield Guard("traffic_precision", False, text)


def split(order: ReleaseOrder, told_apart: Mapping[RegionName, bool]) -> Iterator[Guard]:
    """Regions whose balancer can't tell users apart, and the spec asks for it; `told_apart`: where known."""
    for region, _ in order.sizes:
        if order.split.by != "request" and not told_apart.get(region, True):
            text = f"{region}: its balancer can't split by {order.split.by}: it would get no traffic there"
            remedy = "leave out traffic.split, or use a balancer with HAProxy"
            yield Guard("traffic_split", True, text, remedy)


def foreseen(
    application: Application,
    planned: Application,
    order: ReleaseOrder,
    observed: Observed,
    now: Instant,
    around: Surroundings,
) -> tuple[Guard, ...]:
    """The rules that a release would meet, with their answers of now; `planned`: the application with it."""
    answers = [
        *(_times(application, around, order.policy, now) or [Guard("times", False, "it may begin now")]),
        *_limits(replace(wants_of(planned), begins=True), around),
    ]
    for region, size in order.sizes:
        serving = application.serving_in(region)
        if serving is None:
            continue
        report, absent = current_report(application, serving, region, observed)
        floor = order.policy.floor(serving.size(region))
        if absent is not None:
            answers.append(Guard("region", True, f"{region}: {absent.what}", absent.remedy))
            continue
        up = min(report.verified, report.balancer_up)
        text = f"{region}: {up} hosts of {serving.name} can serve, the floor is {floor} of {size}"
        answers.append(Guard("capacity", up < floor, text))
    return tuple(answers)
