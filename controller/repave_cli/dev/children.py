"""The processes of `repave dev`: starts them, starts again what dies, ends them by their process ids.

What they are and when they are ready is dev.py's.
"""

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from repave_cli.transport.errors import CliError

RESTARTS_MAX = 5
RESTARTS_SECONDS = 60.0  # so many restarts within so long: it will not live
STOP_SECONDS = 15.0
CLEAN_SECONDS = 60.0
TAIL_LINES = 5
TAIL_BYTES = 8192
PR_SET_PDEATHSIG = 1
NOT_INHERITED = ("REPAVE_", "STATE_DIRECTORY")  # settings of the user's own CLI, or of a service


@dataclass(slots=True)
class Child:
    """One process: `python -m module` with these settings and no others of repave's."""

    name: str
    module: str
    settings: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    restarted_at: deque[float] = field(default_factory=lambda: deque(maxlen=RESTARTS_MAX + 1))

    @property
    def has_ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None


@dataclass(slots=True)
class Children:
    """Their logs are in `directory`, one file each. `say` tells people."""

    directory: Path
    say: Callable[[str], None]
    all: list[Child]

    def start(self) -> None:
        """The logs of the last time are kept as *.log.1."""
        for child in self.all:
            log = self.log(child)
            if log.exists():
                log.replace(log.with_name(f"{log.name}.1"))
            self._spawn(child)

    def log(self, child: Child) -> Path:
        return self.directory / f"{child.name}.log"

    def tail(self, child: Child) -> str:
        """The last lines of its log."""
        try:
            with self.log(child).open("rb") as file:
                file.seek(max(0, self.log(child).stat().st_size - TAIL_BYTES))
                lines = file.read().decode(errors="replace").splitlines()
        except OSError:
            lines = []
        return "\n".join(lines[-TAIL_LINES:]) or "(it left no log)"

    def restart_ended(self) -> None:
        """Raises CliError for one that does not live."""
        for child in self.all:
            if not child.has_ended:
                continue
            assert child.process is not None
            code, now = child.process.returncode, time.monotonic()
            child.restarted_at.append(now)
            if len(child.restarted_at) > RESTARTS_MAX and now - child.restarted_at[0] < RESTARTS_SECONDS:
                raise CliError(f"{child.name} keeps ending; its log {self.log(child)}:\n{self.tail(child)}")
            self.say(f"{child.name} {_how(code)}; starting it again (log: {self.log(child)})")
            self._spawn(child)

    def _spawn(self, child: Child) -> None:
        with self.log(child).open("ab") as log:
            child.process = _run(child, (), log.fileno(), log.fileno())

    def end(self) -> None:
        """SIGTERM to each that runs, SIGKILL to those that do not heed it."""
        running = [child.process for child in self.all if child.process and not child.has_ended]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for process in running:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def clean(agents: Sequence[Child]) -> Iterator[tuple[bool, str]]:
    """Ends all hosts and balancers of these regions, side by side; whether it worked, and its last line."""
    cleaners = [(each, _run(each, ("clean",), subprocess.PIPE, subprocess.STDOUT)) for each in agents]
    for agent, cleaner in cleaners:
        try:
            output, _ = cleaner.communicate(timeout=CLEAN_SECONDS)
        except subprocess.TimeoutExpired:
            cleaner.kill()
            cleaner.communicate()
            yield False, f"{agent.name}: its hosts did not end within {CLEAN_SECONDS:.0f} s"
        else:
            yield cleaner.returncode == 0, f"{_last_line(output)}"


def _last_line(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "(clean printed nothing)"


def _run(child: Child, arguments: tuple[str, ...], out: int, err: int) -> subprocess.Popen[bytes]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(NOT_INHERITED)}
    return subprocess.Popen(
        [sys.executable, "-P", "-m", child.module, *arguments],  # -P: no module from the user's folder
        env={**kept, **child.settings},
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=err,
        start_new_session=True,  # Ctrl-C is for us alone: we end them in order, whatever follows
        preexec_fn=_end_with_parent(),
    )


def _end_with_parent() -> Callable[[], None]:
    """For the child to do before it runs: it gets SIGTERM when this process dies, by SIGKILL as well. Its own
    children, the hosts, do not."""
    import ctypes  # slow to import

    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def arrange() -> None:
        prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM))
        if os.getppid() != parent:
            os._exit(1)

    return arrange


def _how(code: int) -> str:
    if code >= 0:
        return f"ended with {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


@contextmanager
def on_signal(stop: Callable[[], None]) -> Iterator[None]:
    """Calls `stop` at SIGTERM, Ctrl-C and a closed terminal, as often as they come."""
    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.signal(each, lambda *_: stop()) for each in signals]
    try:
        yield
    finally:
        for each, handler in zip(signals, before, strict=True):
            signal.signal(each, handler)
