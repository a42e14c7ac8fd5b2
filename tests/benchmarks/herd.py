"""Thousands of agents over mTLS: what each costs the controller, and how soon all are back after its kill -9.

The controller is the real one, and so are the sessions of the agents, which run in processes of their own on
the same machine; what these use of its cores is measured apart. The floor is a bare grpc.aio server with the
same agents, messages and certificates.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.table import Line
from tests.support.postgresql import DURABLE, binaries, server
from tests.support.several import SeveralStage
from tests.support.stage import Stage, kept

PROCESSES_MIN, AGENTS_EACH_MAX = 2, 2_500
CONNECT_SECONDS = 900.0
STEADY_SECONDS = 20.0
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Herd:
    """Processes full of agents, and the files that they write to."""

    address: str
    state: str
    directory: Path
    count: int

    @property
    def _wanted(self) -> int:
        """Processes: a descriptor for each of their agents has to be there."""
        return max(PROCESSES_MIN, -(-self.count // AGENTS_EACH_MAX))

    def __enter__(self) -> "Herd":
        self.directory.mkdir()
        self.processes = []
        for number in range(self._wanted):
            with (self.directory / str(number)).open("wb") as out:
                command = [sys.executable, "-m", "tests.benchmarks.herd_agents", self.address, self.state]
                command += [f"h{number}-", str(self.count // self._wanted)]
                self.processes.append(subprocess.Popen(command, stdout=out))
        return self

    def __exit__(self, *_: object) -> None:
        for each in self.processes:
            each.kill()
            each.wait()

    def connected(self) -> int:
        """How many are, as they say."""
        lines = [(self.directory / str(number)).read_text().splitlines() for number in range(self._wanted)]
        return sum(int(each[-1].split()[1]) for each in lines if each)

    def wait(self, count: int) -> float:
        """Until as many are connected; the seconds that it took. Raises AssertionError."""
        began = time.monotonic()
        while self.connected() != count:
            assert time.monotonic() < began + CONNECT_SECONDS, f"{self.connected()} of {count} connected"
            time.sleep(0.1)
        return time.monotonic() - began

    def wait_below(self, count: int) -> None:
        """Until most of those that will be seen away are: it grows no more."""
        least = self.connected()
        while least == count or self.connected() < least:
            least = self.connected()
            time.sleep(0.2)

    def cpu_seconds(self) -> float:
        return sum(cpu_seconds(each.pid) for each in self.processes)


def cpu_seconds(pid: int) -> float:
    """Of all threads of a process, the kernel's share with it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_kib(pid: int) -> int:
    (line,) = (each for each in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmRSS" in each)
    return int(line.split()[1])


@dataclass(frozen=True)
class Cost:
    """Of one agent, in a server's process."""

    connect_ms: float  # CPU: handshake, stream, Hello and Welcome
    steady_us: float  # CPU, a second
    memory_kib: float


def cost(herd: Herd, pid: int) -> Cost:
    """As the herd connects, and then stays."""
    memory, used = memory_kib(pid), cpu_seconds(pid)
    with herd:
        herd.wait(herd.count)
        connecting = cpu_seconds(pid) - used
        began, used = time.monotonic(), cpu_seconds(pid)
        time.sleep(STEADY_SECONDS)
        steady = (cpu_seconds(pid) - used) / (time.monotonic() - began)
        count = herd.count
        return Cost(connecting * 1e3 / count, steady * 1e6 / count, (memory_kib(pid) - memory) / count)


@contextmanager
def bare(address: str, state: str) -> Iterator[int]:
    """The pid of the floor."""
    command = [sys.executable, "-m", "tests.benchmarks.herd_bare", address, state]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        yield server.pid
    finally:
        server.kill()
        server.wait()


def secured(directory: Path) -> Stage:
    """A controller alone, which wants certificates of its agents."""
    environment = {
        "REPAVE_CONTROLLER_TLS__ENABLED": "true",
        "REPAVE_CONTROLLER_AGENTS__LISTEN": "127.0.0.1:0",
    }
    return Stage(directory, regions=(), controller_environment=environment)


# ---------------------------------------------------------------------------------------------- what it costs


def agents(directory: Path, count: int) -> Iterator[Line]:
    """Beside a bare server with the same agents."""
    with kept(secured(directory / "s")) as stage:
        state = str(stage.directory / "controller")
        assert stage.controller is not None
        address = f"127.0.0.1:{stage.grpc_port}"
        measured = cost(Herd(address, state, directory / "agents", count), stage.controller.pid)
        stage.kill_controller()
        with bare(address, state) as pid:
            floor = cost(Herd(address, state, directory / "floor", count), pid)
        with bare(address, "") as pid:
            plain = cost(Herd(address, "", directory / "plain", count), pid)
    ratio = measured.steady_us / floor.steady_us
    yield Line(f"an agent's steady CPU, {count:,} over mTLS, / bare grpc.aio", ratio, "x",
               f"{measured.steady_us:.0f} us a second, bare {floor.steady_us:.0f}", 1.3)  # fmt: skip
    yield Line("its connection over mTLS / bare grpc.aio, CPU", measured.connect_ms / floor.connect_ms, "x",
               f"{measured.connect_ms:.1f} ms, bare {floor.connect_ms:.1f}, "
               f"bare plaintext {plain.connect_ms:.1f}")  # fmt: skip
    yield Line("its memory in the controller", measured.memory_kib, "KiB",
               f"bare {floor.memory_kib:.0f} KiB", 160.0)  # fmt: skip


def many(directory: Path, count: int) -> Iterator[Line]:
    """As many as a controller is made for, over plaintext: TLS is the larger part of what agents of this
    benchmark cost the machine, and not what a controller with many of them is about."""
    with kept(Stage(directory / "s", regions=())) as stage:
        assert stage.controller is not None
        began = time.monotonic()
        herd = Herd(f"127.0.0.1:{stage.grpc_port}", "", directory / "agents", count)
        measured = cost(herd, stage.controller.pid)
        took = time.monotonic() - began - STEADY_SECONDS
    beside = f"all connected after {took:.0f} s; load {os.getloadavg()[0]:.1f}"
    yield Line(f"{count:,} agents over plaintext: memory of each", measured.memory_kib, "KiB", beside, 160.0)
    yield Line("its connection, CPU", measured.connect_ms, "ms")
    yield Line("its beats, CPU a second", measured.steady_us, "us")


def shared(directory: Path, count: int) -> Iterator[Line]:
    """The same over three controllers that share a PostgreSQL, and one of them is lost: until its agents are
    all with the others."""
    if binaries() is None:
        return
    with server(**DURABLE) as database, kept(_three(directory / "s", database.fresh())) as stage:
        pids = {name: each.pid for name, each in stage.controllers.items()}
        with Herd(stage.agents_address, "", directory / "agents", count) as herd:
            took = herd.wait(count)
            beside = f"all connected after {took:.0f} s; load {os.getloadavg()[0]:.1f}"
            time.sleep(STEADY_SECONDS)
            memory = [memory_kib(each) / 1024 for each in pids.values()]
            used, began = sum(map(cpu_seconds, pids.values())), time.monotonic()
            time.sleep(STEADY_SECONDS)
            steady = (sum(map(cpu_seconds, pids.values())) - used) / (time.monotonic() - began)
            yield Line(f"{count:,} agents of three controllers: CPU of all", steady * 100, "%", beside)
            yield Line("memory of each", max(memory), "MiB", ", ".join(f"{each:.0f}" for each in memory))
            used, began = sum(cpu_seconds(pids[each]) for each in stage.names[1:]), time.monotonic()
            stage.kill(stage.names[0])
            herd.wait_below(count)
            lost = count - herd.connected()
            herd.wait(count)
            took = time.monotonic() - began
            own = sum(cpu_seconds(pids[each]) for each in stage.names[1:]) - used
    beside = f"{lost:,} away; CPU {own:.1f} s of the others; load {os.getloadavg()[0]:.1f}"
    yield Line("kill -9 of one -> all of its agents back, wall", took, "s", beside, 20.0)


def _three(directory: Path, database: str) -> SeveralStage:
    return SeveralStage(directory, regions=(), database=database)


# -------------------------------------------------------------------------------------------- all come back


def returns(directory: Path, count: int) -> Iterator[Line]:
    """kill -9 of a controller with so many agents, and a new one at once: until all have their Welcome."""
    with kept(secured(directory / "s")) as stage:
        state = str(stage.directory / "controller")
        with Herd(f"127.0.0.1:{stage.grpc_port}", state, directory / "agents", count) as herd:
            herd.wait(count)
            used = herd.cpu_seconds()
            began = time.monotonic()
            stage.kill_controller()
            stage.start_controller()
            started = time.monotonic() - began
            assert stage.controller is not None
            pid = stage.controller.pid
            herd.wait(count)
            took = time.monotonic() - began
            own, others = cpu_seconds(pid), herd.cpu_seconds() - used
            time.sleep(10.0)
            there = sum(each["connected"] for each in stage.get("regions")["items"])
            again = (stage.directory / "controller.log").read_text().count("agent.connected") - 2 * count
            memory = memory_kib(pid) / count
    yield Line(f"kill -9 of the controller -> {count:,} agents back, wall", took, "s",
               f"start {started:.1f} s; CPU {own:.1f} s of the controller, {others:.1f} s of the agents; "
               f"load {os.getloadavg()[0]:.1f}", 20.0)  # fmt: skip
    yield Line("of them there 10 s later", there, "", f"{again} connected more than once", count, True)
    yield Line("whole memory of the controller, for each", memory, "KiB", "", 160.0)
