"""Makes text of reasons and remedies: for the API, the CLI, the log and the events alike."""

from collections.abc import Iterable, Mapping, Sequence

from repave_controller.core.domain.application import Event
from repave_controller.core.domain.reasons import (
    Clue,
    Concern,
    Fact,
    Facts,
    Forecast,
    Happening,
    Kind,
    Reason,
    Refusal,
    Remedy,
    Rule,
    Why,
)
from repave_controller.wording import clues, concerns, events, forecasts, guards, refusals, waits
from repave_controller.wording.phrases import Template

TEXTS: Mapping[type[Kind], Mapping[Kind, Template]] = {
    Refusal: {**refusals.TEXTS},
    Rule: {**guards.TEXTS},
    Why: {**waits.TEXTS},
    Happening: {**events.TEXTS},
    Forecast: {**forecasts.TEXTS},
    Concern: {**concerns.TEXTS},
    Clue: {**clues.TEXTS},
}
REMEDIES: Mapping[type[Kind], Mapping[Kind, Template]] = {
    Rule: {**guards.REMEDIES},
    Why: {**waits.REMEDIES},
    Concern: {**concerns.REMEDIES},
}


def text_of(reason: Reason | None) -> str:
    """One line for people; "" for no reason."""
    if reason is None:
        return ""
    return _filled(TEXTS[type(reason.kind)][reason.kind], reason.facts, reason.remedies)


def texts_of(reasons: Iterable[Reason]) -> str:
    return "; ".join(text_of(each) for each in reasons)


def event_text(event: Event) -> str:
    """One line for people."""
    return text_of(event.what) or event.text


def remedy_of(reason: Reason) -> str:
    """What people could do about it; "" where nothing but time helps."""
    template = REMEDIES.get(type(reason.kind), {}).get(reason.kind)
    if template is not None:
        return _filled(template, reason.facts, reason.remedies)
    within = (remedy_of(fact) for _, fact in reason.facts if isinstance(fact, Reason))
    commands = map(command_of, reason.remedies[:1])
    return next((text for text in (*within, *commands) if text), "")


def command_of(remedy: Remedy) -> str:
    """`repave promote web --role ops`"""
    options = (f"--{name}" if value is True else f"--{name} {value}" for name, value in remedy.options)
    return " ".join(("repave", remedy.command, *remedy.arguments, *options))


def _filled(template: Template, facts: Facts, remedies: Sequence[Remedy]) -> str:
    commands = [command_of(remedy) for remedy in remedies]
    words = {name: _in_words(fact) for name, fact in facts}
    if isinstance(template, str):
        shown = {name: ", ".join(word) if isinstance(word, tuple) else word for name, word in words.items()}
        return template.format(*commands, **shown)
    return template(*commands, **words)


def _in_words(fact: Fact) -> str | float | tuple[str, ...] | None:
    """Reasons within by their texts."""
    if isinstance(fact, Reason):
        return text_of(fact)
    if isinstance(fact, tuple) and fact and isinstance(fact[0], Reason):  # then all are
        return texts_of(each for each in fact if isinstance(each, Reason))
    return fact  # type: ignore[return-value]  # no reason is left
