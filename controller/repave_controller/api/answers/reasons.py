"""Reasons as JSON: their kind, their facts, a command that would help, and the text for people."""

from pydantic import Field

from repave_controller.api.answers.answer import Answer
from repave_controller.core.domain.reasons import Fact, Reason, Remedy
from repave_controller.wording.render import remedy_of, text_of

FactValue = str | int | float | list[str] | None


class RemedyItem(Answer):
    """What a person could do about it."""

    command: str = Field(description="Of the CLI, such as promote; empty where none would help.")
    arguments: list[str]
    options: dict[str, str | bool] = Field(description="By their names; true: a flag.")
    text: str = Field(description="In words, with other commands that would help.")


def remedy_item(reason: Reason) -> RemedyItem | None:
    """The command that would help, and in words what else would."""
    remedy = reason.remedies[0] if reason.remedies else Remedy("")
    text, options = remedy_of(reason), dict(remedy.options)
    if not text:
        return None
    return RemedyItem(command=remedy.command, arguments=list(remedy.arguments), options=options, text=text)


def facts_of(reason: Reason) -> dict[str, FactValue]:
    return {name: _value(fact) for name, fact in reason.facts}


def _value(fact: Fact) -> FactValue:
    if isinstance(fact, tuple):
        return [text_of(each) if isinstance(each, Reason) else each for each in fact]
    return text_of(fact) if isinstance(fact, Reason) else fact
