"""What people read of an event that was decided; those that regions tell bring their text along."""

from collections.abc import Mapping

from repave_controller.core.domain.application import Event
from repave_controller.wording.render import Template, filled

TEXTS: Mapping[str, Template] = {
    "release.refused": "the queued release of {version} is refused: {refusal}",
}


def event_text(event: Event) -> str:
    """One line for people."""
    return event.text or filled(TEXTS[event.kind], event.facts)
