"""Speaks to an operator's HAProxy through its own runtime socket. Blocking.

There is no master in between, so every command is for the one worker that answers.
"""

import csv
import re
from dataclasses import dataclass

from repave_agent.balancers.haproxy.socket import (
    JOINED,
    WorkerState,
    parse_worker,
    pieces,
)
from repave_agent.balancers.haproxy_runtime.snippet import FALLEN_BACK
from repave_agent.balancers.haproxy_runtime.transport import Keys, transport_to
from repave_agent.core.ports import BalancerError

_PID = re.compile(r"^Pid: (\d+)", re.MULTILINE)
_VERSION = re.compile(r"^Version: (\d+)\.(\d+)", re.MULTILINE)
FINE = ("", JOINED, "Server deleted.")


@dataclass(frozen=True, slots=True)
class SideState:
    """What one HAProxy runs with. `pid` changes when it is reloaded or restarted, and all was lost then."""

    pid: int
    version: tuple[int, int]
    worker: WorkerState


class RuntimeSocket:
    """One HAProxy. Raises OSError when there is no answer, BalancerError when it refuses."""

    def __init__(self, address: str, map_path: str, keys: Keys | None = None) -> None:
        """Without a `map_path` there is no map. `keys` for addresses over SSH. Raises BalancerError."""
        self.address = address
        self._map = map_path
        self._transport = transport_to(address, keys)

    def __str__(self) -> str:
        return self.address

    def state(self) -> SideState:
        maps = [f"show map {self._map}", f"show table {FALLEN_BACK}"] if self._map else []
        answer = self._ask(["show info", *maps, "show stat -1 6 -1"])
        pid, version = _PID.search(answer), _VERSION.search(answer)
        if pid is None or version is None:
            raise BalancerError(f"{self}: this socket does not answer as HAProxy's runtime socket does")
        if "Unknown map identifier" in answer:
            raise BalancerError(
                f"{self}: HAProxy has no map {self._map}: paste what `repave-agent balancer snippet` prints"
            )
        return SideState(int(pid[1]), (int(version[1]), int(version[2])), parse_worker(answer))

    def level(self) -> str:
        """What this socket may do: user, operator or admin."""
        return self._ask(["show cli level"]).strip()

    def algorithms(self) -> dict[str, str]:
        """How each backend chooses among its servers."""
        return {row["pxname"]: row["algo"] for row in self._statistics("-1 2 -1")}

    def _statistics(self, what: str) -> list[dict[str, str]]:
        table = self._ask([f"show stat {what}"]).strip().removeprefix("# ")
        return list(csv.DictReader(table.splitlines()))

    def servers_of(self, backend: str) -> list[dict[str, str]]:
        """The servers of any backend, as HAProxy saves them: `srv_name`, `srv_addr`, `srv_port` and so on.
        Raises BalancerError where it has none of the name."""
        answer = self._ask([f"show servers state {backend}"])
        lines = [line.removeprefix("# ") for line in answer.splitlines() if line.strip()]
        if len(lines) < 2 or not lines[1].startswith("be_id "):
            names = ", ".join(sorted(name for name in self.algorithms() if not name.startswith("repave-")))
            raise BalancerError(f"{self}: there is no backend {backend}; there are: {names or 'none'}")
        return list(csv.DictReader(lines[1:], delimiter=" "))

    def backups_of(self, backend: str) -> set[str]:
        """The names of its servers that only stand in for the others."""
        return {row["svname"] for row in self._statistics(f"{backend} 4 -1") if row["bck"] == "1"}

    def command(self, commands: list[str]) -> None:
        """One after the other. Raises BalancerError with the first that was refused."""
        for some in pieces(commands):
            answers = [line.strip() for line in self._ask(some).splitlines()]
            refused = next((answer for answer in answers if answer not in FINE), None)
            if refused is not None:
                raise BalancerError(f"{self}: HAProxy answered {refused[:200]!r} to one of {some[:3]}")

    def refusal(self, command: str) -> str:
        """What it says against the command; "" when it did it."""
        answer = self._ask([command]).strip()
        return "" if answer in FINE else answer

    def close(self) -> None:
        self._transport.close()

    def _ask(self, commands: list[str]) -> str:
        answer = self._transport.ask(";".join(commands) + "\n").decode(errors="replace")
        if "Permission denied" in answer:
            raise BalancerError(f"{self}: the socket needs `level admin` in HAProxy's configuration")
        return answer
