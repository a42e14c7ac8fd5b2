"""Services of DNS for the contract of Records: each with a fresh zone, and some names of strangers."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from repave_agent.core.ports import Records
from repave_agent.dns.options import Rfc2136Options
from tests.fakes.agent.records import FakeRecords, FakeZone
from tests.support.bind import ZONE, Bind, bind

STRANGER = "203.0.113.7"


class RecordsWorld(Protocol):
    """`tells_changes`: a change by what is so no longer is refused whole."""

    tells_changes: bool

    def records(self, region: str, installation: str = "home") -> Records: ...

    async def addresses(self, name: str, kind: str = "A") -> set[str]:
        """What clients get for a name in the zone, such as `shop`."""


@dataclass
class FakeWorld:
    zone: FakeZone = field(
        default_factory=lambda: FakeZone({f"shop.{ZONE}": {STRANGER}}, aliases={f"alias.{ZONE}"})
    )
    tells_changes = True

    def records(self, region: str, installation: str = "home") -> Records:
        return FakeRecords(self.zone, region, installation)

    async def addresses(self, name: str, kind: str = "A") -> set[str]:
        there = self.zone.names.get(f"{name}.{ZONE}", set())
        return {each for each in there if (":" in each) == (kind == "AAAA")}


@asynccontextmanager
async def fake_world(_: Path) -> AsyncIterator[RecordsWorld]:
    yield FakeWorld()


@dataclass
class BindWorld:
    bind: Bind
    tells_changes = True

    def records(self, region: str, installation: str = "home") -> Records:
        from repave_agent.dns.rfc2136 import Rfc2136Records

        options = Rfc2136Options(server=self.bind.server, key_file=self.bind.key_file(region))
        return Rfc2136Records(region, lambda: installation, options, ZONE, 60)

    async def addresses(self, name: str, kind: str = "A") -> set[str]:
        return await self.bind.addresses(name, kind)


@asynccontextmanager
async def bind_world(directory: Path) -> AsyncIterator[RecordsWorld]:
    async with bind(directory / "bind") as found:
        yield BindWorld(found)


Opened = Callable[[Path], AbstractAsyncContextManager[RecordsWorld]]
