"""What a person reads of an event where somebody's inbox or pager shows it: one title, a few lines."""

from dataclasses import dataclass
from typing import Final, Literal

from repave_controller.core.domain.application import Event

TITLES: Final = {
    "release.failed": "release failed",
    "release.held": "release holds and waits for a person",
    "release.refused": "queued release refused",
    "release.stopped": "release stopped",
    "release.succeeded": "release succeeded",
    "release.started": "release started",
    "release.queued": "release queued",
    "release.rolled-back": "release rolled back",
    "rollback.started": "rollback started",
    "rollback.succeeded": "rollback succeeded",
    "rollback.failed": "rollback failed",
    "rollback.held": "rollback holds and waits for a person",
    "job.failed": "job failed",
    "job.unknown": "job may have run and waits for a person",
    "queue.standing": "queue stands still",
    "gate.waiting": "waits for approval",
    "gate.objected": "somebody objects: waits for approval",
    "notices.test": "test of notifications",
}
TITLE_LENGTH_MAX, LINE_LENGTH_MAX = 200, 1000

Level = Literal["failure", "warning", "success", "info"]


@dataclass(frozen=True, slots=True)
class Message:
    """Plain text without control characters: whatever carries it escapes it as its format demands."""

    title: str
    body: str
    level: Level


def message_of(event: Event, url: str = "") -> Message:
    """`url`: where people reach the controller, for a link; "" for none."""
    what = TITLES.get(event.kind, event.kind.replace(".", " "))
    title = f"{event.application}: {what}" if event.application else f"repave: {what}"
    lines = [event.text]
    lines += [f"region {event.region}"] if event.region else []
    lines += [f"by {event.by}"] if event.by and event.by not in event.text else []
    lines += [f"{url}/apps/{event.application}"] if url and event.application else []
    body = "\n".join(_plain(line, LINE_LENGTH_MAX) for line in lines)
    return Message(_plain(title, TITLE_LENGTH_MAX), body, level_of(event.kind))


def level_of(kind: str) -> Level:
    _, _, how = kind.rpartition(".")
    if how in ("failed", "refused", "stopped"):
        return "failure"
    if (
        how in ("held", "standing", "waiting", "objected", "rolled-back", "skipped")
        or kind == "rollback.started"
    ):
        return "warning"
    return "success" if how == "succeeded" else "info"


def _plain(text: str, length_max: int) -> str:
    """One line: no line ends that would begin a header, no marks that turn the writing round."""
    line = "".join(sign if sign.isprintable() else " " for sign in text)
    return line if len(line) <= length_max else f"{line[: length_max - 1]}…"
