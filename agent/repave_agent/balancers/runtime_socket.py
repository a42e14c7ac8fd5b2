"""Speaks to an operator's HAProxy through its own runtime socket: a path, or host:port. Blocking.

There is no master in between, so every command is for the one worker that answers.
"""

import re
import socket
from dataclasses import dataclass
from pathlib import Path

from repave_agent.balancers.haproxy_socket import (
    ANSWER_SECONDS_MAX,
    COMMANDS_PER_QUESTION_MAX,
    WorkerState,
    parse_entries,
    parse_worker,
)
from repave_agent.ports import BalancerError

_PID = re.compile(r"^Pid: (\d+)", re.MULTILINE)
_VERSION = re.compile(r"^Version: (\d+)\.(\d+)", re.MULTILINE)
FINE = ("", "New server registered.", "Server deleted.")


@dataclass(frozen=True, slots=True)
class SideState:
    """What one HAProxy runs with. `pid` changes when it is reloaded or restarted, and all was lost then."""

    pid: int
    version: tuple[int, int]
    worker: WorkerState


class RuntimeSocket:
    """One HAProxy. Raises OSError when nobody answers, BalancerError when it refuses."""

    def __init__(self, address: str, map_path: str) -> None:
        self.address = address
        self._map = map_path

    def __str__(self) -> str:
        return self.address

    def state(self) -> SideState:
        answer = self._ask(["show info", f"show map {self._map}", "show stat -1 6 -1"])
        pid, version = _PID.search(answer), _VERSION.search(answer)
        if pid is None or version is None:
            raise BalancerError(f"{self}: this socket does not answer as HAProxy's runtime socket does")
        if "Unknown map identifier" in answer:
            raise BalancerError(
                f"{self}: HAProxy has no map {self._map}: paste what `repave-agent balancer snippet` prints"
            )
        return SideState(int(pid[1]), (int(version[1]), int(version[2])), parse_worker(answer))

    def entries(self) -> dict[str, str]:
        return parse_entries(self._ask([f"show map {self._map}"]))

    def set_entries(self, wanted: dict[str, str], gone: set[str]) -> None:
        """Makes the map hold these entries, and none of those; others stay. Read back."""
        before = self.entries()
        commands = [
            f"{'set' if key in before else 'add'} map {self._map} {key} {value}"
            for key, value in wanted.items()
            if before.get(key) != value
        ]
        commands += [f"del map {self._map} {key}" for key in gone if key in before]
        self.command(commands)
        after = self.entries()
        if not (wanted.items() <= after.items() and not gone & after.keys()):
            raise BalancerError(f"{self}: HAProxy did not take the routes")

    def command(self, commands: list[str]) -> None:
        """One after the other. Raises BalancerError with the first that was refused."""
        for start in range(0, len(commands), COMMANDS_PER_QUESTION_MAX):
            some = commands[start : start + COMMANDS_PER_QUESTION_MAX]
            answers = [line.strip() for line in self._ask(some).splitlines()]
            refused = next((answer for answer in answers if answer not in FINE), None)
            if refused is not None:
                raise BalancerError(f"{self}: HAProxy answered {refused[:200]!r} to one of {some[:3]}")

    def refusal(self, command: str) -> str:
        """What it says against the command; "" when it did it."""
        answer = self._ask([command]).strip()
        return "" if answer in FINE else answer

    def _ask(self, commands: list[str]) -> str:
        if not commands:
            return ""
        with self._connected() as connection:
            connection.settimeout(ANSWER_SECONDS_MAX)
            connection.sendall(";".join(commands).encode() + b"\n")
            connection.shutdown(socket.SHUT_WR)
            parts = []
            while part := connection.recv(65536):
                parts.append(part)
        answer = b"".join(parts).decode(errors="replace")
        if "Permission denied" in answer:
            raise BalancerError(f"{self}: the socket needs `level admin` in HAProxy's configuration")
        return answer

    def _connected(self) -> socket.socket:
        host, colon, port = self.address.rpartition(":")
        if colon and port.isdecimal() and not self.address.startswith("/"):
            return socket.create_connection((host, int(port)), ANSWER_SECONDS_MAX)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(ANSWER_SECONDS_MAX)
        try:
            connection.connect(str(Path(self.address)))
        except BaseException:
            connection.close()
            raise
        return connection
