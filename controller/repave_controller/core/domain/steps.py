"""What any part of repave may ask of any step. The kinds of steps are in `core/steps`, one file each."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import accumulate
from operator import or_
from typing import Any, ClassVar, TypeVar

from repave_controller.core.domain.analyses import AnalysisPlan

FULL_PERCENT = 100.0

AnyStep = TypeVar("AnyStep", bound="Step")

KINDS: dict[str, type["Step"]] = {}
"""Every kind of step that is known, by its name in stores."""


@dataclass(frozen=True, slots=True)
class Course:
    """Where the steps so far have brought a region, whatever its size."""

    old: float = FULL_PERCENT  # hosts of the origin, in percent


class Step:
    """One step of a region's way. Each kind is a frozen dataclass whose literal `kind` names it in stores."""

    __slots__ = ()

    kind: str
    deadline_seconds: float
    """Without progress for so long it fails; 0: it may take for ever."""

    is_move: ClassVar[bool] = False
    """It changes something: windows, freezes and limits count."""
    is_timed: ClassVar[bool] = False
    """Time alone ends it, or a person who skips the rest."""
    is_watched: ClassVar[bool] = False
    """The region fails when too few of its new hosts are healthy meanwhile."""
    is_launch: ClassVar[bool] = False
    """Fresh hosts are requested."""
    is_proof: ClassVar[bool] = False
    """Once it is done the fresh hosts are proven."""
    is_baseline: ClassVar[bool] = False
    """From here on there is a baseline, as far as a later step needs one; once it is done that is proven."""

    @property
    def share_bp(self) -> int | None:
        """The target's share of the traffic from this step on; None: as before."""
        return None

    @property
    def approver(self) -> str | None:
        """The role that has to approve; "": any person, None: no approval is needed."""
        return None

    @property
    def takes_two(self) -> bool:
        """Whether who released may not approve as well."""
        return False

    @property
    def objection_seconds(self) -> float:
        """After so long it needs no approval, if no person has objected; 0: it does for ever."""
        return 0.0

    @property
    def wait_seconds(self) -> float:
        """For how long it waits for nothing but time."""
        return 0.0

    @property
    def analysis(self) -> AnalysisPlan | None:
        """How the new group is compared with the old one meanwhile; None: it is not."""
        return None

    @property
    def needs_baseline(self) -> bool:
        """Whether the target is compared with fresh hosts of the origin's version."""
        return False

    def hosts(self, size: int, before: int) -> int:
        """The target's hosts in a region of this size, which had so many before the step."""
        return before

    def advance(self, course: Course) -> Course:
        """Where the step leads a region that does it after `course`."""
        return course

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: Callable[[object], Any]) -> Any:
        """Stores read and write each registered kind where a `Step` is declared."""
        return handler(reduce(or_, KINDS.values()) if cls is Step else source)


def register(step_type: type[AnyStep]) -> type[AnyStep]:
    """Makes a kind of step known to stores; decorates its dataclass."""
    kind = step_type.__dataclass_fields__["kind"].default  # type: ignore[attr-defined]  # a dataclass
    assert kind not in KINDS, f"two steps call themselves {kind}"
    KINDS[kind] = step_type
    return step_type


def course_of(steps: Iterable[Step]) -> Course:
    """Where these steps, one after another, lead."""
    return courses_of(steps)[-1]


def courses_of(steps: Iterable[Step]) -> tuple[Course, ...]:
    """Where they lead after none, one, two, ... of them."""
    return tuple(accumulate(steps, lambda course, step: step.advance(course), initial=Course()))


# ----------------------------------------------------------------------------------------------- baselines


def baseline_range(steps: Sequence[Step]) -> range:
    """The places of the steps in which a region has a baseline: from the first that asks for one to the last
    that needs it."""
    first = next((index for index, step in enumerate(steps) if step.is_baseline), len(steps))
    last = max((index for index, step in enumerate(steps) if step.needs_baseline), default=-1)
    return range(first, last + 1)


def is_baseline_proven(steps: Sequence[Step], cursor: int) -> bool:
    """Whether a region in that step has waited for as many hosts of its baseline as its target has."""
    changes = [step for step in steps[:cursor] if step.is_baseline or step.is_launch]
    return bool(changes) and changes[-1].is_baseline and not steps[cursor].is_launch


def baseline_hosts(steps: Sequence[Step], size: int, cursor: int = 0) -> int:
    """The most hosts that the baseline of a region of this size has, from that step on."""
    within, hosts, most = baseline_range(steps), 0, 0
    for index, step in enumerate(steps[: within.stop]):
        hosts = step.hosts(size, hosts)
        if index in within and index >= cursor:
            most = max(most, hosts)
    return most
