"""Makes text of reasons and remedies: for the API, the CLI, the log and the events alike."""

from collections.abc import Callable, Mapping, Sequence

from repave_controller.core.domain.reasons import Fact, Facts, Kind, Reason, Remedy
from repave_controller.wording import refusals

Template = str | Callable[..., str]
"""Of one kind: with the facts by their names and the commands that would help by their places."""

TEXTS: Mapping[type[Kind], Mapping[Kind, Template]] = {type(kind): refusals.TEXTS for kind in refusals.TEXTS}


def text_of(reason: Reason) -> str:
    """One line for people."""
    return filled(TEXTS[type(reason.kind)][reason.kind], reason.facts, reason.remedies)


def command_of(remedy: Remedy) -> str:
    """`repave promote web --role ops`"""
    options = (f"--{name}" if value is True else f"--{name} {value}" for name, value in remedy.options)
    return " ".join(("repave", remedy.command, *remedy.arguments, *options))


def filled(template: Template, facts: Facts, remedies: Sequence[Remedy] = ()) -> str:
    commands = [command_of(remedy) for remedy in remedies]
    if isinstance(template, str):
        return template.format(*commands, **{name: _shown(fact) for name, fact in facts})
    return template(*commands, **dict(facts))


def _shown(fact: Fact) -> Fact:
    """Within a text: names with commas between, and another reason by its own text."""
    if isinstance(fact, tuple):
        return ", ".join(fact)
    return text_of(fact) if isinstance(fact, Reason) else fact
