"""What the agent knows of each machine of its pool, durably: who has it, whether it is fresh, why it is not
used.

One file, changed under a lock and replaced whole, so that `repave-agent pool` may work on it beside the
agent. A machine that is not in it is dirty: its reset was not seen.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from repave_agent.core.ports import HostSpec, RefusedError
from repave_agent.providers.host_specs import read_spec
from repave_protos.daemon import files
from repave_protos.protocol.values import HostName

State = Literal["dirty", "fresh", "leased", "quarantined"]


@dataclass(frozen=True, slots=True)
class Lease:
    """A host on a machine. `owner` is as the machine's own lease file has it."""

    spec: HostSpec
    owner: str
    address: str
    taken_at: float  # seconds of the wall clock
    is_started: bool = False
    may_run: bool = False  # its start was tried
    memory: str = ""  # the folder on the machine with its secrets; "": it has none


@dataclass(frozen=True, slots=True)
class Entry:
    """One machine. `proof`: its boot, marker and host key when it was last made anew."""

    name: str
    state: State = "dirty"
    since: float = 0.0
    reason: str = ""
    proof: tuple[str, str, str] | None = None
    pinned: str = ""  # the host key that was trusted on first use
    lease: Lease | None = None
    tried_by: str = ""  # the host that it was last chosen for
    may_replace: bool = False  # a person said that a lease of ours that is still on it may go
    is_returned: bool = False  # a person said that it may be reset though it can't be asked whose it is
    remains: Lease | None = (
        None  # of a host that counts as gone: its lease, if not itself, may be there still
    )


class Leases:
    """The entries of one pool."""

    def __init__(self, directory: Path) -> None:
        self._contents = directory / "contents"
        self._contents.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._file, self._lock = directory / "machines.json", directory / "lock"
        self._seen: tuple[int, int] | None = None
        self._read: dict[str, Entry] = {}

    def all(self) -> dict[str, Entry]:
        """Read again when the file has changed. Raises RefusedError when the file can't be read."""
        try:
            found = self._file.stat()
            if (found.st_mtime_ns, found.st_ino) != self._seen:
                raw = json.loads(files.read_file(self._file))
                self._read = {name: _entry(name, each) for name, each in raw.items()}
                self._seen = (found.st_mtime_ns, found.st_ino)
            return dict(self._read)
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError) as error:
            raise RefusedError(
                f"{self._file} can't be read ({error}). Put back a copy of it; without it every machine is "
                "reset before it is used again"
            ) from error

    def get(self, name: str) -> Entry:
        return self.all().get(name) or Entry(name)

    @contextmanager
    def change(self) -> Iterator[dict[str, Entry]]:
        """What is put into the dictionary is saved, durably, when the block ends well. Raises OSError."""
        with open(files.open_file(self._lock, os.O_RDWR | os.O_CREAT)) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            entries = self.all()
            before = dict(entries)
            yield entries
            if entries != before:
                self._save(entries)

    def put(self, name: str, **changes: Any) -> Entry:
        """Changes some of what is known of a machine, at once."""
        with self.change() as entries:
            entries[name] = replace(entries.get(name) or Entry(name), **changes)
            return entries[name]

    def note_contents(self, host: HostName, contents: str) -> None:
        """What the host's package held when it was unpacked."""
        (self._contents / host).write_text(contents)

    def contents(self, host: HostName) -> str:
        """ "" when it was never noted."""
        try:
            return (self._contents / host).read_text()
        except FileNotFoundError:
            return ""

    def forget_contents(self, host: HostName) -> None:
        (self._contents / host).unlink(missing_ok=True)

    def _save(self, entries: dict[str, Entry]) -> None:
        content = json.dumps({name: asdict(each) for name, each in entries.items()})
        files.replace(self._file, content.encode())


def _entry(name: str, raw: dict[str, Any]) -> Entry:
    proof, lease = raw["proof"], raw["lease"]
    return Entry(
        name,
        raw["state"],
        float(raw["since"]),
        str(raw["reason"]),
        (str(proof[0]), str(proof[1]), str(proof[2])) if proof else None,
        str(raw["pinned"]),
        _lease(lease) if lease else None,
        str(raw["tried_by"]),
        bool(raw["may_replace"]),
        bool(raw.get("is_returned")),
        _lease(raw["remains"]) if raw.get("remains") else None,
    )


def _lease(raw: dict[str, Any]) -> Lease:
    return Lease(
        read_spec(raw["spec"]),
        str(raw["owner"]),
        str(raw["address"]),
        float(raw["taken_at"]),
        bool(raw["is_started"]),
        bool(raw.get("may_run", raw["is_started"])),
        str(raw.get("memory", "")),
    )
