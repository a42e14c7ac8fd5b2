"""A metrics system that answers over HTTP: what all of them have in common. What one of them is asked, and
how it answers, is its dialect: a file each."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from repave_controller.operations.analysis.sources.asking import Asker, Request, place
from repave_controller.operations.analysis.sources.placing import objection_to_same
from repave_controller.operations.analysis.sources.ports import (
    Point,
    Series,
    Side,
    SourceError,
    Window,
    on_grid,
)


class Dialect(Protocol):
    """Of one metrics system. `are_ends`: a point tells of the time before it."""

    @property
    def kind(self) -> str: ...

    @property
    def are_ends(self) -> bool: ...

    @property
    def url(self) -> str:
        """Where it is; of some it has placeholders."""

    def objection(self, query: str) -> str: ...

    def window(self, window: Window) -> Window:
        """The one that it can be asked for."""

    def request(self, query: str, side: Side, window: Window, now: float) -> Request:
        """Raises SourceError."""

    def points(self, answer: Any, window: Window) -> list[Point]:
        """Raises SourceError, and what comes of an answer that has another form than it is known to have:
        KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError."""


@dataclass(frozen=True, slots=True)
class HttpSource:
    """Implements ports.Source."""

    name: str
    dialect: Dialect
    asker: Asker
    step_seconds: int
    applications: tuple[str, ...]
    clock: Callable[[], float] = field(repr=False)

    @property
    def kind(self) -> str:
        return self.dialect.kind

    def step_for(self, seconds: float) -> int:
        return self.step_seconds

    def total_of(self, query: str) -> str:
        raise SourceError("say what the events are counted out of: total: ...")

    def objection(self, query: str) -> str:
        return self.dialect.objection(query)

    def objection_to_sides(self, query: str) -> str:
        return objection_to_same(self.dialect.url + query)

    async def is_by_version(self, query: str) -> bool:
        return "{group}" not in self.dialect.url + query

    async def read(self, query: str, side: Side, window: Window) -> Series:
        within = self.dialect.window(window)
        request = self.dialect.request(query, side, within, self.clock())
        answer = await self.asker.ask(request)
        try:
            points = self.dialect.points(answer, within)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError):
            raise SourceError(
                f"{place(request.url)} answered in a form that {self.kind} does not have"
            ) from None
        return on_grid(points, within, are_ends=self.dialect.are_ends)
