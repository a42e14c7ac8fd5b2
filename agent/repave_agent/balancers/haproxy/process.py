"""Starts, reloads and ends the HAProxy of one directory. Blocking; knows nothing of structures and routes.

HAProxy runs as master and workers (`-W`) under a keeper, a shell that starts it again when it dies: at once,
also while the agent is away. Both outlive the agent. A process is ours when its command line names our
configuration file, so a reused process id is never mistaken for it.
"""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from repave_agent.balancers.haproxy.host import MAP_FILE, STATES_FILE
from repave_agent.balancers.haproxy.socket import MasterSocket, WorkerGoneError, Workers
from repave_agent.core.ports import BalancerError

START_SECONDS_MAX = 15.0
RELOAD_SECONDS_MAX = 30.0
SILENCE_SECONDS_MAX = (
    10.0  # a living HAProxy may be slow, or 2 s in a failing reload: not a reason to kill it
)
END_SECONDS_MAX = 2.0
WHY_SECONDS_MAX = 2.0
POLL_SECONDS = 0.005
LOOKS_PER_QUESTION = 4
"""Whether there is another socket, before the one that refused is asked again."""
MISSES_MAX = 5
"""Looks in a row that find no process of ours, before it is taken for dead."""
MASTER_SOCKET_PATH_MAX = 97  # bytes: the limit of Unix sockets less the temporary suffix HAProxy adds
KEEPER = '(while "$0" "$@"; [ $? -ne 1 ]; do sleep 0.1; done) &'
"""Ends with 1: HAProxy refuses to start, and would do so again. Any other end is a death."""

OLDEST = (2, 4)

_VERSION = re.compile(r"HA-?Proxy version (\d+)\.(\d+)\S*")
_ALERT = re.compile(r"\[ALERT\]\s*\(\d+\) : (.*)")


