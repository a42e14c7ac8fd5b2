"""The provider whose hosts are processes of this machine: for trying repave, for tests, for one big machine.

A host is a fresh process in a fresh folder with a loopback address of its own. It outlives the agent; a
restarted agent finds it by its tags. What is on disk: host.py; what is executed: command.py.
"""

import asyncio
import contextlib
import errno
import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from repave_agent.core.host_secrets import HostSecrets
from repave_agent.core.ports import (
    HOST_NAME,
    Clock,
    Host,
    HostSpec,
    LogPiece,
    OutOfCapacityError,
    ProviderError,
    RefusedError,
    TransientError,
)
from repave_agent.providers.command import Isolation, Sandbox, choose_sandbox, enter, look_up, substitute
from repave_agent.providers.epitaph import epitaph
from repave_agent.providers.host_specs import check_needs_no_machine
from repave_agent.providers.listening import listeners_in
from repave_agent.providers.local import host, networks, processes
from repave_agent.providers.local.addresses import AddressRange
from repave_agent.providers.local.host import UNFINISHED, Children, Folder, Record, Tags, with_secrets
from repave_agent.providers.local.processes import Session, Watch
from repave_agent.providers.local.unpacked import Packages
from repave_agent.providers.single_flight import Work
from repave_protos.daemon.files import make_folder
from repave_protos.package.archive import PackageFormatError
from repave_protos.protocol.queries import FindRoom
from repave_protos.protocol.values import HostName, RegionName

log = structlog.get_logger()

ADDRESS_RANGE = "127.81.0.0/16"
STOP_GRACE_SECONDS = 2.0
BLOCKING_IN_FLIGHT_MAX = 4
LOG_WAIT_SECONDS = 0.5
ENDED_LOG_LINES = 5
HALF_MADE = "was never started: the agent ended while it made this host"


@dataclass(slots=True)
class _Kept:
    """A host that this provider knows."""

    folder: Folder
    record: Record
    session: Session | None
    children: Children | None = None  # only if they are our own
    watch: Watch | None = None
    ended: str = ""
    is_leaving: bool = False
    started_at: float | None = None  # by the monotonic clock, if this agent started it

    def host(self, now: float) -> Host:
        """As it is listed at `now`, by the wall clock."""
        spec = self.record.spec
        return Host(
            name=spec.name,
            group=spec.group,
            application=spec.application,
            digest=spec.digest,
            address=self.record.address,
            port=spec.port,
            launched_at=self.record.launched_at,
            is_running=not self.ended,
            ended=self.ended,
            exit_code=self.folder.exit_code() if self.ended else None,
            age_seconds=max(0.0, now - self.record.launched_at),
        )

    def reap(self) -> int | None:
        """The exit code; None when the host is not our child or runs."""
        return None if self.children is None else self.children.reap()


