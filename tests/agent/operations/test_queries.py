"""What an agent answers when the controller asks its provider: a pool, room, images; and what it refuses."""

from pathlib import Path

import pytest

from repave_agent.kinds import Site
from repave_agent.operations.queries import Desk, answer_way_in
from repave_agent.packages.baking import Bakery
from repave_agent.providers.ssh_pool.leases import Leases
from repave_agent.registry import installed
from repave_protos.protocol.queries import (
    BakeOrder,
    Bakes,
    ChangeMachine,
    Content,
    Done,
    FindRoom,
    FindWayIn,
    ListBakes,
    ListMachines,
    Machines,
    OfProvider,
    Refusal,
    Room,
    UnknownQuestion,
    WayIn,
)
from repave_protos.protocol.values import ApplicationName, Digest, Notice
from tests.agent.providers.openstack.test_bake import Shelf
from tests.fakes.agent.balancer import FakeBalancer, FakeMachine
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

    async def asked(self, question: OfProvider) -> Content:
        """The answer; an AssertionError with the reason when it is refused."""
        content = await self.desk.answer(question)
        assert not isinstance(content, Refusal), content.why
        return content


async def test_the_machines_of_a_pool_are_listed_and_changes_become_notices(tmp_path: Path) -> None:
    region = Region(tmp_path)
    listed = await region.asked(ListMachines())
    assert isinstance(listed, Machines)
    assert [(each.name, each.address, each.state) for each in listed.machines] == [
        ("m1", "10.0.0.1", "dirty"),
        ("m2", "10.0.0.2", "dirty"),
    ]
    quarantined = await region.asked(ChangeMachine("quarantine", "m1", "bad disk, ann"))
    assert quarantined == Done("m1 is quarantined: bad disk, ann")
    assert region.leases.get("m1").state == "quarantined"
    assert [(notice.kind, notice.text) for notice in region.notices] == [
        ("pool.quarantine", "m1 is quarantined: bad disk, ann")
    ]
    for name in ("m1", "m2"):
        await region.asked(ChangeMachine("quarantine", name, "bad disk, ann"))
    done = await region.asked(ChangeMachine("return", "", "key mended"))
    assert done == Done("m1, m2: back; each is made anew before it is used (key mended)")
    assert {each.state for each in region.leases.all().values()} == {"dirty"}
    await region.asked(ChangeMachine("quarantine", "m1", "bad disk, ann"))
    await region.asked(ChangeMachine("return", "m1", "mended, bob"))
    assert region.notices[-1].text == "m1 is back; it is made anew before it is used (mended, bob)"


@pytest.mark.parametrize(
    ("question", "why"),
    [
        (ChangeMachine("return", "m1", ""), "m1 is not quarantined, it is dirty"),
        (ChangeMachine("release", "m9", ""), "no machine is called m9; there are: m1, m2"),
        (BakeOrder(Digest("d" * 64), "shop-1", (), "ann"), "provider fake makes no machine images"),
    ],
)
async def test_what_can_not_be_done_is_refused_with_the_reason(
    tmp_path: Path, question: OfProvider, why: str
) -> None:
    region = Region(tmp_path)
    with pytest.raises(AssertionError, match=why):
        await region.asked(question)
    assert region.notices == []


async def test_a_question_of_a_newer_controller_is_refused_by_name(tmp_path: Path) -> None:
    refused = await Region(tmp_path).desk.answer(UnknownQuestion("sing"))
    assert refused == Refusal("this agent does not know 'sing': upgrade it")


async def test_a_region_without_a_pool_says_so(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="provider is local: only ssh_pool has a pool of machines"):
        await Region(tmp_path, "local").asked(ListMachines())


async def test_where_clients_can_come_in_is_the_balancers_answer() -> None:
    machine = FakeMachine(taken_ports={81})
    for port, lack in ((80, ""), (81, "port 81 is taken")):
        question = FindWayIn(ApplicationName("shop"), port)
        assert await answer_way_in(FakeBalancer(machine).way_in, question) == WayIn(lack)


async def test_room_and_images_are_the_provider_s_answer(tmp_path: Path) -> None:
    region = Region(tmp_path)
    region.provider.cloud.capacity = 3
    assert await region.asked(FindRoom(3)) == Room("")
    room = await region.asked(FindRoom(4))
    assert isinstance(room, Room)
    assert "4 more are needed" in room.lack
    region.provider.cloud.sizes = ("l", "xl")
    assert await region.asked(FindRoom(1, ("xl",))) == Room("")
    assert await region.asked(FindRoom(0, ("xxl",))) == Room(
        "", "host.size: there is no xxl; there are: l, xl"
    )
    assert await region.asked(ListBakes()) == Bakes()
