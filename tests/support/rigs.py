"""Real things that are too slow for `make test`: tests that need one are marked `rig`, run by
`make test-rigs`, and say otherwise why they were skipped."""

import asyncio
import contextlib
import json
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from repave_agent.clients.openstack.api import Api
from repave_agent.clients.openstack.login import Cloud, load_cloud
from repave_agent.clock import SystemClock
from repave_agent.core.ports import ProviderError
from tests.fakes.waiting import until_async
from tests.support.paths import ROOT

STATE = Path(os.environ.get("REPAVE_OPENSTACK_DIR", "/var/tmp/repave-openstack"))
KEYSTONE_PORT = int(os.environ.get("REPAVE_OPENSTACK_PORT_BASE", "20000")) + 5000
READY_SECONDS = 120.0
FIXED = "10.77.0.0/16"
"""Addresses of the rig's servers: nothing carries them, so they are made this machine's own."""
OF_AWS = "172.31.0.0/16"
NETS = range(130, 200)
"""Those of fixtures with a number of their own are below."""


def why_no_rigs() -> str:
    """ "" when tests may take long."""
    return "" if os.environ.get("REPAVE_TEST_RIGS") == "1" else "slow: run by make test-rigs"


def why_no_openstack() -> str:
    """ "" when the rig runs and tests may use it."""
    if reason := why_no_rigs():
        return reason
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", KEYSTONE_PORT), 1.0):
        return ""
    place = _place()
    if place is None:
        return "there is no rigs/openstack beside the project; name its folder in REPAVE_RIGS"
    started = subprocess.run([str(place / "openstack" / "up")], capture_output=True, text=True, check=False)
    return f"the rig does not start: {started.stderr[-300:]}" if started.returncode else ""


def _place() -> Path | None:
    found = rig_folder("openstack")
    return found.parent if found else None


def why_no_cloud(name: str) -> str:
    """ "" when the stand-in for the cloud is there: aws, azure or gcp. It starts in about a second, but for
    that of AWS, which has to be installed first."""
    if name == "aws" and (reason := why_no_rigs()):
        return reason
    return "" if rig_folder(name) else f"there is no rigs/{name} beside the project; see REPAVE_RIGS"


def rig_folder(name: str, starter: str = "up") -> Path | None:
    """None where it is not beside the project. `starter`: the file by which it is known."""
    places = [Path(os.environ["REPAVE_RIGS"])] if "REPAVE_RIGS" in os.environ else []
    places += [parent / "shared" / "rigs" for parent in ROOT.parents]
    return next((each / name for each in places if (each / name / starter).exists()), None)


@dataclass(frozen=True, slots=True)
class CloudRig:
    """A stand-in for a cloud. `variables`: what its clients need, as of the environment."""

    variables: Mapping[str, str]

    @property
    def url(self) -> str:
        return self.variables["RIG_URL"]

    def reset(self, **settings: object) -> None:
        """An empty cloud without faults."""
        self._ask("POST", "reset", {})
        self.set(**settings)

    def set(self, **settings: object) -> None:
        self._ask("POST", "settings", settings)

    def fault(self, call: str, do: str, **more: object) -> None:
        """What becomes of calls whose name fits the pattern."""
        self._ask("POST", "faults", {"call": call, "do": do, **more})

    def forget_faults(self) -> None:
        """All calls are answered as they should be again."""
        self._ask("DELETE", "faults")

    def expire_tokens(self) -> None:
        """All that were issued until now are refused."""
        self._ask("POST", "tokens", {"do": "revoke"})

    def act(self, machine: str, what: str) -> None:
        """Behind the back of whoever made it: die, vanish, unhealthy, healthy, auto."""
        self._ask("POST", f"instances/{machine}", {"do": what})

    def instances(self) -> list[Any]:
        return [each for each in self._ask("GET", "instances") if not each.get("ended")]

    def fronts(self) -> list[Any]:
        """Where its load balancers listen on this machine: `name` (of the load balancer, / and the port) and
        `url`."""
        return list(self._ask("GET", "fronts"))

    def traffic(self) -> dict[str, Any]:
        """Requests that its load balancers have sent on, by front: of `pools`, `instances` and `statuses`."""
        return dict(self._ask("GET", "traffic"))

    def forget_traffic(self) -> None:
        """Counts from 0 again."""
        self._ask("DELETE", "traffic")

    def state(self) -> Any:
        """Its calls, their counts, and `violations` of the vendor's own schema."""
        return self._ask("GET", "state")

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/_rig/{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)


