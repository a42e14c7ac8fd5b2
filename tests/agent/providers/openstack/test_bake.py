"""Images that are baked from packages: what a server does for one, what is left when it fails, its use."""

import asyncio
import base64
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from repave_agent.core.ports import RefusedError, TransientError
from repave_agent.packages.baking import Bakery
from repave_agent.providers.cloud.first_boot import BAKED, NOT_BAKED
from repave_agent.providers.openstack.provider import OpenstackProvider
from repave_protos.package.archive import sha256_of
from repave_protos.protocol.queries import BakeOrder
from repave_protos.protocol.values import Digest, Notice
from tests.agent.providers.openstack.test_provider import provider_of, spec
from tests.fakes.agent.provider import FakeProvider
from tests.fakes.clock import QuickClock
from tests.fakes.clouds.openstack import FakeOpenstack, served
from tests.fakes.waiting import until


@pytest.fixture
async def cloud() -> AsyncIterator[FakeOpenstack]:
    async with served(FakeOpenstack(console=f"{BAKED} {{repave_bake}}\n")) as fake:
        yield fake


@pytest.fixture
async def provider(cloud: FakeOpenstack, tmp_path: Path) -> AsyncIterator[OpenstackProvider]:
    made = provider_of(cloud, tmp_path)
    yield made
    await made.close()


def order(package: Path, *check: str) -> BakeOrder:
    return BakeOrder(sha256_of(package), "shop-1", check, "ann")


async def test_an_image_says_what_it_was_made_from_and_no_server_stays(
    cloud: FakeOpenstack, provider: OpenstackProvider, package: Path
) -> None:
    steps: list[str] = []
    made = await provider.bake(order(package), package, steps.append)
    image = cloud.images[-1]
    assert (made.image, made.name, made.digest, made.by) == (image["id"], "shop-1", sha256_of(package), "ann")
    assert (image["repave_base_image"], image["repave_digest"]) == ("i1", sha256_of(package))
    assert steps[0] == "the server is made"
    assert steps[-1] == "the server is removed"
    assert cloud.servers == {}
    assert await provider.baked() == [made]


async def test_hosts_of_that_package_are_made_of_the_image_and_others_of_the_base(
    cloud: FakeOpenstack, provider: OpenstackProvider, package: Path
) -> None:
    await provider.launch(spec(package, 1), package)
    made = await provider.bake(order(package), package, lambda _: None)
    await provider.launch(spec(package, 2), package)
    assert [each["image"]["id"] for each in cloud.servers.values()] == ["i1", made.image]


async def test_launches_that_begin_together_ask_for_images_once(
    provider: OpenstackProvider, package: Path
) -> None:
    await provider.start()
    found = provider._names.known()
    assert found is not None
    before = provider._api.calls
    await asyncio.gather(*(provider._oven.image_for(sha256_of(package), found.image) for _ in range(10)))
    assert provider._api.calls - before == 1


@pytest.mark.parametrize("flaw", [{"owner": "p2"}, {"repave_base_image": "i0"}, {"status": "queued"}])
async def test_an_image_of_another_project_or_base_or_that_is_not_whole_is_not_used(
    cloud: FakeOpenstack, provider: OpenstackProvider, package: Path, flaw: dict[str, str]
) -> None:
    await provider.bake(order(package), package, lambda _: None)
    cloud.images[-1] |= flaw
    await provider.launch(spec(package), package)
    assert [each["image"]["id"] for each in cloud.servers.values()] == ["i1"]


async def test_a_snapshot_that_others_took_of_a_host_is_neither_used_nor_removed(
    cloud: FakeOpenstack, provider: OpenstackProvider, package: Path
) -> None:
    made = await provider.bake(order(package), package, lambda _: None)
    inherited = {**cloud.images[-1], "created_at": "2999-01-01T00:00:00Z"}  # Nova copies the properties
    snapshot = {**inherited, "id": "theirs", "name": "before the upgrade", "status": "saving"}
    torn = {key: value for key, value in inherited.items() if key != "repave_digest"} | {"id": "torn"}
    cloud.images += [snapshot, torn]
    await provider._oven.tidy()
    snapshot["status"] = "active"
    assert await provider.baked() == [made]
    assert [each["id"] for each in cloud.images[-3:]] == [made.image, "theirs", "torn"]


async def test_a_server_that_is_baked_is_no_host_and_one_that_was_left_goes_when_an_agent_starts(
    cloud: FakeOpenstack, provider: OpenstackProvider, package: Path, tmp_path: Path
) -> None:
    cloud.console = "booting\n"
    bake = asyncio.create_task(provider.bake(order(package), package, lambda _: None))
    await until(lambda: bool(cloud.servers))
    assert await provider.list_hosts() == []
    (left,) = cloud.servers.values()
    bake.cancel()
    with pytest.raises(asyncio.CancelledError):
        await bake
    assert cloud.servers == {}
    cloud.servers[left["id"]] = left
    (tmp_path / "heir").mkdir()
    heir = provider_of(cloud, tmp_path / "heir")
    await heir.start()
    await heir.close()
    assert cloud.servers == {}


