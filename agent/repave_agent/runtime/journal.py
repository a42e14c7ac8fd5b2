"""What an agent must not forget when it dies: accepted desired states, hosts that were verified, group facts.

JSON, saved whole or not at all (`journal_file.py`). What can't be read stops the start: acting without
knowing the last epoch could undo what a newer one asked for.
"""

import errno
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from pydantic import TypeAdapter, ValidationError

from repave_agent.core.observation import GroupFact
from repave_agent.core.region import FORMAT, Entries
from repave_protos.protocol.encoded import Encoded
from repave_protos.protocol.older import with_templates
from repave_protos.protocol.values import ApplicationName, DesiredState, GroupName

_FORMAT_OF_0_1 = 1


class JournalError(Exception):
    """The journal can't be read or written. The text is shown to people."""


_ENTRIES = TypeAdapter(Entries)
_STATE = TypeAdapter(DesiredState)
_FACT = TypeAdapter(GroupFact)


class Disk(Protocol):
    """Where the journal lies: one content, replaced whole or not at all."""

    name: str  # for people

    def read(self) -> bytes | None:
        """None when nothing was ever written. Raises OSError; ValueError when it is damaged."""

    def replace(self, content: bytes, *, durable: bool) -> None:
        """With `durable` it survives the machine, not only the process. Raises OSError; the former stays."""


class Journal:
    """Reads and writes the entries."""

    def __init__(
        self,
        disk: Disk,
        write_state: Callable[[DesiredState], bytes] = _STATE.dump_json,
        write_fact: Callable[[GroupFact], bytes] = _FACT.dump_json,
    ) -> None:
        self._disk = disk
        self._saved: bytes = b""
        self._entries: Entries | None = None  # those that were saved
        self._states: Encoded[ApplicationName, DesiredState, bytes] = Encoded(write_state)
        self._facts: Encoded[GroupName, GroupFact, bytes] = Encoded(write_fact)
        self._rest: tuple[Entries | None, Mapping[str, bytes]] = (None, {})  # all else, as encoded last

    def load(self) -> Entries:
        """The last saved entries, or empty ones on a region's first start. Raises JournalError."""
        try:
            content = self._disk.read()
            if content is None:
                return Entries()
            entries = _ENTRIES.validate_python(_newest(json.loads(content)))
        except ValueError as error:
            raise JournalError(
                f"{self._disk.name} is damaged ({_first(error)}); "
                "restore it, or move it away when every host of this region may be given up"
            ) from error
        if entries.format != FORMAT:
            raise JournalError(f"{self._disk.name} has format {entries.format}; this repave reads {FORMAT}")
        self._saved = content
        return entries

    def save(self, entries: Entries, *, durable: bool) -> None:
        """Replaces the content. What was saved before without `durable` is made durable when asked to."""
        if not durable and entries == self._entries:
            self._entries = entries
            return
        content = self._encode(entries)
        if content == self._saved and not durable:
            self._entries = entries
            return
        try:
            self._disk.replace(content, durable=durable)
        except OSError as error:
            fix = "; free some space" if error.errno == errno.ENOSPC else ""
            raise JournalError(f"{self._disk.name} can't be written: {error.strerror}{fix}") from error
        self._saved, self._entries = content, entries

    def _encode(self, entries: Entries) -> bytes:
        """What the whole of it would be written as; but only what has changed is."""
        self._states.keep({state.application for state in entries.desired})
        self._facts.keep(entries.groups)
        rest = self._rest_of(replace(entries, desired=(), groups={}))
        states = b",".join(self._states.of(state.application, state) for state in entries.desired)
        facts = b",".join(
            json.dumps(name).encode() + b":" + self._facts.of(name, fact)
            for name, fact in entries.groups.items()
        )
        pieces = {"desired": b"[" + states + b"]", "groups": b"{" + facts + b"}"}
        written = {**rest, **pieces}
        return b"{" + b",".join(f'"{name}":'.encode() + each for name, each in written.items()) + b"}"

    def _rest_of(self, rest: Entries) -> Mapping[str, bytes]:
        if self._rest[0] != rest:
            values = json.loads(_ENTRIES.dump_json(rest))
            self._rest = (rest, {name: json.dumps(value).encode() for name, value in values.items()})
        return self._rest[1]


def _newest(raw: Any) -> Any:
    """In the format of today, where it is one that this version reads."""
    if isinstance(raw, dict) and raw.get("format") == _FORMAT_OF_0_1:
        return {**with_templates(raw), "format": FORMAT}
    return raw


def _first(error: ValueError) -> str:
    return str(error.errors()[0]["msg"]) if isinstance(error, ValidationError) else str(error)
