"""Gives every host of the local provider its own address: of loopback, or in a network of its own.

In sequence, with a cursor on disk, so that an address is not used again soon: a late packet, a balancer or a
client that still knows an old host must not meet a new one.
"""

import errno
import ipaddress
import os
import socket
import sys
import threading
from pathlib import Path

from repave_agent.core.ports import OutOfCapacityError, RefusedError
from repave_protos.daemon.files import read_file

ROUTES = Path("/proc/self/net/route")
RESERVED_AT_ONCE = 64
"""The cursor is written once for so many addresses; after a restart the rest of them is skipped."""
ADDRESSES_TRIED_MAX = 100
"""Addresses on which the port is taken are passed over; when all of these are, there is none."""


class AddressRange:
    """The addresses of one provider. Thread-safe."""

    def __init__(self, network: str, cursor_file: Path, *, has_networks: bool = False) -> None:
        """`has_networks`: each address is that of a network of its own, where nothing else has the port."""
        self._network = ipaddress.IPv4Network(network)
        self._has_networks = has_networks
        self._usable = self._network.num_addresses - 2  # neither the first nor the last one
        if self._usable < 1 or self._network.is_loopback is has_networks:
            if has_networks:
                raise RefusedError(
                    f"own_addresses {network} is no private range. Choose one such as 10.83.0.0/16"
                )
            raise RefusedError(
                f"address_range {network} is not a loopback range. Choose one such as 127.81.0.0/16"
            )
        self._cursor_file = cursor_file
        self._lock = threading.Lock()
        self._taken: set[str] = set()
        self._next = self._reserved = _read_cursor(cursor_file)

    def take(self, port: int) -> str:
        """A free address on which `port` can be bound. Raises OutOfCapacityError, RefusedError, OSError."""
        for attempt in range(1, ADDRESSES_TRIED_MAX + 1):
            address = self._advance()
            error = route_error(address) if self._has_networks else bind_error(address, port)
            if error is None:
                return address
            self.release(address)
            if error.errno != errno.EADDRINUSE or attempt == ADDRESSES_TRIED_MAX:
                raise _refused(address, port, error)
        raise AssertionError("the last attempt returns or raises")

    def keep(self, address: str) -> None:
        """Takes note of the address of a host that was found."""
        with self._lock:
            self._taken.add(address)

    def release(self, address: str) -> None:
        with self._lock:
            self._taken.discard(address)

    def _advance(self) -> str:
        with self._lock:
            for _ in range(min(self._usable, len(self._taken) + 1)):
                address = str(self._network[1 + self._next % self._usable])
                self._next += 1
                if address not in self._taken:
                    self._taken.add(address)
                    self._reserve()
                    return address
        raise OutOfCapacityError(
            f"all {self._usable} addresses of {self._network} are taken by hosts. Set a larger address_range."
        )

    def _reserve(self) -> None:
        if self._next > self._reserved:
            self._reserved = self._next + RESERVED_AT_ONCE
            part = self._cursor_file.with_suffix(".part")
            part.write_text(str(self._reserved))
            part.rename(self._cursor_file)


def _read_cursor(path: Path) -> int:
    try:
        return max(0, int(read_file(path)))
    except (FileNotFoundError, ValueError):
        return 0  # nothing is lost: addresses of hosts that live are skipped


def bind_error(address: str, port: int) -> OSError | None:
    """Why a server could not listen there now; None when it could."""
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: old connections are fine
        try:
            trial.bind((address, port))
        except OSError as error:
            return error
    return None


def route_error(address: str) -> OSError | None:
    """Why a network could not have the address: another agent's host has it. None when it could."""
    wanted = f"{int.from_bytes(ipaddress.IPv4Address(address).packed, sys.byteorder):08X}"
    routes = (line.split() for line in ROUTES.read_text().splitlines())
    if any(len(route) > 7 and (route[1], route[7]) == (wanted, "FFFFFFFF") for route in routes):
        return OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    return None


def _refused(address: str, port: int, error: OSError) -> RefusedError:
    if error.errno == errno.EADDRINUSE:
        return RefusedError(
            f"port {port} is taken: something else on this machine listens on {address}:{port}, most likely "
            f"on 0.0.0.0:{port}, which is every address. Find it with: ss -ltnp 'sport = :{port}'. "
            "Stop it, let it listen on 127.0.0.1 only, or choose another health port in the spec."
        )
    if error.errno == errno.EACCES:
        return RefusedError(
            f"only root may listen on port {port}. Choose one above 1023, or run the agent as root."
        )
    return RefusedError(
        f"cannot listen on {address}:{port}: {os.strerror(error.errno or 0)}. Provider local needs "
        "Linux, where all of 127.0.0.0/8 is this machine."
    )
