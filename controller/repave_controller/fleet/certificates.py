"""Whose certificate a stream has, when it stops to count, and which agents were refused for theirs.

What a certificate is worth the gate knows (security/enrolment.py); without one, every agent is believed.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from repave_protos.protocol.certificates import AgentIdentity, CertificateError
from repave_protos.protocol.values import Hello, RegionName

DENIALS_MAX = 1_000
DENIED_SECONDS = 600.0
"""So long an agent that was refused for its certificate is told of."""


class Gate(Protocol):
    """Knows certificates."""

    def recognise(self, certificate: bytes) -> AgentIdentity:
        """Raises CertificateError."""

    def objection(self, identity: AgentIdentity) -> str:
        """Why it counts no longer, or ""."""

    def revocation(self, region: str, agent: str) -> str:
        """Why no certificate of this agent counts, or ""."""


@dataclass(frozen=True, slots=True)
class Denial:
    """An agent that was refused for its certificate."""

    region: str  # of its certificate if that was recognised, else of its Hello
    why: str
    at: float


class Certificates:
    """Asks the gate, and keeps in mind which agents it refused."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._gate: Gate | None = None
        self._denials: dict[str, Denial] = {}

    def guard_with(self, gate: Gate) -> None:
        """From now on an agent without a certificate is refused."""
        self._gate = gate

    def denials(self) -> list[Denial]:
        """Those of late, of each region the newest."""
        now = self._clock()
        self._denials = {name: each for name, each in self._denials.items() if now < each.at + DENIED_SECONDS}
        return list(self._denials.values())

    def deny(self, region: str, why: str) -> None:
        self._denials.pop(region, None)
        self._denials[region] = Denial(region, why, self._clock())
        if len(self._denials) > DENIALS_MAX:
            del self._denials[next(iter(self._denials))]

    def admit(self, region: str) -> None:
        """An agent of the region has been let in: that another one was refused is past."""
        self._denials.pop(region, None)

    def identity(self, hello: Hello, certificate: bytes | None) -> tuple[AgentIdentity | None, str]:
        """Whose certificate was shown, and why the agent can't be believed, or ""."""
        if self._gate is None:
            return None, ""
        region: str = hello.region
        try:
            identity = self._gate.recognise(certificate or b"")
        except CertificateError as error:
            objection = f"the agent's certificate is refused: {error}; {_join_again(region)}"
        else:
            if identity.region == hello.region:
                return identity, ""
            region = identity.region
            objection = (
                f"the agent's certificate is of {identity.region}, and the agent says that it is "
                f"{hello.region}: set its region to {identity.region}, or {_join_again(hello.region)}"
            )
        self.deny(region, objection)
        return None, objection

    def withdrawal(self, identity: AgentIdentity | None) -> str:
        """Why the certificate of an open stream counts no longer, or ""."""
        if self._gate is None or identity is None:
            return ""
        objection = self._gate.objection(identity)
        return f"{objection}; {_join_again(identity.region)}" if objection else ""

    def revocation(self, region: RegionName, agent: str) -> str:
        """Why no certificate of this agent counts, or ""."""
        return self._gate.revocation(region, agent) if self._gate is not None and agent else ""

    async def expiry(self, identity: AgentIdentity) -> str:
        """Waits until the certificate ends; why it counts no longer. A stream would outlive its certificate
        by itself: TLS looks at it once."""
        while True:
            await asyncio.sleep(identity.expires_at - self._clock())
            if objection := self.withdrawal(identity):  # else the loop's clock ran ahead of ours
                return objection


def _join_again(region: str) -> str:
    return f"let it join again: repave agents join {region}"
