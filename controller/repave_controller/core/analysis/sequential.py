"""How the chance of a false alarm is shared between looks, between the ends of a test and between metrics.

Whoever looks every minute and stops at the first p below 0.05 stops one in four good releases. So ranks are
tested when there are 5, 6, 7, 8, 10, ... steps, each time a quarter more, on exactly that many first steps,
however often is looked; and each of these tests has a part of the chance, of all of them together 1.
"""

from collections.abc import Callable, Iterator, Sequence

FIRST_STEPS = 5
GROWTH = 1.25
LAST_LOOK = 0.5
"""The part of the chance that is left for the last of the planned looks, which sees everything."""


def stages(steps: int) -> Iterator[tuple[int, float]]:
    """(steps, part of the chance) of each test that `steps` steps allow. The parts are 5 / ((j + 5) (j + 6)):
    a sixth at first, less later, when there is more to see anyway."""
    at, number = FIRST_STEPS, 0
    while at <= steps:
        yield at, 5 / ((number + 5) * (number + 6))
        at, number = max(at + 1, int(at * GROWTH)), number + 1


def staged(
    steps: int, look: int, looks: int, p_of: Callable[[int, int], float], has_recent: bool = True
) -> float:
    """The p-value, for all looks together, of a test `p_of(first step, end)`. Each stage also tests its last
    half alone, where that has enough steps: what gets worse late is not hidden by a good beginning."""
    if looks <= 1:
        return p_of(0, steps)
    least = 1.0
    for end, part in stages(steps):
        half = end // 2
        if not has_recent or end - half < FIRST_STEPS:
            p = p_of(0, end)
        else:
            p = 2 * min(p_of(0, end), p_of(half, end))
        least = min(least, p / part / (1 - LAST_LOOK))
    if look >= looks:
        least = min(least, p_of(0, steps) / LAST_LOOK)
    return min(1.0, least)


def holm(ps: Sequence[float], alpha: float) -> tuple[float, ...]:
    """For each p-value what it must be at most to count, so that of all that are true by chance one counts in
    `alpha` of all cases at most (Holm): alpha / n for the least, alpha / (n - 1) for the next, as long as
    each counts."""
    thresholds = [0.0] * len(ps)
    left, is_open = len(ps), True
    for index in sorted(range(len(ps)), key=lambda k: ps[k]):
        thresholds[index] = alpha / left
        is_open = is_open and ps[index] <= thresholds[index]
        if is_open:
            left -= 1
    return tuple(thresholds)
