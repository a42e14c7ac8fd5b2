"""What the outbox needs of those whom it tells: targets, whatever carries a notice to them."""

from dataclasses import dataclass
from typing import Protocol

from repave_controller.core.domain.application import Event
from repave_controller.notices.progress import Failure


@dataclass(frozen=True, slots=True)
class Notice:
    """An event of the log, told to a target. `id` is the same each time, whichever controller sends it."""

    id: str
    installation: str
    event: Event


class NotTaken(Exception):
    """The target has not got it."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.text)
        self.failure = failure


class Target(Protocol):
    """One of the settings."""

    @property
    def name(self) -> str:
        """Unique among all targets; what the store knows its progress by."""

    @property
    def kind(self) -> str:
        """What it is, for people: cloudevents, ..."""

    @property
    def place(self) -> str:
        """Where it is, for people: nothing that is secret."""

    @property
    def may_be_named(self) -> bool:
        """Whether a spec may ask for its applications' events to be told there."""

    def wants(self, event: Event) -> bool:
        """Plain and quick: every event is asked for."""

    async def send(self, notice: Notice, now: float) -> None:
        """Returns once the target has it. Raises NotTaken."""
