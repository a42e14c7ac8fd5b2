"""Root acting for the user of a service: whose directory it is, and as that user."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def acting_as(owner: tuple[int, int] | None) -> Iterator[None]:
    """As a user and group, for the block; None: as before. Raises OSError."""
    if owner is None:
        yield
        return
    user, group = owner
    groups, former = os.getgroups(), os.getegid()
    os.setgroups([])
    os.setegid(group)
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(former)
        os.setgroups(groups)
