"""What a real OpenStack control plane does to releases and hosts: quota that ends in the middle, services
that are restarted, tokens that are revoked, answers that are lost, builds that take long; and images that are
baked. Slow: `make test-rigs`."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from repave_agent.clients.openstack.api import Api
from repave_agent.clients.openstack.login import Cloud
from repave_agent.clock import SystemClock
from repave_agent.core.ports import HostSpec
from repave_agent.packages.server import Depot
from repave_agent.providers.openstack.options import OpenstackOptions
from repave_agent.providers.openstack.provider import OpenstackProvider
from repave_protos.package.archive import pack
from repave_protos.protocol.values import ApplicationName, GroupName, HostName, RegionName
from tests.e2e.test_openstack import WANTED, nothing_is_left, our_servers, settings
from tests.fakes.templates import a_template
from tests.fakes.waiting import until_async
from tests.support.releases import release
from tests.support.rigs import restart_service, rig_admin, rig_cloud, store_disk
from tests.support.stage import Stage, staged

pytestmark = [pytest.mark.e2e, pytest.mark.rig, pytest.mark.usefixtures("rig"), pytest.mark.timeout(600)]
ONE = ("paris",)


# -------------------------------------------------------------------------------------------------- releases


@asynccontextmanager
async def quota_of(instances: int, already: int) -> AsyncIterator[Callable[[int], Any]]:
    """So many servers may be there beside those of others; the function sets another number. `already`: ours
    that are there."""
    member = Api(rig_cloud(), SystemClock())
    others = len(await member.list_all("compute", "/servers", "servers")) - already
    admin = Api(rig_admin(), SystemClock())

    async def set_to(number: int) -> None:
        body = {"quota_set": {"instances": number + others if number >= 0 else number, "force": True}}
        await admin.call("compute", "PUT", f"/os-quota-sets/{member.project_id}", body)

    await set_to(instances)
    try:
        yield set_to
    finally:
        await set_to(-1)
        await admin.close()
        await member.close()


def events(stage: Stage) -> list[str]:
    return [each["text"] for each in stage.get("events?newest=1&limit=500")["items"]]


async def test_quota_that_ends_in_the_middle_and_services_that_restart_only_delay_a_release(
    directory: Path,
) -> None:
    wanted = {**WANTED, "size": 2, "regions": ONE}
    environment = {"paris": settings(7485)}
    with staged(directory / "s", regions=ONE, region_environment=environment) as stage:
        ended, _ = await release(stage, "v1", **wanted, warm="0s", seconds=240)
        assert ended["phase"] == "succeeded", stage.logs()
        async with quota_of(3, 2) as set_quota:  # one more may be
            plan = await asyncio.to_thread(
                stage.repave, "plan", "-o", "json", "-f", str(stage.directory / "v1.yaml")
            )
            room = [each["text"] for each in json.loads(plan.stdout)["guards"] if each["rule"] == "room"]
            assert "has no room: instances: " in room[0]
            refused = await asyncio.to_thread(
                stage.repave, "release", "-f", str(stage.directory / "v1.yaml"), "--version", "v2"
            )
            assert refused.returncode == 5, refused.stdout + refused.stderr
            assert "has no room: instances: " in refused.stderr
            running = asyncio.create_task(release(stage, "v2", **wanted, warm="0s", seconds=400, force=True))
            quota = "Quota exceeded"
            await asyncio.to_thread(
                stage.wait, lambda: any(quota in text for text in events(stage)), "the quota to be told", 120
            )
            await set_quota(-1)
            ended, _ = await running
            assert ended["phase"] == "succeeded", stage.logs()
        running = asyncio.create_task(release(stage, "v3", **wanted, warm="0s", seconds=400))
        await asyncio.to_thread(stage.wait, lambda: "v3" in str(stage.get("applications/hello")), "v3")
        for service in ("nova", "neutron", "keystone"):
            await asyncio.to_thread(restart_service, service)
        ended, _ = await running
        assert ended["phase"] == "succeeded", stage.logs()
    await nothing_is_left(stage)


async def disk_uploaded(name: str) -> None:
    """What a hypervisor does for a snapshot: the rig's has no disks."""
    api = Api(rig_cloud(), SystemClock())

    async def is_asked_for() -> bool:
        return bool(await api.list_all("image", "/images", "images", name=name))

    async with asyncio.timeout(120):
        while not await is_asked_for():  # noqa: ASYNC110
            await asyncio.sleep(0.5)
    (image,) = await api.list_all("image", "/images", "images", name=name)
    place = f"{api._endpoints['image']}/images/{image['id']}"
    formats = [
        {"op": "replace", "path": f"/{each}", "value": value}
        for each, value in (("disk_format", "raw"), ("container_format", "bare"))
    ]
    patch = {
        **await api._tokens.headers(),
        "Content-Type": "application/openstack-images-v2.1-json-patch",
    }
    async with (
        aiohttp.ClientSession() as session,
        session.patch(place, headers=patch, data=json.dumps(formats)) as patched,
    ):
        assert patched.status == 200, await patched.text()
    await store_disk(api, image["id"])
    await api.close()


