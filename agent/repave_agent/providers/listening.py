"""Where a host's processes listen, by what the kernel says of sockets: for hosts whose port is silent."""

import asyncio
import ipaddress
import struct
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol, runtime_checkable

from repave_agent.core.ports import Provider
from repave_protos.protocol.values import HostName

LISTENING = "0A"
NAMED_MAX = 3
LOOK_SECONDS = 5.0


@runtime_checkable
class ListeningProvider(Protocol):
    """A provider that sees inside its hosts."""

    async def listeners(self, host: HostName) -> tuple[str, ...]:
        """The addresses with ports on which the host's processes listen. Raises ProviderError."""


def listeners_in(tables: Iterable[str], inodes: set[int]) -> tuple[str, ...]:
    """`tables`: lines of /proc/net/tcp and tcp6; `inodes`: those of the sockets that the processes have."""
    found = set()
    for line in tables:
        fields = line.split()
        if len(fields) > 9 and fields[3] == LISTENING and fields[9].isdigit() and int(fields[9]) in inodes:
            found.add(_address(fields[1]))
    return tuple(sorted(found))


def _address(field: str) -> str:
    """`0100007F:1F90` is 127.0.0.1:8080: words of four bytes, each in the machine's order."""
    raw, _, port = field.partition(":")
    words = struct.unpack(f">{len(raw) // 8}I", bytes.fromhex(raw))
    address = ipaddress.ip_address(struct.pack(f"={len(words)}I", *words))
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    shown = mapped or address
    return f"[{shown}]:{int(port, 16)}" if shown.version == 6 else f"{shown}:{int(port, 16)}"


def listens(provider: Provider) -> Callable[[HostName], Awaitable[str]] | None:
    """What a prober asks of a host whose port is silent; None where the provider can't tell."""
    if not isinstance(provider, ListeningProvider):
        return None
    seeing: ListeningProvider = provider

    async def tells(host: HostName) -> str:
        async with asyncio.timeout(LOOK_SECONDS):
            return told(await seeing.listeners(host))

    return tells


def told(found: tuple[str, ...]) -> str:
    """Follows "nothing listens on 127.0.0.1:8080"."""
    if not found:
        return ", and its processes listen on no port"
    more = f" and {len(found) - NAMED_MAX} more" if len(found) > NAMED_MAX else ""
    return f", but on {', '.join(found[:NAMED_MAX])}{more}"
