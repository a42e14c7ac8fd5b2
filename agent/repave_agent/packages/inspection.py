"""Whether a package may be unpacked on machines, whose own tar does it: by the rules of `unpack` here."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from repave_agent.core.ports import RefusedError
from repave_protos.package.archive import PackageFormatError, inspect
from repave_protos.protocol.values import Digest

INSPECTED_MAX = 1_000
"""So many are remembered as good."""


@dataclass(slots=True)
class Inspector:
    """One for a provider: reads each package through once."""

    good: dict[Digest, None] = field(default_factory=dict)
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def check(self, digest: Digest, package: Path) -> None:
        """Raises RefusedError."""
        async with self._reading:
            if not package.is_file():
                raise RefusedError(f"{package}: there is no such package")
            if digest in self.good:
                return
            try:
                await asyncio.to_thread(inspect, package)
            except PackageFormatError as error:
                raise RefusedError(f"the package cannot be unpacked: {error}") from error
            while len(self.good) >= INSPECTED_MAX:
                del self.good[next(iter(self.good))]
            self.good[digest] = None
