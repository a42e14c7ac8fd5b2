"""Whether a provider can read on in what a host prints, or has its last lines only."""

from typing import Protocol, runtime_checkable

from repave_agent.core.ports import LogPiece, Provider, ReadLog
from repave_protos.protocol.values import HostName


@runtime_checkable
class Reads(Protocol):
    """A provider that can."""

    async def read_log(self, host: HostName, after: str, lines: int, bytes_max: int) -> LogPiece:
        """As ports.ReadLog."""


def reading(provider: Provider) -> ReadLog | None:
    return provider.read_log if isinstance(provider, Reads) else None
