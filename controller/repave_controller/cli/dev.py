"""`repave dev`: a controller and regions on this machine, in the foreground, their state in one directory."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from repave_controller.cli.terminal import DONE, ERROR, USAGE, CliError, Terminal

READY_SECONDS = 30.0
POLL_SECONDS = 0.1
STOP_SECONDS = 15.0
RESTARTS_MAX = 5
FIRST_OCTET = 81  # hosts of the regions get 127.81.0.0/16, 127.82.0.0/16, ...
REGIONS_MAX = 20


def register(commands: Any) -> None:
    dev = commands.add_parser("dev", help="Run a controller and regions on this machine, in the foreground")
    dev.add_argument("--regions", type=int, default=2, metavar="N", help="local-1 .. local-N (default 2)")
    dev.add_argument("--region", action="append", metavar="NAME", help="instead: regions of these names")
    dev.add_argument("--state", type=Path, help="directory (default $XDG_STATE_HOME/repave/dev)")
    dev.add_argument("--fresh", action="store_true", help="forget the state of the last time")
    dev.add_argument("--http-port", type=int, default=7400, help="of the API (default 7400)")
    dev.add_argument("--grpc-port", type=int, default=7443, help="for agents (default 7443)")
    dev.add_argument("--keep-hosts", action="store_true", help="leave hosts and balancers running at the end")
    dev.set_defaults(run=run_dev)


def run_dev(terminal: Terminal) -> int:
    arguments = terminal.arguments
    names = arguments.region or [f"local-{number}" for number in range(1, arguments.regions + 1)]
    if not 1 <= len(names) <= REGIONS_MAX or len(set(names)) < len(names):
        raise CliError(f"--regions: from 1 to {REGIONS_MAX} regions, each of its own name", USAGE)
    if not (shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")):
        raise CliError("haproxy is not installed, and every region needs one; apt install haproxy")
    for option, port in (("--http-port", arguments.http_port), ("--grpc-port", arguments.grpc_port)):
        _check_free(option, port)
    state = arguments.state or _default_state()
    if arguments.fresh:
        _forget(state)
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    return _Dev(terminal, state, names, arguments.http_port, arguments.grpc_port).run(arguments.keep_hosts)


def _default_state() -> Path:
    home = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(home) / "repave" / "dev"


def _forget(state: Path) -> None:
    """Only a directory that dev made is removed."""
    if state.exists() and any(state.iterdir()) and not (state / "controller").exists():
        raise CliError(f"--fresh: {state} was not made by repave dev; remove it yourself", USAGE)
    shutil.rmtree(state, ignore_errors=True)


def _check_free(option: str, port: int) -> None:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError as error:
            raise CliError(
                f"{option}: port {port} is taken on 127.0.0.1; is another repave dev running? "
                f"choose another port with {option}"
            ) from error


@dataclass(slots=True)
class _Child:
    """One process of ours, started again when it dies."""

    name: str
    module: str
    settings: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    restarts: int = 0


@dataclass(slots=True)
class _Dev:
    terminal: Terminal
    state: Path
    names: list[str]
    http_port: int
    grpc_port: int
    children: list[_Child] = field(default_factory=list)
    is_told_to_stop: bool = False

    def run(self, keep_hosts: bool) -> int:
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, self._stop)
        self.children = [self._controller(), *(self._agent(index) for index in range(len(self.names)))]
        try:
            self._start()
            while not self.is_told_to_stop:
                self._restart_dead()
                time.sleep(POLL_SECONDS)
        finally:
            self._end(keep_hosts)
        return DONE

    def _stop(self, *_: object) -> None:
        self.is_told_to_stop = True

    def _controller(self) -> _Child:
        settings = {
            "REPAVE_CONTROLLER_HTTP__LISTEN": f"127.0.0.1:{self.http_port}",
            "REPAVE_CONTROLLER_GRPC__LISTEN": f"127.0.0.1:{self.grpc_port}",
            "REPAVE_CONTROLLER_STATE": str(self.state / "controller"),
        }
        return _Child("controller", "repave_controller", settings)

    def _agent(self, index: int) -> _Child:
        settings = {
            "REPAVE_AGENT_REGION": self.names[index],
            "REPAVE_AGENT_CONTROLLER": f"127.0.0.1:{self.grpc_port}",
            "REPAVE_AGENT_STATE": str(self.state / self.names[index]),
            "REPAVE_AGENT_LOCAL__ADDRESSES": f"127.{FIRST_OCTET + index}.0.0/16",
            "REPAVE_AGENT_HAPROXY__TRAFFIC_ADDRESS": f"127.0.{FIRST_OCTET + index}.1",
        }
        return _Child(self.names[index], "repave_agent", settings)

    def _start(self) -> None:
        self.terminal.say(f"starting a controller and {len(self.names)} regions; state in {self.state}")
        for child in self.children:
            self._spawn(child)
        deadline = time.monotonic() + READY_SECONDS
        while not self.is_told_to_stop and not self._is_ready():
            dead = next((child for child in self.children if child.process and child.process.poll()), None)
            if dead is not None or time.monotonic() > deadline:
                name = dead.name if dead else "a region"
                raise CliError(f"{name} did not start:\n{self._tail(name)}", ERROR)
            time.sleep(POLL_SECONDS)
        if not self.is_told_to_stop:
            self._greet()

    def _is_ready(self) -> bool:
        from repave_controller.cli.client import Client

        try:
            regions = Client(f"http://127.0.0.1:{self.http_port}").get("regions")["items"]
        except CliError:
            return False
        return {each["name"] for each in regions if each["connected"]} >= set(self.names)

    def _greet(self) -> None:
        out = self.terminal.out
        out(f"repave is ready: http://127.0.0.1:{self.http_port}")
        for index, name in enumerate(self.names):
            out(f"  {name}: clients reach your app at 127.0.{FIRST_OCTET + index}.1:<traffic.port>")
        out(f"  logs: {self.state}/*.log")
        url = "" if self.http_port == 7400 else f"export REPAVE_URL=http://127.0.0.1:{self.http_port}; "
        out(f"In another terminal, beside your app: {url}repave init, repave plan, repave release")
        out("Ctrl-C ends it all, the hosts too.")

    def _spawn(self, child: _Child) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("REPAVE_")}
        with (self.state / f"{child.name}.log").open("ab") as log:
            child.process = subprocess.Popen(
                [sys.executable, "-m", child.module],
                env={**kept, **child.settings},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us; we end them in order
            )

    def _restart_dead(self) -> None:
        for child in self.children:
            if child.process is None or child.process.poll() is None:
                continue
            child.restarts += 1
            if child.restarts > RESTARTS_MAX:
                raise CliError(f"{child.name} keeps ending:\n{self._tail(child.name)}")
            self.terminal.say(f"{child.name} ended with {child.process.returncode}; starting it again")
            self._spawn(child)

    def _tail(self, name: str) -> str:
        try:
            return "\n".join((self.state / f"{name}.log").read_text(errors="replace").splitlines()[-5:])
        except OSError:
            return "(it left no log)"

    def _end(self, keep_hosts: bool) -> None:
        self.terminal.say("ending ...")
        running = [child for child in self.children if child.process and child.process.poll() is None]
        for child in running:
            assert child.process is not None
            child.process.terminate()
        for child in running:
            assert child.process is not None
            try:
                child.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
        if not keep_hosts:
            for child in self.children[1:]:
                self._clean(child)

    def _clean(self, child: _Child) -> None:
        if not Path(child.settings["REPAVE_AGENT_STATE"]).exists():
            return
        done = subprocess.run(
            [sys.executable, "-m", child.module, "clean"],
            env={**os.environ, **child.settings},
            capture_output=True,
            text=True,
            check=False,
        )
        self.terminal.say((done.stdout or done.stderr).strip())
