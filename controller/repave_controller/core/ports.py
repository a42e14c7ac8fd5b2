"""What the controller needs of the world: the regions, a store that keeps its decisions, and packages."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from repave_controller.core.domain.application import Application, Event, Tenure
from repave_controller.core.domain.freezes import Freezes
from repave_controller.core.domain.instants import Instant
from repave_controller.core.domain.rollout import Rollout
from repave_protos.daemon.chain import Link
from repave_protos.protocol.values import (
    ApplicationName,
    DesiredState,
    Digest,
    Hello,
    Notice,
    Observations,
    RegionName,
)


class StoreError(Exception):
    """The store can't be used. The text is shown to people: what is wrong and what to do."""


class Fenced(StoreError):
    """Another controller decides for this application by now: nothing of the transaction was saved."""


class Conflict(StoreError):
    """Something that the transaction was decided upon has changed: nothing of it was saved. Read what is new,
    decide anew."""


class Unsavable(StoreError):
    """This transaction can't be saved, while others can: nothing of it was saved."""


class Unsure(StoreError):
    """It is not known whether the transaction was saved."""


class LeftBehind(StoreError):
    """The store has gone another way than this process knows, which it can't catch up with: it has to start
    anew."""


class DuplicateKey(Exception):
    """A request with this idempotency key was saved before, with another body."""


