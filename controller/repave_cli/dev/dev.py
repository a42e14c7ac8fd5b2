"""`repave dev`: a controller and regions on this machine, in the foreground, their state in one directory.

Nothing is started before everything that can be known beforehand is in order. How processes are started,
restarted and ended is children.py's.
"""

import contextlib
import os
import re
import shutil
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from repave_cli.dev.children import Child, Children, clean, on_signal
from repave_cli.transport.errors import CliError
from repave_cli.transport.exit_codes import DONE, ERROR, USAGE
from repave_cli.transport.terminal import Terminal, whole

READY_SECONDS = 30.0
POLL_SECONDS = 0.2
ASK_SECONDS = 2.0
FIRST_OCTET = 81  # hosts of the regions get 127.81.0.0/16, 127.82.0.0/16, ...
REGIONS_MAX = 20
HAPROXY_DIRECTORY_BYTES_MAX = 85  # a Unix socket's path is short, and HAProxy adds a suffix of its own
REGION_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*", re.ASCII)
REGION_LENGTH_MAX = 48
CONTROLLER = "controller"
LOCK = "lock"
DEFAULT_PORT = 7400
INIT_REGIONS = ("local-1", "local-2")  # those that `repave init` writes by itself


def register(commands: Any) -> None:
    dev = commands.add_parser("dev", help="Run a controller and regions on this machine, in the foreground")
    regions = dev.add_mutually_exclusive_group()
    regions.add_argument(
        "--regions", type=whole, default=2, metavar="N", help="local-1 .. local-N (default 2)"
    )
    regions.add_argument(
        "--region", action="append", metavar="NAME", help="a region of this name; repeatable"
    )
    dev.add_argument("--state", type=Path, help="directory (default $XDG_STATE_HOME/repave/dev)")
    dev.add_argument("--fresh", action="store_true", help="forget the state of the last time")
    dev.add_argument("--http-port", type=whole, default=DEFAULT_PORT, help="of the API (default 7400)")
    dev.add_argument("--grpc-port", type=whole, default=7443, help="for agents (default 7443)")
    dev.add_argument("--keep-hosts", action="store_true", help="leave hosts and balancers running at the end")
    dev.set_defaults(run=run_dev)


def run_dev(terminal: Terminal) -> int:
    arguments = terminal.arguments
    names = _region_names(arguments.region, arguments.regions)
    state = (arguments.state or _default_state()).absolute()
    haproxy = _haproxy()
    _check_length(state, names)
    _check_ports(arguments.http_port, arguments.grpc_port)
    with _owned(state):
        if arguments.fresh:
            _forget(state)
        children = [_controller(state, arguments.http_port, arguments.grpc_port)]
        for index, name in enumerate(names):
            children.append(_agent(state, name, index, arguments.grpc_port, haproxy))
        return _Dev(terminal, state, arguments.http_port, Children(state, terminal.say, children)).run(
            arguments.keep_hosts
        )


# ----------------------------------------------------------------------------------- before anything starts


def _region_names(given: list[str] | None, count: int) -> list[str]:
    names = given or [f"local-{number}" for number in range(1, min(count, REGIONS_MAX + 1) + 1)]
    option = "--region" if given else "--regions"
    if not 1 <= len(names) <= REGIONS_MAX:
        raise CliError(f"{option}: from 1 to {REGIONS_MAX} regions run on one machine", USAGE)
    for name in names:
        if not REGION_NAME.fullmatch(name) or len(name) > REGION_LENGTH_MAX or name == CONTROLLER:
            raise CliError(
                f"--region: {name!a} is no region's name: a-z, 0-9 and - between them, "
                f"at most {REGION_LENGTH_MAX}, and not {CONTROLLER}; write for example paris-1",
                USAGE,
            )
        if names.count(name) > 1:
            raise CliError(f"--region: {name} is there twice", USAGE)
    return names


def _default_state() -> Path:
    home = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(home) / "repave" / "dev"


