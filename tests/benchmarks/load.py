"""Releases and rollbacks under load, with kill -9 of everything: which requests fail, who answers, how long a
switch takes. redispatch is off: nothing hides a failure."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.release import median
from tests.benchmarks.table import Line
from tests.support.load_result import LoadResult, Request
from tests.support.stage import Stage, staged

KILLS = ("nothing", "controller", "agent", "host", "haproxy")
SETTLE_SECONDS = 1.0


@dataclass
class Story:
    """What happened when, on the clock that load and benchmark share."""

    switches: list[tuple[float, float, str, str]] = field(default_factory=list)  # asked, done, from, to
    gaps: list[tuple[float, float]] = field(default_factory=list)  # HAProxy killed, restart told
    releases: int = 0
    rollbacks: int = 0
    undone: int = 0


def run(directory: Path, rounds: int, rate: float) -> Iterator[Line]:
    settings = {"REPAVE_AGENT_HAPROXY__REDISPATCH": "false"}
    with staged(directory / "s", agent_environment=settings) as stage:
        stage.release("v1", size=3, warm="0s")
        assert stage.ended()["phase"] == "succeeded"
        loads = [begin_load(stage, region, directory, rate / 2) for region in stage.regions]
        story, chance = Story(), random.Random(1)
        for number in range(rounds):
            play(stage, story, f"v{number + 2}", KILLS[number % len(KILLS)], chance)
        results = [end_load(process, directory / f"{region}.jsonl") for process, region in loads]
    yield from lines(story, results, rate)


def begin_load(
    stage: Stage, region: str, directory: Path, rate: float
) -> tuple[subprocess.Popen[bytes], str]:
    url = f"http://{stage.traffic_address(region)}:8000/"
    command = [sys.executable, "-m", "tests.support.load", "--url", url, "--rate", str(rate)]
    command += ["--keepalive", "8", "--closing", "8", "--out", str(directory / f"{region}.jsonl")]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL), region


def end_load(process: subprocess.Popen[bytes], out: Path) -> LoadResult:
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    return LoadResult.read(out)


def play(stage: Stage, story: Story, version: str, kill: str, chance: random.Random) -> None:
    """One release with a kill at a random moment of it, then a rollback."""
    group = stage.get("applications/hello")["serving"]
    before = version_of(stage, group)
    began = time.monotonic()
    stage.release(version, size=3, warm="1s", drain="2s")
    time.sleep(chance.uniform(0.0, 1.5))
    strike(stage, story, kill, chance)
    ended = stage.ended(120)
    story.releases += 1
    if ended["phase"] != "succeeded":
        story.undone += 1
        return
    story.switches.append((began, time.monotonic(), before, version))
    time.sleep(SETTLE_SECONDS)
    asked = time.monotonic()
    stage.rollback()
    assert stage.ended(120)["phase"] == "succeeded", stage.rollout()
    story.rollbacks += 1
    story.switches.append((asked, time.monotonic(), version, before))
    time.sleep(SETTLE_SECONDS)


def version_of(stage: Stage, group: str) -> str:
    groups = stage.get("groups")["items"]
    return str(next(each["version"] for each in groups if each["name"] == group))


def strike(stage: Stage, story: Story, kill: str, chance: random.Random) -> None:
    region = chance.choice(stage.regions)
    match kill:
        case "controller":
            stage.kill_controller()
            stage.start_controller()
        case "agent":
            stage.kill_agent(region)
            stage.start_agent(region)
        case "host":
            kill_a_host(stage, region)
        case "haproxy":
            killed = time.monotonic()
            seen = stage.get("events?newest=1&limit=1")["items"][-1]["sequence"]
            os.kill(stage.haproxy_worker(region), signal.SIGKILL)
            next(event for event in stage.events(seen) if event["kind"] == "balancer.restarted")
            story.gaps.append((killed, time.monotonic()))


def kill_a_host(stage: Stage, region: str) -> None:
    """One of a group that has no traffic: a request in flight to a killed host has nobody to answer it."""
    serving = set(stage.weights()[region])
    idle = [each for each in stage.hosts()[region] if each.rpartition("-")[0] not in serving]
    for host in idle[:1]:
        folder = stage.directory / region / "hosts" / host
        wanted = str(folder / "app")
        for process in Path("/proc").iterdir():
            if process.name.isdecimal() and _directory(process) == wanted:
                os.kill(int(process.name), signal.SIGKILL)


def _directory(process: Path) -> str:
    try:
        return str((process / "cwd").readlink())
    except OSError:
        return ""


def lines(story: Story, results: list[LoadResult], rate: float) -> Iterator[Line]:
    requests = sum(len(result.requests) for result in results)
    seconds = max(result.requests[-1].ended - result.requests[0].begun for result in results)
    beside = f"{requests:,} in {seconds:.0f} s, {story.releases} releases, {story.rollbacks} rollbacks"
    beside += f", {story.undone} undone by a killed host"
    yield Line("load reached (asked for " + f"{rate:,.0f}/s)", requests / seconds, "/s", beside)
    failures = [each for result in results for each in result.failures]
    in_gap = [each for each in failures if any(a - 0.1 <= each.ended <= b + 0.5 for a, b in story.gaps)]
    yield Line("failed requests", len(failures) - len(in_gap), "", "redispatch off", 0)
    if story.gaps:
        widths = [gap_ms(in_gap, killed, told) for killed, told in story.gaps]
        beside = f"gaps of {', '.join(f'{width:.0f}' for width in widths)} ms in {len(widths)} kills"
        yield Line("failed while a killed HAProxy worker was replaced", len(in_gap), "", beside)
    late = sum(late_answers(story, result) for result in results)
    yield Line("answered by the old side after the switch was done", late, "", "", 0)


def gap_ms(failures: list[Request], killed: float, told: float) -> float:
    """From the first to the last failed answer around one kill."""
    ends = [each.ended for each in failures if killed - 0.1 <= each.ended <= told + 0.5]
    return (max(ends) - min(ends)) * 1000 if ends else 0.0


def late_answers(story: Story, result: LoadResult) -> int:
    """Requests begun after a switch was done, and before the next was asked, that the old side answered."""
    total = 0
    for index, (_, done, old, _) in enumerate(story.switches):
        following = story.switches[index + 1][0] if index + 1 < len(story.switches) else float("inf")
        total += result.answered_by(old, after=done, before=following)
    return total


# ---------------------------------------------------------------------------------------------- switches


def switches(directory: Path, rounds: int) -> Iterator[Line]:
    """Rollback back and forth in two regions: from the asking to the balancers' acknowledgement."""
    with staged(directory / "w") as stage:
        for version in ("v1", "v2"):
            stage.release(version, size=3, warm="0s")
            assert stage.ended()["phase"] == "succeeded", stage.rollout()
        took = [one_switch(stage) for _ in range(rounds)]
    took.sort()
    beside = f"p90 {took[int(len(took) * 0.9)]:.0f} ms, max {took[-1]:.0f} ms, {rounds} times"
    yield Line("rollback of two regions, accepted to acknowledged, p50", median(took), "ms", beside)


def one_switch(stage: Stage) -> float:
    seen = stage.get("events?newest=1&limit=1")["items"][-1]["sequence"]
    events = stage.events(seen)
    began = time.monotonic()
    stage.rollback()
    next(event for event in events if event["kind"] == "traffic.moved")
    took = (time.monotonic() - began) * 1000
    stage.ended()
    return took