class LocalProvider:
    """Implements ports.Provider. One provider owns `root`; `installation` is asked again at every call."""

    name = "local"

    def __init__(
        self,
        root: Path,
        region: RegionName,
        installation: Callable[[], str],
        *,
        clock: Clock,
        address_range: str = ADDRESS_RANGE,
        has_networks: bool = False,
        isolation: Isolation = "auto",
        stop_grace_seconds: float = STOP_GRACE_SECONDS,
        private: tuple[Path, ...] = (),
    ) -> None:
        """`private`: files and folders of the agent that no host may see. `has_networks`: each host gets a
        network of its own, with an address of `address_range`, which then is a private one."""
        self._root = root.absolute()
        self._hosts_folder = self._root / "hosts"
        self._region = region
        self._installation = installation
        self._isolation, self._private = isolation, private
        self._stop_grace_seconds = stop_grace_seconds
        self._clock = clock
        make_folder(self._hosts_folder)
        self._address_range, self._has_networks = address_range, has_networks
        self._addresses = AddressRange(address_range, root / "next-address", has_networks=has_networks)
        self._kept: dict[HostName, _Kept] = {}
        self._packages = Packages()
        self._launches, self._destructions = Work(), Work()
        self._slots = asyncio.Semaphore(BLOCKING_IN_FLIGHT_MAX)
        self._start_lock = asyncio.Lock()
        self._sandbox: Sandbox | None = None
        self._no_sandbox = ""  # why there is none, where one is wanted
        self._no_way_out = ""  # why hosts with networks of their own reach nothing beyond this machine
        self._is_started = False
        self._endings: set[asyncio.Task[None]] = set()
        self._callbacks: list[Callable[[], None]] = []

    async def start(self) -> str:
        """Chooses how hosts are isolated, by a trial run: "bwrap" or "none". Repeatable; launch does it too.

        Raises RefusedError when `isolation` is "bwrap" and it does not work here, or networks don't.
        """
        async with self._start_lock:
            if not self._is_started:
                chosen = await asyncio.to_thread(choose_sandbox, self._isolation, self._root, self._private)
                self._sandbox, self._no_sandbox = chosen
                await self._adopt()  # so that the addresses of hosts that live are known
                if self._has_networks:
                    await asyncio.to_thread(self._prepare_networks)
                self._is_started = True
        return "bwrap" if self._sandbox else "none"

    async def room(self, asked: FindRoom) -> str:
        """What a process takes is not known before it runs."""
        return ""

    async def troubles(self) -> list[str]:
        """That hosts are not kept apart from this machine, where that was left to what works; that they reach
        nothing but this machine."""
        found = {"hosts have no sandbox": self._no_sandbox, "hosts reach only this machine": self._no_way_out}
        return [f"note: {what}: {why}" for what, why in found.items() if why]

    def _prepare_networks(self) -> None:
        networks.check(self._root / "trial")
        self._no_way_out = networks.let_out(self._root, self._address_range)

    def on_change(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    async def close(self) -> None:
        """Lets go of watchers, after the launches and destructions under way. Hosts live on."""
        await self._launches.settle()
        await self._destructions.settle()
        for kept in self._kept.values():
            if kept.watch is not None:
                kept.watch.close()
        await asyncio.gather(*self._endings)

    # -------------------------------------------------------------------------------------------- launch

    async def launch(self, spec: HostSpec, package: Path, secrets: HostSecrets = ()) -> Host:
        if HOST_NAME.fullmatch(spec.name) is None:
            raise RefusedError(f"{spec.name!r} cannot name a host: use letters, digits, '.', '_', '-'")
        check_needs_no_machine(self.name, spec.template)
        await self._destructions.settle(spec.name)
        host = await self._launches.join(spec.name, functools.partial(self._launch, spec, package, secrets))
        assert host is not None
        return host

    async def _launch(self, spec: HostSpec, package: Path, secrets: HostSecrets) -> Host:
        await self.start()
        if secrets and self._no_sandbox:
            raise RefusedError(
                "host.secrets: hosts have no sandbox here, so that one could read another's secrets: "
                f"{self._no_sandbox}"
            )
        await self._adopt(spec.name)
        kept = self._kept.get(spec.name)
        if kept is not None and kept.session is not None:
            return kept.host(self._clock.wall())
        if kept is not None:  # half-made by an agent that was killed: it was never seen to work
            await self._destroy(kept)
        tags = self._tags()
        if not tags.installation:
            raise TransientError("no host is made before the agent has met its controller for the first time")
        async with self._slots:
            kept = await asyncio.to_thread(self._make, tags, spec, package, secrets)
        self._keep(kept)
        return kept.host(self._clock.wall())

    def _make(self, tags: Tags, spec: HostSpec, package: Path, secrets: HostSecrets) -> _Kept:
        """Blocks; all or nothing."""
        folder = Folder(self._hosts_folder / spec.name)
        try:
            address = self._addresses.take(spec.port)
        except OSError as error:
            raise _provider_error(error, "give the host an address", self._hosts_folder) from error
        record = Record(tags, spec, address, self._clock.wall(), self._has_networks)
        try:
            folder.create(record)
            session, children = host.start(folder, record, package, self._packages, self._sandbox, secrets)
            return _Kept(folder, record, session, children, started_at=self._clock.monotonic())
        except (ProviderError, PackageFormatError, OSError) as error:
            with contextlib.suppress(
                ProviderError, OSError
            ):  # what stays has tags: it is listed as half-made
                folder.remove()
            self._addresses.release(address)
            raise _provider_error(error, "make the host", folder.path) from error

    # -------------------------------------------------------------------------------------------- list

    async def list_hosts(self) -> list[Host]:
        await self._sweep()
        await self._adopt()
        tags, now = self._tags(), self._clock.wall()
        for name, kept in tuple(self._kept.items()):
            if kept.ended and not kept.is_leaving and not kept.folder.path.exists():
                self._let_go(name)  # something else removed it
        return [kept.host(now) for kept in self._kept.values() if kept.record.tags == tags]

    async def _sweep(self) -> None:
        """Removes what an agent that was killed has left unfinished. Joined by name with launches and
        destructions, so that none of these works in the folder meanwhile."""
        tags = self._tags()
        for name in (name for name in self._folder_names() if name.startswith(UNFINISHED)):
            host = HostName(name.removeprefix(UNFINISHED))
            if tags.installation and host not in self._launches.tasks | self._destructions.tasks:
                await self._destructions.join(host, functools.partial(self._sweep_one, host, tags))

    async def _sweep_one(self, host: HostName, tags: Tags) -> None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            if await asyncio.to_thread(Folder(self._hosts_folder / host).sweep, tags):
                log.info("host.swept", host=host, text="left unfinished by an agent that was killed")

    async def _adopt(self, only: HostName | None = None) -> None:
        """Takes in the hosts, or the one, that another life of this agent made."""
        names = self._folder_names() if only is None else {str(only)}
        unknown = [name for name in names - self._kept.keys() if not name.startswith(".")]
        if not unknown or (only and not (self._hosts_folder / only).exists()):
            return
        for kept in await asyncio.to_thread(self._read, unknown, self._tags()):
            name = kept.record.spec.name
            is_being_made = only is None and name in self._launches.tasks
            if name in self._kept or is_being_made or not kept.folder.path.exists():
                continue
            self._addresses.keep(kept.record.address)
            self._keep(kept)
            log.info("host.adopted", host=name, is_running=not kept.ended)

    def _folder_names(self) -> set[str]:
        with contextlib.suppress(FileNotFoundError):
            return {path.name for path in self._hosts_folder.iterdir()}
        return set()

    def _read(self, names: list[str], tags: Tags) -> list[_Kept]:
        """Blocks. Hosts with other tags, or none, are strangers: left alone."""
        folders = [Folder(self._hosts_folder / name) for name in names]
        return [
            _Kept(folder, record, folder.session())
            for folder in folders
            if (record := folder.record()) and record.tags == tags and record.spec.name == folder.path.name
        ]

    def _keep(self, kept: _Kept) -> None:
        self._kept[kept.record.spec.name] = kept
        if kept.session is None:
            kept.ended = HALF_MADE
        elif kept.children is None and not kept.session.is_alive:
            self._note_end(kept)
        else:
            kept.watch = Watch(kept.session.leader, functools.partial(self._note_end_soon, kept))

    def _note_end_soon(self, kept: _Kept) -> None:
        """Once its log is written down, unless a process that outlives it keeps that open."""

        async def noted() -> None:
            if kept.session is not None and kept.session.writer is not None:
                await processes.wait_ended(kept.session.writer, LOG_WAIT_SECONDS)
            if self._kept.get(kept.record.spec.name) is kept:
                self._note_end(kept)

        ending = asyncio.create_task(noted(), name=f"end of {kept.record.spec.name}")
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)

    def _note_end(self, kept: _Kept) -> None:
        lasted = None if kept.started_at is None else self._clock.monotonic() - kept.started_at
        kept.ended = _epitaph(
            processes.how_it_ended(kept.reap()), lasted, kept.folder.log_tail(ENDED_LOG_LINES)
        )
        kept.folder.forget_secrets()
        if kept.is_leaving:
            return
        log.info("host.ended", host=kept.record.spec.name, how=kept.ended)
        for callback in self._callbacks:
            callback()

    def _let_go(self, name: HostName) -> None:
        kept = self._kept.pop(name)
        kept.reap()
        self._addresses.release(kept.record.address)
        if kept.watch is not None:
            kept.watch.close()

    # -------------------------------------------------------------------------------------------- destroy

    async def destroy(self, host: HostName) -> None:
        if HOST_NAME.fullmatch(host) is None:
            return  # no host was ever called so
        await self._launches.settle(host)
        await self._adopt(host)
        kept = self._kept.get(host)
        if kept is not None and kept.record.tags == self._tags():
            await self._destructions.join(host, functools.partial(self._destroy, kept))

    async def _destroy(self, kept: _Kept) -> None:
        name = kept.record.spec.name
        kept.is_leaving = True
        try:
            traces = kept.record.traces(kept.folder)
            grace = kept.record.spec.stop_grace_seconds(self._stop_grace_seconds)
            if not await processes.end(kept.session, traces, kept.reap, grace):
                raise TransientError(f"a process of host {name} does not end, not even by SIGKILL")
            async with self._slots:
                await asyncio.to_thread(kept.folder.remove)
        except OSError as error:
            raise _provider_error(error, "remove the host", kept.folder.path) from error
        finally:
            kept.is_leaving = False
        self._let_go(name)

    # -------------------------------------------------------------------------------------------- ask

    async def execute(self, host: HostName, command: tuple[str, ...], timeout_seconds: float) -> int:
        kept = self._running(host)
        memory = kept.folder.memory()
        environment = kept.record.environment(memory)
        words = substitute(command, environment)
        argv = look_up(words, kept.folder.application, environment)
        inner = None if kept.session is None else kept.session.inner
        folder, sandbox = kept.folder.application, self._sandbox
        network = kept.record.network(kept.folder)
        try:
            given = with_secrets(environment, memory)
            if inner is None or sandbox is None:
                argv = argv if network is None else network.entered(argv)
                return await processes.run_command(argv, given, folder, timeout_seconds)
            await processes.wait_has_child(inner, timeout_seconds)  # before that its files are not all there
            with sandbox.opened() as fds:
                shown = memory.path if memory is not None else None
                argv = enter(sandbox, inner.pid, argv, folder, os.geteuid() == 0, fds, shown)
                argv = argv if network is None else network.entered(argv)
                return await processes.run_command(
                    argv, given, folder, timeout_seconds, is_entering=True, pass_fds=fds
                )
        except TimeoutError:
            raise
        except OSError as error:
            raise _provider_error(error, f"run {command[0]!r} in the host", kept.folder.path) from error

    def _running(self, host: HostName) -> _Kept:
        kept = self._kept.get(host)
        if kept is None or kept.ended or kept.is_leaving:
            raise TransientError(f"host {host} does not run: nothing can be executed in it")
        return kept

    async def log_tail(self, host: HostName, lines: int) -> str:
        kept = self._kept.get(host)
        return "" if kept is None else await asyncio.to_thread(kept.folder.log_tail, lines)

    async def read_log(self, host: HostName, after: str, lines: int, bytes_max: int) -> LogPiece:
        kept = self._kept.get(host)
        if kept is None:
            return LogPiece("", after)
        return await asyncio.to_thread(kept.folder.read_log, after, lines, bytes_max)

    async def listeners(self, host: HostName) -> tuple[str, ...]:
        kept = self._running(host)
        return () if kept.session is None else await asyncio.to_thread(_listeners, kept.session)

    async def inspect(self, host: HostName) -> str:
        """Compares the host's files with what was unpacked, and what its command is with what it was."""
        kept = self._running(host)
        try:
            return await asyncio.to_thread(kept.folder.difference)
        except OSError as error:
            raise _provider_error(error, "look at the host", kept.folder.path) from error

    def _tags(self) -> Tags:
        return Tags(self._installation(), self._region)


