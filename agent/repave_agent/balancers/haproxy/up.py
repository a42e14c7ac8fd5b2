"""Which servers count as up: those whose check has passed since they were enabled. Pure.

HAProxy sends requests to a server as soon as it is enabled, and calls it up before it has asked it anything:
for a proof that is too early. And a new process, after a reload or a restart, has asked no server yet.
"""

from collections.abc import Iterable, Mapping

from repave_agent.balancers.haproxy.socket import ServerState
from repave_agent.core.ports import Route, Server, Structure
from repave_protos.protocol.values import Probe

Key = tuple[str, str]
"""HAProxy's backend, and the host."""


def up(servers: Iterable[ServerState], before: frozenset[Key]) -> frozenset[Key]:
    """Those that are. The ones that were at the last look stay so until they go down."""
    return frozenset(
        key
        for each in servers
        for key in ((each.group, each.host),)
        if each.is_up and (each.has_passed or key in before)
    )


def untouched(before: Iterable[tuple[str, Server]], after: Iterable[tuple[str, Server]]) -> frozenset[Key]:
    """The servers, each with its backend, that a change of these leaves enabled as they were."""
    known = set(before)
    return frozenset((place, str(server.host)) for place, server in after if (place, server) in known)


def placed(structure: Structure, places: Mapping[str, str] | None = None) -> Iterable[tuple[str, Server]]:
    """The enabled servers, each with its backend: the group's name, or its place."""
    for backend in structure.backends:
        place = str(backend.group) if places is None else places[str(backend.group)]
        for server in backend.servers:
            if server.is_enabled:
                yield place, server


def with_traffic(
    structure: Structure, routes: Iterable[Route], places: Mapping[str, str] | None = None
) -> frozenset[Key]:
    """The enabled servers of groups that have traffic: their checks had passed before they got it."""
    reached = {group for route in routes for group in route.groups if route.reaches(group)}
    backends = tuple(each for each in structure.backends if each.group in reached)
    return frozenset(
        (place, str(server.host)) for place, server in placed(Structure(backends=backends), places)
    )


def why_down(status: str, code: str, probe: Probe) -> str:
    """What its check said of a server that is down, in words; `status` is HAProxy's, as L7STS."""
    said = {
        "L4CON": "could not connect",
        "L4TOUT": f"could not connect within {probe.timeout_seconds:g} s",
        "L7TOUT": f"had no answer within {probe.timeout_seconds:g} s",
        "L7STS": f"was answered with status {code}, expected {probe.expect_status}",
        "L7RSP": "was answered with something that is not HTTP",
    }
    return f"HAProxy's check {said.get(status, 'failed')}"