def _haproxy() -> str:
    found = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise CliError(
            "haproxy is not installed, and every region's traffic goes through one; "
            "install it with: sudo apt install haproxy"
        )
    return found


def _check_length(state: Path, names: list[str]) -> None:
    for name in names:
        directory = state / name / "haproxy"
        too_many = len(os.fsencode(directory)) - HAPROXY_DIRECTORY_BYTES_MAX
        if too_many > 0:
            raise CliError(
                f"--state: {directory} is {too_many} bytes too long for HAProxy's sockets; "
                "choose a shorter directory, for example --state /tmp/repave-dev",
                USAGE,
            )


def _check_ports(http_port: int, grpc_port: int) -> None:
    if http_port == grpc_port:
        raise CliError("--http-port and --grpc-port must differ", USAGE)
    for option, port in (("--http-port", http_port), ("--grpc-port", grpc_port)):
        if not 1 <= port <= 65_535:
            raise CliError(f"{option}: {port} is no port; choose one from 1024 to 65535", USAGE)
        _check_free(option, port)


def _check_free(option: str, port: int) -> None:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except PermissionError as error:
            raise CliError(f"{option}: port {port} needs root; choose one above 1023", USAGE) from error
        except OSError as error:
            raise CliError(
                f"{option}: port {port} is taken on 127.0.0.1; is another repave dev running? "
                f"choose another port with {option}"
            ) from error


@contextlib.contextmanager
def _owned(state: Path) -> Any:
    """One dev a directory. Raises CliError when another has it, or it can't be written."""
    lock = _lock(state)
    try:
        yield
    finally:
        lock.close()


def _lock(state: Path) -> IO[str]:
    from repave_protos.daemon.lock import AlreadyRunningError, own  # slow to import

    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        return own(state, "repave dev")
    except AlreadyRunningError as error:
        raise CliError(f"--state: {error}") from error
    except OSError as error:
        raise CliError(f"--state: {state}: {error.strerror}; choose another directory") from error


def _forget(state: Path) -> None:
    """Ends what `--keep-hosts` left running there, then removes all. Only what dev made is removed."""
    entries = [each for each in state.iterdir() if each.name != LOCK]
    if entries and not (state / CONTROLLER).exists():
        raise CliError(f"--fresh: {state} was not made by repave dev; remove it yourself", USAGE)
    agents = [each for each in entries if (each / LOCK).is_file() and each.name != CONTROLLER]
    for is_done, output in clean([_left_behind(each) for each in agents]):
        if not is_done:
            raise CliError(f"--fresh: what is left of the last time does not end: {output}")
    _remove(entries)


def _left_behind(directory: Path) -> Child:
    settings = {"REPAVE_AGENT_REGION": directory.name, "REPAVE_AGENT_STATE": str(directory)}
    return Child(directory.name, "repave_agent", settings)


def _remove(entries: list[Path]) -> None:
    from repave_protos.package.archive import remove  # hosts' files may be read-only; late: tarfile is slow

    for each in entries:
        try:
            if each.is_dir() and not each.is_symlink():
                remove(each)
            else:
                each.unlink()
        except OSError as error:
            raise CliError(f"--fresh: {each} can't be removed: {error.strerror}") from error


# ----------------------------------------------------------------------------------------------- processes


def _controller(state: Path, http_port: int, grpc_port: int) -> Child:
    settings = {
        "REPAVE_CONTROLLER_HTTP__LISTEN": f"127.0.0.1:{http_port}",
        "REPAVE_CONTROLLER_GRPC__LISTEN": f"127.0.0.1:{grpc_port}",
        "REPAVE_CONTROLLER_STATE": str(state / CONTROLLER),
    }
    return Child(CONTROLLER, "repave_controller", settings)


