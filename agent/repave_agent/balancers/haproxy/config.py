"""Writes what HAProxy reads: its configuration and its map of routes; and reads both back. Pure text.

Each configuration carries the structure it was written from (a comment, so that an agent that starts anew
knows it) and a fingerprint of everything that only a reload can change (HAProxy repeats it when asked).
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

from repave_agent.balancers.haproxy.backends import check_again
from repave_agent.balancers.haproxy.backends import sections as sections_of
from repave_agent.balancers.haproxy.conditions import CLIENTS, NO_ROUTE, Conditions, milliseconds
from repave_agent.balancers.haproxy.fallback import counting_backend
from repave_agent.balancers.haproxy.listeners import listeners
from repave_agent.balancers.haproxy.socket import FALLEN_BACK
from repave_agent.core.ports import Backend, Frontend, Route, Server, Structure
from repave_protos.protocol.certificate_places import CertificateReference
from repave_protos.protocol.fronts import TrafficFront
from repave_protos.protocol.values import (
    USUAL_TIMEOUTS,
    ApplicationName,
    GroupName,
    Probe,
    Split,
    Timeouts,
)

RELOADS_SURVIVED_MAX = 100  # bounds the old workers that long requests keep alive, at 6 MB each
KEEP_ALIVE_SECONDS = 5  # idle client connections keep an old worker alive for this long
LEAVE_MINUTES = 10
"""After a reload, by when every client that comes back to the old worker is told to leave it."""
_STRUCTURE_MARK = "# structure "


# ------------------------------------------------------------------------------------------------ writing


def render(structure: Structure, conditions: Conditions) -> str:
    """The whole configuration file. Servers that are not enabled have weight 0: no request goes there, and
    HAProxy asks them for their health all the same. So it has its own opinion of a host by the time the host
    is to take requests; one in maintenance is first asked up to a whole interval after it was enabled."""
    return (
        "# Written by repave-agent, which owns this file and its HAProxy: edits are lost.\n"
        f"{_STRUCTURE_MARK}{json.dumps(plain(structure))}\n"
        f"{_text(structure, conditions, fingerprint(structure, conditions))}"
    )


def fingerprint(structure: Structure, conditions: Conditions) -> str:
    """Names everything that needs a reload to change, but for the servers."""
    text = _text(_without_servers(structure), conditions, "")
    return "repave-" + hashlib.sha256(text.encode()).hexdigest()[:16]


def structure_of(configuration: str) -> Structure | None:
    """The structure a configuration was rendered from; None when it is not one of ours or was damaged."""
    for line in configuration.splitlines():
        if line.startswith(_STRUCTURE_MARK):
            try:
                return structure_from(json.loads(line.removeprefix(_STRUCTURE_MARK)))
            except (ValueError, TypeError, KeyError):
                return None
    return None


def plain(structure: Structure) -> dict[str, Any]:
    """As JSON has it. What has no fronts is written as before there were any."""
    made = asdict(structure)
    indices = (made["_by_group"].values(), made["_by_application"].values())
    for part in (*made["frontends"], *made["backends"], *(each for index in indices for each in index)):
        if not part["fronts"]:
            del part["fronts"]
    return made


def structure_from(plain: Any) -> Structure:
    frontends = tuple(_frontend_from(frontend) for frontend in plain["frontends"])
    return Structure(frontends, tuple(_backend_from(backend) for backend in plain["backends"]))


def _frontend_from(plain: Any) -> Frontend:
    return Frontend(**plain | {"split": Split(**plain.get("split", {})), "fronts": _fronts_from(plain)})


def _fronts_from(plain: Any) -> tuple[TrafficFront, ...]:
    return tuple(map(_front_from, plain.get("fronts", ())))


def _front_from(plain: Any) -> TrafficFront:
    kept = plain["certificate"]
    if kept is not None:
        kept = CertificateReference(**kept | {"names": tuple(kept["names"])})
    return TrafficFront(**plain | {"certificate": kept})


def _backend_from(plain: Any) -> Backend:
    raw = plain["probe"]
    headers = tuple((name, value) for name, value in raw.get("headers", ()))
    probe = Probe(**raw | {"command": tuple(raw["command"]), "headers": headers})
    servers = tuple(Server(**server) for server in plain["servers"])
    return Backend(plain["group"], servers, probe, Timeouts(**plain.get("timeouts", {})), _fronts_from(plain))


def _without_servers(structure: Structure) -> Structure:
    return replace(structure, backends=tuple(replace(each, servers=()) for each in structure.backends))


def _text(structure: Structure, conditions: Conditions, name: str) -> str:
    sections = [_global(conditions, name), _defaults(conditions)]
    sections += listeners(structure, conditions)
    again, processes = check_again(structure), 2 if conditions.others_inner_address else 1
    for backend in sorted(structure.backends, key=lambda each: each.group):
        sections += sections_of(backend, again, processes)
    sections.append(counting_backend(FALLEN_BACK))
    if conditions.connections_per_client_max:
        sections.append(f"backend {CLIENTS}\n  stick-table type ipv6 size 100k expire 10m store conn_cur\n")
    return "\n".join(sections)


def _global(conditions: Conditions, name: str) -> str:
    """close-spread-time: an old worker tells a client to leave by a chance that grows from nothing. Otherwise
    a connection of HTTP/2 that is accepted in the moment of a reload would be told to leave as it is greeted
    (SETTINGS and GOAWAY at once): clients of gRPC's own library then hang until it is closed.
    httpclient.ssl.verify: nothing here uses HAProxy's own client, for which each start and each reload would
    read all certificates of the system: 60 of some 70 ms of CPU."""
    user = f"  user {conditions.user}\n  group {conditions.user}\n" if conditions.user else ""
    return f"""\
