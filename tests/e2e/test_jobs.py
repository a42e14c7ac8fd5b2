"""Jobs of real processes: each attempt runs once, through kill -9 of the controller and of the agent in the
middle of it; a failure stops the release before any host is made; what nobody can judge waits for a person.
"""

import json
import os
import queue
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.support.stage import Stage

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
PROGRAM = """\
import socket, sys
line = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
line.sendall(sys.argv[2].encode())
print("asked", sys.argv[2], flush=True)
sys.exit(int(line.recv(10)))
"""


class Desk:
    """Every job that runs comes here once, and waits to be told what to exit with."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.came: list[str] = []
        self._waiting: queue.Queue[socket.socket] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                job, _ = self._listener.accept()
                self.came.append(job.recv(100).decode())
                self._waiting.put(job)

    def comes(self) -> socket.socket:
        """The next job that runs, which is held until it is told."""
        self._stage.wait(lambda: not self._waiting.empty(), "a job runs", 60)
        return self._waiting.get()

    def tell(self, code: int) -> None:
        with self.comes() as job:
            job.sendall(str(code).encode())

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def desk(stage: Stage) -> Iterator[Desk]:
    desk = Desk(stage)
    yield desk
    desk.close()


def jobs(desk: Desk, **named: str) -> str:
    """The section of a spec: a moment, and the name of its one job."""
    python = os.path.realpath(sys.executable)
    lines = [
        f"  {moment}: [{{name: {name}, run: "
        f"{json.dumps([python, '-S', '-E', '-c', PROGRAM, str(desk.port), f'{name}'])}, timeout: 2m}}]"
        for moment, name in named.items()
    ]
    return "\n".join(["jobs:", *lines, ""])


def states(stage: Stage) -> list[tuple[str, str]]:
    return [(each["name"], each["state"]) for each in stage.rollout()["jobs"]]


def runs_job(stage: Stage, region: str) -> bool:
    """Whether its agent has written down which processes it is; before that it could not say how it ended."""
    return any((stage.directory / region / "hosts").glob("*-job-*/process.json"))


def kill_job(stage: Stage, region: str) -> None:
    """SIGKILL for its processes, the one that would write down its end first."""
    (folder,) = (stage.directory / region / "hosts").glob("*-job-*")
    session = json.loads((folder / "process.json").read_text())
    for process in (session["leader"], session["inner"]):
        if process is not None:
            with suppress(ProcessLookupError):
                os.kill(process["pid"], signal.SIGKILL)
    with suppress(ProcessLookupError):
        os.killpg(session["leader"]["pid"], signal.SIGKILL)


def test_jobs_run_once_whatever_is_killed(stage: Stage, desk: Desk) -> None:
    stage.release("v1", more=jobs(desk, before="migrate", after="tell"))
    with desk.comes() as held:
        stage.wait(lambda: states(stage)[0] == ("migrate", "running"), "the job runs")
        stage.wait(lambda: runs_job(stage, "paris"), "the agent knows its processes")
        assert not any("-v001-" in host and "-job-" not in host for host in stage.hosts()["oslo"])
        stage.kill_controller()
        stage.kill_agent("paris")
        stage.start_agent("paris")
        stage.start_controller()
        stage.wait(stage.answers, "the controller")
        assert stage.rollout()["phase"] == "running"
        held.sendall(b"0")
    desk.tell(0)
    assert stage.ended()["phase"] == "succeeded"
    assert states(stage) == [("migrate", "succeeded"), ("tell", "succeeded")]
    assert desk.came == ["migrate", "tell"]
    shown = stage.repave("logs", "hello", "--job", "migrate")
    assert "asked migrate" in shown.stdout, shown.stderr

    stage.release("v2", more=jobs(desk, before="migrate", on_rollback="undo"))
    desk.tell(3)
    desk.tell(0)
    ended = stage.ended()
    assert ended["phase"] == "rolled-back"
    assert "migrate" in ended["outcome"]
    assert [(each["name"], each["exit_code"]) for each in ended["jobs"]] == [("migrate", 3), ("undo", 0)]
    assert not any("-v002-" in host for hosts in stage.hosts().values() for host in hosts)
    assert stage.weights() == {region: {"hello-v001": 10_000} for region in stage.regions}

    stage.release("v3", more=jobs(desk, before="migrate", on_rollback="undo"))
    with desk.comes():
        stage.wait(lambda: runs_job(stage, "paris"), "the agent knows its processes")
        kill_job(stage, "paris")
    stage.wait(lambda: states(stage)[0] == ("migrate", "unknown"), "nobody can say how it ended")
    why = stage.repave("why", "hello").stdout
    assert "repave jobs settle hello migrate again" in why
    assert (
        stage.repave("jobs", "settle", "hello", "migrate", "again", "--reason", "it is safe").returncode == 0
    )
    desk.tell(0)
    assert stage.ended()["phase"] == "succeeded"
    assert [each["state"] for each in stage.rollout()["jobs"]] == ["unknown", "succeeded", "waiting"]

    stage.rollback()
    desk.tell(0)
    assert stage.ended()["phase"] == "succeeded"
    assert desk.came == ["migrate", "tell", "migrate", "undo", "migrate", "migrate", "undo"]
