"""What has changed between two specs, for the audit log: field by field, without what may be secret."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

HIDDEN = "***"
HIDDEN_BELOW = ("env", "headers")
"""People put words there that open doors, whatever the name of the field is."""
VALUE_LENGTH_MAX = 200
CHANGES_MAX = 200
_WORD = r"(?:pass\w*|pwd|secret\w*|token|api[-_]?key|key|credential\w*|auth\w*)"
_GIVEN = re.compile(rf"(?i)({_WORD}[=: ]+(?:bearer |basic )?)\S+")
_FLAG = re.compile(rf"(?i)-+[\w-]*{_WORD}")
"""What comes after it in a list of words is its value."""
_TOKEN = re.compile(r"\b(?:rp[vaj][_.]|gh[pousr]_|glpat-|xox[abp]-|AKIA|eyJ)[\w.~+/=-]{8,}")
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
    return _TOKEN.sub(HIDDEN, _IN_URL.sub(f"//{HIDDEN}@", _GIVEN.sub(rf"\1{HIDDEN}", text)))


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    match value:
        case Mapping():
            for name, each in value.items():
                yield from _flat(each, f"{path}.{name}" if path else str(name))
        case str():
            yield path, value
        case Sequence():
            former = ""
            for number, each in enumerate(value):
                is_hidden = isinstance(each, str) and _FLAG.fullmatch(former) is not None
                yield from _flat(f"secret={each}" if is_hidden else each, f"{path}[{number}]")
                former = each if isinstance(each, str) else ""
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