async def test_what_can_not_be_unpacked_is_told_with_the_console_and_nothing_is_left(
    cloud: FakeOpenstack, provider: OpenstackProvider, package: Path
) -> None:
    cloud.console = f"no space left on device\n{NOT_BAKED} (1)\n"
    with pytest.raises(RefusedError, match="no space left on device"):
        await provider.bake(order(package), package, lambda _: None)
    assert (cloud.servers, len(cloud.images)) == ({}, 2)


async def test_an_image_that_glance_gives_up_is_removed(
    cloud: FakeOpenstack, provider: OpenstackProvider, package: Path
) -> None:
    cloud.image_status = "killed"
    with pytest.raises(TransientError, match="the image became killed"):
        await provider.bake(order(package), package, lambda _: None)
    assert (cloud.servers, len(cloud.images)) == ({}, 2)


@pytest.mark.parametrize(("check", "is_good"), [(("test", "-e", "page.html"), True), (("false",), False)])
async def test_the_server_of_an_image_unpacks_checks_and_says_so(
    cloud: FakeOpenstack,
    provider: OpenstackProvider,
    package: Path,
    tmp_path: Path,
    check: tuple[str, ...],
    is_good: bool,
) -> None:
    provider._oven._prepare = f"ROOT={tmp_path}/server"
    cloud.console = "booting\n"
    bake = asyncio.create_task(provider.bake(order(package, *check), package, lambda _: None))
    await until(lambda: bool(cloud.servers))
    (server,) = cloud.servers.values()
    script = tmp_path / "user-data"
    script.write_bytes(base64.b64decode(server["user_data"]))
    done = await asyncio.to_thread(
        subprocess.run, ["sh", str(script)], capture_output=True, text=True, timeout=60, check=False
    )
    bake.cancel()
    await asyncio.gather(bake, return_exceptions=True)
    last = done.stdout.splitlines()[-1]
    assert last == (f"{BAKED} {sha256_of(package)}" if is_good else f"{NOT_BAKED} (1)"), done.stderr
    assert (tmp_path / "server" / "packages" / sha256_of(package) / "app" / "page.html").exists()


# ---------------------------------------------------------------------------------------------------- bakery


class Shelf:
    """Packages that are there already."""

    def __init__(self, package: Path) -> None:
        self._package = package

    async def fetch(self, digest: Digest) -> Path:
        return self._package


async def ended(bakery: Bakery) -> None:
    await until(lambda: not bakery.tasks)


async def test_a_bake_goes_on_by_itself_is_joined_and_tells_how_it_ended(
    cloud: FakeOpenstack, provider: OpenstackProvider, package: Path
) -> None:
    notices: list[Notice] = []
    cloud.builds_for = 30
    bakery = Bakery(provider, Shelf(package), notices.append, QuickClock())
    assert bakery.begin(order(package)).step == "it begins"
    await until(lambda: bool(cloud.servers))
    assert bakery.begin(order(package)).step != "it begins"
    await ended(bakery)
    images, bakes = await bakery.there()
    assert ([each.name for each in images], bakes) == (["shop-1"], [])
    assert [each.kind for each in notices] == ["image.baked"]


async def test_a_bake_that_failed_says_why_until_it_is_tried_again(
    cloud: FakeOpenstack, provider: OpenstackProvider, package: Path
) -> None:
    notices: list[Notice] = []
    bakery = Bakery(provider, Shelf(package), notices.append, QuickClock())
    cloud.faults = ["No valid host was found."]
    bakery.begin(order(package))
    await ended(bakery)
    (failed,) = (await bakery.there())[1]
    assert "No valid host was found" in failed.error
    assert [each.kind for each in notices] == ["image.bake_failed"]
    bakery.begin(order(package))
    await ended(bakery)
    assert (await bakery.there())[1] == []


async def test_an_agent_that_stops_leaves_nothing_of_a_bake(
    cloud: FakeOpenstack, provider: OpenstackProvider, package: Path
) -> None:
    cloud.console = "booting\n"
    bakery = Bakery(provider, Shelf(package), lambda _: None, QuickClock())
    bakery.begin(order(package))
    await until(lambda: bool(cloud.servers))
    await bakery.close()
    assert cloud.servers == {}


async def test_a_provider_that_makes_no_images_says_so(package: Path) -> None:
    bakery = Bakery(FakeProvider(), Shelf(package), lambda _: None, QuickClock())
    with pytest.raises(RefusedError, match="provider fake makes no machine images"):
        bakery.begin(order(package))
    assert await bakery.there() == ([], [])
