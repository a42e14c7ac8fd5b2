"""Speaks to HAProxy's master socket and understands its answers. Blocking: for the balancer's own thread.

One connection per question; commands joined by ";" share it. The write side is shut down after the question:
HAProxy waits for more otherwise.
"""

import os
import re
import socket
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from repave_agent.balancers.haproxy.fallback import Counts, counts_in
from repave_agent.balancers.haproxy.traffic import COLUMNS, Row, row_of
from repave_agent.core.ports import BalancerError
from repave_protos.protocol.values import ApplicationName

ANSWER_SECONDS_MAX = 5.0
QUESTION_BYTES_MAX = 12_000  # HAProxy takes 16,384 at once
JOINED = "New server registered."
SERVERS_REMEMBERED = 20_000
TAKES_SERVERS = (2, 6)
"""From this version on servers join, and are checked, while HAProxy runs."""
FALLEN_BACK = "_fallen_back"
"""The table of requests that spares got; "_" is refused in names of groups."""

_ENTRY = re.compile(r"0x[0-9a-f]+ (\S+) (.*)")
_DESCRIPTION = re.compile(r"^description: (\S+)", re.MULTILINE)
_VERSION = re.compile(r"^Version: (\d+)\.(\d+)", re.MULTILINE)
_TABLE_START = "# pxname,"
_SESSION = re.compile(r"^(0x[0-9a-f]+): .*\bbe=(\S+) srv=[^< ]", re.MULTILINE)
_FAILED = re.compile(r"\[failed: (\d+)\]")


@dataclass(frozen=True, slots=True)
class Workers:
    """What the master knows of itself (`show proc`)."""

    master: int  # process ids
    newest: int | None
    old: tuple[int, ...]
    reloads: int  # tried since the master started, failed ones included
    has_failed: bool  # the newest reload did


@dataclass(frozen=True, slots=True)
class ServerState:
    """One server as a worker sees it."""

    group: str
    host: str
    is_enabled: bool
    is_up: bool  # it would get requests: also one whose check has not passed since it was enabled
    weight: int = 0
    in_flight: int = 0
    has_passed: bool = False  # the newest check has, and it was asked since it was enabled
    failed_with: tuple[str, str] | None = None  # of one that is called down: HAProxy's word, and the code

    @property
    def takes_requests(self) -> bool:
        """While it is up."""
        return self.is_enabled and self.weight > 0


@dataclass(frozen=True, slots=True)
class WorkerState:
    """What one worker runs with."""

    fingerprint: str
    entries: dict[str, str]  # of the map of routes
    servers: tuple[ServerState, ...]
    in_flight: dict[str, int]  # by backend: requests at a server or queued for one
    fallen_back: Counts = field(default_factory=dict)
    counted: dict[str, Row] = field(default_factory=dict)  # by backend
    takes_servers: bool = False  # while it runs
    modes: dict[str, str] = field(default_factory=dict)  # by backend: http or tcp


class WorkerGoneError(OSError):
    """The worker that was asked has ended."""


