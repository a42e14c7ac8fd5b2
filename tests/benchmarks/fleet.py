"""Planning, and a hundred regions that go back: agents with simulated hosts and balancers over real gRPC, a
real controller with its store on disk."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from repave_controller.core.planning.plan import never_released, plan_release
from repave_controller.spec.loader import load
from repave_controller.spec.spec import compile_order
from repave_protos.protocol.values import Digest
from tests.benchmarks.release import median
from tests.benchmarks.table import Line
from tests.support.stage import Stage, staged

PLAN_REGIONS, PLAN_HOSTS = 100, 1000
AGENTS_EACH = 10
"""In a process. Each waits for its own disk, as on machines of their own, but for those of one process."""
WAIT_SECONDS = 120.0
SPEC = """\
repave: 1
app: fleet
artifact: {{uri: ./fleet}}
host: {{image: local, run: serve}}
health: {{command: {{port: 8080, run: "true"}}, interval: 1s, min_healthy_time: 1s, unhealthy_after: 1}}
traffic: {{port: 8000, drain: 0s}}
regions:
{regions}
waves:
{waves}
strategy: {strategy}
rollback: {{keep: {{for: 1h}}}}
"""


def spec(regions: list[str], size: int, waves: str, strategy: str) -> str:
    listed = "\n".join(f"  - {{name: {name}, provider: local, size: {size}}}" for name in regions)
    return SPEC.format(regions=listed, waves=waves, strategy=strategy)


def names(count: int) -> list[str]:
    return [f"r{number:03d}" for number in range(count)]


# ----------------------------------------------------------------------------------------------- planning


def planning() -> Iterator[Line]:
    """A release of 100 regions with 1,000 hosts each."""
    waves = "  - {regions: r00*, bake: 5m}\n  - {regions: r0*}\n  - {regions: rest, parallel: 30}"
    steps = "{canary: {steps: [{traffic: 1%, hold: 1s}, {traffic: 10%, hold: 1s}, {traffic: 50%, hold: 1s}]}}"
    text = spec(names(PLAN_REGIONS), PLAN_HOSTS, waves, steps)
    began = time.perf_counter()
    read, _ = load(text, "repave.yaml")
    order = compile_order(read, Digest("1" * 64), "1")
    reading = time.perf_counter() - began
    application = never_released(read.application, read.cluster)
    began = time.perf_counter()
    plan_release(application, order)
    yield Line("plan of 100 regions x 1,000 hosts", time.perf_counter() - began + reading, "s",
               f"reading the spec alone {reading:.2f} s", 1.0)  # fmt: skip


# --------------------------------------------------------------------------------------------- going back


def back(directory: Path, regions: int, rounds: int) -> Iterator[Line]:
    """A region falls ill in the soak of a release over all of them: how long until each has gone back."""
    with staged(directory / "s", regions=("none",)) as stage:
        agents = [
            Agents(stage, directory / f"agents{first}", names(regions)[first : first + AGENTS_EACH])
            for first in range(0, regions, AGENTS_EACH)
        ]
        try:
            stage.wait(lambda: len(stage.get("regions")["items"]) > regions, "agents", WAIT_SECONDS)
            yield from going_back(stage, agents, directory, regions, rounds)
        finally:
            for each in agents:
                each.stop()
    yield from bare(directory / "bare", regions, rounds)


class Agents:
    """A process with some of the agents; what their balancers take is in a file."""

    def __init__(self, stage: Stage, directory: Path, regions: list[str]) -> None:
        directory.mkdir(parents=True)
        self.out = directory / "told"
        with self.out.open("wb") as out:
            command = [sys.executable, "-m", "tests.benchmarks.fleet_agents"]
            command += [f"127.0.0.1:{stage.grpc_port}", str(directory), *regions]
            self.process = subprocess.Popen(command, stdout=out)

    def told(self) -> list[tuple[float, str, str]]:
        whole, _, _ = self.out.read_text().rpartition("\n")  # the last line may be under way
        rows = (line.split() for line in whole.splitlines())
        return [(float(at), region, what) for at, region, what in rows]

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


class Spent:
    """CPU of the controller and of the agents."""

    def __init__(self, stage: Stage, agents: list[Agents]) -> None:
        assert stage.controller is not None
        self._groups = ([stage.controller.pid], [each.process.pid for each in agents])
        self._before = self._now()

    def _now(self) -> list[float]:
        return [sum(map(processor_ms, pids)) for pids in self._groups]

    def since(self) -> list[float]:
        """In milliseconds: the controller's, the agents'."""
        return [now - before for now, before in zip(self._now(), self._before, strict=True)]


def processor_ms(pid: int) -> float:
    """User and system time of all threads; finer than the ticks of /proc/PID/stat."""
    tasks = Path(f"/proc/{pid}/task")
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()) / 1e6


def going_back(
    stage: Stage, agents: list[Agents], directory: Path, regions: int, rounds: int
) -> Iterator[Line]:
    for version in ("v1", "v2"):
        release(stage, directory, version, regions)
        if version == "v1":
            assert stage.ended(WAIT_SECONDS, "fleet")["phase"] == "succeeded", stage.rollout("fleet")
    stage.wait(lambda: len(served(agents, "fleet-v002")) == regions, "the flip", WAIT_SECONDS)
    os.kill(agents[0].process.pid, signal.SIGUSR1)
    stage.wait(lambda: len(served(agents, "fleet-v001")) == regions, "the way back", WAIT_SECONDS)
    failed = next(at for each in agents for at, _, what in each.told() if what == "falls-ill")
    yield from lines("failure in the soak", failed, agents, regions)
    stage.ended(WAIT_SECONDS, "fleet")
    release(stage, directory, "v3", regions, warm="0s")
    assert stage.ended(WAIT_SECONDS, "fleet")["phase"] == "succeeded", stage.rollout("fleet")
    yield from rollbacks([rolled_back(stage, agents, regions, to) for to in turns(rounds)], regions)


def turns(rounds: int) -> list[str]:
    """To and fro between two groups that are both kept."""
    return [f"fleet-v{3 if number % 2 else 1:03d}" for number in range(rounds)]


@dataclass(frozen=True)
class RolledBack:
    """Milliseconds: from asking to the answer and to the last flip, and CPU until then."""

    answered: float
    last: float
    controller: float
    agents: float


def rolled_back(stage: Stage, agents: list[Agents], regions: int, to: str) -> RolledBack:
    spent = Spent(stage, agents)
    asked = time.monotonic()
    stage.call("POST", "applications/fleet/rollback", {"by": "bench", "to": to})
    answered = (time.monotonic() - asked) * 1e3
    stage.wait(lambda: len(served(agents, to)) == regions, "the rollback", WAIT_SECONDS)
    controller, others = spent.since()
    last = (max(served(agents, to).values()) - asked) * 1e3
    assert stage.ended(WAIT_SECONDS, "fleet")["phase"] == "succeeded", stage.rollout("fleet")
    return RolledBack(answered, last, controller, others)


def rollbacks(found: list[RolledBack], regions: int) -> Iterator[Line]:
    """The agents would be on machines of their own: what they take of these cores is said beside."""
    last = sorted(each.last for each in found)
    controller, others = median([each.controller for each in found]), median([each.agents for each in found])
    cores = os.cpu_count() or 1
    beside = (
        f"medians of CPU until then: controller {controller:.0f} ms, the {regions} agents {others:.0f} ms"
    )
    beside += f", together {(controller + others) / cores:.0f} ms of {cores} cores"
    what = f"repave rollback -> the last of {regions} flips"
    yield Line(f"{what}, p50 of {len(last)}", median(last), "ms", beside, 120.0)
    yield Line(f"{what}, the slowest", last[-1], "ms", "", 300.0)
    answered = median([each.answered for each in found])
    yield Line("the same: on disk, published and answered", answered, "ms")


def release(stage: Stage, directory: Path, version: str, regions: int, warm: str = "10m") -> None:
    """The first one has no soak, so that it ends."""
    (directory / "fleet").mkdir(exist_ok=True)
    (directory / "fleet" / "version").write_text(version)
    written = directory / f"{version}.yaml"
    waves = "  - {regions: rest}"
    soak = "0s" if version == "v1" else warm
    written.write_text(spec(names(regions), 1, waves, f"{{blue_green: {{warm: {soak}}}}}"))
    ran = stage.repave("release", "-f", str(written), "--version", version, "--detach")
    assert ran.returncode == 0, ran.stderr


def served(agents: list[Agents], group: str, *, is_heard: bool = False) -> dict[str, float]:
    """Region to the instant since which its balancer sends most to the group, where it does now; or since
    which the agent has heard that it shall."""
    newest: dict[str, tuple[float, str]] = {}
    for each in agents:
        for at, region, told in each.told():
            what = told.removeprefix("heard:")
            if (
                what != "falls-ill"
                and is_heard is (what != told)
                and newest.get(region, (0.0, ""))[1] != what
            ):
                newest[region] = (at, what)
    return {region: at for region, (at, what) in newest.items() if what == group}


def lines(what: str, since: float, agents: list[Agents], regions: int) -> Iterator[Line]:
    took = sorted((at - since) * 1e3 for at in served(agents, "fleet-v001").values())
    heard = sorted((at - since) * 1e3 for at in served(agents, "fleet-v001", is_heard=True).values())
    p99 = took[max(0, -(-len(took) * 99 // 100) - 1)]
    beside = f"p50 {median(took):.0f} ms, last {took[-1]:.0f} ms; heard of by p50 {median(heard):.0f} ms, "
    beside += f"last {heard[-1]:.0f} ms"
    yield Line(f"{what} -> flips of {regions} regions, p99", p99, "ms", beside, 300.0)


def bare(directory: Path, regions: int, rounds: int) -> Iterator[Line]:
    """The same over bare streams, in as many processes: see fleet_bare.py."""
    directory.mkdir(parents=True)
    command = [sys.executable, "-m", "tests.benchmarks.fleet_bare"]
    serve, pipe = [*command, "serve", str(directory)], subprocess.PIPE
    with subprocess.Popen(serve, stdin=pipe, stdout=pipe, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        places = [names(regions)[first : first + AGENTS_EACH] for first in range(0, regions, AGENTS_EACH)]
        others = [subprocess.Popen([*command, "agents", address, str(directory), *each]) for each in places]
        pids, took = [server.pid, *(each.pid for each in others)], list[tuple[float, float]]()
        try:
            while len(took) < rounds:
                before, asked = sum(map(processor_ms, pids)), time.monotonic()
                server.stdin.write("go\n")
                server.stdin.flush()
                at, heard = server.stdout.readline().split()
                spent = sum(map(processor_ms, pids)) - before
                took += [((float(at) - asked) * 1e3, spent)] if int(heard) == regions else []
                time.sleep(0.2)
        finally:
            for process in others:
                process.kill()
                process.wait()
            server.kill()
    beside = f"median of CPU until then {median([spent for _, spent in took]):.0f} ms; bare gRPC and fsyncs"
    last = median([each for each, _ in took])
    yield Line(f"the floor: the last of {regions} bare answers, p50 of {rounds}", last, "ms", beside)


# ------------------------------------------------------------------------------------------- real regions


def waves(directory: Path, regions: int) -> Iterator[Line]:
    """Real agents, HAProxies and hosts: four waves in lock-step, one region of the third never gets healthy,
    scope release: every region is back, also those that had finished."""
    places = tuple(f"w{number:02d}" for number in range(regions))
    quarter = regions // 4
    listed = [places[first : first + quarter] for first in range(0, regions, quarter)]
    more = "waves:\n" + "\n".join(f"  - {{regions: [{', '.join(each)}]}}" for each in listed)
    sick = listed[2][-1]
    with staged(directory / "s", regions=places) as stage:
        stage.release("v1", size=1, warm="0s", min_healthy="0s")
        assert stage.ended(WAIT_SECONDS)["phase"] == "succeeded", stage.rollout()
        began = time.monotonic()
        stage.release("v2", size=1, warm="0s", more=more, sick_in=sick, launch_deadline="5s")
        ended = stage.ended(WAIT_SECONDS)
        whole = time.monotonic() - began
        assert ended["phase"] == "rolled-back", ended
        events = stage.get("events?application=hello&limit=1000&newest=true")["items"]
        weights = stage.weights()
    failed = next(each for each in events if each["kind"] == "release.failed")
    over = next(each for each in events if each["kind"] == "release.rolled-back")
    moved = sum(each["kind"] == "region.done" and each["group"] == "hello-v002" for each in events)
    assert moved == 2 * quarter, "two waves had finished"
    assert all(split == {"hello-v001": 10_000} for split in weights.values()), weights
    took = datetime.fromisoformat(over["at"]) - datetime.fromisoformat(failed["at"])
    beside = f"{moved} regions had finished; the whole release {whole:.1f} s"
    yield Line(f"a failure in wave 3 of 4 -> all {regions} regions back", took.total_seconds(), "s", beside)
