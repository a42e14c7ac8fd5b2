"""Adds up what HAProxy counts of each backend, whose processes come and go and count from 0 each."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from repave_agent.core.ports import Counted

COLUMNS = ("stot", "hrsp_5xx", "req_tot", "rtime")
"""From left to right. Of tcp there are no requests: then its connections count."""


@dataclass(frozen=True, slots=True)
class Row:
    """What one process has counted of one backend. `response_ms`: the mean of its last 512 requests."""

    requests: int
    errors: int
    response_ms: int


def row_of(cells: Sequence[str], connections: int, errors: int, requests: int, response: int) -> Row:
    """`connections` to `response`: the places of the columns."""
    return Row(
        int(cells[requests] or cells[connections] or 0), int(cells[errors] or 0), int(cells[response] or 0)
    )


class Traffic:
    """Of one HAProxy. What its processes had counted before the first look was told by another agent."""

    def __init__(self) -> None:
        self._last: dict[tuple[int, str], Row] | None = None
        self._total: dict[str, tuple[int, int]] = {}
        self._response_ms: dict[str, int] = {}

    def note(self, processes: Mapping[int, Mapping[str, Row]], *, are_all: bool = True) -> None:
        """`processes`: that answer. What one counts between its last look and its end is lost: old ones only
        finish what they had begun."""
        now = {(pid, name): row for pid, rows in processes.items() for name, row in rows.items()}
        known = now if self._last is None else self._last
        for key, row in now.items():
            before = known.get(key)
            if before == row:
                continue
            requests, errors = (before.requests, before.errors) if before is not None else (0, 0)
            if row.requests > requests or row.errors > errors:
                name = key[1]
                all_requests, all_errors = self._total.get(name, (0, 0))
                more = (all_requests + row.requests - requests, all_errors + row.errors - errors)
                self._total[name] = more
                self._response_ms[name] = row.response_ms
        self._last = now if are_all else {**known, **now}
        present = {name for _, name in self._last}
        for name in self._total.keys() - present:
            del self._total[name], self._response_ms[name]

    def of(self, name: str) -> Counted:
        requests, errors = self._total.get(name, (0, 0))
        return Counted(requests, errors, self._response_ms.get(name, 0) / 1000)


def added_up(counted: Iterable[Counted]) -> Counted:
    """What several HAProxys have counted of one group."""
    several = tuple(counted)
    requests = sum(each.requests for each in several)
    weighed = sum(each.requests * each.response_seconds for each in several)
    return Counted(requests, sum(each.errors for each in several), weighed / requests if requests else 0.0)
