"""What operators do to a real OpenStack beside repave, and what becomes of its regions: images and flavors
that are deleted and made again, a Keystone that is away as an agent starts, a server that loses its address,
an agent that ends in the middle of a bake. Slow: `make test-rigs`."""

import asyncio
import http.client
import json
import secrets
import signal
import threading
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from subprocess import Popen
from typing import Any
from urllib.parse import urlsplit

import pytest

from repave_agent.clients.faults import GoneError
from repave_agent.clients.openstack.api import Api
from repave_agent.clock import SystemClock
from tests.e2e.test_openstack import WANTED, nothing_is_left, our_servers, our_tags, settings
from tests.fakes.waiting import until_async
from tests.support.releases import clients, release
from tests.support.rigs import STATE, rig_admin, rig_cloud, store_disk
from tests.support.stage import Stage, staged

pytestmark = [pytest.mark.e2e, pytest.mark.rig, pytest.mark.usefixtures("rig"), pytest.mark.timeout(600)]
ONE = ("paris",)
KEPT = ("Content-Type", "X-Subject-Token")
ONE_SERVER: dict[str, Any] = {**WANTED, "regions": ONE, "warm": "0s"}


@pytest.fixture
async def member() -> AsyncIterator[Api]:
    api = Api(rig_cloud(), SystemClock())
    yield api
    await api.close()


@pytest.fixture
async def admin() -> AsyncIterator[Api]:
    api = Api(rig_admin(), SystemClock())
    yield api
    await api.close()


async def told(stage: Stage, *words: str) -> str:
    """What a command prints."""
    answer = await asyncio.to_thread(stage.repave, *words)
    return answer.stdout + answer.stderr


async def wait_for(stage: Stage, words: str, *command: str) -> str:
    """Waits until the command says so; returns all that it then said."""
    said: list[str] = []

    async def is_said() -> bool:
        said.append(await told(stage, *command))
        return words in said[-1]

    try:
        async with asyncio.timeout(120):
            await until_async(is_said, 120)
    except TimeoutError:
        raise AssertionError(f"{words!r} was not said by {command}: {said[-1]}\n{stage.logs()}") from None
    return said[-1]


# ------------------------------------------------------------------------ what is deleted and made anew


@dataclass
class Base:
    """An image and a flavor of one name that may be deleted and made again."""

    member: Api
    admin: Api
    name: str = field(default_factory=lambda: f"rp-{secrets.token_hex(4)}")
    image: str = ""
    flavor: str = ""

    async def make(self) -> None:
        image = {"name": self.name, "disk_format": "raw", "container_format": "bare"}
        self.image = (await self.member.call("image", "POST", "/images", image))["id"]
        await store_disk(self.member, self.image)
        flavor = {"name": self.name, "ram": 64, "vcpus": 1, "disk": 1}
        self.flavor = (await self.admin.call("compute", "POST", "/flavors", {"flavor": flavor}))["flavor"][
            "id"
        ]

    async def delete(self) -> None:
        """Repeatable."""
        with suppress(GoneError):
            await self.member.call("image", "DELETE", f"/images/{self.image}")
        with suppress(GoneError):
            await self.admin.call("compute", "DELETE", f"/flavors/{self.flavor}")


@pytest.fixture
async def base(member: Api, admin: Api) -> AsyncIterator[Base]:
    made = Base(member, admin)
    await made.make()
    yield made
    await made.delete()


async def test_an_image_and_a_flavor_that_are_made_again_under_their_names_hold_up_no_release(
    directory: Path, base: Base
) -> None:
    environment = {
        "paris": {
            **settings(7487),
            "REPAVE_AGENT_OPENSTACK__IMAGE": base.name,
            "REPAVE_AGENT_OPENSTACK__FLAVOR": base.name,
        }
    }
    with staged(directory / "s", regions=ONE, region_environment=environment) as stage:
        ended, _ = await release(stage, "v1", **ONE_SERVER, seconds=240)
        assert ended["phase"] == "succeeded", stage.logs()
        await base.delete()
        plan = await told(stage, "plan", "-f", str(stage.directory / "v1.yaml"))
        assert f"openstack.flavor: the project has no {base.name}; it has: " in plan, plan
        assert f"there is no image {base.name}" in plan
        await base.make()
        ended, _ = await release(stage, "v2", **ONE_SERVER, seconds=240)
        assert ended["phase"] == "succeeded", stage.logs()
        said = await wait_for(stage, "was replaced under its name", "doctor")
        assert f"openstack.image: {base.name}" in said
        assert f"openstack.flavor: {base.name}" in said
    await nothing_is_left(stage)


# ---------------------------------------------------------------------------- services that are away


@dataclass
class Keystone:
    """Stands before the real one; answers 503 while it is away."""

    url: str = ""
    is_away: bool = False


