"""Services of DNS for the contract of Records: each with a fresh zone, and some names of strangers."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Protocol, cast

import pytest
from aiobotocore.session import AioSession

from repave_agent.clients.aws import AmazonOptions
from repave_agent.clients.aws.service import Route53
from repave_agent.clients.openstack.api import Api
from repave_agent.clients.rest import Pace, Rest, SharedToken
from repave_agent.core.ports import Records
from repave_agent.dns.cloud_dns import CloudDnsRecords, fault_of
from repave_agent.dns.designate import DesignateRecords
from repave_agent.dns.options import Rfc2136Options
from repave_agent.dns.rfc2136 import Rfc2136Records
from repave_agent.dns.route53 import Route53Records
from tests.fakes.agent.records import FakeRecords, FakeZone
from tests.fakes.clock import QuickClock
from tests.fakes.clouds import cloud_dns, designate
from tests.fakes.clouds.cloud_dns import FakeCloudDns
from tests.fakes.clouds.designate import FakeDesignate
from tests.fakes.clouds.route53 import FakeRoute53
from tests.support.bind import ZONE, Bind, bind
from tests.support.rigs import cloud_rig, why_no_cloud

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
        if kind == "TXT":
            return {f'"{each}"' for each in self.zone.texts.get(f"{name}.{ZONE}", ())}
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
        options = Rfc2136Options(server=self.bind.server, key_file=self.bind.key_file(region))
        return Rfc2136Records(region, lambda: installation, options, ZONE, 60)

    async def addresses(self, name: str, kind: str = "A") -> set[str]:
        return await self.bind.addresses(name, kind)


@asynccontextmanager
async def bind_world(directory: Path) -> AsyncIterator[RecordsWorld]:
    async with bind(directory / "bind") as found:
        yield BindWorld(found)


Opened = Callable[[Path], AbstractAsyncContextManager[RecordsWorld]]


@dataclass
class CloudDnsWorld:
    fake: FakeCloudDns
    weight: int
    tells_changes = True

    def records(self, region: str, installation: str = "home") -> Records:
        clock = QuickClock()

        async def token() -> tuple[str, float]:
            return "t", clock.wall() + 3600.0

        tokens, pace = SharedToken(token, clock), Pace(0.0, clock)
        rest = Rest(tokens, fault_of, clock, pace, chance=Random(1), service="Google")
        return CloudDnsRecords(region, lambda: installation, rest, self.fake.url, 60, self.weight)

    async def addresses(self, name: str, kind: str = "A") -> set[str]:
        found = self.fake.sets.get((f"{name}.{ZONE}.", kind), {})
        items = found.get("routingPolicy", {}).get("wrr", {}).get("items", [])
        return {*found.get("rrdatas", []), *(value for each in items for value in each["rrdatas"])}


def cloud_dns_world(weight: int) -> Opened:
    @asynccontextmanager
    async def world(_: Path) -> AsyncIterator[RecordsWorld]:
        fake = FakeCloudDns()
        fake.put(f"shop.{ZONE}.", "A", STRANGER)
        fake.put(f"alias.{ZONE}.", "CNAME", f"www.{ZONE}.")
        async with cloud_dns.serving(fake):
            yield CloudDnsWorld(fake, weight)

    return world


@dataclass
class DesignateWorld:
    fake: FakeDesignate
    tells_changes = False

    def records(self, region: str, installation: str = "home") -> Records:
        api = Api(self.fake.cloud, QuickClock())
        return DesignateRecords(region, lambda: installation, api, ZONE, 60)

    async def addresses(self, name: str, kind: str = "A") -> set[str]:
        found = self.fake.of(f"{name}.{ZONE}.", kind)
        return set(found["records"]) if found is not None else set()


@asynccontextmanager
async def designate_world(_: Path) -> AsyncIterator[RecordsWorld]:
    fake = FakeDesignate(f"{ZONE}.")
    fake.put(f"shop.{ZONE}.", "A", STRANGER)
    fake.put(f"alias.{ZONE}.", "CNAME", f"www.{ZONE}.")
    async with designate.serving(fake):
        yield DesignateWorld(fake)


@dataclass
class FakeRoute53World:
    fake: FakeRoute53
    tells_changes = False

    def records(self, region: str, installation: str = "home") -> Records:
        client = cast("Route53", self.fake)
        return Route53Records(region, lambda: installation, client, "Z1", 60, 0)

    async def addresses(self, name: str, kind: str = "A") -> set[str]:
        return {
            record["Value"]
            for (of, found, _), each in self.fake.sets.items()
            if (of, found) == (f"{name}.{ZONE}.", kind)
            for record in each["ResourceRecords"]
        }


@asynccontextmanager
async def fake_route53_world(_: Path) -> AsyncIterator[RecordsWorld]:
    fake = FakeRoute53()
    fake.put(f"shop.{ZONE}.", "A", STRANGER)
    fake.put(f"alias.{ZONE}.", "CNAME", f"www.{ZONE}.")
    yield FakeRoute53World(fake)


@dataclass
class Route53World:
    """On moto, which keeps zones and answers no resolver."""

    options: AmazonOptions
    zone: str
    tells_changes = False  # for "last": each set is a region's own, and only that is compared

    def client(self) -> Route53:
        session = AioSession()
        session.set_credentials("key", "secret")
        return Route53(self.options, session)

    def records(self, region: str, installation: str = "home") -> Records:
        return Route53Records(region, lambda: installation, self.client(), self.zone, 60, 0)

    async def addresses(self, name: str, kind: str = "A") -> set[str]:
        client = self.client()
        answer = await client.call("list_resource_record_sets", HostedZoneId=self.zone)
        await client.close()
        return {
            record["Value"]
            for each in answer["ResourceRecordSets"]
            if (each["Name"], each["Type"]) == (f"{name}.{ZONE}.", kind)
            for record in each["ResourceRecords"]
        }


@asynccontextmanager
async def route53_world(directory: Path) -> AsyncIterator[RecordsWorld]:
    if reason := why_no_cloud("aws"):
        pytest.skip(reason)
    with cloud_rig("aws", directory, 113) as rig:
        world = Route53World(AmazonOptions(region="eu-west-1", endpoint=rig.variables["MOTO_URL"]), "")
        client = world.client()
        made = await client.call("create_hosted_zone", Name=ZONE, CallerReference="one")
        world.zone = made["HostedZone"]["Id"].rsplit("/", 1)[-1]
        sets = [
            {"Name": f"{name}.{ZONE}.", "Type": kind, "TTL": 300, "ResourceRecords": [{"Value": value}]}
            for name, kind, value in (("shop", "A", STRANGER), ("alias", "CNAME", f"www.{ZONE}."))
        ]
        batch = {"Changes": [{"Action": "CREATE", "ResourceRecordSet": each} for each in sets]}
        await client.call("change_resource_record_sets", HostedZoneId=world.zone, ChangeBatch=batch)
        await client.close()
        yield world
