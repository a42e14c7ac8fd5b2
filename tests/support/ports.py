"""Ports that are free, and that nothing else takes before a test has them."""

import itertools
import os
import socket
from contextlib import suppress

FIRST, LAST = 10_000, 32_000
"""Below those that the system gives to connections, and to whoever asks for any port."""

_ports = itertools.cycle(range(FIRST, LAST))
next(itertools.islice(_ports, os.getpid() * 97 % (LAST - FIRST), None))  # apart from other processes


def free_port() -> int:
    """Of this machine's own address."""
    for port in itertools.islice(_ports, LAST - FIRST):
        with socket.socket() as trial, suppress(OSError):
            trial.bind(("127.0.0.1", port))
            return port
    raise AssertionError(f"all ports from {FIRST} to {LAST} are taken")


def free_ports(count: int) -> list[int]:
    return [free_port() for _ in range(count)]