class MasterSocket:
    """Asks the master and, through it, its workers. Raises OSError when there is no answer."""

    def __init__(self, path: Path, map_path: Path) -> None:
        self._path = str(path)
        self._map = str(map_path)

    def ask(self, question: str, seconds: float = ANSWER_SECONDS_MAX) -> str:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(seconds)
            connection.connect(self._path)
            connection.sendall(question.encode() + b"\n")
            connection.shutdown(socket.SHUT_WR)
            parts = []
            while part := connection.recv(65536):
                parts.append(part)
        return b"".join(parts).decode(errors="replace")

    def place(self) -> tuple[int, int] | None:
        """Names the socket that is there now: each start of HAProxy makes another one."""
        try:
            found = os.stat(self._path)  # noqa: PTH116  # many times in a row, while each counts
        except OSError:
            return None
        return found.st_ino, found.st_ctime_ns

    def workers(self, seconds: float = ANSWER_SECONDS_MAX) -> Workers:
        return parse_workers(self.ask("show proc", seconds))

    def reload(self) -> None:
        """Only asks for it: the answer is in `workers`, once it can be asked again."""
        try:
            self.ask("reload")
        except ConnectionResetError:  # it is on its way already
            pass

    def worker_state(self, worker: int) -> WorkerState:
        commands = ["show info", f"show map {self._map}", f"show table {FALLEN_BACK}", "show stat -1 6 -1"]
        answer = self._ask_worker(worker, commands)
        if _TABLE_START not in answer:
            raise WorkerGoneError(f"HAProxy's worker {worker} ended while it answered")
        return parse_worker(answer)

    def server_states(self, worker: int) -> str:
        return self._ask_worker(worker, ["show servers state"])

    def set_entries(self, worker: int, wanted: dict[str, str], are_all: bool) -> bool:
        """Makes the worker's map hold `wanted`, and nothing else when `are_all`; False if it does not."""
        before = self._entries(worker)
        commands = [
            f"{'set' if application in before else 'add'} map {self._map} {application} {value}"
            for application, value in wanted.items()
            if before.get(application) != value
        ]
        if are_all:
            commands += [
                f"del map {self._map} {application}" for application in before.keys() - wanted.keys()
            ]
        if not commands:
            return True
        self.command(worker, commands)
        after = self._entries(worker)
        return after == wanted if are_all else wanted.items() <= after.items()

    def replace_entries(self, worker: int, entries: Mapping[ApplicationName, str]) -> None:
        """Changes entries that are in the worker's map. Raises BalancerError when one is not."""
        self.command(worker, [f"set map {self._map} {name} {value}" for name, value in entries.items()])

    def command(self, worker: int, commands: list[str]) -> None:
        """Gives a worker commands that answer nothing when they work, or that a server has joined. Raises
        BalancerError otherwise."""
        for some in pieces(commands):
            answer = self._ask_worker(worker, some).replace(JOINED, "").strip()
            if answer:
                raise BalancerError(f"HAProxy answered {answer[:200]!r} to {some[0]!r} (of {len(some)})")

    def replace_certificate(self, worker: int, path: str, text: str) -> None:
        """New connections are shown this one instead of what the worker had read from `path`. Raises
        BalancerError: the former one goes on."""
        answer = self._ask_worker(worker, [f"set ssl cert {path} <<\n{text}\n"])
        if "Transaction created" in answer or "Transaction updated" in answer:
            answer = self._ask_worker(worker, [f"commit ssl cert {path}"])
            if "Success!" in answer:
                return
            self._ask_worker(worker, [f"abort ssl cert {path}"])
        why = " ".join(answer.split())[:200]
        raise BalancerError(f"HAProxy's worker {worker} does not take the certificate {path}: {why!r}")

    def close_sessions(self, worker: int, backends: Collection[str]) -> list[str]:
        """Ends what clients have open to these. Names the backend of each. A worker that is being replaced
        takes no such command for a server as a whole."""
        found = _SESSION.findall(self._ask_worker(worker, ["show sess"]))
        open_there = [(session, backend) for session, backend in found if backend in backends]
        for some in pieces(f"shutdown session {session}" for session, _ in open_there):
            self._ask_worker(worker, some)
        return [backend for _, backend in open_there]

    def _entries(self, worker: int) -> dict[str, str]:
        return parse_entries(self._ask_worker(worker, [f"show map {self._map}"]))

    def _ask_worker(self, worker: int, commands: list[str]) -> str:
        """Every command answers at least a line, unless the worker ends meanwhile."""
        answer = self.ask(";".join(f"@!{worker} {command}" for command in commands))
        if not answer or "Can't find the target" in answer or "Can't connect to the target" in answer:
            raise WorkerGoneError(f"HAProxy's worker {worker} has ended")
        return answer


def pieces(commands: Iterable[str]) -> Iterator[list[str]]:
    """As many in each as HAProxy takes at once."""
    some, size = list[str](), 0
    for command in commands:
        size += len(command.encode()) + len("@!4194304 ;")  # the highest process id
        if some and size > QUESTION_BYTES_MAX:
            yield some
            some, size = [], len(command.encode())
        some.append(command)
    if some:
        yield some