def _listeners(session: Session) -> tuple[str, ...]:
    lines: list[str] = []
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            lines += Path(f"/proc/{session.leader.pid}/net/{table}").read_text().splitlines()
    return listeners_in(lines, processes.sockets_of(session))


def _epitaph(how: str, after_seconds: float | None, log_tail: str) -> str:
    text = epitaph(how, after_seconds, log_tail)
    if "address already in use" in log_tail.lower():
        text += (
            " (every host has its own address here: let the application listen on $HOST, not on 0.0.0.0; or "
            "give each host a network of its own by local.network)"
        )
    return text


def _provider_error(error: Exception, task: str, place: Path) -> ProviderError:
    """What went wrong on this machine, by whose fault it is."""
    match error:
        case ProviderError():
            return error
        case PackageFormatError():
            return RefusedError(f"the package cannot be unpacked: {error}")
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return OutOfCapacityError(f"cannot {task}: the disk of {place.parent} is full. Free space there.")
        case OSError(errno=errno.EAGAIN | errno.ENOMEM | errno.EMFILE | errno.ENFILE):
            limits = "memory, processes (ulimit -u) or open files (ulimit -n)"
            return OutOfCapacityError(f"cannot {task}: {error.strerror}. This machine ran out of {limits}.")
        case OSError(errno=errno.EACCES | errno.EPERM | errno.EROFS | errno.ENOEXEC):
            return RefusedError(f"cannot {task}: {error}")
    return TransientError(f"cannot {task}: {error}")
