"""Hosts with networks of their own: applications on 0.0.0.0 side by side, the way out, what is left."""

import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from repave_agent.core.ports import Host, RefusedError
from repave_agent.providers.command import Isolation
from repave_agent.providers.local import networks
from repave_agent.providers.local.addresses import route_error
from repave_agent.providers.local.networks import GATEWAY, Network
from repave_protos.package.archive import pack
from repave_protos.protocol.values import HostName
from tests.fakes.agent.local_region import PORT, Region, bubblewrap_or_skip
from tests.fakes.waiting import until_async

PYTHON = Path(sys.executable).resolve()  # a host sees nothing below /tmp
RANGE = "10.83.250.0/24"
SERVE = f"""#!{PYTHON} -SI
import os, socket
listener = socket.create_server(("0.0.0.0", {PORT}))
print("listens", flush=True)
while True:
    connection, peer = listener.accept()
    connection.sendall(f"{{os.environ['REPAVE_HOST']}} to {{peer[0]}}".encode())
    connection.close()
"""
REACHES = f"""#!{PYTHON} -SI
import socket, sys
socket.create_connection((sys.argv[1], {PORT}), 5).close()
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make networks")


@pytest.fixture(params=["none", "bwrap"])
async def region(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Region]:
    isolation: Isolation = request.param
    if isolation == "bwrap":
        bubblewrap_or_skip(tmp_path)
    made = Region(tmp_path / "region", _package(tmp_path), isolation, "networks", RANGE, has_networks=True)
    yield made
    await made.close()
    assert not _left(made)


def _package(directory: Path) -> Path:
    top = directory / "shop"
    top.mkdir()
    for name, text in {"serve": SERVE, "reaches": REACHES}.items():
        (top / name).write_text(text)
        (top / name).chmod(0o755)
    pack(top, directory / "shop.tar.gz")
    return directory / "shop.tar.gz"


def _left(region: Region) -> list[str]:
    made = (Network(folder) for folder in (*region.hosts.iterdir(), region.root / "trial"))
    return [each.name for each in made if each.handle.exists()]


async def launched(region: Region, name: str) -> Host:
    host = await region.launch("serve", name=name)
    await region.says("listens", name)
    return host


def answer(host: Host) -> str:
    with socket.create_connection((host.address, host.port), 5) as connection:
        return connection.recv(1000).decode()


async def test_applications_on_every_address_run_side_by_side(region: Region) -> None:
    one, other = await launched(region, "shop-v001-1"), await launched(region, "shop-v001-2")
    assert one.address != other.address
    assert answer(one) == f"shop-v001-1 to {GATEWAY}"
    assert answer(other) == f"shop-v001-2 to {GATEWAY}"
    assert await region.provider.listeners(one.name) == (f"0.0.0.0:{PORT}",)


async def test_a_probe_command_is_run_in_the_network_of_its_host(region: Region) -> None:
    host = await launched(region, "shop-v001-1")
    assert await region.provider.execute(host.name, ("reaches", "127.0.0.1"), 10) == 0


async def test_a_network_goes_with_its_host(region: Region) -> None:
    host = await launched(region, "shop-v001-1")
    network = Network(region.hosts / host.name)
    assert network.handle.exists()
    assert route_error(host.address) is not None
    await region.provider.destroy(host.name)
    assert not network.handle.exists()
    assert not Path(f"/sys/class/net/{network.link}").exists()
    assert route_error(host.address) is None, "the address is free again"


async def test_a_restarted_agent_finds_a_host_in_its_network(region: Region) -> None:
    host = await launched(region, "shop-v001-1")
    region.restart()
    assert (await region.listed("shop-v001-1")).is_running
    assert await region.provider.execute(host.name, ("reaches", "127.0.0.1"), 10) == 0
    other = await launched(region, "shop-v001-2")
    assert answer(host) != answer(other)


async def test_an_address_of_another_agents_host_is_passed_over(region: Region, tmp_path: Path) -> None:
    beside = Region(tmp_path / "beside", region.package, "none", "beside", RANGE, has_networks=True)
    try:
        mine, others = await launched(region, "shop-v001-1"), await launched(beside, "shop-v001-1")
        assert mine.address != others.address
        assert answer(mine) == answer(others) == f"shop-v001-1 to {GATEWAY}"
    finally:
        await beside.close()


async def test_what_an_agent_left_half_made_goes(region: Region) -> None:
    await launched(region, "shop-v001-1")
    folder = region.hosts / "shop-v001-1"
    (folder / "process.json").unlink()
    region.restart()
    host = await region.launch("serve", name="shop-v001-1")

    async def answers() -> bool:
        return "listens" in await region.provider.log_tail(HostName("shop-v001-1"), 9)

    await until_async(answers)
    assert answer(host) == f"shop-v001-1 to {GATEWAY}"


async def test_where_they_cannot_be_made_the_agent_says_why(
    region: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(RefusedError, match=r"only root can make networks\. Be root, or set local\.network"):
        networks.check(region.root / "trial")
    monkeypatch.undo()
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(RefusedError, match=r"the program ip\. Install it \(apt install iproute2\)"):
        networks.check(region.root / "trial")


BEYOND = """
import pathlib, socket, subprocess, sys, threading
from repave_agent.providers.local import networks
state, address = pathlib.Path(sys.argv[1]), "10.83.251.1"
outside, host = networks.Network(state / "outside"), networks.Network(state / "host")
print(networks.let_out(state, "10.83.251.0/24"))
networks.FORWARDING.write_text("1")
print(networks.let_out(state, "10.83.251.0/24"))
print(networks.let_out(state, "10.83.251.0/24"))
host.make(address)
outside.make("10.84.0.9")
def ip(words):
    subprocess.run(["ip", *words.split()], check=True)
ip(f"address add 10.84.0.1/32 dev {outside.link}")  # the machine's address out there
ip(f"-netns {outside.name} route add 10.84.0.1 dev eth0")
ip(f"-netns {outside.name} route delete default")  # hosts are not known there
serve = "import socket; s = socket.create_server(('10.84.0.9', 9999)); print('up', flush=True); "
serve += "c, p = s.accept(); print(p[0], flush=True)"
argv = outside.entered([sys.executable, "-c", serve])
server = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
try:
    server.stdout.readline()
    reach = "import socket; socket.create_connection(('10.84.0.9', 9999), 5).close()"
    subprocess.run(host.entered([sys.executable, "-c", reach]), check=True)
    print(server.stdout.readline().strip())
finally:
    server.kill()
    host.remove()
    outside.remove()
"""


@pytest.mark.skipif(not Path("/usr/sbin/nft").exists(), reason="nft is not installed")
def test_hosts_reach_what_is_beyond_the_machine_under_its_address(tmp_path: Path) -> None:
    """In a network of its own, so that the settings of this machine stay as they are."""
    argv = ["unshare", "--net", sys.executable, "-c", BEYOND, str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    why, first, again, peer = done.stdout.splitlines()
    assert why == "net.ipv4.ip_forward is 0. Set it to 1 (sysctl -w net.ipv4.ip_forward=1)"
    assert (first, again) == ("", "")
    assert peer == "10.84.0.1", "the host is not known beyond the machine"
