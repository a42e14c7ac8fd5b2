"""Log-ins under way are of all controllers, end once, and say nothing to who reads the store."""

from dataclasses import replace

import pytest

from repave_controller.core.domain.instants import Instant
from repave_controller.core.ports import Record
from repave_controller.security.provider import Device
from repave_controller.security.tokens import hash_of
from repave_controller.security.under_way import KIND, InBrowser, OnDevice, TooManyLogins, UnderWay
from repave_simulation.tiers.store import MemoryStore

FLOW = InBrowser(Instant(600.0), "web", "a-state", "a-nonce", "a-verifier", "https://repave.example/back")
DEVICE = OnDevice(Instant(300.0), Device("a-code", "ABCD", "https://i.example", "", 300.0, 5.0), 5.0)


class Controllers:
    """Two with one store."""

    def __init__(self) -> None:
        self.now, self.store = 0.0, MemoryStore()
        self.one, self.other = (UnderWay(self.store, self.clock, most=2) for _ in range(2))

    def clock(self) -> Instant:
        return Instant(self.now)


@pytest.fixture
async def both() -> Controllers:
    controllers = Controllers()
    await controllers.store.open()
    return controllers


@pytest.mark.parametrize("flow", [FLOW, DEVICE], ids=["browser", "device"])
async def test_what_one_began_another_goes_on_with(both: Controllers, flow: InBrowser | OnDevice) -> None:
    handle = await both.one.begin(flow)
    assert both.one.find(handle) == flow
    await both.other.load()
    assert both.other.find(handle) == flow
    assert both.other.find(handle[:-1] + "!") is None


async def test_of_two_that_end_it_one_does(both: Controllers) -> None:
    handle = await both.one.begin(FLOW)
    await both.other.load()
    assert (await both.one.end(handle), await both.other.end(handle)) == (True, False)
    assert not await both.one.end(handle)
    assert both.one.find(handle) is None


async def test_what_one_changed_another_does_not_change_back(both: Controllers) -> None:
    handle = await both.one.begin(DEVICE)
    await both.other.load()
    slower = replace(DEVICE, interval_seconds=10.0)
    assert await both.one.change(handle, slower)
    assert not await both.other.change(handle, DEVICE)
    await both.other.load()
    assert both.other.find(handle) == slower


async def test_the_store_tells_nothing_of_it(both: Controllers) -> None:
    handle = await both.one.begin(FLOW)
    (record,) = await both.store.records(KIND)
    for secret in (handle, FLOW.state, FLOW.nonce, FLOW.verifier):
        assert secret not in str(record)


@pytest.mark.parametrize("text", ["", "{}", '{"expires_at": 600.0, "sealed": "AAAA"}'])
async def test_what_can_not_be_read_is_not_known(both: Controllers, text: str) -> None:
    handle = await both.one.begin(FLOW)
    both.one.take([Record(KIND, hash_of(handle), text)])
    assert both.one.find(handle) is None
    await both.one.begin(FLOW)
    assert both.one.find(handle) is None


async def test_there_are_not_more_than_so_many_and_the_expired_ones_go(both: Controllers) -> None:
    first, _ = [await both.one.begin(FLOW) for _ in range(2)]
    await both.other.load()
    with pytest.raises(TooManyLogins):
        both.other.check_room()
    both.now = 600.0
    assert both.one.find(first) is None
    both.other.check_room()
    await both.other.begin(replace(FLOW, expires_at=Instant(1200.0)))
    assert len(await both.store.records(KIND)) == 1
