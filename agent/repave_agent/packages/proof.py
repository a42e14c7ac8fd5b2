"""Looks at a package's signature before each launch: as the release says, and as this agent's settings do.

The settings hold whatever the controller sends: a region can refuse what its controller would take.
"""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from repave_agent.core.ports import HostSpec, PackageError
from repave_protos.package.signatures import SignatureError
from repave_protos.package.signing import Signer, Signing, heard, signer_of

PROVEN_MAX = 1_000
"""So many are remembered as good."""

Proven = tuple[str, str, tuple[Signer, ...]]


@dataclass(slots=True)
class Proof:
    """One for an agent: reads each package through once for each set of keys. Implements ports.Proof."""

    signing: Signing = field(default_factory=Signing)
    _good: dict[Proven, None] = field(default_factory=dict)
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def check(self, spec: HostSpec, package: Path) -> None:
        """Raises PackageError."""
        own = self.signing.keys_for(spec.application)
        if own:
            await self._check(spec, package, own, "this agent's settings (signatures)")
        if spec.template.signers:
            try:
                told = spec.template.signers, spec.template.trusted_roots
                asked = await asyncio.to_thread(heard, *told)  # reads roots, and imports what reads them
            except SignatureError as error:
                raise PackageError(f"a key or an identity that the controller sent: {error}") from error
            await self._check(spec, package, asked, "the controller's settings (signatures)")

    async def _check(self, spec: HostSpec, package: Path, keys: tuple[Signer, ...], whose: str) -> None:
        application, signature = spec.application, spec.template.signature
        names = ", ".join(map(str, keys))
        asked = f"{whose} ask for a signature of packages of {application} by {names}"
        if not signature:
            raise PackageError(f"the package is not signed, and {asked}. Release it with its signature")
        proven = (spec.digest, signature, keys)
        async with self._reading:
            if proven in self._good:
                return
            try:
                await asyncio.to_thread(signer_of, package, signature, keys)
            except SignatureError as error:
                raise PackageError(
                    f"the package's signature does not count: {error}; {asked}. Release it with one of these"
                ) from error
            except OSError as error:
                raise PackageError(f"{package}: can't be read: {error.strerror}") from error
            while len(self._good) >= PROVEN_MAX:
                del self._good[next(iter(self._good))]
            self._good[proven] = None
