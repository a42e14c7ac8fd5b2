"""What people read of that which speaks for a release having brought errors, or against it."""

from collections.abc import Mapping, Sequence

from repave_controller.core.domain.reasons import Clue, Kind
from repave_controller.wording.phrases import Template, some


def _rose_after(regions: Sequence[str], seconds: int) -> str:
    return f"errors rose in {some(regions)} {_soon(seconds)} it got requests there"


def _soon(seconds: int) -> str:
    if seconds < 120:
        return f"within {max(seconds, 1)} s after"
    return f"within {-(-seconds // 60)} minutes after"


def _compared(group: str, rate: float, other: float) -> str:
    return f"{rate:.1%} of the requests to {group} failed, {other:.1%} of those to other groups"


TEXTS: Mapping[Kind, Template] = {
    Clue.ROSE_AFTER: _rose_after,
    Clue.ROSE_BEFORE: lambda regions: f"errors rose in {some(regions)} before it got requests there",
    Clue.ROSE_ELSEWHERE: lambda regions: f"errors rose in {some(regions)}, where it has no requests",
    Clue.QUIET_THERE: lambda regions: f"nothing rose in {some(regions)}, where it has requests",
    Clue.IN_ITS_GROUP: _compared,
    Clue.IN_ALL_GROUPS: _compared,
    Clue.ALL_ON_IT: lambda group, rate: (
        f"{rate:.1%} of the requests to {group} failed, and no other group had any"
    ),
    Clue.NO_REQUESTS: "no request went to {group}",
    Clue.OTHER_APPLICATION: "it is of another application, which this one may depend on",
    Clue.FELL_AFTER: lambda regions: f"errors fell in {some(regions)} once it had no requests there",
    Clue.WENT_ON: lambda regions: (
        f"errors went on in {some(regions)} though it has no requests there any more"
    ),
}