class HaproxyProcess:
    """The HAProxy whose files are in `directory`."""

    def __init__(self, directory: Path, program: str, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self.configuration_path = directory / "haproxy.cfg"
        self.map_path = directory / MAP_FILE
        self.states_path = directory / STATES_FILE
        self._socket_path = directory / "master.sock"
        self._pid_path = directory / "haproxy.pid"
        self.program = program
        self.socket = MasterSocket(self._socket_path, self.map_path)
        self.watched: tuple[int, ...] = ()  # process ids without which nothing is served

    def check_directory(self) -> None:
        """Raises BalancerError when HAProxy could not make its socket there."""
        length = len(os.fsencode(self._socket_path))
        if length > MASTER_SOCKET_PATH_MAX:
            raise BalancerError(
                f"the balancer's directory {self._socket_path.parent} is"
                f" {length - MASTER_SOCKET_PATH_MAX} bytes too long for a Unix socket:"
                " give the agent a shorter state directory"
            )

    def look_up(self) -> Workers | None:
        """The running workers; None when it does not run. Waits for one that its keeper is starting again."""
        workers = self._wait_for(self._serving, SILENCE_SECONDS_MAX)
        if workers is not None:
            self.watched = (workers.master, workers.newest or 0)
        return workers

    def _serving(self) -> Workers:
        workers = self.socket.workers()
        if workers.newest is None or not self._is_ours(workers.newest):
            raise WorkerGoneError("HAProxy's worker has ended")
        return workers

    def start(self) -> Workers:
        """Starts it afresh; what is left of an earlier one is ended. Raises BalancerError."""
        self.end()
        self.watched = ()
        self.check(self.configuration_path)
        arguments = ("-W", "-q", *self._arguments(self.configuration_path), "-p", str(self._pid_path))
        self._run("sh", "-c", KEEPER, self.program, *arguments, is_detached=True)
        deadline = self._monotonic() + START_SECONDS_MAX
        while self._monotonic() < deadline:
            if workers := self.look_up():
                return workers
            if next(self.processes(), None) is None:
                raise BalancerError(f"HAProxy does not start: {self._why_not()}")
            time.sleep(POLL_SECONDS)
        silent = f"HAProxy did not answer within {START_SECONDS_MAX:.0f} s of its start"
        raise BalancerError(self._why_unusable() or silent)

    def _why_not(self) -> str:
        """Its own words, which the keeper's does not say."""
        try:
            done = self._run(self.program, "-db", "-f", str(self.configuration_path), seconds=WHY_SECONDS_MAX)
        except BalancerError:
            return "it did a moment later"
        return _complaint(done.stderr)

    def check(self, configuration: Path) -> None:
        """Raises BalancerError with HAProxy's own words when it would not take this configuration."""
        done = self._run(self.program, "-W", "-c", *self._arguments(configuration))
        if done.returncode != 0:
            refused = f"HAProxy refuses the configuration: {_complaint(done.stderr)}"
            raise BalancerError(self._why_unusable() or refused)

    def _why_unusable(self) -> str:
        """Why this program will not do, whatever it is given to read; "" when it will."""
        version = _VERSION.search(self._run(self.program, "-v").stdout)
        if version is None:
            return f"{self.program} is not HAProxy: `{self.program} -v` shows no version of it"
        if (int(version[1]), int(version[2])) < OLDEST:
            oldest = ".".join(map(str, OLDEST))
            return f"{version[0]} is too old: repave needs {oldest} or newer (haproxy.program names it)"
        return ""

    def is_what_runs(self, master: int) -> bool:
        """Whether a reload would start the very file that runs: an update may have replaced it."""
        try:
            return Path(f"/proc/{master}/exe").samefile(shutil.which(self.program) or "")
        except OSError:
            return False

    def reload(self, before: Workers) -> Workers:
        """Makes a new worker take over with the configuration on disk; returns when it serves.

        Raises BalancerError; then the former worker goes on.
        """
        self.socket.reload()
        deadline = self._monotonic() + RELOAD_SECONDS_MAX
        while self._monotonic() < deadline:
            after = self._wait_for(self.socket.workers, RELOAD_SECONDS_MAX)
            if after is None:
                raise BalancerError("HAProxy ended while it was reloading")
            if after.reloads != before.reloads and after.has_failed:
                raise BalancerError("HAProxy could not reload: the former configuration stays in force")
            if after.newest not in (None, before.newest):
                self.watched = (after.master, after.newest or 0)
                return after
            time.sleep(POLL_SECONDS)
        raise BalancerError(f"HAProxy did not reload within {RELOAD_SECONDS_MAX:.0f} s")

    def end(self) -> None:
        """Kills what there is of it, at once. For one that is broken: requests in flight are lost."""
        deadline = self._monotonic() + END_SECONDS_MAX
        while (processes := list(self.processes())) and self._monotonic() < deadline:
            for process in processes:
                self._kill(process)
            time.sleep(POLL_SECONDS / 5)

    def processes(self) -> Iterator[int]:
        """Ids of living processes of ours; one that has ended and waits to be reaped has no command line. The
        known ones come first: to look at all that a machine has may cost as much as a reload."""
        known = set()
        for process in filter(None, self.watched):
            if self._is_ours(process):
                known.add(process)
                yield process
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal() and int(entry.name) not in known and self._is_ours(int(entry.name)):
                yield int(entry.name)

    def _is_ours(self, process: int) -> bool:
        try:
            words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return os.fsencode(self.configuration_path) in words

    def _kill(self, process: int) -> None:
        """The descriptor is opened before the last look, so that the process looked at is the one killed."""
        try:
            descriptor = os.pidfd_open(process)
        except ProcessLookupError:
            return
        try:
            if self._is_ours(process):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        except ProcessLookupError:
            pass
        finally:
            os.close(descriptor)

    def _wait_for(self, ask: Callable[[], Workers], seconds: float) -> Workers | None:
        """The first answer of the master, as long as there is a process that may give one."""
        deadline = self._monotonic() + seconds
        misses = 0
        while True:
            refused = self.socket.place()
            try:
                return ask()
            except OSError:
                # A master that executes itself anew has no command line for a moment: look again.
                misses = 0 if next(self.processes(), None) is not None else misses + 1
                if self._monotonic() > deadline or misses >= MISSES_MAX:
                    return None
            self._pause(refused)

    def _pause(self, refused: tuple[int, int] | None) -> None:
        """Shortly; longer while what refused is still there: to look for another socket costs next to
        nothing, while asking and looking for processes takes the time that HAProxy starts in."""
        for _ in range(LOOKS_PER_QUESTION):
            time.sleep(POLL_SECONDS)
            if self.socket.place() != refused:
                return

    def _arguments(self, configuration: Path) -> tuple[str, ...]:
        return ("-S", str(self._socket_path), "-f", str(configuration))

    def _run(
        self, *command: str, seconds: float = START_SECONDS_MAX, is_detached: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """`is_detached`: what it leaves running belongs to no terminal, and prints nowhere."""
        output = subprocess.DEVNULL if is_detached else subprocess.PIPE
        try:
            return subprocess.run(
                command,
                env={"PATH": os.environ.get("PATH", os.defpath)},  # nothing that the agent was told
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                text=True,
                errors="replace",
                timeout=seconds,
                check=False,
                start_new_session=is_detached,
            )
        except FileNotFoundError:
            raise BalancerError(
                f"{self.program} is not installed: apt install haproxy (2.4 or newer), or name its path: "
                "haproxy.program"
            ) from None
        except subprocess.TimeoutExpired:
            raise BalancerError(f"HAProxy did not start within {seconds:.0f} s") from None
        except OSError as error:
            raise BalancerError(f"{self.program} cannot be run: {error.strerror}") from None


def _complaint(printed: str) -> str:
    """HAProxy's alerts in one line, with what to do about the usual ones."""
    alerts = [match[1].strip() for match in map(_ALERT.match, printed.splitlines()) if match]
    text = "; ".join(alerts[:3]) or printed.strip()[-300:] or "it gave no reason"
    if "already in use" in text:
        text += ": stop the program that has the port, or give the application another port"
    if "Permission denied" in text:
        text += ": ports below 1024 need root or CAP_NET_BIND_SERVICE"
    return text
