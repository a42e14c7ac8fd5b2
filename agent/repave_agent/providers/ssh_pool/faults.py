"""Whether a fault is that of a machine, or one that several machines show alike and that is not theirs: a
wrong key, an image that forbids root, a reset that is broken, the agent's own network. Pure.

Until a machine works, a fault that two machines show alike is no machine's. Once one works it was theirs.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    machine: str
    text: str
    likeness: str


class Faults:
    """Of the machines that have failed since one worked last."""

    def __init__(self) -> None:
        self._by_machine: dict[str, Fault] = {}

    def add(self, machine: str, text: str, own: tuple[str, ...]) -> list[Fault]:
        """Those of other machines that fail alike. `own`: words that only this machine's text has."""
        fault = Fault(machine, text, _likeness(text, (machine, *own)))
        self._by_machine[machine] = fault
        return [
            each
            for each in self._by_machine.values()
            if each.machine != machine and each.likeness == fault.likeness
        ]

    def worked(self, machine: str) -> list[Fault]:
        """A machine works: gives the faults of the others, which are theirs then."""
        self._by_machine.pop(machine, None)
        found, self._by_machine = list(self._by_machine.values()), {}
        return found


def _likeness(text: str, own: tuple[str, ...]) -> str:
    for word in sorted(filter(None, own), key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", "it", text)
    return re.sub(r"\d+", "#", text)
