"""Which release explains the errors that are seen: ranked by where it is and when it came there. Pure.

As in Gandalf (Li et al., NSDI 2020): a release is blamed for what rose soon after it came to a place, less
the later it rose; it is cleared by places that it has reached where nothing rose, and by what rose where it
never was, or before it came. What a balancer counts for each server group tells more still.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from math import exp
from typing import Final, Literal

from repave_controller.core.analysis.rises import Rise
from repave_controller.core.domain.instants import Instant
from repave_controller.core.domain.reasons import Clue, Fact, Reason, reason_of
from repave_protos.protocol.values import ApplicationName, GroupName, RegionName

Verdict = Literal["likely", "possible", "unlikely"]

DECAY_SECONDS: Final = 1800.0
"""What rises so long after a release came is blamed on it by 1/e."""
SETTLE_SECONDS: Final = 60.0
"""So long a release has to be in a place before it counts that nothing rose there."""
FALL_SECONDS: Final = 90.0
"""So soon after it has left errors fall that were its own."""
REQUESTS_MIN: Final = 20
OTHER_APPLICATION: Final = 0.5
ALL_ON_IT: Final = 0.9
ITS_OWN_FACTOR: Final = 2.0
LIKELY, POSSIBLE = 0.5, 0.1


@dataclass(frozen=True, slots=True)
class Move:
    """A rollout's target, and when its share of a region's requests rose, and fell to nothing."""

    application: ApplicationName
    rollout: int
    kind: str
    group: GroupName
    version: str
    started_at: Instant
    reached: Mapping[RegionName, tuple[float, ...]]
    left: Mapping[RegionName, float]


@dataclass(frozen=True, slots=True)
class Trouble:
    """Errors of an application that rose in a region. `groups`: requests and errors of each in that time;
    `goes_on`: to the end of what is known."""

    application: ApplicationName
    region: RegionName
    rise: Rise
    groups: Mapping[GroupName, tuple[int, int]]
    goes_on: bool = True


@dataclass(frozen=True, slots=True)
class Suspect:
    """`score`: from 0 to 1; only for comparing suspects."""

    move: Move
    score: float
    clues: tuple[Reason, ...]

    @property
    def verdict(self) -> Verdict:
        return "likely" if self.score >= LIKELY else "possible" if self.score >= POSSIBLE else "unlikely"


def ranked(
    moves: Sequence[Move],
    troubles: Sequence[Trouble],
    quiet: Collection[tuple[ApplicationName, RegionName]],
    slack_seconds: float,
    now: float,
) -> list[Suspect]:
    """The likeliest first. `quiet`: where enough requests were counted, and no errors rose; `slack_seconds`:
    how exactly times are known."""
    if not troubles:
        return []
    found = [_suspect(each, troubles, quiet, slack_seconds, now) for each in moves]
    return sorted(found, key=lambda each: (-each.score, -each.move.started_at, each.move.application))


@dataclass(frozen=True, slots=True)
class _Blamed:
    trouble: Trouble
    lag_seconds: float

    @property
    def weight(self) -> float:
        return exp(-self.lag_seconds / DECAY_SECONDS)


def _suspect(
    move: Move,
    troubles: Sequence[Trouble],
    quiet: Collection[tuple[ApplicationName, RegionName]],
    slack: float,
    now: float,
) -> Suspect:
    blamed, before, elsewhere = _placed(move, troubles, slack)
    calm = _calm(move, {each.application for each in troubles}, troubles, quiet, now)
    clues: list[Reason] = []
    if blamed:
        lag = round(max(each.lag_seconds for each in blamed))
        clues.append(reason_of(Clue.ROSE_AFTER, regions=_regions(blamed), seconds=lag))
    if before:
        clues.append(reason_of(Clue.ROSE_BEFORE, regions=_names(before)))
    if elsewhere:
        clues.append(reason_of(Clue.ROSE_ELSEWHERE, regions=_names(elsewhere)))
    if calm:
        clues.append(reason_of(Clue.QUIET_THERE, regions=calm))
    if not blamed:
        return Suspect(move, 0.0, tuple(clues))
    factor, told = _by_group(move, blamed)
    score = sum(each.weight for each in blamed) / len(troubles) * len(blamed) / (len(blamed) + len(calm))
    score, of_end = _by_end(move, blamed, score * factor, slack)
    return Suspect(move, round(score, 3), (*clues, told, *of_end))


def _placed(
    move: Move, troubles: Sequence[Trouble], slack: float
) -> tuple[list[_Blamed], list[Trouble], list[Trouble]]:
    """What rose after it came, what rose before that, and where it never was."""
    blamed, before, elsewhere = [], [], []
    for trouble in troubles:
        came = move.reached.get(trouble.region, ())
        earlier = [at for at in came if at <= trouble.rise.at + slack]
        if earlier:
            blamed.append(_Blamed(trouble, max(0.0, trouble.rise.at - max(earlier))))
        elif came:
            before.append(trouble)
        else:
            elsewhere.append(trouble)
    return blamed, before, elsewhere


def _calm(
    move: Move,
    applications: Collection[ApplicationName],
    troubles: Sequence[Trouble],
    quiet: Collection[tuple[ApplicationName, RegionName]],
    now: float,
) -> tuple[str, ...]:
    """The regions that it has reached, where nothing rose."""
    troubled = {each.region for each in troubles}
    return tuple(
        region
        for region, came in sorted(move.reached.items())
        if came
        and now - came[0] >= SETTLE_SECONDS
        and region not in troubled
        and any((name, region) in quiet for name in applications)
    )


def _by_group(move: Move, blamed: Sequence[_Blamed]) -> tuple[float, Reason]:
    """How well the errors of its own group, and of others at the same time, fit."""
    own = [each.trouble for each in blamed if each.trouble.application == move.application]
    if not own:
        return OTHER_APPLICATION, reason_of(Clue.OTHER_APPLICATION)
    requests, errors = _sums(own, lambda name: name == move.group)
    others, wrong = _sums(own, lambda name: name != move.group)
    if not requests:
        return 0.1, reason_of(Clue.NO_REQUESTS, group=move.group)
    rate, other = errors / requests, wrong / others if others else 0.0
    facts: dict[str, Fact] = {"group": move.group, "rate": round(rate, 4)}
    if others < REQUESTS_MIN or requests < REQUESTS_MIN:
        return ALL_ON_IT, reason_of(Clue.ALL_ON_IT, **facts)
    compared: dict[str, Fact] = {**facts, "other": round(other, 4)}
    if rate >= ITS_OWN_FACTOR * other:
        return 1.0, reason_of(Clue.IN_ITS_GROUP, **compared)
    return 0.15 if rate <= 1.25 * other else 0.6, reason_of(Clue.IN_ALL_GROUPS, **compared)


def _by_end(move: Move, blamed: Sequence[_Blamed], score: float, slack: float) -> tuple[float, list[Reason]]:
    """What became of the errors where it has lost its traffic."""
    gone = [each.trouble for each in blamed if each.trouble.region in move.left]
    fell = [
        each
        for each in gone
        if not each.goes_on and -slack <= each.rise.until - move.left[each.region] <= FALL_SECONDS + slack
    ]
    stayed = [
        each for each in gone if each.goes_on and each.rise.until - move.left[each.region] > FALL_SECONDS
    ]
    clues = []
    if fell:
        score = 1 - (1 - score) / 2
        clues.append(reason_of(Clue.FELL_AFTER, regions=_names(fell)))
    if stayed:
        score *= 0.3
        clues.append(reason_of(Clue.WENT_ON, regions=_names(stayed)))
    return score, clues


def _sums(troubles: Sequence[Trouble], is_meant: Callable[[GroupName], bool]) -> tuple[int, int]:
    found = [counts for each in troubles for name, counts in each.groups.items() if is_meant(name)]
    return sum(requests for requests, _ in found), sum(errors for _, errors in found)


def _regions(blamed: Sequence[_Blamed]) -> tuple[str, ...]:
    return _names([each.trouble for each in blamed])


def _names(troubles: Sequence[Trouble]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(sorted(str(each.region) for each in troubles)))
