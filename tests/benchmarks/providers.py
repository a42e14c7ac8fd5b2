"""What a host costs its agent where hosts are servers of OpenStack, or machines over SSH: calls, and CPU."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import aiohttp
import asyncssh

from repave_agent.clients.openstack.api import Api
from repave_agent.clients.openstack.login import Cloud
from repave_agent.clients.ssh_identity import Identity
from repave_agent.clock import SystemClock
from repave_agent.core.ports import HostSpec, Provider
from repave_agent.packages.server import Depot
from repave_agent.providers.openstack.options import OpenstackOptions
from repave_agent.providers.openstack.provider import OpenstackProvider
from repave_agent.providers.ssh_pool.inventory import Inventory
from repave_agent.providers.ssh_pool.leases import Leases
from repave_agent.providers.ssh_pool.machines import Access, Machines
from repave_agent.providers.ssh_pool.options import ResetOptions
from repave_agent.providers.ssh_pool.provider import SshPoolProvider
from repave_protos.package.archive import pack
from repave_protos.protocol.values import ApplicationName, GroupName, HostName, RegionName
from tests.benchmarks.table import Line
from tests.fakes.templates import a_template
from tests.support.sshd_hosts import PORT, ROOT, Pool, pool, why_not

OCTET = 254
IN_FLIGHT = 20


def openstack(directory: Path, hosts: int) -> Iterator[Line]:
    """Against a cloud that answers at once, in a process of its own; each server is BUILDing at two looks."""
    command = [sys.executable, "-m", "tests.fakes.clouds.openstack"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as fake:
        assert fake.stdout is not None
        try:
            yield from asyncio.run(_openstack(directory, fake.stdout.readline().strip(), hosts))
        finally:
            fake.kill()


async def _openstack(directory: Path, url: str, hosts: int) -> list[Line]:
    auth = {"auth_url": url, "username": "u", "password": "p", "project_name": "demo"}
    api = Api(Cloud(auth, "one"), SystemClock())
    options, depot = (
        OpenstackOptions(flavor="small", image="base", network="fleet"),
        Depot(directory, "127.0.0.1:0"),
    )
    provider = OpenstackProvider(RegionName("bench"), lambda: "bench", api, options, depot, SystemClock())
    await provider.start()
    before = api.calls
    cpu = await _cpu_of(lambda: _launched(provider, directory, hosts))
    calls = (api.calls - before) / hosts
    floor = await _cpu_of(lambda: _bare_calls(url, hosts))
    await provider.close()
    return [
        Line(f"OpenStack calls for a host, launch to ACTIVE, {hosts} hosts", calls, "calls", "", 6.0),
        Line("agent CPU for a server of OpenStack", cpu * 1e3 / hosts, "ms",
             f"one bare call of aiohttp {floor * 1e3 / hosts:.2f} ms"),
    ]  # fmt: skip


async def _bare_calls(url: str, count: int) -> None:
    async with aiohttp.ClientSession() as client:
        for _ in range(count):
            async with client.get(f"{url}/compute/limits") as answer:
                await answer.read()


def machines(directory: Path, hosts: int) -> Iterator[Line]:
    """Real sshd machines, made anew by a command on them."""
    if reason := why_not():
        print(f"ssh: {reason}")
        return
    with pool(directory / "pool", hosts, OCTET) as made:
        yield from asyncio.run(_machines(directory, made, hosts))


async def _machines(directory: Path, made: Pool, hosts: int) -> list[Line]:
    empty = f"chmod -R u+w {ROOT}; rm -rf {ROOT}/*; printf %s $REPAVE_NONCE > {ROOT}/.fresh"
    reset = ResetOptions(remote=("sh", "-c", empty), proof="marker", marker=f"{ROOT}/.fresh", seconds=30.0)
    access = Access("root", Identity("ssh_pool", made.key), PORT, root=ROOT)
    reached = Machines(Inventory(made.inventory), access, Leases(directory / "leases"))
    provider = SshPoolProvider(
        RegionName("bench"), lambda: "bench", reached, reset, clock=SystemClock(), parallel=IN_FLIGHT
    )
    cpu = await _cpu_of(lambda: _launched(provider, directory, hosts))
    looks = await _cpu_of(provider.list_hosts)
    await asyncio.gather(*(provider.destroy(host.name) for host in await provider.list_hosts()))
    await provider.close()
    floor = await _cpu_of(lambda: _logged_in(made))
    return [
        Line(f"agent CPU for a machine over SSH, {hosts} machines", cpu * 1e3 / hosts, "ms",
             f"asyncssh: log in twice and run a command {floor * 1e3 / hosts:.1f} ms"),
        Line("agent CPU for a look at a machine over SSH", looks * 1e3 / hosts, "ms", "every 5 s"),
    ]  # fmt: skip


async def _logged_in(made: Pool) -> None:
    for name in made.names * 2:
        async with asyncssh.connect(
            made.address(name),
            PORT,
            username="root",
            client_keys=[str(made.key)],
            known_hosts=None,
            config=None,
        ) as connection:
            await connection.run("true")


async def _launched(provider: Provider, directory: Path, hosts: int) -> None:
    package = directory / "app.tar.gz"
    (directory / "app").mkdir()
    (directory / "app" / "page.html").write_text("hello")
    digest, slots = pack(directory / "app", package), asyncio.Semaphore(IN_FLIGHT)

    async def launch(number: int) -> None:
        name, group = HostName(f"shop-v001-{number}"), GroupName("shop-v001")
        run = ("sleep", "600")
        async with slots:
            spec = HostSpec(name, group, ApplicationName("shop"), digest, a_template(run))
            await provider.launch(spec, package)

    await asyncio.gather(*(launch(number) for number in range(hosts)))


async def _cpu_of(work: Callable[[], Awaitable[object]]) -> float:
    """Seconds of CPU of this process."""
    began = time.process_time()
    await work()
    return time.process_time() - began
