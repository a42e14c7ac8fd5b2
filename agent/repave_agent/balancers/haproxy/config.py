"""Writes what HAProxy reads: its configuration and its map of routes; and reads both back. Pure text.

Each configuration carries the structure it was written from (a comment, so that an agent that starts anew
knows it) and a fingerprint of everything that only a reload can change (HAProxy repeats it when asked).
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from repave_agent.balancers.haproxy.fallback import counting_backend, fallback_rules
from repave_agent.balancers.haproxy.socket import FALLEN_BACK
from repave_agent.balancers.haproxy.split import baseline_rules, split_rules, tester_rules
from repave_agent.core.health_request import request_headers
from repave_agent.core.ports import Backend, Frontend, Route, Server, Structure
from repave_protos.daemon.endpoint import endpoint
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

CHECK_INTERVAL_SECONDS_MAX = 1.0  # a dead host leaves by itself even when the agent is away
CHECK_AGAIN_MILLISECONDS = 50, 250
"""While a server is down or in doubt: the least, and the most."""
CHECKS_AGAIN_PER_SECOND_MAX = 500  # by one HAProxy, while all of its servers are; within those bounds
FALL_MIN = 2  # with 1, a server that was just enabled shows as one whose check has passed
RELOADS_SURVIVED_MAX = 100  # bounds the old workers that long requests keep alive, at 6 MB each
KEEP_ALIVE_SECONDS = 5  # idle client connections keep an old worker alive for this long
ON_THE_WAY = "7d"
"""Between two workers of ours: the one that speaks to the host knows how long it may be silent."""
NO_ROUTE, NEWER, OTHER = "_no_route", "_newer", "_other"  # "_" is refused in names of groups
CLIENTS = "_clients"  # the table of their addresses
_STRUCTURE_MARK = "# structure "


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a configuration depends on besides the structure."""

    map_path: str
    states_path: str  # of servers, read when it starts
    traffic_address: str
    redispatch: bool  # False shows every failure of a host to the client: for proofs, not for production
    threads: int
    connections_max: int
    connections_per_application_max: int
    old_seconds_max: int  # an old worker ends then, whatever it still has in flight
    inner_address: str  # where its newest worker takes what others pass on
    others_inner_address: str = ""  # the same of the HAProxy that shares its addresses; "": it is alone
    connections_per_client_max: int = 0  # 0: no limit
    header_seconds_max: float = 10.0
    certificates: str = ""  # the folder of those that fronts show
    thumbprint: str = ""  # of the account at the ACME server; "": there is none
    user: str = ""  # whom the workers run as; "": the user that started them


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
    """Names everything that needs a reload to change: all but order and the enabled flags."""
    text = _text(_all_enabled(structure), conditions, "")
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


def _all_enabled(structure: Structure) -> Structure:
    return replace(
        structure,
        backends=tuple(
            replace(backend, servers=tuple(replace(server, is_enabled=True) for server in backend.servers))
            for backend in structure.backends
        ),
    )


def _text(structure: Structure, conditions: Conditions, name: str) -> str:
    sections = [_global(conditions, name), _defaults(conditions)]
    for frontend in sorted(structure.frontends, key=lambda each: each.application):
        sections += [_frontend(frontend, conditions), *_inner(frontend, conditions)]
    again = _check_again(structure)
    sections += [_backend(each, again) for each in sorted(structure.backends, key=lambda each: each.group)]
    sections.append(counting_backend(FALLEN_BACK))
    if conditions.connections_per_client_max:
        sections.append(f"backend {CLIENTS}\n  stick-table type ipv6 size 100k expire 10m store conn_cur\n")
    return "\n".join(sections)


def _global(conditions: Conditions, name: str) -> str:
    user = f"  user {conditions.user}\n  group {conditions.user}\n" if conditions.user else ""
    return f"""\
global
  description {name}
  nbthread {conditions.threads}
  maxconn {conditions.connections_max}
  hard-stop-after {conditions.old_seconds_max}s
  mworker-max-reloads {RELOADS_SURVIVED_MAX}
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
  timeout client {_milliseconds(USUAL_TIMEOUTS.client_seconds)}
  timeout server {_milliseconds(USUAL_TIMEOUTS.server_seconds)}
  timeout tunnel {_milliseconds(USUAL_TIMEOUTS.tunnel_seconds)}
  timeout http-request {_milliseconds(conditions.header_seconds_max)}
  timeout http-keep-alive {KEEP_ALIVE_SECONDS}s

backend {NO_ROUTE}
  http-request set-var(txn.route) str(-),map({conditions.map_path})
  http-request return status 503 content-type text/plain string "repave: no release takes traffic here yet\\n"
"""


