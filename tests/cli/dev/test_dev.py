"""dev: what it refuses before anything starts, and a real run that leaves nothing behind."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from repave_cli.transport.client import Client
from repave_protos.daemon.lock import own
from tests.fakes.controller.command_line import CommandLine
from tests.fakes.processes import environment
from tests.fakes.waiting import DEADLINE_SECONDS, POLL_SECONDS
from tests.support.paths import EXAMPLE

LONG = "a" * 60


# ---------------------------------------------------------------------------------------- what it refuses


@pytest.fixture
def dev(run: CommandLine) -> Iterator[Callable[..., tuple[int, str]]]:
    """`repave dev` that must end by itself: its exit code and what it said. It may leave no state."""
    place = tempfile.TemporaryDirectory(prefix="rp")  # short enough for HAProxy, wherever pytest works
    state = Path(place.name) / "dev"

    def end(*arguments: str) -> tuple[int, str]:
        ran = run("dev", "--state", str(state), *arguments)
        assert ran.out == ""
        assert not (state / "controller.log").exists()  # nothing was started
        return ran.code, ran.err

    with place:
        yield end


@pytest.mark.usefixtures("has_haproxy")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--regions", "0"], "--regions: from 1 to 20 regions run on one machine"),
        (["--regions", "21"], "--regions: from 1 to 20 regions run on one machine"),
        (["--region", "paris", "--region", "paris"], "--region: paris is there twice"),
        (["--region", "../paris"], "--region: '../paris' is no region's name"),
        (["--region", "controller"], "and not controller"),
        (["--region", LONG], "at most 48"),
        (["--regions", "3", "--region", "paris"], "not allowed with argument --regions"),
        (["--http-port", "0"], "--http-port: 0 is no port"),
        (["--http-port", "7500", "--grpc-port", "7500"], "--http-port and --grpc-port must differ"),
    ],
)
def test_what_can_not_be_is_refused_and_names_the_option(
    dev: Callable[..., tuple[int, str]], arguments: list[str], said: str
) -> None:
    code, err = dev(*arguments)
    assert code == 2
    assert said in err


@pytest.mark.usefixtures("has_haproxy")
@pytest.mark.parametrize("option", ["--http-port", "--grpc-port"])
def test_a_taken_port_names_its_option(dev: Callable[..., tuple[int, str]], option: str) -> None:
    other = "--grpc-port" if option == "--http-port" else "--http-port"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, err = dev(option, str(port), other, str(_free_port()))
    assert code == 1
    assert f"{option}: port {port} is taken on 127.0.0.1" in err
    assert f"choose another port with {option}" in err


def test_a_missing_haproxy_is_told_with_the_way_to_install_it(
    dev: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    assert dev() == (
        1,
        "repave: haproxy is not installed, and every region's traffic goes through one; "
        "install it with: sudo apt install haproxy\n",
    )


@pytest.mark.usefixtures("has_haproxy")
def test_a_directory_too_long_for_haproxy_is_refused(run: CommandLine, tmp_path: Path) -> None:
    state = tmp_path / LONG
    ran = run("dev", "--state", str(state))
    assert ran.code == 2
    too_many = len(os.fsencode(state / "local-1" / "haproxy")) - 85
    assert f"local-1/haproxy is {too_many} bytes too long for HAProxy's sockets; choose a shorter" in ran.err
    assert not state.exists()


@pytest.mark.usefixtures("has_haproxy")
def test_fresh_removes_only_what_dev_made(run: CommandLine, state: Path) -> None:
    (state / "thesis.txt").write_text("ten years")
    ports = ("--http-port", str(_free_port()), "--grpc-port", str(_free_port()))
    ran = run("dev", "--state", str(state), "--fresh", *ports)
    assert ran.code == 2
    assert f"--fresh: {state} was not made by repave dev; remove it yourself" in ran.err
    assert (state / "thesis.txt").read_text() == "ten years"


@pytest.mark.usefixtures("has_haproxy")
def test_a_directory_belongs_to_one_dev_and_fresh_leaves_it_alone(run: CommandLine, state: Path) -> None:
    (state / "controller").mkdir()
    ports = ("--http-port", str(_free_port()), "--grpc-port", str(_free_port()))
    with own(state, "repave dev"):
        ran = run("dev", "--state", str(state), "--fresh", *ports)
    assert ran.code == 1
    assert f"--state: another repave dev (process {os.getpid()}) already uses {state}; end it" in ran.err
    assert (state / "controller").exists()


# --------------------------------------------------------------------------------------------- real runs


@pytest.fixture
def has_haproxy() -> None:
    if not (shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")):
        pytest.skip("haproxy is not installed: apt install haproxy")


@pytest.fixture
def state() -> Iterator[Path]:
    """A short path: Unix sockets want one."""
    with tempfile.TemporaryDirectory(prefix="rpdev") as directory:
        yield Path(directory).resolve()


@dataclass
class Dev:
    """A running `repave dev` for the regions paris and oslo."""

    process: "subprocess.Popen[str]"
    state: Path
    url: str
    errors: Path

    def says(self) -> str:
        return self.errors.read_text()

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait(60)


@pytest.fixture
def start(state: Path, has_haproxy: None) -> Iterator[Callable[..., Dev]]:
    with ExitStack() as ends:
        yield lambda *arguments: _start(state, ends, *arguments)


def _start(state: Path, ends: ExitStack, *arguments: str) -> Dev:
    http_port, grpc_port = _free_port(), _free_port()
    errors = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="rpdev"))) / "errors"
    command = [sys.executable, "-m", "repave_cli.main", "dev", "--state", str(state)]
    command += ["--region", "paris", "--region", "oslo", *arguments]
    command += ["--http-port", str(http_port), "--grpc-port", str(grpc_port)]
    with errors.open("wb") as log:
        process = subprocess.Popen(
            command,
            env=environment({}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    dev = Dev(process, state, f"http://127.0.0.1:{http_port}", errors)
    ends.callback(_end_if_it_runs, dev)
    _await_ready(dev)
    return dev


def _end_if_it_runs(dev: Dev) -> None:
    if dev.process.poll() is None:
        dev.end()
    assert dev.process.stdout is not None
    dev.process.stdout.close()


def _await_ready(dev: Dev) -> None:
    assert dev.process.stdout is not None
    lines = []
    for line in dev.process.stdout:
        lines.append(line)
        if "Ctrl-C ends it all" in line:
            break
    greeting = "".join(lines)
    assert f"repave is ready: {dev.url}\n" in greeting, dev.says()
    assert "  paris: clients reach your app at 127.0.81.1:<traffic.port>\n" in greeting
    assert "  oslo: clients reach your app at 127.0.82.1:<traffic.port>\n" in greeting
    assert f"export REPAVE_URL={dev.url}; repave init --region paris --region oslo; repave plan" in greeting


@pytest.mark.e2e
def test_a_newcomers_first_minutes_leave_nothing_running(start: Callable[..., Dev], run: CommandLine) -> None:
    dev = start()
    _release(dev, run)
    assert len(_processes_of(dev.state)) >= 9  # controller, 2 agents, 2 hosts, 2 HAProxies of 2 processes
    agent = _agent_pid(dev.state / "oslo")
    os.kill(agent, signal.SIGKILL)
    _until(lambda: "oslo was killed by SIGKILL; starting it again" in dev.says(), dev.says)
    _until(lambda: _agent_pid(dev.state / "oslo") not in (0, agent), dev.says)
    assert dev.end() == 0
    assert "paris: 1 hosts and the balancer are gone" in dev.says()
    assert "oslo: 1 hosts and the balancer are gone" in dev.says()
    assert _processes_of(dev.state) == []


@pytest.mark.e2e
def test_kept_hosts_live_on_until_a_fresh_start_ends_them(
    start: Callable[..., Dev], run: CommandLine
) -> None:
    dev = start("--keep-hosts")
    _release(dev, run)
    assert dev.end(signal.SIGHUP) == 0  # a closed terminal
    assert "hosts and balancers go on" in dev.says()
    kept = _processes_of(dev.state)
    assert len(kept) >= 6
    fresh = start("--fresh")
    assert not set(kept) & set(_processes_of(dev.state))
    assert Client(fresh.url).get("applications")["items"] == []
    assert fresh.end(signal.SIGINT) == 0
    assert _processes_of(dev.state) == []


def _release(dev: Dev, run: CommandLine) -> None:
    """As the greeting says: init, release; one host in each region."""
    (run.folder / "repave.yaml").unlink()
    shutil.copy(EXAMPLE / "app.py", run.folder / "app.py")
    (run.folder / "version.txt").write_text("v1\n")
    regions = ("--region", "paris", "--region", "oslo")
    port = str(_free_port())
    assert run("init", "--name", "hello", *regions, "--size", "1", "--port", port).code == 0
    spec = run.folder / "repave.yaml"
    quick = spec.read_text().replace("min_healthy_time: 5s", "min_healthy_time: 0s")
    spec.write_text(
        quick.replace("warm: 1m", "warm: 2s")
        .replace("interval: 10s", "interval: 1s")
        .replace("python3", os.path.realpath(sys.executable))
    )
    ran = run("release", "--url", dev.url, "--timeout", "1m")
    assert ran.code == 0, ran.err + dev.says()


def _agent_pid(directory: Path) -> int:
    """Of the agent that holds the region's lock; 0 while there is none."""
    return int((directory / "lock").read_text() or 0)


def _processes_of(state: Path) -> list[int]:
    """Every process whose command, environment or folder names the directory, but for `repave dev` itself."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            command = (folder / "cmdline").read_bytes()
            named = command + (folder / "environ").read_bytes() + os.fsencode((folder / "cwd").readlink())
        except OSError:  # it has ended
            continue
        if os.fsencode(state) in named and b"repave_cli.main" not in command:
            found.append(int(folder.name))
    return found


def _until(condition: Callable[[], object], explain: Callable[[], str]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, explain()
        time.sleep(POLL_SECONDS)


def _free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])
