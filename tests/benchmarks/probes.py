"""What a probe costs the agent, beside HAProxy's own check of the same hosts in the same minute."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from repave_agent.balancers.haproxy.socket import parse_worker
from repave_agent.balancers.haproxy.traffic import Traffic
from repave_agent.core.figures import Figures
from repave_agent.core.fleet import Fleet
from repave_agent.core.host_health import PASSED, Health, HealthRecord
from repave_agent.core.observation import EMPTY_VIEW
from repave_agent.core.ports import Backend, BackendView, BalancerView, Host, Server, Structure
from repave_agent.core.reconcile import Launch
from repave_agent.health.prober import Prober
from repave_protos.protocol.values import GroupName, HostName, Probe
from tests.benchmarks.table import Line
from tests.fakes.agent.region_values import BLUE, PROBE, SHOP, a_group, a_state
from tests.fakes.templates import changed

HOSTS = 100
LOOKS = 500
INTERVAL_SECONDS = 0.2
WARM_SECONDS = 2.0
PORT = 18_431
DEARER_MAX = 1.6
CONFIGURATION = """
global
  stats socket {directory}/socket
defaults
  mode http
  timeout connect 1s
  timeout client 1s
  timeout server 1s
backend hosts
  option httpchk
  http-check send meth GET uri /health ver HTTP/1.1 hdr host localhost hdr user-agent repave-health-check
  http-check expect status 200
"""


def run(directory: Path, seconds: float) -> Iterator[Line]:
    """Both ask the same hosts in the same seconds: what else the machine does costs both."""
    with answering(PORT), _haproxy(directory) as haproxy:
        probe, check = asyncio.run(_measured(haproxy, seconds))
    beside = (
        f"{probe * 1e6:.0f} us against {check * 1e6:.0f} us, {HOSTS / INTERVAL_SECONDS:.0f} a second each"
    )
    yield Line("CPU of a probe / of HAProxy's own check", probe / check, "x", beside, DEARER_MAX)
    told = _told()
    beside = f"{told * 1e6:.2f} us a host and look, beyond the look that is made anyway"
    yield Line("health.by: balancer: CPU of a host / of a probe", told / probe, "x", beside)
    counted = _counted()
    beside = f"{counted * 1e6:.2f} us a group and look with requests, beyond the look that is made anyway"
    yield Line("traffic of a group: CPU of a look / of a probe", counted / probe, "x", beside)


def _counted() -> float:
    """CPU seconds of one group's figures at one look, with requests since the last one: read, and kept."""
    names = [GroupName(f"shop{number}-v001") for number in range(HOSTS)]
    head = "# pxname,svname,qcur,scur,status,weight,check_status,hrsp_5xx,req_tot,rtime,"
    traffic, figures = Traffic(), Figures(0.0)

    def look(at: int) -> None:
        rows = "".join(f"{name},BACKEND,0,1,UP,1,,{at},{at * 100},3,\n" for name in names)
        traffic.note({1: parse_worker(f"{head}\n{rows}").counted})
        backends = tuple(BackendView(name, 1, 0, counted=traffic.of(name)) for name in names)
        figures.note(BalancerView(True, Structure(), (), backends, 0), float(at))

    began = time.process_time()
    for at in range(LOOKS):
        look(at)
    return (time.process_time() - began) / (LOOKS * HOSTS)


def _told() -> float:
    """CPU seconds of one host at one look at a balancer that tells its health, and has nothing new to say."""
    group = changed(a_group(), {"count": HOSTS, "health_by": "balancer", "min_healthy_seconds": 0.0})
    fleet = Fleet()
    for spec in fleet.launching(Launch(group, a_state(group), HOSTS), now=100.0):
        host = Host(spec.name, BLUE, SHOP, spec.digest, "127.9.0.1", spec.port, 0.0, is_running=True)
        fleet.launched(host, 100.0)
    fleet.judge({BLUE: group}, 100.0)
    passed = HealthRecord.of(PROBE).after(PASSED, 100.0)
    fleet.hear_probes({name: Health(target, passed) for name, target in fleet.probes.items()})
    fleet.judge({BLUE: group}, 100.0)
    servers = tuple(Server(name, "127.9.0.1", PROBE.port) for name in fleet.records)
    seen = BackendView(BLUE, HOSTS, 0, passing=frozenset(fleet.records))
    structure = Structure((), (Backend(BLUE, servers, PROBE),))
    view = replace(EMPTY_VIEW, is_running=True, structure=structure, backends=(seen,))
    fleet.note_enabled(view, 100.0)
    fleet.hear_balancer(view, {BLUE: group}, 100.0)
    fleet.judge({BLUE: group}, 100.0)
    assert not fleet.probes
    began = time.process_time()
    for look in range(LOOKS):
        fleet.hear_balancer(view, {BLUE: group}, 101.0 + look)
    return (time.process_time() - began) / (LOOKS * HOSTS)


@contextmanager
def answering(port: int) -> Iterator[None]:
    """Every loopback address answers there."""
    command = [sys.executable, "-m", "tests.benchmarks.answering", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as hosts:
        assert hosts.stdout is not None
        assert hosts.stdout.readline() == "ready\n"
        try:
            yield
        finally:
            hosts.kill()


def address(number: int) -> str:
    return f"127.91.{number // 250}.{number % 250 + 1}"


async def _measured(haproxy: int, seconds: float) -> tuple[float, float]:
    """CPU seconds of one probe, with all that the prober does for it, and of one check of HAProxy's."""

    async def execute(host: HostName, command: tuple[str, ...], timeout_seconds: float) -> int:
        raise AssertionError("no command is run")

    heard: list[bool] = []
    prober = Prober(time.monotonic, execute, heard=lambda _, result: heard.append(result.ok))
    probe = Probe("http", PORT, path="/health", interval_seconds=INTERVAL_SECONDS)
    for number in range(HOSTS):
        prober.watch(HostName(f"host-{number}"), address(number), probe)
    await asyncio.sleep(WARM_SECONDS)
    heard.clear()
    ours, theirs = time.process_time(), _spent(haproxy)
    await asyncio.sleep(seconds)
    ours, theirs = time.process_time() - ours, _spent(haproxy) - theirs
    await prober.close()
    assert all(heard)
    return ours / len(heard), theirs / (HOSTS * seconds / INTERVAL_SECONDS)


@contextmanager
def _haproxy(directory: Path) -> Iterator[int]:
    """Its process id."""
    servers = (
        f"  server host{number} {address(number)}:{PORT} check inter {INTERVAL_SECONDS * 1000:.0f}ms\n"
        for number in range(HOSTS)
    )
    path = directory / "haproxy.cfg"
    path.write_text(CONFIGURATION.format(directory=directory) + "".join(servers))
    program = os.environ.get("HAPROXY", "haproxy")
    with subprocess.Popen([program, "-db", "-f", str(path)], stderr=subprocess.DEVNULL) as process:
        try:
            yield process.pid
        finally:
            process.kill()


def _spent(process: int) -> float:
    """CPU seconds of all its threads, to the nanosecond."""
    threads = Path(f"/proc/{process}/task").iterdir()
    return sum(int((each / "schedstat").read_text().split()[0]) for each in threads) / 1e9
