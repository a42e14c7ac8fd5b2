"""Whether a list of steps, one after another, can keep the promises: said before a release begins. Pure."""

from collections.abc import Sequence

from repave_controller.core.domain.application import FULL_PERCENT
from repave_controller.core.domain.rollout import Retire, Scale, Step, Verify, Weight

SLACK = 1e-6


def objection(steps: Sequence[Step], min_capacity_percent: float) -> str:
    """What is wrong with them, and what would do; "" when nothing is."""
    new, proven, old, share = 0.0, 0.0, FULL_PERCENT, 0.0
    for number, step in enumerate(steps, start=1):
        match step:
            case Scale(percent=percent, count=count):
                new = max(new, percent) if not count else max(new, SLACK)
            case Verify():
                proven = new
            case Weight(weight_bp=weight_bp):
                share = weight_bp / 100
            case Retire(percent=percent):
                old = min(old, percent)
            case _:
                continue
        text = _too_few(step, proven, old, share, min_capacity_percent, steps[:number])
        if text:
            return f"step {number}: {text}"
    if share < FULL_PERCENT:
        return f"the last weight is {share:g}%: end with - weight: 100%"
    if new < FULL_PERCENT - SLACK or proven < FULL_PERCENT - SLACK:
        return (
            f"the new group would end with {proven:g}% of its hosts proven: add scale: 100% and verify: {{}}"
        )
    return ""


def _too_few(
    step: Step, proven: float, old: float, share: float, least: float, before: Sequence[Step]
) -> str:
    has_count = any(isinstance(each, Scale) and each.count for each in before)
    if share > 0 and proven == 0:
        return f"weight: {share:g}% goes to hosts that nobody has verified: put scale and verify: {{}} before"
    need = share * least / 100
    if not has_count and proven + SLACK < need:
        return (
            f"{share:g}% of the traffic would go to {proven:g}% of the hosts, guards.min_capacity asks for "
            f"{need:g}%: scale further and verify before, or lower guards.min_capacity"
        )
    need = (FULL_PERCENT - share) * least / 100
    if old + SLACK < need:
        return (
            f"{old:g}% of the old hosts would have {FULL_PERCENT - share:g}% of the traffic, and "
            f"guards.min_capacity asks for {need:g}%: move traffic first, or lower guards.min_capacity"
        )
    return ""


def peak_percent(steps: Sequence[Step]) -> float:
    """Most hosts at once, old and new together, in percent of a region's size."""
    new, old, peak = 0.0, FULL_PERCENT, FULL_PERCENT
    for step in steps:
        match step:
            case Scale(percent=percent, count=0):
                new = max(new, percent)
            case Retire(percent=percent):
                old = min(old, percent)
            case _:
                continue
        peak = max(peak, new + old)
    return peak
