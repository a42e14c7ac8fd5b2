"""Which structure the HAProxy program has read without complaint: of two HAProxys one lets it read, and the
other believes it. To start the program takes longer than to read, most of all on a busy machine."""

import threading
from collections.abc import Callable

from repave_agent.core.ports import Structure


class Readings:
    """One for all HAProxys of a balancer. Blocking: who asks second waits for the answer to the first."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._read: tuple[str, Structure] | None = None

    def once(self, program: str, structure: Structure, read: Callable[[], None]) -> None:
        """Raises what `read` raises; then it is read again by who asks next."""
        with self._turn:
            if self._read is None or self._read[0] != program or self._read[1] is not structure:
                self._read = None
                read()
                self._read = (program, structure)

    def forget(self) -> None:
        """It was read, and could not be taken all the same."""
        with self._turn:
            self._read = None