global
  description {name}
  nbthread {conditions.threads}
  maxconn {conditions.connections_max}
  hard-stop-after {conditions.old_seconds_max}s
  mworker-max-reloads {RELOADS_SURVIVED_MAX}
  .if version_atleast(2.6)
  close-spread-time {LEAVE_MINUTES}m
  .if feature(OPENSSL)
  httpclient.ssl.verify none
  .endif
  .endif
  server-state-file {conditions.states_path}
{user}"""


def _defaults(conditions: Conditions) -> str:
    """idle-close-on-response: a reload never closes a connection on which a client is about to ask.
    http-server-close: a host never gets a request on a connection that it is just closing (measured
    elsewhere as sporadic 502s when an application's keep-alive is as short as ours), and a drained host
    has no connections left. A connect that fails has sent nothing, so any request may be tried again.
    The backend names the map, so that a worker has it before there is any frontend."""
    again = "option redispatch 1\n  retries 3\n  retry-on conn-failure empty-response"
    return f"""\
defaults
  mode http
  option idle-close-on-response
  option http-server-close
  load-server-state-from-file global
  {again if conditions.redispatch else "retries 0"}
  timeout connect 2s
  timeout queue 5s
  timeout client {milliseconds(USUAL_TIMEOUTS.client_seconds)}
  timeout server {milliseconds(USUAL_TIMEOUTS.server_seconds)}
  timeout tunnel {milliseconds(USUAL_TIMEOUTS.tunnel_seconds)}
  timeout http-request {milliseconds(conditions.header_seconds_max)}
  timeout http-keep-alive {KEEP_ALIVE_SECONDS}s

backend {NO_ROUTE}
  http-request set-var(txn.route) str(-),map({conditions.map_path})
  http-request return status 503 content-type text/plain string "repave: no release takes traffic here yet\\n"
"""


# ------------------------------------------------------------------------------------------------- routes


def render_routes(routes: Iterable[Route]) -> str:
    """The map file: a line per application."""
    return "".join(f"{name} {value}\n" for name, value in sorted(map_of(routes).items()))


def map_of(routes: Iterable[Route]) -> dict[str, str]:
    """What the map holds: application -> `first|second|basis points of second`, then `|testers`, `|spare` and
    `|baseline|its basis points` if any."""
    return {route.application: _entry(route) for route in routes}


def _entry(route: Route) -> str:
    share = f"{route.first}|{route.second or route.first}|{route.second_bp}"
    if route.baseline is not None:
        beside = f"{route.baseline}|{route.baseline_bp}"
        return f"{share}|{route.testers or ''}|{route.spare or ''}|{beside}"
    if route.spare is not None:
        return f"{share}|{route.testers or ''}|{route.spare}"
    return share if route.testers is None else f"{share}|{route.testers}"


def routes_of(entries: dict[str, str]) -> tuple[Route, ...]:
    """The inverse of map_of. Leaves out what no Route could have written."""
    routes = []
    for application, value in entries.items():
        first, *rest = value.split("|")
        if len(rest) not in (2, 3, 4, 6) or not rest[1].isdecimal() or not rest[-1]:
            continue
        second = GroupName(rest[0]) if rest[0] != first else None
        testers, spare, baseline = (
            GroupName(each) if each else None for each in (*rest[2:5], "", "", "")[:3]
        )
        beside = rest[5] if len(rest) == 6 else "0"
        if not beside.isdecimal():
            continue
        name, share = ApplicationName(application), int(rest[1])
        routes.append(Route(name, GroupName(first), second, share, testers, spare, baseline, int(beside)))
    return tuple(routes)


def entries_of(map_file: str) -> dict[str, str]:
    """The entries of a map file's text."""
    pairs = (line.split(maxsplit=1) for line in map_file.splitlines() if line.strip())
    return {pair[0]: pair[1].strip() for pair in pairs if len(pair) == 2}
