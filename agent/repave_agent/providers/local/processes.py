"""Processes that outlive their maker: which one is meant, whether it lives, how all of it is ended.

A pid alone means nothing, since pids are used again: an `Identity` is a pid, when it started and in which
boot. Zombies count as ended. Knows nothing of hosts.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

POLL_SECONDS = 0.02
KILL_WAIT_SECONDS = 5.0
REAP_WAIT_SECONDS = 0.5
WRITER_WAIT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Identity:
    """One process, for ever: no other one has the same pid, start (clock ticks since boot) and boot."""

    pid: int
    started_ticks: int
    boot: str


@dataclass(frozen=True, slots=True)
class Session:
    """All processes of one host. `leader` is the one that was started; it ends when the host's command does.

    `inner`, if there is one, is process 1 of their own pid namespace, a child of `leader` and in a process
    group of its own: the kernel ends everything in the namespace when `inner` is killed.
    """

    leader: Identity
    inner: Identity | None = None
    writer: Identity | None = None  # of the log; it ends by itself once the others have

    @property
    def is_alive(self) -> bool:
        """Whether its command runs, or what it printed is still being written down."""
        return is_alive(self.leader) or is_alive(self.writer)

    @property
    def group_leader(self) -> Identity:
        """Whose pid is the number of the process group that the host's command is in."""
        return self.inner or self.leader


@dataclass(frozen=True, slots=True)
class Traces:
    """What every process of a host has, also one that left its session and its parents: these variables in
    its environment, or a program of the host's application. Only one that sheds both can't be told."""

    variables: frozenset[bytes]
    application: Path

    def members(self, pids: list[int] | None = None) -> list[int]:
        """Living processes, of `pids` or of all."""
        return [pid for pid in (_pids() if pids is None else pids) if self._is_left_by(pid)]

    def _is_left_by(self, pid: int) -> bool:
        if Path(_executable(pid)).is_relative_to(self.application):
            return True
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return False
        return self.variables <= set(environment.split(b"\0"))


@dataclass(frozen=True, slots=True)
class _Stat:
    state: str
    group: int
    started_ticks: int

    @property
    def is_living(self) -> bool:
        return self.state not in "ZX"


def _stat_of(pid: int) -> _Stat | None:
    """The process with this pid, zombies too; None when there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()  # the name before it may hold anything
    except (FileNotFoundError, ProcessLookupError):
        return None
    return _Stat(fields[0].decode(), int(fields[2]), int(fields[19]))


@cache
def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def identify(pid: int) -> Identity | None:
    """Who has this pid now; None when no process has."""
    found = _stat_of(pid)
    return None if found is None else Identity(pid, found.started_ticks, _boot())


def is_alive(identity: Identity | None) -> bool:
    """Whether exactly this process is there and no zombie."""
    if identity is None or identity.boot != _boot():
        return False
    found = _stat_of(identity.pid)
    return found is not None and found.is_living and found.started_ticks == identity.started_ticks


class Watch:
    """Calls `callback` once, from the loop, when a process has ended: any process, not only a child."""

    def __init__(self, identity: Identity, callback: Callable[[], None]) -> None:
        self._callback = callback
        self._loop = asyncio.get_running_loop()
        self._pidfd: int | None = None
        self._soon: asyncio.Handle | None = None
        with contextlib.suppress(ProcessLookupError):
            self._pidfd = os.pidfd_open(identity.pid)
        if self._pidfd is not None and is_alive(identity):
            self._loop.add_reader(self._pidfd, self._fire)
        else:  # gone, or another process has its pid by now
            self._soon = self._loop.call_soon(self._fire)

    def _fire(self) -> None:
        self.close()
        self._callback()

    def close(self) -> None:
        """The callback is not called any more."""
        if self._soon is not None:
            self._soon.cancel()
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None


async def wait_ended(identity: Identity, timeout_seconds: float) -> bool:
    """Waits for the end of a process; whether it came in time."""
    try:
        async with asyncio.timeout(timeout_seconds):
            await _wait_end(identity)
    except TimeoutError:
        return False
    return True


async def _wait_end(identity: Identity) -> None:
    if not is_alive(identity):
        return
    ended = asyncio.Event()
    watch = Watch(identity, ended.set)
    try:
        await ended.wait()
    finally:
        watch.close()


async def end(
    session: Session | None, traces: Traces, reap: Callable[[], object], grace_seconds: float
) -> bool:
    """Ends all processes of a host: SIGTERM, after `grace_seconds` SIGKILL. Whether all are gone.

    Then SIGKILL for those that have left its process group. Where the group's leader has gone before (or was
    never noted down) the group's number may be another group's by now: then it is this for all.
    `reap` takes the leader's exit code once it has ended.
    """
    is_gone = session is None or await _end_group(session, reap, grace_seconds)
    if session is None or session.inner is None or not is_gone or not _owns_its_group(session):
        is_gone = await _kill_members(traces) and is_gone
    if session is None:
        await _wait_unnoted_writer(traces)
    elif session.writer is not None:
        await _end_writer(session.writer)
    return is_gone


async def _end_group(session: Session, reap: Callable[[], object], grace_seconds: float) -> bool:
    if not _owns_its_group(session):
        return await _kill_rest(session, reap, has_group=False)
    if session.inner is not None:
        await wait_has_child(session.inner, grace_seconds)
    _signal(os.killpg, session.group_leader.pid, signal.SIGTERM)
    if await _wait_gone(session, reap, grace_seconds, has_group=session.inner is None):
        return True
    _signal(os.killpg, session.group_leader.pid, signal.SIGKILL)
    return await _kill_rest(session, reap, has_group=session.inner is None)


def _owns_its_group(session: Session) -> bool:
    """While the group's leader is there, even as a zombie, no other can have the group's number."""
    return identify(session.group_leader.pid) == session.group_leader


async def wait_has_child(inner: Identity, timeout_seconds: float) -> None:
    """Waits until a sandbox is made: then its process 1 starts the command. SIGTERM before that would be
    lost, since process 1 of a namespace ignores it."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_seconds):
            while is_alive(inner):
                if _children_of(inner.pid):
                    return
                await asyncio.sleep(POLL_SECONDS / 4)


