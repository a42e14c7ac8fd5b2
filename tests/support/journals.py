"""What an agent's journal holds, read beside the agent."""

import json
from pathlib import Path
from typing import Any

from repave_agent.runtime.journal_file import FileDisk


def journal_of(state: Path) -> dict[str, Any]:
    """Of the agent with this state directory. Raises FileNotFoundError."""
    content = FileDisk(state / "journal.json").read()
    if content is None:
        raise FileNotFoundError(state / "journal.json")
    entries: dict[str, Any] = json.loads(content)
    return entries