@dataclass(frozen=True, slots=True)
class Spec:
    """The exact bytes of a spec as given with a release."""

    application: ApplicationName
    group: str
    text: str
    at: Instant = Instant(0)  # frozen


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a request was answered with, for its repeats. `body_hash` tells a repeat from a clash."""

    key: str
    body_hash: str
    response: str
    at: Instant = Instant(0)  # frozen


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of one thing of a kind, as text; None: it is gone."""

    kind: str
    name: str
    state: str | None


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a new group has found, beside what of it the rollout keeps. `id` tells looks of a
    rollout apart, and orders them; a store does not read `details`. One that is saved again replaces the
    former."""

    application: ApplicationName
    rollout: int
    id: str
    at: Instant
    outcome: str
    details: str


class Kept(StrEnum):
    """What only grows until retention drops rows of it; the key of a row is what stands beside."""

    EVENTS = "events"  # (sequence,)
    RECEIPTS = "receipts"  # (key,)
    ROLLOUTS = "rollouts"  # (application, number)
    SPECS = "specs"  # (application, group)
    IMAGES = "images"  # (digest,)
    AUDIT = "audit"  # (number,)
    ANALYSES = "analyses"  # (application, rollout): all looks of it


Key = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Aged:
    """A row as retention sees it. `at`: when it was saved, of a rollout when it began. `bytes`: about what
    its row holds; of a package what it takes."""

    key: Key
    at: Instant
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Drop:
    """Rows that are no longer kept. One that is gone already is no mistake."""

    kind: Kept
    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Size:
    """What a table takes in the store, its indexes included."""

    table: str
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Transaction:
    """What one decision saves: all of it or nothing.

    Where several controllers share the store: `tenure` is what it was decided under (else Fenced); `seen` is
    the newest change that it was decided upon, and none of the applications of other controllers or of the
    freezes may have changed since; `expected` are records that must be as they are here (else Conflict).
    """

    application: Application | None = None
    events: tuple[Event, ...] = ()
    rollout: Rollout | None = None  # upserted into the history by (application, number)
    spec: Spec | None = None
    receipt: Receipt | None = None
    freezes: Freezes | None = None  # of the whole installation
    records: tuple[Record, ...] = ()  # each takes the place of the former one of its kind and name
    audit: tuple[Link, ...] = ()
    tenure: Tenure | None = None
    seen: int | None = None
    expected: tuple[Record, ...] = ()
    drops: tuple[Drop, ...] = ()
    looks: tuple[Look, ...] = ()


@dataclass(frozen=True, slots=True)
class Image:
    """A package in the store."""

    digest: Digest
    size_bytes: int
    files: int
    name: str  # what was pushed, for people
    pushed_at: Instant


@dataclass(frozen=True, slots=True)
class Loaded:
    """All that a starting controller reads."""

    tenure: Tenure  # the term is one higher than that of the last controller that opened the store
    installation: str  # random name of this store
    applications: tuple[Application, ...]
    last_event_at: Instant
    freezes: Freezes = field(default_factory=Freezes)
    change: int = 0  # the newest change of the store that is in it


class Region(Protocol):
    """A region as its agent reports it."""

    is_connected: bool
    is_starting: bool  # its agent can't act yet
    since: float  # connected, or unreachable
    observations: Observations


class Regions(Protocol):
    """The way to the regions, whatever carries it."""

    def views(self) -> Mapping[RegionName, Region]:
        """Every region that ever connected to this controller process."""

    def publish(self, region: RegionName, desired: DesiredState) -> None:
        """Sends it soon; a region that is not connected asks `desired_for` when it returns."""


class RegionListener(Protocol):
    """Hears what comes from the regions, and says what they shall be. Plain calls in the event loop."""

    async def before_greeting(self) -> None:
        """To be awaited before `greet`: what other controllers have decided until now is known here then.
        Raises StoreError."""

    def greet(self, hello: Hello, *, is_elsewhere: bool = False) -> None:
        """Comes first of a stream, before anything is asked for the region or sent there. `is_elsewhere`: its
        agent is connected to another controller, which tells of it."""

    def desired_for(self, region: RegionName) -> Sequence[DesiredState]:
        """What may be sent to the region now."""

    def applications_in(self, region: RegionName) -> tuple[ApplicationName, ...] | None:
        """All that the region has, for its Welcome; None where that is not known. The agent may end hosts of
        an application that is not named."""

    def region_changed(self, region: RegionName, applications: set[ApplicationName]) -> None:
        """These are to be looked at again: reported anew, connected or lost."""

    def notices(self, region: RegionName, notices: Sequence[Notice]) -> None:
        """What the region reports for the event log."""


class Store(Protocol):
    """Keeps applications, events and history. Single writer; `commit` returns after it is on disk."""

    async def open(self) -> Loaded: ...

    async def begin_incarnation(self, above: int) -> Tenure:
        """Begins a new life, durably: its epochs are above all of this store and of incarnation `above`.
        Raises StoreError."""

    async def commit(self, transaction: Transaction) -> tuple[Event, ...]:
        """Saves durably; returns the events with their sequence numbers. Raises StoreError when the disk
        does not take it; then nothing of it is saved."""

    async def events(
        self, after: int = 0, application: str = "", limit: int = 1000, newest: bool = False
    ) -> Sequence[Event]:
        """Events with a sequence above `after`, oldest first; with `newest`, the last `limit` of them."""

    async def rollouts(
        self, application: ApplicationName, limit: int = 50, before: int | None = None
    ) -> Sequence[Rollout]:
        """History, newest first: the last ones, or the last with a number below `before`."""

    async def spec(self, application: ApplicationName, group: str) -> str | None: ...

    async def receipt(self, key: str) -> Receipt | None: ...

    async def looks(
        self, application: ApplicationName, rollout: int | None = None, limit: int = 1000
    ) -> Sequence[Look]:
        """The last of a rollout, or of the newest one that has any, in order of time."""

    async def records(self, kind: str) -> Sequence[Record]:
        """Those that are there, by name."""

    async def audit(self, after: int = 0, limit: int = 1000, newest: bool = False) -> Sequence[Link]:
        """Rows of the audit log with a number above `after`, in order; with `newest`, the last of them."""

    async def oldest(self, kind: Kept, limit: int = 1000, after: Aged | None = None) -> Sequence[Aged]:
        """Rows of the kind that come after `after`: receipts and images by their age and then their key, all
        others by their key."""

    async def count(self, kind: Kept) -> int:
        """How many rows of the kind there are."""

    async def sizes(self) -> Sequence[Size]:
        """What each table takes, by name; what is free within the store's files is called "free". May read
        through all of the store."""

    @property
    def waiting(self) -> int:
        """Transactions that have yet to be saved: above 0 the store is behind."""

    async def add_image(self, image: Image) -> None:
        """Repeatable: a digest keeps its first name, and is as young as its last push."""

    async def images(self) -> Sequence[Image]:
        """Newest first."""

    async def close(self) -> None: ...


class ImageStore(Protocol):
    """Packages by digest, on disk."""

    def path(self, digest: Digest) -> Path | None:
        """Where the package is, or None."""

    async def bring(self, digest: Digest) -> Path | None:
        """The same, after it was fetched from where other controllers stored it. Raises StoreError."""


class PackageGone(StoreError):
    """The package is not stored, or no longer."""


class SharedPackages(Protocol):
    """Packages by digest where several controllers have them. All may be repeated; each raises StoreError."""

    async def has(self, digest: Digest) -> bool: ...

    async def put(self, digest: Digest, file: Path) -> None:
        """Once this returns every controller can fetch it."""

    def chunks(self, digest: Digest) -> AsyncIterator[bytes]:
        """What is stored, for the caller to check. Raises PackageGone."""

    async def remove(self, digest: Digest) -> None:
        """One that is gone already is no mistake."""

    async def direct(self, digest: Digest) -> str:
        """An address at which agents can fetch it themselves, for a while; "": only through a controller."""

    async def close(self) -> None: ...