def _children_of(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def program_of(session: Session) -> str:
    """The file that the host's command is executed from; "" when that can't be seen, or not yet."""
    if session.inner is None:
        return _executable(session.leader.pid)
    first = _children_of(session.inner.pid)[:1]
    program = _executable(first[0]) if first else ""
    return "" if program == _executable(session.inner.pid) else program  # the sandbox is still being made


def _executable(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)")  # noqa: PTH115  # it is no path any more
    except OSError:
        return ""


def sockets_of(session: Session) -> set[int]:
    """Inodes of the sockets that the host's processes have."""
    found = set()
    for pid in _members(session):
        with contextlib.suppress(OSError):
            for entry in os.scandir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    target = os.readlink(entry.path)  # noqa: PTH115  # it is no path
                    if target.startswith("socket:["):
                        found.add(int(target[8:-1]))
    return found


def _members(session: Session) -> set[int]:
    """What descends from its first process, and what has become a child of another one but not left."""
    found, ahead = set(), [session.leader.pid]
    while ahead:
        pid = ahead.pop()
        found.add(pid)
        ahead += [child for child in _children_of(pid) if child not in found]
    group = session.group_leader.pid
    return found | {pid for pid in _pids() if (stat := _stat_of(pid)) is not None and stat.group == group}


async def _kill_rest(session: Session, reap: Callable[[], object], has_group: bool) -> bool:
    for identity in (session.inner, session.leader):
        if identity is not None and is_alive(identity):
            _signal(os.kill, identity.pid, signal.SIGKILL)
    return await _wait_gone(session, reap, KILL_WAIT_SECONDS, has_group)


def _signal(send: Callable[[int, int], None], number: int, which: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        send(number, which)


def kill_now(session: Session) -> None:
    """SIGKILL for a session that was just started by us and not waited for."""
    _signal(os.killpg, session.group_leader.pid, signal.SIGKILL)
    _signal(os.kill, session.leader.pid, signal.SIGKILL)


async def _wait_gone(
    session: Session, reap: Callable[[], object], timeout_seconds: float, has_group: bool
) -> bool:
    """Whether all have ended in time. `has_group`: the rest of the group is waited for as well; without it
    the namespace takes care of them (nothing in it outlives its process 1), or the number is not ours."""
    try:
        async with asyncio.timeout(timeout_seconds):
            for identity in (session.leader, session.inner):
                if identity is not None:
                    await _wait_end(identity)
            reap()
            while has_group and _is_group_living(session.leader.pid):  # noqa: ASYNC110  # no event tells
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        return False
    return True


def _is_group_living(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    found = (_stat_of(pid) for pid in _pids())  # zombies that are not reaped do not count
    return any(stat is not None and stat.group == group and stat.is_living for stat in found)


def _pids() -> Iterator[int]:
    return (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())


async def _kill_members(traces: Traces) -> bool:
    """Looks until none is found twice: one that is about to be killed may have a child yet, and one that
    becomes another program has no environment for a moment."""
    misses = 0
    try:
        async with asyncio.timeout(KILL_WAIT_SECONDS):
            while misses < 2:
                found = await asyncio.to_thread(traces.members)
                misses = 0 if found else misses + 1
                if misses == 1:
                    await asyncio.sleep(POLL_SECONDS)
                for identity in filter(None, map(identify, found)):
                    if traces.members([identity.pid]):  # still the same process
                        _signal(os.kill, identity.pid, signal.SIGKILL)
                    await _wait_end(identity)
    except TimeoutError:
        return False
    return True


async def _wait_unnoted_writer(traces: Traces) -> None:
    """It works in the folder that is about to be removed, and ends once the pipe is closed."""
    folder = traces.application.parent
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(WRITER_WAIT_SECONDS):
            while await asyncio.to_thread(_is_worked_in, folder):  # noqa: ASYNC110  # no event tells
                await asyncio.sleep(POLL_SECONDS)


def _is_worked_in(folder: Path) -> bool:
    for pid in _pids():
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/cwd").readlink() == folder:
                return True
    return False


async def _end_writer(writer: Identity) -> None:
    """It has only to write down what is in the pipe."""
    if not await wait_ended(writer, WRITER_WAIT_SECONDS):
        busy = _children_of(writer.pid)
        for pid in (writer.pid, *busy):
            _signal(os.kill, pid, signal.SIGKILL)
        await wait_ended(writer, KILL_WAIT_SECONDS)


async def run_command(
    argv: list[str],
    environment: Mapping[bytes, bytes],
    directory: Path,
    timeout_seconds: float,
    *,
    is_entering: bool = False,
    pass_fds: tuple[int, ...] = (),
) -> int:
    """Runs a command to its end; its exit code, 128 + n when signal n ended it. Its output goes nowhere.

    `is_entering`: it is `nsenter` or `bwrap`, with the real command as its child in another pid namespace.
    Raises TimeoutError, and OSError when it cannot be started.
    """
    process = await asyncio.to_thread(start, argv, environment, directory, subprocess.DEVNULL, pass_fds)
    identity = identify(process.pid)
    assert identity is not None, "our own child, not waited for, is there"
    try:
        if not await wait_ended(identity, timeout_seconds):
            if is_entering:
                await _kill_children(identity)
            raise TimeoutError
    finally:
        _signal(os.killpg, process.pid, signal.SIGKILL)
        code = process.wait()  # at once: it is dead
    return code if code >= 0 else 128 - code


async def _kill_children(parent: Identity) -> None:
    """Lets the parent take its child's end: with both killed at once, the child would stay a zombie in its
    pid namespace until process 1 of the machine reaps it, and the namespace could not end before."""
    for child in _children_of(parent.pid):
        _signal(os.kill, child, signal.SIGKILL)
    await wait_ended(parent, REAP_WAIT_SECONDS)


def start(
    argv: list[str],
    environment: Mapping[bytes, bytes],
    directory: Path,
    output: int,
    pass_fds: tuple[int, ...] = (),
) -> subprocess.Popen[bytes]:
    """Starts a process in a session of its own: it outlives the agent. Blocks shortly; raises OSError."""
    return subprocess.Popen(
        argv,
        env=environment,
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        pass_fds=pass_fds,
        start_new_session=True,
        umask=0o022,  # that of the agent is the agent's own matter
    )


def how_it_ended(code: int | None) -> str:
    """An exit code as `subprocess` gives it, in words; None for a process that was not our child."""
    if code is None:
        return "ended"
    number = -code if code < 0 else code - 128
    name = signal.Signals(number).name if number in set(signal.Signals) else ""
    if code < 0:
        return f"was ended by {name or f'signal {number}'}"
    return f"exited with code {code}" + (f" (128 + {name})" if name else "")
