"""Where the project's files are, whichever room a test is in."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "deploy" / "examples" / "hello"
