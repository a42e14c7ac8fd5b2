"""Loads the modules of a daemon in less time: imported before all others, `finish` called after the last.

Modules stay. Looking through all of them for garbage, again and again while more are loaded and ever after,
takes a tenth of a start, and stops the daemon for some hundredths of a second each time.
"""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def finish() -> None:
    """What is there by now is never looked through again."""
    gc.freeze()
    gc.enable()


@contextmanager
def _hidden(package: str) -> Iterator[None]:
    """As if it were not installed."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]  # how the import system is told
    try:
        yield
    finally:
        del sys.modules[package]


gc.disable()
with _hidden(
    "rich"
):  # others bring it; structlog would load it for tracebacks in colours, which nothing writes
    import structlog  # noqa: F401
