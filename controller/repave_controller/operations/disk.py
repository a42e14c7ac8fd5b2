"""What takes the controller's disk: the store by table, packages by application; what retention frees."""

import asyncio
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from repave_controller.core.domain.application import Application
from repave_controller.core.ports import Image, Size, Store
from repave_controller.operations.retention import Freed, Retention
from repave_protos.protocol.values import Digest

WARN_SHARE, WARN_BYTES = 0.1, 5 * 1000**3
FAIL_SHARE, FAIL_BYTES = 0.02, 1000**3
"""Of the disk: what is less counts, so a large one is not called full early."""


@dataclass(frozen=True, slots=True)
class Room:
    """Of the disk that a folder is on."""

    free_bytes: int
    total_bytes: int

    @property
    def state(self) -> str:
        """ok, warn or fail: whether it will be full soon."""
        if self.free_bytes < min(self.total_bytes * FAIL_SHARE, FAIL_BYTES):
            return "fail"
        return "warn" if self.free_bytes < min(self.total_bytes * WARN_SHARE, WARN_BYTES) else "ok"


@dataclass(frozen=True, slots=True)
class Packed:
    """The packages of an application; "": those that none needs for a group, a rollback or the queue. One of
    several applications counts for each."""

    application: str
    packages: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Usage:
    """At one moment. `held`: why history and packages are all kept for now."""

    place: str
    room: Room
    tables: tuple[Size, ...]
    packages: tuple[Packed, ...]
    packages_bytes: int
    freed: tuple[Freed, ...]
    held: str = ""

    @property
    def store_bytes(self) -> int:
        return sum(each.bytes for each in self.tables)


def room_of(folder: Path) -> Room:
    found = shutil.disk_usage(folder)
    return Room(found.free, found.total)


class Disk:
    """One for a controller."""

    def __init__(
        self,
        state: Path,
        store: Store,
        applications: Callable[[], Sequence[Application]],
        retention: Retention,
        room: Callable[[Path], Room] = room_of,
    ) -> None:
        self._state, self._store, self._applications = state, store, applications
        self._retention, self._room = retention, room

    async def usage(self) -> Usage:
        """Raises StoreError, OSError. Reads through the store."""
        images = await self._store.images()
        return Usage(
            place=str(self._state),
            room=await asyncio.to_thread(self._room, self._state),
            tables=tuple(await self._store.sizes()),
            packages=packed(self._applications(), images),
            packages_bytes=sum(each.size_bytes for each in images),
            freed=await self._retention.forecast(),
            held=self._retention.held,
        )


def packed(applications: Sequence[Application], images: Sequence[Image]) -> tuple[Packed, ...]:
    """The largest first."""
    sizes = {each.digest: each.size_bytes for each in images}
    found, owned = [], set[Digest]()
    for application in applications:
        digests = {each.digest for each in (*application.groups, *application.past)}
        digests |= {each.digest for each in application.queue}
        digests &= sizes.keys()
        owned |= digests
        found.append(Packed(application.name, len(digests), sum(sizes[each] for each in digests)))
    rest = sizes.keys() - owned
    found.append(Packed("", len(rest), sum(sizes[each] for each in rest)))
    found = [each for each in found if each.packages]
    return tuple(sorted(found, key=lambda each: (-each.bytes, each.application)))
