"""Starts controllers, agents and commands from a process that has loaded their modules.

Most of the processor time of a controller that a test starts goes into loading it, and nearly all of a
command's. Here one process a test run loads what they need, and each start is a fork of it, with an
environment, directory and files of its own. What runs is the same as with `python -m MODULE`; that this works
too is shown where installed programs start.
"""

import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile
from types import FrameType
from typing import IO, Any, NoReturn

from repave_cli.main import MODULES
from tests.support.paths import ROOT

LOADED = (
    "repave_agent.__main__",
    "repave_agent.balancers.haproxy.balancer",
    "repave_agent.providers.local.provider",
    "repave_controller.__main__",
    "repave_cli.transport.client",
    *(f"repave_cli.{each}" for each in MODULES),
)
REQUEST_BYTES_MAX = 1 << 20


class Preloaded:
    """The process that is forked, as its user sees it: begun when it is asked first, and ended by `close`."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def start(
        self,
        words: Sequence[str],
        environment: Mapping[str, str],
        directory: Path,
        files: tuple[IO[bytes], IO[bytes], IO[bytes]],
    ) -> "Forked":
        """`python -m WORDS`, with these files as its standard input, output and errors."""
        if self._process is None:
            self._begin()
        told, tells = os.pipe()
        request = json.dumps({"words": words, "environment": environment, "directory": str(directory)})
        socket.send_fds(self._control, [request.encode()], [*(each.fileno() for each in files), tells])
        os.close(tells)
        pid, (pidfd,), _, _ = socket.recv_fds(self._control, REQUEST_BYTES_MAX, 1)
        return Forked(int(pid), pidfd, told)

    def _begin(self) -> None:
        self._control, its_own = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its_own:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.preloaded", str(its_own.fileno())],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[its_own.fileno()],
            )

    def run(
        self,
        words: Sequence[str],
        environment: Mapping[str, str],
        directory: Path,
        text: str = "",
        timeout: float | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """As subprocess.run does, with `text` as input. Raises subprocess.TimeoutExpired."""
        with TemporaryFile() as stdin, TemporaryFile() as out, TemporaryFile() as errors:
            stdin.write(text.encode())
            stdin.seek(0)
            started = self.start(words, environment, directory, (stdin, out, errors))
            try:
                code = started.wait(timeout)
            except subprocess.TimeoutExpired:
                started.kill()
                started.wait()
                raise
            out.seek(0)
            errors.seek(0)
            return subprocess.CompletedProcess(words, code, out.read().decode(), errors.read().decode())

    def close(self) -> None:
        if self._process is not None:
            self._control.close()
            self._process.wait()
            self._process = None


PRELOADED = Preloaded()
"""The one of this process, which a test run closes."""


class Forked:
    """A started process, as subprocess.Popen shows one."""

    def __init__(self, pid: int, pidfd: int, told: int) -> None:
        self.pid, self._pidfd, self._told = pid, pidfd, told
        self.returncode: int | None = None

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            ready, _, _ = select.select([self._told], [], [], timeout)
            if not ready:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
            self.returncode = int(os.read(self._told, 32))
            os.close(self._told)
            os.close(self._pidfd)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


# --------------------------------------------------------------------------------- the process that is forked


class _Forker:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._tells: dict[int, int] = {}  # pid to where its end is told

    def run(self) -> None:
        """Until nobody asks any more; in a child until it ends."""
        signal.signal(signal.SIGCHLD, self._tell)
        while True:
            request, files, _, _ = socket.recv_fds(self._control, REQUEST_BYTES_MAX, 4)
            if not request:
                return
            *standard, tells = files
            self._fork(json.loads(request), standard, tells)

    def _fork(self, asked: Mapping[str, Any], standard: Sequence[int], tells: int) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})  # its end is told after its beginning
        pid = os.fork()
        if pid == 0:
            self._control.close()
            for each in (tells, *self._tells.values()):
                os.close(each)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
            _become(asked, standard)
        self._tells[pid] = tells
        pidfd = os.pidfd_open(pid)
        socket.send_fds(self._control, [str(pid).encode()], [pidfd])
        for each in (*standard, pidfd):
            os.close(each)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})

    def _tell(self, _signal: int, _frame: FrameType | None) -> None:
        while self._tells:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            tells = self._tells.pop(pid)
            with suppress(BrokenPipeError):  # nobody waits for it any more
                os.write(tells, str(os.waitstatus_to_exitcode(status)).encode())
            os.close(tells)


def _become(asked: Mapping[str, Any], standard: Sequence[int]) -> NoReturn:
    """What `python -m` does, in a process that has its modules already."""
    for number, file in enumerate(standard):
        os.dup2(file, number)
    for file in standard:
        os.close(file)
    os.chdir(asked["directory"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    sys.path[0] = asked["directory"]
    module, *arguments = asked["words"]
    sys.argv = [module, *arguments]
    for each in (module, f"{module}.__main__"):
        sys.modules.pop(each, None)  # if it is only loaded: it runs now
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    sys.exit(0)


if __name__ == "__main__":
    for name in LOADED:
        import_module(name)
    gc.collect()
    gc.freeze()
    _Forker(socket.socket(fileno=int(sys.argv[1]))).run()
