"""Paths of the API, with names and queries that may hold any character."""

from collections.abc import Mapping
from urllib.parse import quote, urlencode


def quoted(name: str) -> str:
    """A name as part of a path."""
    return quote(name, safe="")


def with_query(path: str, query: Mapping[str, object]) -> str:
    """Without what is None or ""."""
    given = {name: value for name, value in query.items() if value not in (None, "")}
    return f"{path}?{urlencode(given)}" if given else path