@contextmanager
def a_net() -> Iterator[int]:
    """A number for `cloud_rig` that no other test on this machine has meanwhile."""
    with socket.socket(socket.AF_UNIX) as held:
        yield next(net for net in NETS if _is_bound(held, f"\0repave-rig-net-{net}"))


def _is_bound(unix: socket.socket, name: str) -> bool:
    try:
        unix.bind(name)
    except OSError:
        return False
    return True


@contextmanager
def cloud_rig(name: str, state: Path, net: int) -> Iterator[CloudRig]:
    """A stand-in of one's own."""
    place = rig_folder(name)
    assert place is not None, "the rig is beside the project"
    port = _two_free_ports()
    own = {
        "RIG_STATE": str(state),
        "RIG_PORT": str(port),
        "PROXY_PORT": str(port),
        "MOTO_PORT": str(port + 1),
        "RIG_NET": str(net),
        "RIG_PYTHON": sys.executable if name != "aws" else str(_python_with_moto(place)),
    }
    environment = {**os.environ, **own}
    up = subprocess.run([str(place / "up")], env=environment, capture_output=True, text=True, check=False)
    assert up.returncode == 0, up.stderr
    try:
        yield CloudRig(dict(line.split("=", 1) for line in up.stdout.splitlines()))
    finally:
        subprocess.run([str(place / "down")], env=environment, check=True, capture_output=True)


def on_both_addresses(*ports: int) -> str:
    """What a stand-in's machine does first, so that its process, which listens on the address that agents
    know, is reached on loopback too, where the stand-in's load balancers look for it. Needs `reachable`."""
    carried = " ".join(map(str, ports or (8080,)))
    relay = f'PYTHONPATH={ROOT} {sys.executable} -m tests.support.relay "$RIG_ADDRESS" "$RIG_FIXED_IP"'
    return f"HOST=$RIG_FIXED_IP ROOT=$PWD/repave\n{relay} {carried} &"


def _python_with_moto(place: Path) -> Path:
    """An environment of its own, made once: moto brings more than the project's may have."""
    home = (
        Path(os.environ.get("XDG_STATE_HOME", Path.home() / ".local" / "state")) / "repave-rig-aws" / "venv"
    )
    python, wanted = home / "bin" / "python", place / "requirements.txt"
    if not (home / "installed").exists() or (home / "installed").read_bytes() != wanted.read_bytes():
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "-r", str(wanted)], check=True)
        (home / "installed").write_bytes(wanted.read_bytes())
    return python


def _two_free_ports() -> int:
    """The first of two, both outside the range from which the kernel gives ports to others meanwhile."""
    for port in random.sample(range(12_000, 32_000, 2), 1000):
        with contextlib.suppress(OSError), socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", port))
            second.bind(("127.0.0.1", port + 1))
            return port
    raise AssertionError("there are no two free ports")


