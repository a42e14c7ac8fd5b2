"""What controllers need of a store that several of them share, and what they know of each other.

Applications are spread over shards; the owner of a shard decides for its applications, under a term that
grows with each change of the owner. No controller talks to another one: all goes through the store.
"""

import zlib
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from repave_controller.core.domain.application import Application, Tenure
from repave_controller.core.domain.freezes import Freezes
from repave_controller.core.ports import Record, Store
from repave_protos.protocol.values import ApplicationName, RegionName

SHARDS = 64
LEASE_SECONDS = 1.5
"""So long after its last beat a controller is taken to be there, by the clock of the database."""
BEAT_SECONDS = 0.1

Shard = int
ControllerId = str


def shard_of(application: ApplicationName) -> Shard:
    """The same in every process and version."""
    return zlib.crc32(application.encode()) % SHARDS


class NotOwner(Exception):
    """Another controller decides for the application: `owner`, None where it is not known which one now."""

    def __init__(self, application: ApplicationName, owner: ControllerId | None) -> None:
        super().__init__(f"{owner or 'another controller'} decides for {application}")
        self.application = application
        self.owner = owner


class Ownership(Protocol):
    """For which applications this controller decides, now."""

    def tenure_of(self, application: ApplicationName) -> Tenure | None:
        """What its decisions are made under; None: another controller decides, or it is not known which."""

    def owner_of(self, application: ApplicationName) -> ControllerId | None:
        """The controller that decides for it, as far as is known."""

    def begin(self, incarnation: int) -> None:
        """The store is in this incarnation now: decisions count under it from here on."""


# ------------------------------------------------------------------------------------------------ members


@dataclass(frozen=True, slots=True)
class Member:
    """A controller as it tells the others. `instance` is another one each time it starts; `url` and `agents`
    are where people and agents reach it."""

    id: ControllerId
    instance: str
    url: str
    agents: str
    version: str
    started_at: float  # seconds since 1970, by its own clock


@dataclass(frozen=True, slots=True)
class Seen:
    """A controller as the store sees it at one moment. `is_live`: its lease has not ended. `holds_lock`: its
    session is there; None where locks don't tell, as through a pooler. `lease_left_seconds`: below 0 when the
    lease has ended."""

    member: Member
    is_live: bool
    holds_lock: bool | None
    lease_left_seconds: float


@dataclass(frozen=True, slots=True)
class Held:
    """Who has a shard, under which term."""

    shard: Shard
    owner: ControllerId | None
    term: int


@dataclass(frozen=True, slots=True)
class Standing:
    """All controllers and shards at one moment of the store."""

    incarnation: int
    members: tuple[Seen, ...]
    shards: tuple[Held, ...]


class Roll(Protocol):
    """The controllers that share the store. Raises StoreError where it can't be reached."""

    async def beat(self, member: Member) -> Standing:
        """Renews this controller's lease, and tells how all stand after that."""

    async def take(self, member: Member, shards: Collection[Shard]) -> Mapping[Shard, int]:
        """Those of the shards that are free now, with their new terms: without an owner, or with one whose
        lease has ended or whose session is gone. Decisions of the former owner that are being saved are
        waited for; later ones are Fenced."""

    async def hand_over(self, member: Member, shards: Collection[Shard]) -> None:
        """Those that it has are without an owner from now on."""

    async def leave(self, member: Member) -> None:
        """It stops: its shards are free at once."""


# ------------------------------------------------------------------------------------------------ changes


@dataclass(frozen=True, slots=True)
class Changes:
    """What was saved by any controller since some change, as it is now. `until` is the newest of it."""

    until: int
    incarnation: int
    applications: tuple[Application, ...] = ()
    records: tuple[Record, ...] = ()  # state None: it is gone
    freezes: Freezes | None = None  # None: as before
    has_events: bool = False


class ChangeLog(Protocol):
    """What other controllers save."""

    async def changes(self, after: int, shards: Collection[Shard] | None = None) -> Changes:
        """All that became visible after change `after`, in the order of their numbers; of applications only
        those of `shards`, if any are named. Raises StoreError."""

    def hints(self) -> AsyncIterator[None]:
        """Something may have changed: soon after each commit, letter and report of any controller, and each
        time the connection came back. Never ends; hints may be lost, so a poll stands behind them."""


# ------------------------------------------------------------------------------------------------ reports


@dataclass(frozen=True, slots=True)
class RegionRow:
    """A region as the controller says that its agent is, or was, connected to. A row of an older session
    takes the place of none. `body` is what reports.py makes of the agent's Hello and troubles."""

    region: RegionName
    controller: ControllerId
    session: int
    is_connected: bool
    since: float
    body: bytes


@dataclass(frozen=True, slots=True)
class ReportRow:
    """What a region reports of an application; `body` None: nothing any more."""

    region: RegionName
    application: ApplicationName
    session: int
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Reported:
    """What was reported since some change of the reports. `is_whole`: the store has lost what it had (the
    database was restarted): these are all, and each controller reports its regions anew."""

    until: int
    regions: tuple[RegionRow, ...] = ()
    reports: tuple[ReportRow, ...] = ()
    is_whole: bool = False


class ReportLog(Protocol):
    """What agents report, for the controllers that they are not connected to. Not durable: after a crash of
    the database it is empty, and agents' controllers write it anew."""

    async def next_session(self) -> int:
        """Above all that were given before."""

    async def report(
        self, regions: Sequence[RegionRow], reports: Sequence[ReportRow]
    ) -> Collection[RegionName]:
        """Returns the regions that have a newer session by now: their rows were not taken."""

    async def reported(self, after: int) -> Reported:
        """All that became visible after `after`, of other controllers and of this one."""


# ------------------------------------------------------------------------------------------------ letters


@dataclass(frozen=True, slots=True)
class Letter:
    """Something that another controller is asked. `kind`: "command" for an application that it owns,
    "question" for a region whose agent it has."""

    id: str
    recipient: ControllerId
    kind: str
    body: bytes


class Post(Protocol):
    """Letters between controllers. One that is not answered in time is withdrawn. Not durable."""

    async def send(self, letter: Letter, timeout_seconds: float) -> bytes:
        """Returns the answer. Raises TimeoutError, StoreError."""

    async def letters(self, recipient: ControllerId) -> Sequence[Letter]:
        """Those that wait, each handed out once."""

    async def answer(self, letter: Letter, body: bytes) -> bool:
        """Whether its sender waits for it still. Raises StoreError."""


class SharedStore(Store, Roll, ChangeLog, ReportLog, Post, Protocol):
    """A store that several controllers share."""