def _frontend(frontend: Frontend, conditions: Conditions) -> str:
    """One lookup, one roll of 10,000: `second` is asked when the roll is below its basis points. What other
    workers pass on has been counted there."""
    connections = conditions.connections_per_application_max
    has_spare = "{ var(txn.spare) -m len gt 0 }"
    lines = [
        f"bind {endpoint(conditions.traffic_address, frontend.port)} maxconn {connections}",
        f"bind {endpoint(conditions.inner_address, frontend.port)} accept-proxy",
    ]
    if most := conditions.connections_per_client_max:
        lines += [
            f"tcp-request connection accept if {{ dst {conditions.inner_address} }}",
            f"tcp-request connection track-sc1 src table {CLIENTS}",
            f"tcp-request connection reject if {{ sc1_conn_cur gt {most} }}",
        ]
    if frontend.client_seconds != USUAL_TIMEOUTS.client_seconds:
        lines.append(f"timeout client {_milliseconds(frontend.client_seconds)}")
    if conditions.redispatch:
        lines.append("http-request disable-l7-retry unless { method GET HEAD OPTIONS }")
    lines += [
        f"http-request set-var(txn.route) str({frontend.application}),map({conditions.map_path})",
        "http-request set-var(txn.first) var(txn.route),field(1,|)",
        "http-request set-var(txn.second) var(txn.route),field(2,|)",
        *split_rules(frontend.split),
        "http-request set-var(txn.margin) var(txn.route),field(3,|),sub(txn.roll)",
        *tester_rules(frontend.split),
        "http-request set-var(txn.chosen) var(txn.first)",
        "http-request set-var(txn.chosen) var(txn.second) if { var(txn.margin) -m int gt 0 }",
        *baseline_rules(),
        *fallback_rules(frontend.application, FALLEN_BACK),
        # A worker that is being replaced sees no server up any more.
        f"http-request set-var(txn.chosen) str({NEWER}.{frontend.application}) if {{ stopping }} {has_spare}",
        "use_backend %[var(txn.chosen)] if { var(txn.route) -m found }",
        f"default_backend {NO_ROUTE}",
    ]
    return "\n  ".join((f"frontend {frontend.application}", *lines)) + "\n"


def _inner(frontend: Frontend, conditions: Conditions) -> Iterator[str]:
    """By which a worker passes an application's requests on, each with its client's address.

    After a reload the old worker still owns idle client connections, and does not know newer groups: it
    passes what comes in on them to the newest one. And while a switch is under way one of two HAProxys passes
    all to the other: one map entry decides then, and no client sees the newer group and then the older.
    A program on this machine could forge a client's address there; as it could at the hosts themselves.
    """
    addresses = {NEWER: conditions.inner_address, OTHER: conditions.others_inner_address}
    for name, address in addresses.items():
        if address:
            yield f"""\
backend {name}.{frontend.application}
  timeout server {ON_THE_WAY}
  timeout tunnel {ON_THE_WAY}
  server {name} {endpoint(address, frontend.port)} send-proxy-v2
"""


def _check_again(structure: Structure) -> int:
    """Milliseconds between two checks of a server that is not known to be up. 20 servers: 50; 100: 200."""
    servers = sum(len(backend.servers) for backend in structure.backends)
    least, most = CHECK_AGAIN_MILLISECONDS
    return max(least, min(most, servers * 1000 // CHECKS_AGAIN_PER_SECOND_MAX))


def _backend(backend: Backend, again_milliseconds: int) -> str:
    probe = backend.probe
    interval = round(min(probe.interval_seconds, CHECK_INTERVAL_SECONDS_MAX) * 1000)
    again = min(interval, again_milliseconds)
    lines = [f"backend {backend.group}", "  balance roundrobin", "  option forwardfor", *_http_check(probe)]
    lines += [
        f"  timeout check {round(probe.timeout_seconds * 1000)}ms",
        f"  timeout server {_milliseconds(backend.timeouts.server_seconds)}",
        f"  timeout tunnel {_milliseconds(backend.timeouts.tunnel_seconds)}",
        f"  default-server check inter {interval}ms fastinter {again}ms downinter {again}ms"
        f" fall {max(FALL_MIN, probe.unhealthy_after)} rise {probe.healthy_after}",
    ]
    for server in sorted(backend.servers, key=lambda each: each.host):
        weight = "" if server.is_enabled else " weight 0"
        lines.append(f"  server {server.host} {endpoint(server.address, server.port)}{weight}")
    return "\n".join(lines) + "\n"


def _http_check(probe: Probe) -> list[str]:
    if probe.kind != "http":
        return []
    headers = "".join(f" hdr {name} {_formatted(value)}" for name, value in request_headers(probe))
    return [
        "  option httpchk",
        f"  http-check send meth GET uri {quoted(probe.path)} ver HTTP/1.1{headers}",
        f"  http-check expect status {probe.expect_status}",
    ]


def _formatted(text: str) -> str:
    """As a value that may hold expressions, and holds none."""
    return quoted(text.replace("%", "%%"))


def quoted(text: str) -> str:
    """As one word, whatever is in it but line ends."""
    return "'" + text.replace("'", "'\\''") + "'"


def _milliseconds(seconds: float) -> str:
    return f"{max(1, round(seconds * 1000))}ms"


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
