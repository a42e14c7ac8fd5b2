"""A controller's enrolment over a store in memory and a clock that a test moves; impostors' certificates."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from repave_controller.core.domain.application import Event
from repave_controller.security.authority import Authority, OwnAuthority
from repave_controller.security.enrolment import Enrolment
from repave_protos.protocol.certificates import (
    AgentIdentity,
    key_pem,
    new_key,
    read_join_word,
    request_for,
)
from repave_protos.protocol.channel import Shown
from repave_protos.protocol.values import RegionName
from repave_simulation.tiers.store import MemoryStore, Shelf

BEGAN = 1_800_000_000.0
INSTALLATION = "store-1"


@dataclass
class Credentials:
    """What an agent has after it joined."""

    shown: Shown
    identity: AgentIdentity

    @property
    def certificate(self) -> bytes:
        return self.shown.chain.encode()


@dataclass
class Enrolled:
    """What a test holds."""

    directory: Path
    shelf: Shelf = field(default_factory=Shelf)
    now: float = BEGAN
    events: list[Event] = field(default_factory=list)
    withdrawals: int = 0

    def clock(self) -> float:
        return self.now

    async def open(self) -> "Enrolled":
        """Also again, as a controller that is restarted does."""
        self.store = MemoryStore(self.shelf)
        await self.store.open()
        source = OwnAuthority(self.directory / "security", INSTALLATION, self.now)
        self.authority = Authority(
            source, INSTALLATION, ("localhost", "127.0.0.1"), self.clock, self.directory / "security"
        )
        self.enrolment = Enrolment(self.authority, self.store, self.clock, self.tell, self.withdrawn)
        await self.enrolment.load()
        return self

    def tell(self, events: Sequence[Event]) -> None:
        self.events += events

    def withdrawn(self) -> None:
        self.withdrawals += 1

    async def token(self, region: str = "paris") -> str:
        word, _ = await self.enrolment.invite(region, "ann")
        return str(word)

    async def join(self, token: str, address: str = "192.0.2.7") -> Credentials:
        key = new_key()
        chain, identity = await self.enrolment.join(read_join_word(token).secret, request_for(key), address)
        return Credentials(Shown(key_pem(key), chain, self.authority.authorities), identity)

    async def agent(self, region: str = "paris") -> Credentials:
        """One that has joined."""
        return await self.join(await self.token(region))

    async def renewed(self, agent: Credentials) -> Credentials:
        """Its next certificate, with a fresh key."""
        key = new_key()
        chain = await self.enrolment.renew(agent.identity, request_for(key))
        identity = self.enrolment.recognise(chain.encode())
        return Credentials(Shown(key_pem(key), chain, self.authority.authorities), identity)


@asynccontextmanager
async def enrolled(directory: Path) -> AsyncIterator[Enrolled]:
    yield await Enrolled(directory).open()


def of_own_authority(directory: Path, region: str, now: float = BEGAN, name: str = INSTALLATION) -> Shown:
    """An impostor's: rightly made, of an authority that it made itself."""
    directory.mkdir(parents=True, exist_ok=True)
    authority = Authority(OwnAuthority(directory, name, now), name, (), lambda: now, directory)
    key = new_key()
    chain, _ = authority.issue(key.public_key(), RegionName(region), "0badc0de")
    return Shown(key_pem(key), chain, authority.authorities)