def parse_workers(answer: str) -> Workers:
    master, newest, old, reloads, has_failed = 0, None, [], 0, False
    is_old = False
    for line in answer.splitlines():
        is_old = line.startswith("# old") or (is_old and not line.startswith("#"))
        words = line.split()
        if len(words) < 3 or not words[0].isdecimal():
            continue
        if words[1] == "master":
            failed = _FAILED.search(line)
            master, reloads, has_failed = int(words[0]), int(words[2]), bool(failed and int(failed[1]))
        elif words[1] == "worker" and is_old:
            old.append(int(words[0]))
        elif words[1] == "worker":
            newest = int(words[0])
    return Workers(master, newest, tuple(old), reloads, has_failed)


def parse_worker(answer: str) -> WorkerState:
    """Takes apart the answers to `worker_state`'s questions, one after the other."""
    facts, _, table = answer.partition(_TABLE_START)
    description = _DESCRIPTION.search(facts)
    servers, in_flight, counted, modes = _parse_table((_TABLE_START + table).splitlines())
    name = description[1] if description else ""
    version = _VERSION.search(facts)
    takes_servers = version is not None and (int(version[1]), int(version[2])) >= TAKES_SERVERS
    entries = parse_entries(facts)
    return WorkerState(name, entries, servers, in_flight, counts_in(facts), counted, takes_servers, modes)


def parse_entries(answer: str) -> dict[str, str]:
    matches = (_ENTRY.fullmatch(line) for line in answer.splitlines())
    return {match[1]: match[2] for match in matches if match}


def _parse_table(
    lines: Iterable[str],
) -> tuple[tuple[ServerState, ...], dict[str, int], dict[str, Row], dict[str, str]]:
    """Splits rows of servers only as far as the columns that matter: there are a hundred more."""
    rows = iter(lines)
    columns = next(rows).removeprefix("# ").split(",")
    queued, current, status = columns.index("qcur"), columns.index("scur"), columns.index("status")
    weight, checked = columns.index("weight"), columns.index("check_status")
    places, mode = [columns.index(each) for each in COLUMNS], columns.index("mode")
    servers, in_flight, counted, modes = [], {}, {}, {}
    for row in rows:
        cells = row.split(",", checked + 2)
        if len(cells) <= checked + 1:
            continue
        requests = int(cells[queued] or 0) + int(cells[current] or 0)
        if cells[1] == "BACKEND":
            in_flight[cells[0]] = requests
            cells = row.split(",", mode + 1)
            counted[cells[0]], modes[cells[0]] = row_of(cells, *places), cells[mode]
        else:
            servers.append(
                _server(
                    cells[0], cells[1], cells[status], cells[weight], requests, *cells[checked : checked + 2]
                )
            )
    return tuple(servers), in_flight, counted, modes


@lru_cache(maxsize=SERVERS_REMEMBERED)
def _server(
    group: str, host: str, status: str, weight: str, requests: int, checked: str, code: str
) -> ServerState:
    """The same object for a server that has not changed: most have not since the last look."""
    is_enabled, is_up = _standing(status)
    has_passed = is_up and _has_passed(status, checked)
    failed_with = (checked.removeprefix("* "), code) if status.startswith("DOWN") else None
    return ServerState(group, host, is_enabled, is_up, int(weight or 0), requests, has_passed, failed_with)


def _standing(status: str) -> tuple[bool, bool]:
    """Whether it is enabled, and up. Status is e.g. "UP", "UP 1/3" (will go down), "DOWN", "DOWN 1/2",
    "MAINT", "DRAIN", "no check"."""
    is_enabled = not status.startswith(("MAINT", "DRAIN"))
    return is_enabled, is_enabled and status.startswith(("UP", "no check"))


def _has_passed(status: str, checked: str) -> bool:
    """A server that is enabled is "UP 1/2", on probation, and "UP" once a check has passed; or "UP" with
    "INI" for a check that was never made. "*" marks one that is being made."""
    return status == "no check" or (status == "UP" and checked.removeprefix("* ") not in ("", "INI", "UNK"))
