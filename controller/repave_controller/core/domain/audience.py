"""Of what people are told, and whom a spec names for it. Quiet unless more is asked for."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final, Literal, get_args

Occasion = Literal["failures", "rollbacks", "approvals", "successes", "starts", "regions", "freezes"]

OCCASIONS: Final[tuple[Occasion, ...]] = get_args(Occasion)
USUAL: Final[tuple[Occasion, ...]] = ("failures", "rollbacks", "approvals")
"""What is told unless something else is asked for."""
KINDS: Final[Mapping[Occasion, tuple[str, ...]]] = {
    "failures": (
        "*.failed",
        "*.held",
        "job.unknown",
        "release.refused",
        "release.stopped",
        "queue.standing",
    ),
    "rollbacks": ("rollback.started", "rollback.succeeded", "release.rolled-back"),
    "approvals": ("gate.waiting", "gate.objected"),
    "successes": ("release.succeeded",),
    "starts": ("release.started", "release.queued"),
    "regions": ("region.*",),
    "freezes": ("freeze.*",),
}
"""Of events, by globs. A failed region is of `regions`: one release may have hundreds."""


_BEGIN_INCIDENT: Final[tuple[Occasion, ...]] = ("failures", "rollbacks", "approvals")
_ROLLOUTS: Final = ("release.*", "rollback.*", "gate.*", "queue.*")
_ENDS: Final = (
    "release.succeeded",
    "release.rolled-back",
    "release.aborted",
    "rollback.succeeded",
    "rollback.aborted",
    "gate.approved",
    "gate.skipped",
    "queue.resumed",
    "application.deleted",
)
"""After these nothing of an application's rollouts is wrong, or waits for a person."""


@dataclass(frozen=True, slots=True)
class Hearer:
    """A target of the controller's settings that an application's spec names, and what it is told of."""

    to: str
    on: tuple[str, ...] = USUAL


def is_of(kind: str, occasions: Iterable[str]) -> bool:
    """Whether an event of this kind is told on one of these occasions."""
    return any(_is_one(kind, name) for name in occasions)


def may_begin_incident(occasions: Iterable[str]) -> bool:
    """Whether one who is told on these occasions may be told that something is wrong with a rollout."""
    return any(each in _BEGIN_INCIDENT for each in occasions)


def is_of_incident(kind: str) -> bool:
    """Whether the event tells of what is wrong with an application's rollouts, or that it is over."""
    return ends_incident(kind) or (
        is_of(kind, _BEGIN_INCIDENT) and any(fnmatchcase(kind, each) for each in _ROLLOUTS)
    )


def ends_incident(kind: str) -> bool:
    return kind in _ENDS


def _is_one(kind: str, name: str) -> bool:
    globs = next((globs for known, globs in KINDS.items() if known == name), ())
    if kind.startswith("region.") and name != "regions":
        return False
    return any(fnmatchcase(kind, each) for each in globs)
