"""One host of the local provider on disk: its folder, its tags, its processes, its log.

    hosts/NAME/host.json      the tags and all that the host is made of; there before anything else
    hosts/NAME/process.json   its processes; there once it was started
    hosts/NAME/app/           the unpacked package, read-only
    hosts/NAME/contents.json  what was unpacked, to compare with: contents.py, unpacked.py
    hosts/NAME/program        what its command had become when it was first looked at
    hosts/NAME/output.log     what its command prints: logs.py
    hosts/NAME/exit           what a job's command ended with: written by the shell that leads its processes
    hosts/NAME/memory         where its secrets are, if it has any: a folder in memory, providers/memory.py

Everything here blocks for a moment: provider.py calls it in threads.
"""

import contextlib
import json
import os
import shutil
import subprocess
from dataclasses import asdict, dataclass
from io import RawIOBase
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from repave_agent.core.host_secrets import HostSecrets
from repave_agent.core.ports import HostSpec, LogPiece, RefusedError
from repave_agent.providers.command import Sandbox, environment_of, look_up, substitute
from repave_agent.providers.host_specs import read_spec
from repave_agent.providers.local import contents, logs, processes
from repave_agent.providers.local.networks import Network
from repave_agent.providers.local.processes import Identity, Session, Traces
from repave_agent.providers.local.unpacked import Packages
from repave_agent.providers.memory import Memory, make_memory
from repave_protos.daemon.files import open_file, read_file
from repave_protos.package.archive import remove
from repave_protos.protocol.values import HostName, RegionName, is_job_host

FORMAT_VERSION = 1
UNFINISHED = ".new-"
"""Before the name of a host whose folder is not whole: it is being made, or nothing but its tags is left."""


@dataclass(frozen=True, slots=True)
class Tags:
    """Whose host it is."""

    installation: str
    region: RegionName


@dataclass(frozen=True, slots=True)
class Record:
    """All that a host is made of, as host.json keeps it."""

    tags: Tags
    spec: HostSpec
    address: str
    launched_at: float
    has_network: bool = False  # one of its own

    def environment(self, memory: Memory | None = None) -> dict[str, str]:
        """But for the secrets."""
        paths = memory.paths(self.spec.template.secrets) if memory is not None else {}
        return environment_of(self.spec, self.address, self.tags.region, paths)

    def network(self, folder: "Folder") -> Network | None:
        return Network(folder.path) if self.has_network else None

    def traces(self, folder: "Folder") -> Traces:
        """By which its processes are known wherever they went."""
        mine = self.environment()
        marks = ("HOST", "REPAVE_HOST", "REPAVE_GROUP", "REPAVE_REGION", "REPAVE_DIGEST")
        return Traces(
            frozenset(f"{name}={mine[name]}".encode() for name in marks), folder.application.resolve()
        )


_RECORD, _SESSION = TypeAdapter(Record), TypeAdapter(Session)
"""Write what dataclasses.asdict gives, as JSON, in a tenth of its time."""


