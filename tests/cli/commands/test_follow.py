"""Commands that go on as things happen: status --watch, events --follow, status --wait."""

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import pytest

from repave_controller.api.answers.models import ApplicationStatus, QueueAnswer
from tests.fakes.controller.api import BROKEN, fake_api
from tests.fakes.controller.command_line import CommandLine
from tests.fakes.controller.scheduler import ServedController, served


@contextmanager
def process(*arguments: str) -> Iterator[IO[str]]:
    """The command's standard output, for as long as the block lasts."""
    command = [sys.executable, "-m", "repave_cli.main", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        try:
            yield running.stdout
        finally:
            running.terminate()
            running.communicate(timeout=60)


def test_status_that_is_watched_through_a_pipe_gives_a_snapshot_a_line(
    repave: CommandLine, controller: ServedController
) -> None:
    controller.hold()
    repave.release("v1", "--detach")
    with process("status", "hello", "--watch") as lines:
        assert json.loads(lines.readline())["phase"] == "running"
        controller.let_go()
        assert any(json.loads(line)["phase"] == "succeeded" for line in lines)


def test_followed_events_go_on_over_a_restart_and_come_once(
    run: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as first:
        former = first.enter_context(served(tmp_path / "controller"))
        monkeypatch.setenv("REPAVE_URL", former.url)
        former.hold()
        run.release("v1", "--detach")
        with process("events", "hello", "--follow", "-o", "jsonl", "--since", "0") as lines:
            seen = [json.loads(lines.readline())]
            first.close()
            with served(tmp_path / "controller", former=former):
                for line in lines:
                    seen.append(json.loads(line))
                    if seen[-1]["kind"] == "release.succeeded":
                        break
    assert [event["sequence"] for event in seen] == list(range(1, len(seen) + 1))
    assert seen[0]["kind"] == "release.started"


def test_waiting_gives_up_at_its_timeout(repave: CommandLine, controller: ServedController) -> None:
    controller.hold()
    repave.release("v1", "--detach")
    ran = repave("status", "hello", "--wait", "--timeout", "0.1s")
    assert (ran.code, ran.err) == (7, "repave: still running after 0.1 s; the rollout goes on\n")


def test_waiting_ends_as_the_rollout_did(repave: CommandLine, controller: ServedController) -> None:
    repave.release("v1")
    controller.sessions.broken.add("hello-v002")
    repave.release("v2", "--detach")
    assert repave("status", "hello", "--wait").code == 3


def test_waiting_for_a_rollout_that_needs_a_person_ends_with_8(
    repave: CommandLine, controller: ServedController
) -> None:
    repave.release("v1")
    repave.release("v2")
    controller.sessions.broken.add("hello-v001")
    repave("rollback", "hello", "--force", "--detach")
    ran = repave("status", "hello", "--wait", "--timeout", "30s")
    assert (ran.code, "rollback of hello-v001: held" in ran.out) == (8, True)


def test_waiting_goes_on_when_the_connection_breaks(run: CommandLine) -> None:
    running, succeeded = snapshot("running"), snapshot("succeeded")
    with fake_api() as api:
        api.answers["GET", "applications/hello/summary"] = [running]
        api.answers["GET", "applications/hello/stream"] = [[running], BROKEN, [running, succeeded]]
        ran = run("status", "hello", "--wait", "--url", api.url)
    assert (ran.code, ran.out) == (0, "hello: hello-v001 (1.0) serves, port 8000\n")
    assert ran.err.endswith("; trying again\n")
    assert len(api.requests) == 4


def test_waiting_for_what_is_not_there_ends_at_once(run: CommandLine) -> None:
    with fake_api() as api:
        ran = run("status", "helo", "--wait", "--url", api.url)
    assert (ran.code, api.requests) == (2, [("GET", "applications/helo/summary")])


def snapshot(phase: str) -> dict[str, object]:
    """A whole application, in this phase."""
    status = ApplicationStatus(
        name="hello",
        serving="hello-v001",
        version="1.0",
        phase=phase,
        rollout="",
        hosts=5,
        verified=5,
        regions=2,
        fronts=[],
        port=8000,
        queued=0,
        current_rollout=None,
        gates=[],
        waits=[],
        queue=QueueAnswer(items=[], stands="", since=None, remedy=None),
        because=[],
        region_items=[],
    )
    return status.model_dump(mode="json")


def test_a_person_sees_a_live_screen_of_regions_groups_and_hosts(
    repave: CommandLine, controller: ServedController, monkeypatch: pytest.MonkeyPatch
) -> None:
    controller.hold()
    repave.release("v1", "--detach")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    command = [sys.executable, "-m", "repave_cli.main", "watch", "hello"]
    screen, terminal = pty.openpty()
    resize(screen, 60)
    with subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal) as running:
        os.close(terminal)
        seen = read_until(screen, b"hello-v001", b"0/2     0 %", b"waits  ")
        resize(screen, 120)
        seen += read_until(screen, b"\x1b[J")  # what the terminal has wrapped is cleared
        os.write(screen, b"?")
        seen += read_until(screen, b"p pause or resume")
        os.write(screen, b"p")
        seen += read_until(screen, b"paused")
        os.write(screen, b"p")
        seen += read_until(screen, b"running")
        controller.let_go()
        seen += read_until(screen, b"done: hello-v001 serves hello in oslo, paris")
    os.close(screen)
    assert running.returncode == 0
    text = seen.decode()
    assert "paris" in text
    assert "\x1b[3" not in text, "a colour"
    assert text.index("\x1b[?25l") < text.index("\x1b[?25h") < text.index("done: "), "the cursor is back"
    assert "2/2   100 %" in text
    assert "? keys" not in text[text.rindex("\x1b[?2026h") :], "what stays says nothing of keys"


def resize(screen: int, columns: int) -> None:
    fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))


def read_until(screen: int, *texts: bytes) -> bytes:
    """What the program writes until all of it was seen; fails by the test's timeout."""
    seen = b""
    while not all(text in seen for text in texts):
        seen += os.read(screen, 65_536)
    return seen
