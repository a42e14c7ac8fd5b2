"""Applications, rollouts and freezes as JSON text, for stores. The dataclasses are the schema.

A field that is new in a later version needs a default there; then older text is read as well.
"""

from collections.abc import Callable
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

import repave_controller.core.steps  # noqa: F401  # every kind of step that a rollout may hold
from repave_controller.core.domain.application import Application
from repave_controller.core.domain.freezes import Freezes
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
    return _decode(_APPLICATION.validate_json, text, "an application")


def encode_rollout(rollout: Rollout) -> str:
    return _ROLLOUT.dump_json(rollout).decode()


def decode_rollout(text: str) -> Rollout:
    """Raises StoreError if `text` is not what encode_rollout wrote."""
    return _decode(_ROLLOUT.validate_json, text, "a rollout")


def encode_freezes(freezes: Freezes) -> str:
    return _FREEZES.dump_json(freezes).decode()


def decode_freezes(text: str) -> Freezes:
    """Raises StoreError if `text` is not what encode_freezes wrote."""
    return _decode(_FREEZES.validate_json, text, "freezes")


def _decode(validate: Callable[[str], Value], text: str, what: str) -> Value:
    try:
        return validate(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise StoreError(
            f"the store holds {what} that this repave cannot read ({where}: {first['msg']}). It was written "
            "by another version or damaged: run that version, or restore the database from a backup."
        ) from error
