"""The same 20 hosts by repave and by the tools that people would take instead: wall and CPU of a command.

Needs rigs/peers beside the project (or in REPAVE_RIGS), and virtual environments with `ansible mitogen` and
with `pyinfra`, named by VENV_ANSIBLE and VENV_PYINFRA.
"""

import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.release import processor_seconds, spread
from tests.benchmarks.table import Line
from tests.support.rigs import rig_folder
from tests.support.stage import Stage, staged

HOSTS = 20
WALL_GOALS = {"ansible-ssh-tuned": 50.0, "ansible-mitogen": 25.0, "pyinfra-ssh": 10.0}
CPU_GOALS = {"ansible-ssh-tuned": 100.0}
NEEDS = {
    "ansible-ssh-tuned": "VENV_ANSIBLE",
    "ansible-mitogen": "VENV_ANSIBLE",
    "pyinfra-ssh": "VENV_PYINFRA",
}
FLOOR = "floor-bluegreen"
RIG_SECONDS_MAX = 600
SPEC = """\
repave: 1
app: peer
artifact: {uri: ./app}
host: {run: [/usr/bin/python3, -S, -E, hostapp.py, $HOST, '{version}']}
health: {http: {port: 8080, path: /health}, interval: 1s, min_healthy_time: 0s, launch_deadline: 2m}
traffic: {frontend: peer, port: 8000, drain: 1s}
regions: [{name: paris, provider: local, size: %d}]
strategy: {blue_green: {warm: 0s}}
rollback: {keep: {for: 0s, groups: 1}}
"""

Cost = tuple[float, float]
"""Seconds of wall and of CPU."""


def run(place: Path, rounds: int) -> Iterator[Line]:
    """In turn, so that each ratio is of the same minutes."""
    rig = rig_folder("peers", "setup.sh")
    if rig is None:
        print("  peers: there is no rigs/peers beside the project; name its folder in REPAVE_RIGS")
        return
    cases = [FLOOR]
    for case, variable in NEEDS.items():
        if os.environ.get(variable) and Path(os.environ[variable], "bin").is_dir():
            cases.append(case)
        else:
            print(f"  peers: {case} is left out: {variable} names no virtual environment")
    costs: dict[str, list[Cost]] = {name: [] for name in ("repave", *cases)}
    there = place / "rig"
    subprocess.run([rig / "setup.sh", there, str(HOSTS)], check=True, stdout=subprocess.DEVNULL)
    try:
        with staged(place / "s", regions=("paris",)) as stage:
            _prepare(stage, rig)
            _release(stage, "v0")
            for number in range(rounds):
                costs["repave"].append(_release(stage, f"r{number}"))
                for case in cases:
                    costs[case].append(_by_rig(rig, there, case))
    finally:
        subprocess.run([rig / "teardown.sh", there], check=True, stdout=subprocess.DEVNULL)
    yield from _lines(costs)


def _prepare(stage: Stage, rig: Path) -> None:
    work = stage.directory / "work"
    (work / "app").mkdir(parents=True)
    (work / "repave.yaml").write_text(SPEC.replace("%d", str(HOSTS)))
    shutil.copy(rig / "hostapp.py", work / "app")


def _release(stage: Stage, version: str) -> Cost:
    """The whole command, from an unpacked folder to the end of the release; with controller and agent."""
    work = stage.directory / "work"
    (work / "app" / "build").write_text(version)
    url = f"http://127.0.0.1:{stage.http_port}"
    program = str(Path(sys.executable).with_name("repave"))
    command = [program, "release", "--version", version, "--url", url]
    before, own = processor_seconds(stage, "paris"), _of_children()
    began = time.perf_counter()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False, env=environment)
    wall = time.perf_counter() - began
    assert done.returncode == 0, done.stderr
    spent = _of_children() - own + processor_seconds(stage, "paris") - before
    stage.wait(lambda: len(stage.hosts()["paris"]) == HOSTS, "the old fleet's end", 300)
    return wall, spent


def _of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _by_rig(rig: Path, there: Path, case: str) -> Cost:
    """`run.py` prints a line: CASE wall W s cpu C s sshd-side S s ..."""
    command = ["/usr/bin/python3", str(rig / "run.py"), str(there), str(HOSTS), "1", case]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=RIG_SECONDS_MAX)
    line = next((each for each in done.stdout.splitlines() if each.startswith(case)), "")
    assert " rc 0 " in line, f"{case}: {line or done.stderr[-500:]}"
    words = line.split()
    return float(words[2]), float(words[5]) + float(words[8])


def _lines(costs: dict[str, list[Cost]]) -> Iterator[Line]:
    ours = costs.pop("repave")
    wall, spent = (statistics.median(each) for each in zip(*ours, strict=True))
    yield Line(f"`repave release` of {HOSTS} hosts, the whole command", wall, "s", f"CPU {spent:.2f} s")
    for case, theirs in costs.items():
        walls = [other[0] / own[0] for own, other in zip(ours, theirs, strict=True)]
        cpus = [other[1] / own[1] for own, other in zip(ours, theirs, strict=True)]
        their_wall, their_cpu = (statistics.median(each) for each in zip(*theirs, strict=True))
        beside = f"{their_wall:.1f} s; ratios {spread(walls)}"
        goal = WALL_GOALS.get(case)
        yield Line(f"{case}, wall / repave's", statistics.median(walls), "x", beside, goal, is_at_least=True)
        beside = f"{their_cpu:.2f} s; ratios {spread(cpus)}"
        goal = CPU_GOALS.get(case)
        yield Line(f"{case}, CPU / repave's", statistics.median(cpus), "x", beside, goal, is_at_least=True)
