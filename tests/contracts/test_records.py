"""What every service of DNS does for the region's records, and never to those of others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from repave_agent.core.ports import ChangedMeanwhileError, Records
from repave_agent.core.records import Change, Settled, Unfit, Wanted, decide
from repave_agent.runtime.records import settle
from repave_protos.protocol.values import Drain
from tests.contracts.records_worlds import (
    STRANGER,
    Opened,
    RecordsWorld,
    bind_world,
    cloud_dns_world,
    designate_world,
    fake_route53_world,
    fake_world,
    route53_world,
)
from tests.support.bind import ZONE, needs_bind

WORLDS = [
    pytest.param(fake_world, id="fake"),
    pytest.param(bind_world, id="rfc2136", marks=needs_bind),
    pytest.param(cloud_dns_world(weight=0), id="cloud_dns"),
    pytest.param(cloud_dns_world(weight=50), id="cloud_dns-weighted"),
    pytest.param(designate_world, id="designate"),
    pytest.param(fake_route53_world, id="route53-fake"),
    pytest.param(route53_world, id="route53", marks=pytest.mark.rig),
]
PARIS, OSLO, PARIS_6 = "192.0.2.1", "192.0.2.2", "2001:db8::1"


def wanted(*addresses: str, name: str = "web", drain: Drain = "none") -> Wanted:
    return Wanted(f"{name}.{ZONE}", tuple(sorted(addresses)), drain, is_serving=True, is_served=True)


async def settled(records: Records, wish: Wanted) -> object:
    """What is decided once all is done that can be."""
    _, verdict, _ = await settle(records, wish, lambda: None)
    return verdict


@asynccontextmanager
async def opened(world: Opened, directory: Path) -> AsyncIterator[RecordsWorld]:
    async with asyncio.timeout(60), world(directory) as found:
        yield found


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest) -> Opened:
    found: Opened = request.param
    return found


async def test_clients_find_both_regions_then_one_then_both(world: Opened, tmp_path: Path) -> None:
    async with opened(world, tmp_path) as there:
        paris, oslo = there.records("paris"), there.records("oslo")
        assert await settled(paris, wanted(PARIS, PARIS_6)) == Settled()
        assert await settled(oslo, wanted(OSLO)) == Settled()
        assert await there.addresses("web") == {PARIS, OSLO}
        assert await there.addresses("web", "AAAA") == {PARIS_6}
        assert await settled(paris, wanted(PARIS, PARIS_6, drain="unless_last")) == Settled()
        assert await there.addresses("web") == {OSLO}
        assert await there.addresses("web", "AAAA") == set()
        assert not (await paris.look(f"web.{ZONE}")).ours
        assert await settled(paris, wanted(PARIS, PARIS_6)) == Settled()
        assert await there.addresses("web") == {PARIS, OSLO}
        for each in (paris, oslo):
            await each.close()


async def test_the_last_region_leaves_only_where_that_is_asked(world: Opened, tmp_path: Path) -> None:
    async with opened(world, tmp_path) as there:
        paris = there.records("paris")
        await settled(paris, wanted(PARIS))
        assert isinstance(await settled(paris, wanted(PARIS, drain="unless_last")), Unfit)
        assert await there.addresses("web") == {PARIS}
        assert await settled(paris, wanted(PARIS, drain="even_last")) == Settled()
        assert await there.addresses("web") == set()
        await paris.close()


async def test_regions_that_change_at_the_same_time_lose_nothing(world: Opened, tmp_path: Path) -> None:
    async with opened(world, tmp_path) as there:
        paris, oslo = there.records("paris"), there.records("oslo")
        for round_ in range(3):
            drains: tuple[Drain, Drain] = ("none", "unless_last") if round_ % 2 else ("none", "none")
            wishes = [(paris, wanted(PARIS, drain=drains[0])), (oslo, wanted(OSLO, drain=drains[1]))]
            await asyncio.gather(*(settled(*each) for each in wishes))
            verdicts = [await settled(*each) for each in wishes]  # the next look heals what a race has lost
            assert verdicts == [Settled(), Settled()]
            assert await there.addresses("web") == ({PARIS} if round_ % 2 else {PARIS, OSLO})
        for each in (paris, oslo):
            await each.close()


async def test_a_change_by_what_is_so_no_longer_changes_nothing(world: Opened, tmp_path: Path) -> None:
    async with opened(world, tmp_path) as there:
        if not there.tells_changes:
            return
        paris, oslo = there.records("paris"), there.records("oslo")
        await settled(paris, wanted(PARIS))
        await settled(oslo, wanted(OSLO))
        seen = await paris.look(f"web.{ZONE}")
        change = decide(wanted(PARIS, drain="unless_last"), seen)
        assert isinstance(change, Change)
        await settled(oslo, wanted(OSLO, drain="unless_last"))
        with pytest.raises(ChangedMeanwhileError):  # paris is the last one by now
            await paris.change(seen, change)
        assert await there.addresses("web") == {PARIS}
        for each in (paris, oslo):
            await each.close()


async def test_an_address_that_changes_replaces_the_former(world: Opened, tmp_path: Path) -> None:
    async with opened(world, tmp_path) as there:
        paris = there.records("paris")
        await settled(paris, wanted(PARIS))
        assert await settled(paris, wanted("192.0.2.9")) == Settled()
        assert await there.addresses("web") == {"192.0.2.9"}
        await paris.close()


async def test_strangers_are_never_touched(world: Opened, tmp_path: Path) -> None:
    """Not even where they are at the same name, or lead to the region's own address."""
    async with opened(world, tmp_path) as there:
        paris = there.records("paris")
        verdict = await settled(paris, wanted(STRANGER, name="shop"))
        assert isinstance(verdict, Unfit)
        assert isinstance(await settled(paris, wanted(STRANGER, name="shop", drain="even_last")), Unfit)
        assert await there.addresses("shop") == {STRANGER}
        assert isinstance(await settled(paris, wanted(PARIS, name="alias")), Unfit)
        others = there.records("paris", "elsewhere")
        await settled(others, wanted(OSLO))
        assert isinstance(await settled(paris, wanted(PARIS)), Unfit)
        await settled(paris, wanted(OSLO, drain="even_last"))
        assert await there.addresses("web") == {OSLO}
        for each in (paris, others):
            await each.close()


async def test_texts_for_an_acme_server_stand_beside_others_and_leave_nothing(
    world: Opened, tmp_path: Path
) -> None:
    async with opened(world, tmp_path) as there:
        paris, oslo, name = there.records("paris"), there.records("oslo"), f"_acme-challenge.web.{ZONE}"
        for _ in range(2):
            await paris.set_text(name, "one", is_there=True)
        await oslo.set_text(name, "two", is_there=True)
        assert await there.addresses("_acme-challenge.web", "TXT") == {'"one"', '"two"'}
        for _ in range(2):
            await paris.set_text(name, "one", is_there=False)
        assert await there.addresses("_acme-challenge.web", "TXT") == {'"two"'}
        await oslo.set_text(name, "two", is_there=False)
        assert await there.addresses("_acme-challenge.web", "TXT") == set()
        for each in (paris, oslo):
            await each.close()
