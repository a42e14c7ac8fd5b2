"""A real PostgreSQL for tests: a cluster of one's own, which can be killed, frozen and started again, and a
fresh database for each test; and a real PgBouncer before it. Needs no service and no rights on the machine.
"""

import functools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.ports import free_port

USER = "repave"
START_SECONDS = 30.0
PAUSE_SECONDS = 0.02
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",  # a process that is killed loses nothing; see `durable`
    "shared_buffers": "32MB",
    "max_connections": "200",
    "jit": "off",
    "log_checkpoints": "off",
}
DURABLE = {"fsync": "on", "synchronous_commit": "on"}


def binaries() -> Path | None:
    """The newest version that is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda each: int(each.parts[-3]))
    if found:
        return found[-1].parent
    beside = shutil.which("initdb")
    return Path(beside).parent if beside else None


_STARTER = ThreadPoolExecutor(1)
"""Its thread lasts as long as this process: what it starts ends with it, as `_as_user` asks."""

needs_postgresql = pytest.mark.skipif(binaries() is None, reason="PostgreSQL is not installed: make tools")


def has_pgbouncer() -> bool:
    return shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin") is not None


needs_pgbouncer = pytest.mark.skipif(not has_pgbouncer(), reason="PgBouncer is not installed: make tools")


@dataclass(slots=True)
class Server:
    """One that was started by `server`. Trusts whom it knows by name; `USER` may do everything."""

    folder: Path
    port: int
    settings: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    databases: int = 0

    # -------------------------------------------------------------------------------------- databases

    def url(self, database: str = "postgres", user: str = USER) -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def fresh(self, template: str = "template0") -> str:
        """The URL of a new database, empty or a copy of `template`."""
        self.databases += 1
        name = f"test_{self.databases}"
        self.psql(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def empty(self, url: str) -> None:
        """Makes a database of `fresh` as new again, which takes a fifth of the time of another one."""
        name = url.rpartition("/")[2]
        self.end_sessions(name)
        ours = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'repave%'"  # also those kept aside
        for schema in self.psql(ours, name).split():
            self.psql(f"DROP SCHEMA {schema} CASCADE", name)

    def end_sessions(self, database: str) -> None:
        """As an administrator does; returns once they have ended."""
        end = f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{database}'"
        self.psql(f"{end} AND pid <> pg_backend_pid()")

    def psql(self, statements: str, database: str = "postgres") -> str:
        """What it prints: a line a row, with | between columns. Raises CalledProcessError."""
        code = self.process.poll() if self.process is not None else None
        assert code is None, f"it has ended by itself, with {code}\n{self.log()}"
        ask = [_tool("psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
        where = ["-h", str(self.folder), "-p", str(self.port), "-U", USER, "-d", database]
        done = subprocess.run(
            [*ask, *where, "-c", statements], check=True, capture_output=True, text=True, timeout=60
        )
        return done.stdout.strip()

    # ----------------------------------------------------------------------------------- its process

    def start(self) -> None:
        given = [word for name, value in self.settings.items() for word in ("-c", f"{name}={value}")]
        line = _as_user(
            [_tool("postgres"), "-D", str(self.folder / "data"), "-p", str(self.port)],
            ["-k", str(self.folder), *given],
        )
        self.process = _STARTER.submit(self._begin, line).result()
        until = time.monotonic() + START_SECONDS
        while not self._answers():
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < until, "PostgreSQL does not answer"
            time.sleep(PAUSE_SECONDS)

    def _begin(self, line: list[str]) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(line, stdout=log, stderr=log, cwd="/", start_new_session=True)

    def log(self) -> str:
        """Its end, for messages."""
        return (self.folder / "log").read_text()[-2000:]

    def _answers(self) -> bool:
        ask = [_tool("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port), "-t", "2"]
        return subprocess.run(ask, check=False, timeout=10).returncode == 0

    def stop(self) -> None:
        """As an operator does who wants it down now: transactions are rolled back, what is saved stays."""
        self._end(signal.SIGINT)

    def end(self) -> None:
        """For good: nothing of it is needed any more."""
        self._end(signal.SIGQUIT)

    def kill(self) -> None:
        """As a crash: no connection hears a word, and nothing is written any more."""
        assert self.process is not None
        for pid in [self.process.pid, *self._backends()]:
            _signal(pid, signal.SIGKILL)
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """As a machine that answers no more, and then goes on."""
        assert self.process is not None
        pids = [self.process.pid, *self._backends()]
        for pid in pids:
            _signal(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                _signal(pid, signal.SIGCONT)

    def _backends(self) -> list[int]:
        assert self.process is not None
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(each) for each in found.split()]

    def _end(self, how: signal.Signals) -> None:
        if self.process is not None:
            _signal(self.process.pid, how)
            self.process.wait(START_SECONDS)
            self.process = None


@contextmanager
def server(**settings: str) -> Iterator[Server]:
    """A cluster that is made now and gone after the block. Raises AssertionError, CalledProcessError."""
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        folder.chmod(0o755)
        _give(folder)
        make = [_tool("initdb"), "-D", str(folder / "data"), "-U", USER, "--auth=trust", "--no-sync"]
        subprocess.run(
            _as_user([*make, "-E", "UTF8", "--locale=C.UTF-8"]),
            check=True,
            capture_output=True,
            cwd="/",
            timeout=120,
        )
        running = Server(folder, free_port(), {**SETTINGS, **settings})
        running.start()
        try:
            yield running
        finally:
            running.end()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def pgbouncer(before: Server, *, mode: str = "transaction", **settings: str) -> Iterator[int]:
    """The port of a PgBouncer before the server until the block ends."""
    folder = Path(tempfile.mkdtemp(prefix="pb-"))
    port = free_port()
    lines = {
        "listen_addr": "127.0.0.1",
        "listen_port": str(port),
        "unix_socket_dir": "",
        "auth_type": "any",
        "pool_mode": mode,
        "logfile": str(folder / "log"),
        **settings,
    }
    named = "\n".join(f"{name} = {value}" for name, value in lines.items())
    target = f"* = host=127.0.0.1 port={before.port} user={USER}"
    (folder / "ini").write_text(f"[databases]\n{target}\n[pgbouncer]\n{named}\n")
    folder.chmod(0o755)
    _give(folder)
    found = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    assert found, "PgBouncer is not installed: make tools"
    process = subprocess.Popen(
        _as_user([found, "-q", str(folder / "ini")]),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
    )
    try:
        ask = [_tool("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
        until = time.monotonic() + START_SECONDS
        while subprocess.run(ask, check=False, timeout=10).returncode != 0:
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < until, "PgBouncer does not answer"
            time.sleep(PAUSE_SECONDS)
        yield port
    finally:
        process.terminate()
        process.wait(START_SECONDS)
        shutil.rmtree(folder, ignore_errors=True)


def _tool(name: str) -> str:
    found = binaries()
    assert found is not None, "PostgreSQL is not installed: make tools"
    return str(found / name)


@functools.cache
def _unprivileged() -> pwd.struct_passwd | None:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    known = {each.pw_name: each for each in pwd.getpwall()}
    return known.get("postgres") or known["nobody"]


def _as_user(*words: Sequence[str]) -> list[str]:
    """Ends with the process that starts it, so that nothing is left of a test that was killed."""
    user, line = _unprivileged(), [word for each in words for word in each]
    ids = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"] if user else []
    return ["setpriv", *ids, "--pdeathsig", "QUIT", *line]


def _give(folder: Path) -> None:
    user = _unprivileged()
    if user is not None:
        for each in (folder, *folder.iterdir()):
            os.chown(each, user.pw_uid, user.pw_gid)


def _signal(pid: int, how: signal.Signals) -> None:
    try:
        os.kill(pid, how)
    except ProcessLookupError:  # it has ended by itself
        pass
