"""What a daemon tells the systemd that started it: that it is ready, that it still works, that it stops.

Without NOTIFY_SOCKET in the environment (a terminal, a container) nothing is told. Protocol: sd_notify(3).
"""

import asyncio
import os
import socket
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass

READY, STOPPING, ALIVE = "READY=1", "STOPPING=1", "WATCHDOG=1"


def _nothing(_: str) -> None:
    """No supervisor listens."""


@dataclass(frozen=True, slots=True)
class Supervisor:
    """`tell` sends one message. After `patience_seconds` without ALIVE it restarts the daemon; 0: never."""

    tell: Callable[[str], None] = _nothing
    patience_seconds: float = 0.0

    async def keep_alive(self) -> None:
        """Tells three times as often as it must that the event loop turns; without a watchdog it returns."""
        while self.patience_seconds:
            self.tell(ALIVE)
            await asyncio.sleep(self.patience_seconds / 3)


def supervisor_of(environment: MutableMapping[str, str] = os.environ) -> Supervisor:
    """The one that started this process. Takes its variables out of the environment: what this process starts
    must not speak for it."""
    address = environment.pop("NOTIFY_SOCKET", "")
    microseconds = environment.pop("WATCHDOG_USEC", "")
    process = environment.pop("WATCHDOG_PID", "")
    if not address:
        return Supervisor()
    is_watched = microseconds.isdecimal() and process in ("", str(os.getpid()))
    return Supervisor(_teller(address), int(microseconds) / 1_000_000 if is_watched else 0.0)


def _teller(address: str) -> Callable[[str], None]:
    path = "\0" + address[1:] if address.startswith("@") else address

    def tell(message: str) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.setblocking(False)
            with suppress(OSError):  # one that is gone, or busy, must not hold up the daemon
                sender.sendto(message.encode(), path)

    return tell
