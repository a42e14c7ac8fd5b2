"""Writes the rules by which HAProxy lets a route's spare answer while the group that a request is for has no
server up, and counts such requests. It does so within a request's time; the agent and the controller, which
then decide what follows, need seconds.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from repave_agent.core.ports import FallenBack
from repave_protos.protocol.values import ApplicationName, GroupName

Counts = dict[str, int]
"""Requests, by `application|group|spare`, where a group is called as in the map."""

_ENTRY = re.compile(r"0x[0-9a-f]+: key=([^|\s]+\|[^|\s]+\|[^|\s]+) .*\bgpc0=(\d+)")


def fallback_rules(application: ApplicationName, table: str) -> list[str]:
    """Changes `txn.chosen` to the fifth part of the route. Needs `txn.route`."""
    is_needed = "{ var(txn.chosen),nbsrv -m int eq 0 } { var(txn.spare),nbsrv -m int gt 0 }"
    is_done = "if { var(txn.fallen) -m found }"
    key = f"str({application}),concat(|,txn.chosen),concat(|,txn.spare)"
    return [
        "http-request set-var(txn.spare) var(txn.route),field(5,|)",
        f"http-request set-var(txn.fallen) bool(true) if {{ var(txn.spare) -m len gt 0 }} {is_needed}",
        f"http-request track-sc0 {key} table {table} {is_done}",
        f"http-request sc-inc-gpc0(0) {is_done}",
        f"http-request set-var(txn.chosen) var(txn.spare) {is_done}",
    ]


def counting_backend(table: str) -> str:
    """Has the counts, and no servers."""
    return f"backend {table}\n  stick-table type string len 640 size 1k store gpc0\n"


def counts_in(answer: str) -> Counts:
    """Read from the answer to `show table`."""
    return {key: int(requests) for key, requests in _ENTRY.findall(answer)}


TOLD_MAX = 200
"""Groups of which is known how often a spare answered for them, the newest."""


class Tally:
    """What one HAProxy has counted over all of its processes, each of which counts from 0."""

    def __init__(self) -> None:
        self._last: tuple[int, Counts] | None = None  # the process and its counts at the last look
        self._total: dict[FallenBack, int] = {}

    def note(self, process: int, counts: Counts, groups: Mapping[str, str] | None = None) -> None:
        """`groups`: what the map calls them, where it has names of its own. What a process had counted before
        the first look was told by another agent."""
        former, known = self._last or (process, counts)
        self._last = (process, counts)
        for key, requests in counts.items():
            new = requests - (known.get(key, 0) if former == process else 0)
            application, *parts = key.split("|")
            group, spare = (GroupName(part if groups is None else groups.get(part, part)) for part in parts)
            which = FallenBack(ApplicationName(application), group, spare, 0)
            if new > 0:
                self._total[which] = self._total.pop(which, 0) + new
        for which in list(self._total)[:-TOLD_MAX]:
            del self._total[which]

    @property
    def told(self) -> tuple[FallenBack, ...]:
        return tuple(replace(which, requests=requests) for which, requests in self._total.items())


def added_up(told: Iterable[FallenBack]) -> tuple[FallenBack, ...]:
    """What several HAProxys have counted."""
    total: Counter[FallenBack] = Counter()
    for each in told:
        total[replace(each, requests=0)] += each.requests
    return tuple(replace(which, requests=requests) for which, requests in total.items())
