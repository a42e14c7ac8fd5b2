"""The exit codes of the CLI: what a script may rely on. docs/exit-codes.md explains them."""

from collections.abc import Mapping
from typing import Final

DONE: Final = 0
ERROR: Final = 1
USAGE: Final = 2
ROLLED_BACK: Final = 3
DENIED: Final = 4
REFUSED: Final = 5
WAITS: Final = 6
TIMED_OUT: Final = 7
HELD: Final = 8
CHANGES: Final = 10
DETACHED: Final = 130
TERMINATED: Final = 143

ENDS: Final[Mapping[str, int]] = {
    "succeeded": DONE,
    "rolled-back": ROLLED_BACK,
    "aborted": ROLLED_BACK,
    "held": HELD,
}
"""By the phase in which a rollout ended."""
