"""How lists of things are said to people."""

from collections.abc import Sequence

NAMES_SHOWN_MAX = 10


def some(names: Sequence[str]) -> str:
    """The first ten, and how many more there are."""
    rest = f" and {len(names) - NAMES_SHOWN_MAX} more" if len(names) > NAMES_SHOWN_MAX else ""
    return ", ".join(names[:NAMES_SHOWN_MAX]) + rest
