"""Copies of frozen values with fields changed: `dataclasses.replace` in less than half of its time.

That one looks at every field of the class each time, and has the copy made by `__init__`. A decision over a
hundred regions makes thousands of copies.
"""

import dataclasses
from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any

__all__ = ["replace"]

Put = Callable[[Any, Any], None]
"""Sets one field, also of a frozen value."""

if TYPE_CHECKING:
    from dataclasses import replace
else:

    def replace(value, /, **changes):
        """As `dataclasses.replace`. For dataclasses with slots, without `__post_init__`; others are given to
        that one. Raises TypeError for a field that there is not."""
        kind = value.__class__
        fields = _FIELDS.get(kind) or _learn(kind)
        if fields.is_given_away:
            return dataclasses.replace(value, **changes)
        made = _new(kind)
        for put, known in zip(fields.puts, fields.read(value), strict=False):  # as many, and this is quicker
            put(made, known)
        for name, changed in changes.items():
            if name not in fields.put:
                raise TypeError(f"{kind.__name__} has no field {name}")
            fields.put[name](made, changed)
        return made


_new = object.__new__


@dataclasses.dataclass(frozen=True, slots=True)
class _Fields:
    """How those of a class are read, all at once, and set."""

    is_given_away: bool
    read: Callable[[Any], tuple[Any, ...]] = tuple
    puts: tuple[Put, ...] = ()
    put: dict[str, Put] = dataclasses.field(default_factory=dict)


_FIELDS: dict[type, _Fields] = {}


def _learn(kind: type) -> _Fields:
    fields = dataclasses.fields(kind)
    is_plain = "__slots__" in kind.__dict__ and not hasattr(kind, "__post_init__")
    is_plain = is_plain and len(fields) > 1 and all(field.init for field in fields)
    if is_plain:
        put = {field.name: getattr(kind, field.name).__set__ for field in fields}
        _FIELDS[kind] = _Fields(False, attrgetter(*put), tuple(put.values()), put)
    else:
        _FIELDS[kind] = _Fields(True)
    return _FIELDS[kind]