def restart_service(name: str) -> None:
    """Kills one of the rig's services and starts it again; returns when it answers."""
    place = _place()
    assert place is not None, "the rig is beside the project"
    run = STATE / "run"
    pid, *_ = (run / f"{name}.pid").read_text().split()
    os.kill(int(pid), signal.SIGKILL)
    whole = json.loads((run / f"{name}.json").read_text())
    children = [child for child in whole["children"] if child["name"] == name]
    spec = run / f"{name}-again.json"
    spec.write_text(json.dumps({**whole, "children": children}))
    subprocess.run(
        [STATE / "venv" / "bin" / "python", place / "openstack" / "runner.py", spec],
        cwd=STATE,
        env={**os.environ, "PATH": f"{STATE}/venv/bin:{os.environ['PATH']}", "HOME": f"{STATE}/home"},
        check=True,
        capture_output=True,
        timeout=120,
    )
    deadline = time.monotonic() + 120
    while not _answers(children[0]["wsgi"][1]):
        assert time.monotonic() < deadline, f"{name} does not come back"
        time.sleep(0.1)


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
        return True
    return False


def rig_cloud() -> Cloud:
    """The rig's plain member."""
    return load_cloud("repave-test", {"OS_CLIENT_CONFIG_FILE": str(STATE / "clouds.yaml")})


def rig_admin() -> Cloud:
    """Who may do what operators do."""
    return load_cloud("repave-admin", {"OS_CLIENT_CONFIG_FILE": str(STATE / "clouds.yaml")})


async def store_disk(api: Api, image: str) -> None:
    """Gives an image of Glance a disk; it is active then."""
    shown = await api._tokens.headers()  # logs in
    url = f"{api._endpoints['image']}/images/{image}/file"
    headers = {**shown, "Content-Type": "application/octet-stream"}
    async with aiohttp.ClientSession() as session, session.put(url, headers=headers, data=b"disk") as stored:
        assert stored.status == 204, await stored.text()


async def until_ready() -> None:
    """Returns when every service that hosts need answers and lists what the rig has: one that has just been
    started may answer with nothing for a while."""
    api = Api(rig_cloud(), SystemClock())
    lists = (
        ("compute", "/flavors", "flavors"),
        ("image", "/images", "images"),
        ("network", "/networks", "networks"),
    )

    async def is_ready() -> bool:
        try:
            return all([await api.list_all(*each) for each in lists])
        except ProviderError:
            return False

    try:
        async with asyncio.timeout(READY_SECONDS):
            while not await is_ready():  # noqa: ASYNC110
                await asyncio.sleep(0.5)
    finally:
        await api.close()


@asynccontextmanager
async def load_balancer(name: str = "") -> AsyncIterator[str]:
    """The name of a load balancer of Octavia that is there as long as the block."""
    name = name or f"front-{secrets.token_hex(4)}"
    api = Api(rig_cloud(), SystemClock())
    (subnet,) = await api.list_all("network", "/subnets", "subnets", name="fleet")
    body = {"loadbalancer": {"name": name, "vip_subnet_id": subnet["id"]}}
    made = (await api.call("load-balancer", "POST", "/lbaas/loadbalancers", body))["loadbalancer"]
    path = f"/lbaas/loadbalancers/{made['id']}"

    async def is_settled() -> bool:
        found = await api.call("load-balancer", "GET", path)
        return str(found["loadbalancer"]["provisioning_status"]) == "ACTIVE"

    try:
        await until_async(is_settled)
        yield name
    finally:
        await until_async(is_settled)
        await api.call("load-balancer", "DELETE", path, cascade="true")
        await api.close()


@contextmanager
def reachable(addresses: str = FIXED) -> Iterator[None]:
    """What listens on this machine on an address of a rig's machine can be reached under it. Machines of the
    stand-in for AWS have the same addresses in each: who comes second waits."""
    with _alone(addresses) if addresses == OF_AWS else contextlib.nullcontext(), _routed(addresses):
        yield


@contextmanager
def _alone(addresses: str) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as held:
        while not _is_bound(held, f"\0repave-rig-{addresses}"):
            time.sleep(0.2)
        yield


@contextmanager
def _routed(addresses: str) -> Iterator[None]:
    added = subprocess.run(
        ["ip", "route", "add", "local", addresses, "dev", "lo"], check=False, capture_output=True
    )
    try:
        yield
    finally:
        if added.returncode == 0:
            subprocess.run(["ip", "route", "del", "local", addresses, "dev", "lo"], check=False)
