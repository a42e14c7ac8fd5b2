"""Puts the names of what is judged into a query, so that none can change what else the query says.

Names of applications, groups, regions and versions have no sign that any of these languages gives a meaning,
but for `.` and `+` in patterns; whatever had another one is refused all the same, whichever language it is.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import quote

from repave_controller.operations.analysis.sources.ports import Side, SourceError, Window

NAMES = ("application", "region", "group", "version")
NUMBERS = ("step", "since", "until", "window")
PLACEHOLDER = re.compile(r"\{(" + "|".join((*NAMES, *NUMBERS)) + r")\}")
_PLAIN = re.compile(r"[A-Za-z0-9._+-]{1,255}")
_QUOTES = "\"'`"
_OF_PATTERNS = re.compile(r"[=!]~\s*$")

Placer = Callable[[str], str]


def plain(query: str, side: Side, window: Window) -> str:
    """Each name as it is. Raises SourceError."""
    return PLACEHOLDER.sub(lambda found: _one(found[1], side, window), query)


def in_url(url: str, query: str, side: Side, window: Window) -> str:
    """An address with placeholders, `{query}` among them, each as part of a URL. Raises SourceError."""
    placed = quote(plain(query, side, window), safe="")

    def put(found: re.Match[str]) -> str:
        return quote(_one(found[1], side, window), safe="")

    return placed.join(PLACEHOLDER.sub(put, part) for part in url.split("{query}"))


def in_labels(query: str, side: Side, window: Window) -> str:
    """PromQL: names stand in quotes only; after =~ and !~ they are patterns, where several regions are one
    of them. Raises SourceError."""
    return "".join(_labels(query, side, window))


def objection_to_same(text: str) -> str:
    """Why both sides would be asked the same; "": they would not."""
    if "{group}" in text or "{version}" in text:
        return ""
    return "it must choose a side by {group} or {version}: as it is both have the same numbers"


def objection_to_labels(query: str) -> str:
    """Why it is no such query; "": it is."""
    for text, quoted, _ in _parts(query):
        for found in PLACEHOLDER.finditer(text):
            if not quoted and found[1] in NAMES:
                return f'{{{found[1]}}} must stand in quotes, as in {found[1]}="{{{found[1]}}}"'
    return ""


def _labels(query: str, side: Side, window: Window) -> Iterator[str]:
    if why := objection_to_labels(query):
        raise SourceError(why)
    for text, quoted, is_pattern in _parts(query):

        def put(found: re.Match[str], quoted: str = quoted, is_pattern: bool = is_pattern) -> str:
            name = found[1]
            if not is_pattern:
                return _one(name, side, window)
            values = side.regions if name == "region" else (_one(name, side, window),)
            pattern = "|".join(re.escape(_checked(name, each)) for each in values)
            return pattern if quoted == "`" else pattern.replace("\\", "\\\\")

        yield PLACEHOLDER.sub(put, text)


def _parts(query: str) -> Iterator[tuple[str, str, bool]]:
    """Text, the quotes that it stands in ("": none), whether it is a pattern."""
    at, before = 0, ""
    while at < len(query):
        sign = query[at]
        if sign == "#":
            end = query.find("\n", at) + 1 or len(query)
            at = end  # a comment is left out
        elif sign in _QUOTES:
            end = _end(query, at)
            yield query[at:end], sign, bool(_OF_PATTERNS.search(before))
            at, before = end, ""
        else:
            end = next((n for n in range(at, len(query)) if query[n] in _QUOTES + "#"), len(query))
            before = query[at:end]
            yield before, "", False
            at = end


def _end(query: str, begin: int) -> int:
    """Behind the quotes that end what begins there. Raises SourceError."""
    at, sign = begin + 1, query[begin]
    while at < len(query):
        if query[at] == sign:
            return at + 1
        at += 2 if query[at] == "\\" and sign != "`" else 1
    raise SourceError(f"the query has a {sign} without its end")


def _one(name: str, side: Side, window: Window) -> str:
    """Raises SourceError."""
    numbers: Mapping[str, float] = {
        "step": window.step_seconds,
        "since": window.since,
        "until": window.until,
        "window": window.until - window.since,
    }
    if name in numbers:
        return f"{numbers[name]:.0f}"
    if name == "region":
        if len(side.regions) != 1:
            raise SourceError(
                f"{{region}} is one region, and {len(side.regions)} are judged together: judge by region, "
                "leave it out, or match it as a pattern where the source has those"
            )
        return _checked(name, side.regions[0])
    values = {"application": side.application, "group": side.group, "version": side.version}
    return _checked(name, values[name])


def _checked(name: str, value: str) -> str:
    if _PLAIN.fullmatch(value) is None:
        raise SourceError(f"the {name} {value[:60]!a} has signs that don't go into a query")
    return value
