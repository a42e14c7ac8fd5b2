"""Tells HAProxy of certificates that have changed, without a reload, and remembers what it was told."""

import hashlib
from collections.abc import Mapping

from repave_agent.balancers.haproxy.socket import MasterSocket


class Shown:
    """Of one HAProxy. A worker that is new has read the files itself, and is told once all the same."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[int, bytes]] = {}  # by file: which worker, and what

    def tell(self, socket: MasterSocket, worker: int, files: Mapping[str, str]) -> None:
        """What differs from what it was told last. Raises BalancerError, OSError."""
        for path, text in files.items():
            if self._told.get(path) != (worker, _digest(text)):
                socket.replace_certificate(worker, path, text)
                self.note(worker, {path: text})
        self._told = {path: told for path, told in self._told.items() if path in files}

    def note(self, worker: int | None, files: Mapping[str, str]) -> None:
        """It has these by now."""
        if worker is not None:
            self._told |= {path: (worker, _digest(text)) for path, text in files.items()}


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
