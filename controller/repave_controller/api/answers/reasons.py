"""Reasons as JSON: their kind, their facts, a command that would help, and the text for people."""

from pydantic import BaseModel, Field

from repave_controller.core.domain.reasons import Fact, Reason, Remedy
from repave_controller.wording.render import command_of, text_of

FactValue = str | int | float | list[str] | None


class RemedyItem(BaseModel):
    """What a person could do about it."""

    command: str = Field(description="Of the CLI, such as promote.")
    arguments: list[str]
    options: dict[str, str | bool] = Field(description="By their names; true: a flag.")
    text: str


def remedy_item(remedy: Remedy) -> RemedyItem:
    return RemedyItem(
        command=remedy.command,
        arguments=list(remedy.arguments),
        options=dict(remedy.options),
        text=command_of(remedy),
    )


def facts_of(reason: Reason) -> dict[str, FactValue]:
    return {name: _value(fact) for name, fact in reason.facts}


def _value(fact: Fact) -> FactValue:
    if isinstance(fact, tuple):
        return list(fact)
    return text_of(fact) if isinstance(fact, Reason) else fact
