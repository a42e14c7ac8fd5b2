"""Text as Markdown that CI systems and code hosts show: what others wrote can neither format it, nor call
people, nor end a table."""

import re
from collections.abc import Iterable, Sequence

SPECIAL = re.compile(r"([\\`*_{}\[\]<>|~#])")


def escaped(text: object) -> str:
    """In one line. A mention of a person or team is no longer one."""
    one_line = " ".join(str(text).split())
    return SPECIAL.sub(r"\\\1", one_line).replace("@", "@\u200b").replace("&", "&amp;")


def code(text: object) -> str:
    """As it is, in one line; for names and commands."""
    return f"`{' '.join(str(text).split()).replace('`', chr(39)).replace('|', chr(0xA6))}`"


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Its cells are Markdown already."""
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    return lines + [f"| {' | '.join(map(str, row))} |" for row in rows]