def _agent(state: Path, name: str, index: int, grpc_port: int, haproxy: str) -> Child:
    settings = {
        "REPAVE_AGENT_REGION": name,
        "REPAVE_AGENT_CONTROLLER": f"127.0.0.1:{grpc_port}",
        "REPAVE_AGENT_STATE": str(state / name),
        "REPAVE_AGENT_LOCAL__ADDRESSES": f"127.{FIRST_OCTET + index}.0.0/16",
        "REPAVE_AGENT_HAPROXY__TRAFFIC_ADDRESS": _traffic_address(index),
        "REPAVE_AGENT_HAPROXY__PROGRAM": haproxy,
    }
    return Child(name, "repave_agent", settings)


def _traffic_address(index: int) -> str:
    return f"127.0.{FIRST_OCTET + index}.1"


@dataclass(slots=True)
class _Dev:
    """From the start to the end of all processes."""

    terminal: Terminal
    state: Path
    http_port: int
    children: Children
    is_told_to_stop: bool = False

    @property
    def agents(self) -> list[Child]:
        return self.children.all[1:]

    def run(self, keep_hosts: bool) -> int:
        with on_signal(self._stop):
            try:
                self._start()
                while not self.is_told_to_stop:
                    self.children.restart_ended()
                    time.sleep(POLL_SECONDS)
            finally:
                is_clean = self._end(keep_hosts)
        return DONE if is_clean else ERROR

    def _stop(self) -> None:
        self.is_told_to_stop = True

    def _start(self) -> None:
        self.terminal.say(f"starting a controller and {len(self.agents)} regions; state in {self.state}")
        self.children.start()
        deadline = time.monotonic() + READY_SECONDS
        while not self.is_told_to_stop:
            missing = self._missing()
            if not missing:
                self._greet()
                return
            self._check_start(missing, time.monotonic() > deadline)
            time.sleep(POLL_SECONDS)

    def _missing(self) -> list[Child]:
        """Those that are not ready yet, the controller first."""
        from repave_cli.transport.client import Client  # slow to import

        try:
            regions = Client(f"http://127.0.0.1:{self.http_port}", ASK_SECONDS).get("regions")["items"]
        except CliError:
            return self.children.all
        connected = {each["name"] for each in regions if each["connected"]}
        return [each for each in self.agents if each.name not in connected]

    def _check_start(self, missing: list[Child], is_late: bool) -> None:
        for child in self.children.all:
            if child.has_ended:
                raise CliError(f"{child.name} did not start:\n{self.children.tail(child)}")
        if is_late:
            late = missing[0]
            raise CliError(
                f"{late.name} is not ready after {READY_SECONDS:.0f} s; its log "
                f"{self.children.log(late)}:\n{self.children.tail(late)}"
            )

    def _greet(self) -> None:
        out, url = self.terminal.out, f"http://127.0.0.1:{self.http_port}"
        out(f"repave is ready: {url}")
        for index, agent in enumerate(self.agents):
            out(f"  {agent.name}: clients reach your app at {_traffic_address(index)}:<traffic.port>")
        out(f"  logs: {self.state}/*.log")
        export = "" if self.http_port == DEFAULT_PORT else f"export REPAVE_URL={url}; "
        names = [agent.name for agent in self.agents]
        regions = "" if names == list(INIT_REGIONS) else "".join(f" --region {name}" for name in names)
        out(
            f"In another terminal, beside your app: {export}repave init{regions}; repave plan; repave release"
        )
        out("Ctrl-C ends it all, the hosts too.")

    def _end(self, keep_hosts: bool) -> bool:
        """Whether nothing is left running that should not be."""
        self._say("ending ...")
        self.children.end()
        if keep_hosts:
            self._say(f"hosts and balancers go on; repave dev --state {self.state} takes them up again")
            return True
        are_done = []
        for is_done, output in clean([each for each in self.agents if Path(self._state_of(each)).exists()]):
            are_done.append(is_done)
            self._say(output if is_done else f"NOT CLEAN: {output}")
        return all(are_done)

    def _state_of(self, agent: Child) -> str:
        return agent.settings["REPAVE_AGENT_STATE"]

    def _say(self, text: str) -> None:
        """The terminal may be gone: that must not keep us from ending the processes."""
        with contextlib.suppress(OSError):
            self.terminal.say(text)
