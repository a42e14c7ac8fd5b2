"""What an agent answers when the controller asks its provider: a pool, room, images; and what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest

from repave_agent.kinds import Site
from repave_agent.operations.queries import Desk
from repave_agent.packages.baking import Bakery
from repave_agent.providers.ssh_pool.leases import Leases
from repave_agent.registry import installed
from repave_protos.protocol.values import ApplicationName, Notice, Query
from tests.agent.providers.openstack.test_bake import Shelf
from tests.fakes.agent.provider import FakeProvider
from tests.fakes.clock import QuickClock

INVENTORY = """\
machines:
  - {name: m1, address: 10.0.0.1, host_key: ssh-ed25519 AAAA}
  - {name: m2, address: 10.0.0.2, host_key: ssh-ed25519 AAAA}
"""


class Region:
    """One region's desk, over a pool of two machines."""

    def __init__(self, directory: Path, provider: str = "ssh_pool") -> None:
        inventory = directory / "pool.yaml"
        inventory.write_text(INVENTORY)
        settings = (
            installed()
            .settings_model()
            .model_validate(
                {
                    "region": "paris",
                    "state": directory,
                    "provider": provider,
                    "ssh_pool": {"inventory": inventory},
                }
            )
        )
        self.provider, self.notices = FakeProvider(), list[Notice]()
        self.leases = Leases(directory / "pool")
        bakery = Bakery(self.provider, Shelf(directory), self.notices.append, QuickClock())
        self.desk = Desk(Site(settings, QuickClock()), self.provider, bakery, self.notices.append)

    async def asked(self, *words: str) -> Any:
        """What is told; an AssertionError with the reason when it is refused."""
        answer = await self.desk.answer(Query(7, ApplicationName("-"), words=words))
        assert answer.query_id == 7
        told = json.loads(answer.told)
        assert "refused" not in told, told["refused"]
        return told["told"]


async def test_the_machines_of_a_pool_are_told_and_changes_are_told_to_everybody(tmp_path: Path) -> None:
    region = Region(tmp_path)
    rows = await region.asked("pool", "", "list")
    assert [(row["machine"], row["address"], row["state"]) for row in rows] == [
        ("m1", "10.0.0.1", "dirty"),
        ("m2", "10.0.0.2", "dirty"),
    ]
    assert (
        await region.asked("pool", "bad disk, ann", "quarantine", "m1") == "m1 is quarantined: bad disk, ann"
    )
    assert region.leases.get("m1").state == "quarantined"
    assert [(notice.kind, notice.text) for notice in region.notices] == [
        ("pool.quarantine", "m1 is quarantined: bad disk, ann")
    ]
    await region.asked("pool", "mended, bob", "return", "m1")
    assert region.notices[-1].text == "m1 is back; it is made anew before it is used (mended, bob)"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("pool", "", "return", "m1"), "m1 is not quarantined, it is dirty"),
        (("pool", "", "release", "m9"), "no machine is called m9; there are: m1, m2"),
        (("pool", "", "burn", "m1"), "pool burn m1: not understood"),
        (("sing",), "this agent does not know how to sing"),
        (("bake", "d" * 64, "shop-1", "ann"), "provider fake makes no machine images"),
    ],
)
async def test_what_can_not_be_done_is_refused_with_the_reason(
    tmp_path: Path, words: tuple[str, ...], why: str
) -> None:
    region = Region(tmp_path)
    with pytest.raises(AssertionError, match=why):
        await region.asked(*words)
    assert region.notices == []


async def test_a_region_without_a_pool_says_so(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="provider is local: only ssh_pool has a pool of machines"):
        await Region(tmp_path, "local").asked("pool", "", "list")


async def test_room_and_images_are_the_provider_s_answer(tmp_path: Path) -> None:
    region = Region(tmp_path)
    region.provider.cloud.capacity = 3
    assert await region.asked("room", "3") == ""
    assert "4 more are needed" in await region.asked("room", "4")
    assert await region.asked("images") == {"images": [], "bakes": []}
