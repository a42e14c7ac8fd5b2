"""The id of what a daemon does something for: that of the request, which is in every line of the log that
comes of it, and goes along to the agents that are asked."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from structlog.contextvars import bound_contextvars, get_contextvars

REQUEST = "request"
ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")


@contextmanager
def caused_by(request: str) -> Iterator[None]:
    """While the block lasts, in its task and in those that it starts; with "" nothing changes."""
    if not request:
        yield
        return
    with bound_contextvars(**{REQUEST: request}):
        yield


def cause() -> str:
    """The id of the request that this is done for, or ""."""
    return str(get_contextvars().get(REQUEST, ""))
