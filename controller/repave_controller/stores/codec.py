"""Applications, rollouts and freezes as JSON text, for stores. The dataclasses are the schema.

A field that is new in a later version needs a default there; then older text is read as well. Version 0.1
kept the reasons of a rollout as text: they are read as a person's words.
"""

import json
from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

import repave_controller.core.steps  # noqa: F401  # every kind of step that a rollout may hold
from repave_controller.core.domain.application import Application
from repave_controller.core.domain.freezes import Freezes
from repave_controller.core.domain.reasons import Why
from repave_controller.core.domain.rollout import Rollout
from repave_controller.core.ports import StoreError

Value = TypeVar("Value")

_APPLICATION = TypeAdapter(Application)
_ROLLOUT = TypeAdapter(Rollout)
_FREEZES = TypeAdapter(Freezes)


def encode_application(application: Application) -> str:
    return _APPLICATION.dump_json(application).decode()


def decode_application(text: str) -> Application:
    """Raises StoreError if `text` is not what encode_application wrote."""
    return _decode(_APPLICATION, text, "an application", _upgrade_application)


def encode_rollout(rollout: Rollout) -> str:
    return _ROLLOUT.dump_json(rollout).decode()


def decode_rollout(text: str) -> Rollout:
    """Raises StoreError if `text` is not what encode_rollout wrote."""
    return _decode(_ROLLOUT, text, "a rollout", _give_kinds)


def encode_freezes(freezes: Freezes) -> str:
    return _FREEZES.dump_json(freezes).decode()


def decode_freezes(text: str) -> Freezes:
    """Raises StoreError if `text` is not what encode_freezes wrote."""
    return _decode(_FREEZES, text, "freezes")


def _decode(
    adapter: TypeAdapter[Value], text: str, what: str, upgrade: Callable[[Any], None] | None = None
) -> Value:
    """`upgrade` makes plain values of an older version those of this one, in place."""
    try:
        return adapter.validate_json(text)
    except ValidationError as error:
        if upgrade is not None and (upgraded := _upgraded(adapter, text, upgrade)) is not None:
            return upgraded
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise StoreError(
            f"the store holds {what} that this repave cannot read ({where}: {first['msg']}). It was written "
            "by another version or damaged: run that version, or restore the database from a backup."
        ) from error


def _upgraded(adapter: TypeAdapter[Value], text: str, upgrade: Callable[[Any], None]) -> Value | None:
    try:
        plain = json.loads(text)
        upgrade(plain)
        return adapter.validate_json(json.dumps(plain))
    except (ValueError, LookupError, TypeError):  # neither this version nor the one before wrote it
        return None


def _upgrade_application(application: dict[str, Any]) -> None:
    """A region that was missed had no target of its own before: it lacks that of the last rollout."""
    rollout = application["rollout"]
    _give_kinds(rollout)
    application["missed"] = [
        {"region": each[0], "size": each[1], "target": rollout["target"]} if isinstance(each, list) else each
        for each in application.get("missed", [])
    ]


def _give_kinds(rollout: dict[str, Any] | None) -> None:
    """Reasons of version 0.1 are texts."""
    if rollout is None:
        return
    pause = rollout.get("pause")
    _give_kind(rollout, "undo_reason")
    for holder in (*rollout["tracks"], *([pause] if pause is not None else [])):
        _give_kind(holder, "reason")


def _give_kind(holder: dict[str, Any], name: str) -> None:
    reason = holder.get(name)
    if isinstance(reason, str):
        holder[name] = {"kind": str(Why.TEXT), "facts": [["text", reason]]} if reason else None
