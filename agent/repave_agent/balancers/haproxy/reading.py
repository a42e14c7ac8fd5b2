"""When the HAProxy program has to read a configuration before a reload: where something in it is of a kind
that does not run yet or the program was replaced, and once for two HAProxys. To start the program takes
longer than to read, most of all on a busy machine. A reload that fails leaves what runs in force, if the
program can be run at all."""

import threading
from collections.abc import Callable

from repave_agent.core.ports import Structure


class Readings:
    """One for all HAProxys of a balancer. Blocking: who asks second waits for the answer to the first."""

    def __init__(self) -> None:
        self.is_in_doubt = False
        """What was taken to be fine could not be reloaded: the next one is read, and the program says why."""
        self._turn = threading.Lock()
        self._read: tuple[str, Structure] | None = None

    def once(self, program: str, structure: Structure, read: Callable[[], None]) -> None:
        """Raises what `read` raises; then it is read again by who asks next."""
        with self._turn:
            if self._read is None or self._read[0] != program or self._read[1] is not structure:
                self._read = None
                read()
                self._read, self.is_in_doubt = (program, structure), False

    def doubt(self) -> None:
        with self._turn:
            self._read, self.is_in_doubt = None, True


def is_of_known_kinds(running: Structure, wanted: Structure) -> bool:
    """Whether `wanted` has nothing but more or fewer backends like those that run: the names and addresses in
    it are checked already."""
    kinds = [(each.probe, each.timeouts, each.fronts) for each in running.backends]
    return running.frontends == wanted.frontends and all(
        (each.probe, each.timeouts, each.fronts) in kinds for each in wanted.backends
    )
