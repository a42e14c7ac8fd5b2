"""What has changed between two specs, for the audit log: field by field, without what may be secret."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

HIDDEN = "***"
HIDDEN_BELOW = ("env", "headers")
"""People put words there that open doors, whatever the name of the field is."""
VALUE_LENGTH_MAX = 200
CHANGES_MAX = 200
_GIVEN = re.compile(r"(?i)((?:pass\w*|pwd|secret|token|api[-_]?key|key|credential\w*|auth\w*)[=: ]+)\S+")
_IN_URL = re.compile(r"//[^/@\s]+@")


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """(field, `old -> new`) of each field that differs; `before` is empty at a first release."""
    old, new = dict(_flat(before)), dict(_flat(after))
    changed = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    shown = [(name, f"{_shown(name, old)} -> {_shown(name, new)}") for name in changed[:CHANGES_MAX]]
    more = len(changed) - len(shown)
    return (*shown, *([("more", f"{more} more fields differ")] if more else []))


def facts_of(body: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The fields of a command, for a row."""
    flat = dict(_flat(body))
    return tuple((name, _shown(name, flat)) for name in list(flat)[:CHANGES_MAX])


def cleaned(text: str) -> str:
    """Without what looks like a secret that a person has given away."""
    return _IN_URL.sub(f"//{HIDDEN}@", _GIVEN.sub(rf"\1{HIDDEN}", text))


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    match value:
        case Mapping():
            for name, each in value.items():
                yield from _flat(each, f"{path}.{name}" if path else str(name))
        case str():
            yield path, value
        case Sequence():
            for number, each in enumerate(value):
                yield from _flat(each, f"{path}[{number}]")
        case None:
            return
        case _:
            yield path, str(value)


def _shown(name: str, values: Mapping[str, str]) -> str:
    if name not in values:
        return "-"
    if any(part in HIDDEN_BELOW for part in name.split(".")[:-1]):
        return HIDDEN
    return cleaned(values[name])[:VALUE_LENGTH_MAX]
