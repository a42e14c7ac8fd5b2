"""Puts values into another form, each of them once: what has not changed since is not encoded again."""

from collections.abc import Callable, Collection
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")
Form = TypeVar("Form")


class Encoded(Generic[Key, Value, Form]):
    """Remembers the newest value of each key, by identity: values must not change."""

    def __init__(self, encode: Callable[[Value], Form]) -> None:
        self._encode = encode
        self._known: dict[Key, tuple[Value, Form]] = {}

    def of(self, key: Key, value: Value) -> Form:
        known = self._known.get(key)
        if known is not None and known[0] is value:
            return known[1]
        form = self._encode(value)
        self._known[key] = (value, form)
        return form

    def keep(self, keys: Collection[Key]) -> None:
        """Forgets the others."""
        if len(self._known) > len(keys):
            self._known = {key: known for key, known in self._known.items() if key in keys}
