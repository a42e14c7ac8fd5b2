"""Which processes run on this machine, and the arguments of those that a test starts."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path


def processes() -> set[int]:
    return {int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit()}


class Words:
    """Arguments of all processes that start meanwhile, looked at again and again by a thread."""

    PAUSE_SECONDS = 0.02

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._over = threading.Event()

    def _look(self, before: set[int]) -> None:
        while not self._over.wait(self.PAUSE_SECONDS):
            for pid in processes() - before:
                with contextlib.suppress(OSError):
                    self.seen.add(Path(f"/proc/{pid}/cmdline").read_bytes())

    @contextlib.contextmanager
    def watched(self) -> Iterator["Words"]:
        thread = threading.Thread(target=self._look, args=(processes(),))
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            thread.join()