async def test_a_release_of_a_baked_image_is_a_release_of_its_package(directory: Path) -> None:
    environment, golden = {"paris": settings(7486)}, f"golden-{secrets.token_hex(4)}"
    wanted = {**WANTED, "regions": ONE}
    with staged(directory / "s", regions=ONE, region_environment=environment) as stage:
        ended, _ = await release(stage, "v1", **wanted, warm="0s", seconds=240)
        assert ended["phase"] == "succeeded", stage.logs()
        uploaded = asyncio.create_task(disk_uploaded(golden))
        words = ("image", "bake", str(stage.directory / "v1"), "--region", "paris", "--name", golden)
        baked = await asyncio.to_thread(stage.repave, *words, "--check", "test -e app.py", timeout=300)
        assert baked.returncode == 0, baked.stderr
        await uploaded
        assert "its disk becomes an image" in baked.stderr
        spec = str(stage.directory / "v1.yaml")
        released = await asyncio.to_thread(
            stage.repave, "release", "--baked", golden, "-f", spec, "--version", "v2", timeout=300
        )
        assert released.returncode == 0, released.stderr
        async with AsyncExitStack() as opened:
            api = Api(rig_cloud(), SystemClock())
            opened.push_async_callback(api.close)
            (image,) = await api.list_all("image", "/images", "images", name=golden)
            servers = await our_servers(api, stage)
            used = {each["metadata"]["repave_group"]: each["image"]["id"] for each in servers}
            assert used["hello-v002"] == image["id"] != used["hello-v001"]
            await api.call("image", "DELETE", f"/images/{image['id']}")
    await nothing_is_left(stage)


# ----------------------------------------------------------------------------------------------------- hosts


class Region:
    """One agent's provider on the real cloud."""

    def __init__(self, directory: Path, cloud: Cloud, metadata: dict[str, str]) -> None:
        self.api = Api(cloud, SystemClock())
        (directory / "app").mkdir()
        (directory / "app" / "a").write_text("a")
        self.package = directory / "app.tar.gz"
        self.digest = pack(directory / "app", self.package)
        options = OpenstackOptions(flavor="m1.tiny", image="tiny", network="fleet", metadata=metadata)
        depot = Depot(directory, "127.0.0.1:0")
        self.provider = OpenstackProvider(
            RegionName("faults"), lambda: "ours", self.api, options, depot, SystemClock()
        )

    async def launch(self, number: int) -> str:
        name, group = HostName(f"shop-v001-{number}"), GroupName("shop-v001")
        spec = HostSpec(name, group, ApplicationName("shop"), self.digest, a_template(("serve",)))
        return str((await self.provider.launch(spec, self.package)).name)

    async def end(self) -> None:
        """Nothing of it is left."""
        for host in await self.provider.list_hosts():
            await self.provider.destroy(host.name)
        assert await self.provider.list_hosts() == []
        assert await self.servers() == []
        groups = await self.api.list_all("compute", "/os-server-groups", "server_groups")
        assert [
            each["name"] for each in groups if each["name"].startswith(self.provider._servers.tag())
        ] == []
        theirs = {each["id"] for each in await self.api.list_all("compute", "/servers", "servers")}
        ports = await self.api.list_all("network", "/ports", "ports")
        left = [port for port in ports if port["device_owner"].startswith("compute:")]
        assert [port for port in left if port["device_id"] not in theirs] == []
        await self.provider.close()

    async def servers(self) -> list[dict[str, Any]]:
        return await self.api.list_all("compute", "/servers", "servers", tags=self.provider._servers.tag())


@asynccontextmanager
async def served_region(directory: Path, cloud: Cloud, metadata: dict[str, str]) -> AsyncIterator[Region]:
    region = Region(directory, cloud, metadata)
    try:
        yield region
    finally:
        await region.end()


@asynccontextmanager
async def lossy(url: str, loses: Callable[[str, int], bool]) -> AsyncIterator[str]:
    """A proxy before an API. `loses` says of a method and its number whether the answer is lost."""
    counts: dict[str, int] = {}

    async def pass_on(request: web.Request) -> web.StreamResponse:
        headers = {name: value for name, value in request.headers.items() if name != "Host"}
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                request.method, url + request.path_qs, headers=headers, data=await request.read() or None
            ) as answer,
        ):
            body = await answer.read()
        counts[request.method] = counts.get(request.method, 0) + 1
        if loses(request.method, counts[request.method]):
            assert request.transport is not None
            request.transport.close()
        return web.Response(
            status=answer.status, body=body, headers={"Content-Type": answer.headers.get("Content-Type", "")}
        )

    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", pass_on)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_answers_that_are_lost_make_no_host_twice_and_leave_none(tmp_path: Path) -> None:
    known = Api(rig_cloud(), SystemClock())
    await known.list_all("compute", "/servers", "servers")
    origin, _, path = known._endpoints["compute"].partition("/v2.1")
    await known.close()
    async with lossy(origin, lambda method, number: number % (5 if method == "GET" else 2) == 1) as url:
        cloud = replace(rig_cloud(), overrides={"compute_endpoint_override": f"{url}/v2.1{path}"})
        async with served_region(tmp_path, cloud, {}) as region:
            names = await asyncio.gather(*(region.launch(number) for number in range(3)))
            assert {host.name for host in await region.provider.list_hosts()} == set(names)
            assert len(await region.servers()) == 3


async def test_a_revoked_token_and_a_slow_build_cost_no_host(tmp_path: Path) -> None:
    async with served_region(tmp_path, rig_cloud(), {"rig_spawn_seconds": "6"}) as region:
        launch = asyncio.create_task(region.launch(1))
        await until_async(region.servers)
        async with aiohttp.ClientSession() as session:
            shown = await region.api._tokens.headers()
            headers = {**shown, "X-Subject-Token": shown["X-Auth-Token"]}
            async with session.delete(f"{rig_cloud().auth_url}/auth/tokens", headers=headers) as revoked:
                assert revoked.status == 204
        assert await launch == "shop-v001-1"