@dataclass(frozen=True, slots=True)
class Folder:
    """Where one host lives on disk."""

    path: Path

    @property
    def unfinished(self) -> Path:
        return self.path.with_name(UNFINISHED + self.path.name)

    @property
    def application(self) -> Path:
        return self.path / "app"

    @property
    def contents(self) -> Path:
        return self.path / "contents.json"

    def create(self, record: Record) -> None:
        """Makes the folder with its tags in it, in one step."""
        new = self.unfinished
        try:
            new.mkdir(mode=0o700)
        except FileExistsError:  # of an agent that was killed right here
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir(mode=0o700)
        _write(new / "host.json", b'{"version":%d,%s' % (FORMAT_VERSION, _RECORD.dump_json(record)[1:]))
        new.rename(self.path)

    def record(self) -> Record | None:
        """What host.json says; None when it is not there or not ours to understand: a stranger."""
        raw = _read(self.path / "host.json")
        try:
            return None if raw is None or raw["version"] != FORMAT_VERSION else _record(raw)
        except (KeyError, TypeError, ValueError):
            return None

    def save_session(self, session: Session) -> None:
        part = self.path / "process.json.part"
        _write(part, _SESSION.dump_json(session))
        part.rename(self.path / "process.json")

    def session(self) -> Session | None:
        """The host's processes; None when it was never started."""
        raw = _read(self.path / "process.json")
        if raw is None:
            return None
        inner, writer = raw["inner"], raw.get("writer")
        return Session(
            Identity(**raw["leader"]),
            Identity(**inner) if inner else None,
            Identity(**writer) if writer else None,
        )

    @property
    def exit(self) -> Path:
        return self.path / "exit"

    def exit_code(self) -> int | None:
        """Of a job's command that has ended by itself, whoever watched; None where there is none."""
        try:
            return int((self.path / "exit").read_text())
        except (OSError, ValueError):
            return None

    def make_memory(self, secrets: HostSecrets) -> Memory:
        """Noted down before a secret is in it. Raises RefusedError, OSError."""
        memory = make_memory()
        try:
            (self.path / "memory").write_text(str(memory.path))
            memory.write(secrets)
        except BaseException:
            memory.remove()
            raise
        return memory

    def memory(self) -> Memory | None:
        """Where its secrets are; None where there are none, any more."""
        try:
            memory = Memory(Path((self.path / "memory").read_text()))
        except (FileNotFoundError, NotADirectoryError):
            return None
        return memory if memory.path.is_dir() else None

    def forget_secrets(self) -> None:
        """Its command has ended, or is to."""
        memory = self.memory()
        if memory is not None:
            memory.remove()

    def difference(self) -> str:
        """How it differs from what was made here, in words; "" when it does not. Raises OSError."""
        found = contents.difference(self.application, self.contents)
        return "; ".join(filter(None, (found, self._other_program())))

    def _other_program(self) -> str:
        """Whether its first process has become another program. Not its words: programs may change those."""
        session, noted = self.session(), self.path / "program"
        program = processes.program_of(session) if session is not None else ""
        before = noted.read_text() if noted.exists() else ""
        if program and not before:
            noted.write_text(program)
        return (
            f"its command is now {program}, it was {before}"
            if program and before not in ("", program)
            else ""
        )

    def remove(self) -> None:
        """Removes all, the tags last: what is left of an interrupted removal still has its owner, and when
        they go it has the name of something unfinished."""
        self.forget_secrets()
        Network(self.path).remove()
        remove(self.application)
        for path in list(self.path.iterdir()) if self.path.exists() else []:
            if path.name != "host.json":
                remove(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
        shutil.rmtree(self.unfinished, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            self.path.rename(self.unfinished)
        remove(self.unfinished)

    def sweep(self, tags: Tags) -> bool:
        """Removes what an agent that was killed has left unfinished under this name; whether it did.

        It holds nothing, or half-written tags, or tags that are ours: anything else is a stranger's.
        """
        names = {path.name for path in self.unfinished.iterdir()}
        raw = _read(self.unfinished / "host.json")
        if names - {"host.json"} or (raw is not None and not _is_tagged(raw, tags)):
            return False
        remove(self.unfinished)
        return True

    def log_tail(self, lines: int) -> str:
        return logs.tail(self.path, lines)

    def read_log(self, after: str, lines: int, bytes_max: int) -> LogPiece:
        return logs.read(self.path, after, lines, bytes_max)


@dataclass(frozen=True, slots=True)
class Children:
    """The processes of a host whose parent this agent is: it has to take their ends."""

    leader: subprocess.Popen[bytes]
    writer: subprocess.Popen[bytes]

    def reap(self) -> int | None:
        """The leader's exit code; None while it runs."""
        self.writer.poll()
        return self.leader.poll()


def start(
    folder: Folder,
    record: Record,
    package: Path,
    packages: Packages,
    sandbox: Sandbox | None,
    secrets: HostSecrets = (),
) -> tuple[Session, Children]:
    """Unpacks, starts, notes the processes down. Raises RefusedError, PackageFormatError, OSError."""
    memory = folder.make_memory(secrets) if secrets else None
    environment = record.environment(memory)
    words = substitute(record.spec.template.run, environment)
    known = packages.unpack(package, folder.application, record.spec.released_at)
    contents.note(folder.application, folder.contents, known)
    argv = look_up(words, folder.application, environment)
    network = record.network(folder)
    if network is not None:
        network.make(record.address)
    with logs.written(folder.path) as (output, writer):
        process, inner = _start(
            argv,
            with_secrets(environment, memory),
            folder,
            record.spec.port,
            output,
            sandbox,
            memory,
            network,
        )
    leader = processes.identify(process.pid)
    assert leader is not None, "our own child, not waited for, is there"
    session = Session(leader, inner, processes.identify(writer.pid))
    try:
        folder.save_session(session)
    except BaseException:
        processes.kill_now(session)
        process.wait()
        writer.wait()
        raise
    return session, Children(process, writer)


def with_secrets(environment: dict[str, str], memory: Memory | None) -> dict[bytes, bytes]:
    """What a process of the host is given; never an argument of one. Raises OSError."""
    given = {os.fsencode(name): os.fsencode(value) for name, value in environment.items()}
    return {**given, **memory.variables()} if memory is not None else given


def _start(
    argv: list[str],
    environment: dict[bytes, bytes],
    folder: Folder,
    port: int,
    output: int,
    sandbox: Sandbox | None,
    memory: Memory | None,
    network: Network | None,
) -> tuple[subprocess.Popen[bytes], Identity | None]:
    application = folder.application
    leads = _leading(folder) if is_job_host(HostName(folder.path.name)) else []
    if sandbox is None:
        within = argv if network is None else network.entered(argv)
        return _start_plain([*leads, *within], environment, application, output), None
    reader, writer = os.pipe()
    try:
        with sandbox.opened() as filter_fds:
            shown = memory.path if memory is not None else None
            wrapped = sandbox.wrap(argv, application, port, writer, filter_fds, shown)
            wrapped = [*leads, *(wrapped if network is None else network.entered(wrapped))]
            process = processes.start(wrapped, environment, application, output, (writer, *filter_fds))
    except BaseException:
        os.close(reader)
        raise
    finally:
        os.close(writer)
    with open(reader, "rb", buffering=0) as report:
        told = _told(report)
    if told is None:
        raise RefusedError(f"bubblewrap could not make the host's sandbox (exit code {process.wait()})")
    return process, processes.identify(told["child-pid"])


def _told(report: RawIOBase) -> dict[str, int] | None:
    """What bwrap says once it has made its inner process; None when it has ended before. That is no matter of
    the pipe's end: the shell of a job keeps it open."""
    raw = b""
    while part := report.read(4096):
        raw += part
        with contextlib.suppress(ValueError):
            told: dict[str, int] = json.loads(raw)
            return told
    return None


def _leading(folder: Folder) -> list[str]:
    """Words before a job's command: a shell outside its sandbox, which waits for it and writes its exit code
    down, for agents that were not there when it ended."""
    script = 'out=$1; shift; "$@"; code=$?; echo "$code" >"$out.part" && mv "$out.part" "$out"; exit "$code"'
    return ["/bin/sh", "-c", script, "repave-job", str(folder.exit)]


def _start_plain(
    argv: list[str], environment: dict[bytes, bytes], application: Path, output: int
) -> subprocess.Popen[bytes]:
    try:
        return processes.start(argv, environment, application, output)
    except (FileNotFoundError, PermissionError) as error:  # argv[0] is there: its interpreter is not
        raise RefusedError(
            f"run: {argv[0]} cannot be started ({error.strerror}). Does the program that its first line (#!) "
            "names exist?"
        ) from error


def _is_tagged(raw: dict[str, Any], tags: Tags) -> bool:
    return raw.get("version") == FORMAT_VERSION and raw.get("tags") == asdict(tags)


def _record(raw: dict[str, Any]) -> Record:
    return Record(
        Tags(str(raw["tags"]["installation"]), RegionName(raw["tags"]["region"])),
        read_spec(raw["spec"]),
        str(raw["address"]),
        float(raw["launched_at"]),
        bool(raw.get("has_network", False)),
    )


def _write(path: Path, content: bytes) -> None:
    target = open_file(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    with open(target, "wb") as file:
        file.write(content)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        raw = json.loads(read_file(path))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return raw if isinstance(raw, dict) else None
