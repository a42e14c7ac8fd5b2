"""Whether a list of steps, one after another, can keep the promises; checked before a release begins."""

from collections.abc import Sequence

from repave_controller.core.domain.steps import FULL_PERCENT, Course, Step

SLACK = 1e-6


def objection(steps: Sequence[Step], min_capacity_percent: float) -> str:
    """What is wrong with them, and what would do; "" when nothing is."""
    course = Course()
    for number, step in enumerate(steps, start=1):
        course = step.advance(course)
        text = _too_few(course, min_capacity_percent)
        if text:
            return f"step {number}: {text}"
    if course.traffic < FULL_PERCENT:
        return f"the last weight is {course.traffic:g}%: end with - weight: 100%"
    if course.new < FULL_PERCENT - SLACK or course.proven < FULL_PERCENT - SLACK:
        return (
            f"the new group would end with {course.proven:g}% of its hosts proven: add scale: 100% and "
            "verify: {}"
        )
    return ""


def _too_few(course: Course, least: float) -> str:
    proven, old, share = course.proven, course.old, course.traffic
    if share > 0 and proven == 0:
        return f"weight: {share:g}% goes to hosts that are not verified: put scale and verify: {{}} before"
    need = share * least / 100
    if not course.is_counted and proven + SLACK < need:
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
    """Most hosts at once, old and new together, in percent of a region's size; what is counted in hosts is
    not in it."""
    course, peak = Course(), FULL_PERCENT
    for step in steps:
        course = step.advance(course)
        peak = max(peak, course.new + course.old)
    return peak
