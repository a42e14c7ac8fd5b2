"""Three controllers on one PostgreSQL, on real processes: a release ends as it would have, whichever of them
is killed, frozen or cut off from the database at whichever step, and though the database is restarted."""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.e2e.test_kills import MOMENTS, check_converged
from tests.support.faults import Moment
from tests.support.postgresql import Server
from tests.support.several import SeveralStage
from tests.support.stage import kept

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

NAMES = ("c1", "c2", "c3")


@dataclass(frozen=True, slots=True)
class Setting:
    """`roads`: the process that carries a controller's connections to the database."""

    stage: SeveralStage
    server: Server
    roads: dict[str, subprocess.Popen[bytes]]


@contextmanager
def killed(setting: Setting, owner: str) -> Iterator[None]:
    setting.stage.kill(owner)
    yield
    setting.stage.begin_controller(owner)


@contextmanager
def frozen(setting: Setting, owner: str) -> Iterator[None]:
    setting.stage.freeze(owner)
    yield
    setting.stage.thaw(owner)


@contextmanager
def cut_off(setting: Setting, owner: str) -> Iterator[None]:
    """Its connections to the database are silent, and stay open."""
    setting.roads[owner].send_signal(signal.SIGSTOP)
    yield
    setting.roads[owner].send_signal(signal.SIGCONT)


@contextmanager
def restarted(setting: Setting, owner: str) -> Iterator[None]:
    setting.server.restart()
    yield


Fault = Callable[[Setting, str], AbstractContextManager[None]]


def test_a_release_goes_on_at_another_controller(
    directory: Path, database_url: str, postgresql_server: Server
) -> None:
    with set_up(directory, database_url, postgresql_server) as setting:
        release_under(setting, [(killed, ("host.launched", "")), (frozen, ("step.entered", "soak"))])


@pytest.mark.rig
@pytest.mark.parametrize("fault", [killed, frozen, cut_off, restarted])
def test_a_release_survives_a_fault_at_every_step(
    directory: Path, database_url: str, postgresql_server: Server, fault: Fault
) -> None:
    with set_up(directory, database_url, postgresql_server) as setting:
        release_under(setting, [(fault, moment) for moment in MOMENTS])


def release_under(setting: Setting, strikes: Sequence[tuple[Fault, tuple[str, str]]]) -> None:
    """Each release is asked of a controller that does not decide for the application."""
    stage = setting.stage
    options = {"keep": "0s", "warm": "0s", "drain": "1s"}
    stage.release("v1", **options)
    assert stage.ended()["phase"] == "succeeded"
    for number, (fault, (kind, word)) in enumerate(strikes, start=2):
        when = f"{kind} {word}".strip()
        owner = stage.owner()
        stage.turn_to(stage.another(owner))
        moment = Moment(stage, kind, word)
        stage.release(f"v{number}", **options)
        moment.wait()
        with fault(setting, owner):
            assert stage.ended()["phase"] == "succeeded", (when, stage.rollout()["outcome"])
            check_converged(stage, number, when)
        stage.wait(stage.is_shared, f"all controllers, after {when}")


@contextmanager
def set_up(directory: Path, database_url: str, server: Server) -> Iterator[Setting]:
    """Each controller reaches the database by a road of its own."""
    with contextlib.ExitStack() as ending:
        roads, databases = {}, {}
        for number, name in enumerate(NAMES, start=1):
            address = f"127.9.{number}.1"
            roads[name] = ending.enter_context(road(address, server.port))
            parts = urlsplit(database_url)
            netloc = parts.netloc.replace("127.0.0.1", address)
            databases[name] = parts._replace(netloc=netloc).geturl()
        stage = SeveralStage(directory, database=database_url, names=NAMES, databases=databases)
        yield Setting(ending.enter_context(kept(stage)), server, roads)


@contextmanager
def road(address: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    relay = [sys.executable, "-m", "tests.support.relay", address, "127.0.0.1", str(port)]
    with subprocess.Popen(relay, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield process
        finally:
            process.kill()
