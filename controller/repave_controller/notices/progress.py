"""How far one target has been told of the event log, and what follows from a try that failed. Pure."""

from dataclasses import dataclass, replace
from typing import Final

from pydantic import TypeAdapter

KIND = "notices"
"""Of the records that the store has of targets."""

FIRST_WAIT_SECONDS: Final = 1.0
WAIT_SECONDS_MAX: Final = 900.0
ASKED_WAIT_SECONDS_MAX: Final = 3600.0
"""No longer does a target that asks for patience get it."""
GIVE_UP_SECONDS: Final = 86_400.0
"""So long one notice is tried at a target that can't be reached or answers that it is ill."""
REFUSALS_MAX: Final = 5
"""So often one is tried at a target that refuses it."""
DEAD_KEPT_MAX: Final = 100
TEXT_LENGTH_MAX: Final = 300


@dataclass(frozen=True, slots=True)
class Dead:
    """A notice that its target never took."""

    sequence: int
    kind: str
    at: float
    tries: int
    error: str


@dataclass(frozen=True, slots=True)
class Progress:
    """Of one target. All events up to `cursor` were sent, were not wanted, or are dead. `tries` and what
    follows are of the one after it."""

    cursor: int
    delivered: int = 0
    delivered_at: float = 0.0
    tries: int = 0
    trying_since: float = 0.0
    retry_at: float = 0.0
    error: str = ""
    dead: tuple[Dead, ...] = ()
    dead_total: int = 0


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a try was one. `is_refused`: the target says that it won't ever take it so."""

    text: str
    is_refused: bool = False
    wait_seconds: float = 0.0  # as the target asks


def delivered(progress: Progress, sequence: int, now: float) -> Progress:
    return Progress(
        sequence,
        progress.delivered + 1,
        now,
        dead=progress.dead,
        dead_total=progress.dead_total,
    )


def passed(progress: Progress, sequence: int) -> Progress:
    """The target does not want it."""
    return replace(progress, cursor=max(progress.cursor, sequence))


def failed(
    progress: Progress, sequence: int, kind: str, failure: Failure, now: float, chance: float
) -> tuple[Progress, Dead | None]:
    """To be tried again at `retry_at`; or, after its bound, dead. The next one then waits as long: the target
    is no better for it. `chance`: from 0 to 1."""
    tries = progress.tries + 1
    since = progress.trying_since if progress.tries else now
    wait = wait_seconds(tries, failure.wait_seconds, chance)
    text = failure.text[:TEXT_LENGTH_MAX]
    is_over = tries >= REFUSALS_MAX if failure.is_refused else now - since >= GIVE_UP_SECONDS
    if not is_over:
        tried = replace(progress, tries=tries, trying_since=since, retry_at=now + wait, error=text)
        return tried, None
    dead = Dead(sequence, kind, now, tries, text)
    after = replace(
        progress,
        cursor=sequence,
        tries=0,
        trying_since=0.0,
        retry_at=now + (0.0 if failure.is_refused else wait),
        error=text,
        dead=(*progress.dead, dead)[-DEAD_KEPT_MAX:],
        dead_total=progress.dead_total + 1,
    )
    return after, dead


def wait_seconds(tries: int, asked_seconds: float, chance: float) -> float:
    """1, 2, 4, ... seconds, of which chance takes up to a half, so that targets are not asked all at once."""
    whole = min(WAIT_SECONDS_MAX, FIRST_WAIT_SECONDS * 2.0 ** min(tries - 1, 30))
    return max(whole * (0.5 + chance / 2), min(asked_seconds, ASKED_WAIT_SECONDS_MAX))


def replayed(progress: Progress, first: int) -> Progress:
    """All from event `first` on is sent again, each under the id that it had."""
    return replace(
        progress,
        cursor=max(0, first - 1),
        tries=0,
        trying_since=0.0,
        retry_at=0.0,
        error="",
        dead=tuple(each for each in progress.dead if each.sequence < first),
    )


def text_of(progress: Progress) -> str:
    return _PROGRESS.dump_json(progress).decode()


def progress_of(text: str) -> Progress:
    """Fields of a newer version are left out. Raises ValueError."""
    return _PROGRESS.validate_json(text)


_PROGRESS = TypeAdapter(Progress)
