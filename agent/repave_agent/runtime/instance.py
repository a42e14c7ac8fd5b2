"""Names the agent's state directory: a controller tells by it whether an agent is the one that it knows.

A copy of the directory has the same name; it is the same agent, moved.
"""

import re
from collections.abc import Callable
from pathlib import Path

from repave_protos.daemon.files import read_file

FILE = "instance"
NAME = re.compile(r"[0-9a-f]{32}")


def name_of(state: Path, new_name: Callable[[], str]) -> str:
    """The name that was given at the first start. Raises OSError."""
    file = state / FILE
    known = read_file(file).decode("ascii", errors="replace").strip() if file.exists() else ""
    if NAME.fullmatch(known):
        return known
    fresh = new_name()
    draft = state / f"{FILE}.new"
    draft.write_text(f"{fresh}\n", encoding="ascii")
    draft.replace(file)
    return fresh