@contextmanager
def before_keystone() -> Iterator[Keystone]:
    """In a thread: a stage is set up and ended by code that does not wait."""
    made, real = Keystone(), urlsplit(rig_cloud().auth_url).netloc

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if made.is_away:
                self._say(
                    503,
                    {"Content-Type": "application/json"},
                    b'{"error": {"message": "Service Unavailable"}}',
                )
                return
            connection = http.client.HTTPConnection(real, timeout=30)
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            kept = {name: answer.headers[name] for name in KEPT if name in answer.headers}
            self._say(answer.status, kept, answer.read())
            connection.close()

        do_POST = do_GET

        def _say(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        made.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def away(keystone: Keystone) -> Iterator[None]:
    keystone.is_away = True
    try:
        yield
    finally:
        keystone.is_away = False


def pull_the_plug(stage: Stage, region: str) -> None:
    """Neither agent nor HAProxy is left, as after a reboot of their machine."""
    stage.kill_agent(region)
    stage.kill_haproxy(region)


def is_served(stage: Stage, region: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{stage.traffic_address(region)}:8000/", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


async def test_an_agent_that_starts_while_keystone_is_away_serves_and_tells_and_goes_on(
    directory: Path,
) -> None:
    with before_keystone() as keystone:
        clouds = directory / "clouds.yaml"
        clouds.write_text(
            (STATE / "clouds.yaml").read_text().replace(rig_cloud().auth_url, f"{keystone.url}/v3")
        )
        environment = {"paris": {**settings(7488), "OS_CLIENT_CONFIG_FILE": str(clouds)}}
        with staged(directory / "s", regions=ONE, region_environment=environment) as stage:
            ended, _ = await release(stage, "v1", **ONE_SERVER, seconds=240)
            assert ended["phase"] == "succeeded", stage.logs()
            with away(keystone):
                await asyncio.to_thread(pull_the_plug, stage, "paris")
                assert not is_served(stage, "paris")
                stage.start_agent("paris")
                await asyncio.to_thread(
                    stage.wait, lambda: is_served(stage, "paris"), "traffic by the journal"
                )
                for command in (("why", "hello"), ("status",), ("doctor",)):
                    assert "503" in await wait_for(stage, "Service Unavailable", *command)
            async with clients(stage, rate=50) as results:
                ended, _ = await release(stage, "v2", **ONE_SERVER, seconds=240)
                assert ended["phase"] == "succeeded", stage.logs()
            assert results["paris"].failures == (), results["paris"].summary()
    await nothing_is_left(stage)


# ------------------------------------------------------------------------------ a server without address


async def test_a_server_that_loses_its_address_is_replaced_and_no_request_is_lost(
    directory: Path, member: Api
) -> None:
    environment = {"paris": settings(7489)}
    with staged(directory / "s", regions=ONE, region_environment=environment) as stage:
        ended, _ = await release(stage, "v1", **{**ONE_SERVER, "size": 2}, seconds=240)
        assert ended["phase"] == "succeeded", stage.logs()
        (victim, _) = await our_servers(member, stage)
        async with clients(stage, rate=50) as results:
            path = f"/servers/{victim['id']}/os-interface"
            (port,) = (await member.call("compute", "GET", path))["interfaceAttachments"]
            await member.call("compute", "DELETE", f"{path}/{port['port_id']}")

            async def is_replaced() -> bool:
                there = await our_servers(member, stage)
                hosts = (await asyncio.to_thread(stage.get, "hosts"))["items"]
                serving = [each for each in hosts if each["phase"] == "verified"]
                return victim["id"] not in [each["id"] for each in there] and len(serving) == 2

            await until_async(is_replaced, 240)
        assert results["paris"].failures == (), results["paris"].summary()
        assert "it has no address" in str(stage.get("events?newest=1&limit=500")), stage.logs()
    await nothing_is_left(stage)


# -------------------------------------------------------------------------- an agent that ends in a bake


async def baked_images(api: Api, stage: Stage) -> list[dict[str, Any]]:
    there = await api.list_all("image", "/images", "images")
    return [each for each in there if each.get("repave_bake_tag") in our_tags(stage)]


@contextmanager
def baking(stage: Stage) -> Iterator[Popen[str]]:
    """Someone asks for an image."""
    words = ("image", "bake", str(stage.directory / "v1"), "--region", "paris", "--name", "golden")
    process = stage.begin_repave(*words)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate()


@pytest.mark.parametrize("moment", ["server", "image"])
async def test_an_agent_that_is_killed_in_a_bake_leaves_neither_server_nor_image(
    directory: Path, member: Api, moment: str
) -> None:
    environment = {"paris": settings(7490)}
    with staged(directory / "s", regions=ONE, region_environment=environment) as stage:
        await asyncio.to_thread(stage.release, "v1", **ONE_SERVER)
        await asyncio.to_thread(stage.ended, 240)
        (host,) = await our_servers(member, stage)

        async def has_begun() -> bool:
            if moment == "image":
                return bool(await baked_images(member, stage))
            return len(await our_servers(member, stage)) == 2

        async def is_tidied() -> bool:
            there = [each["id"] for each in await our_servers(member, stage)]
            return there == [host["id"]] and not await baked_images(member, stage)

        with baking(stage):
            await until_async(has_begun, 120)
            stage.kill_agent("paris")
            stage.start_agent("paris")
            await until_async(is_tidied, 120)
        items = json.loads((await asyncio.to_thread(stage.repave, "orphans", "-o", "json")).stdout)["items"]
        assert items == []
    await nothing_is_left(stage)
    with pytest.raises(GoneError):
        await member.call("compute", "GET", f"/servers/{host['id']}")
