"""Writes who answers: a backend of HAProxy for each server group and front, with its hosts. Pure text.

The main front's backend is called after the group, and asks its hosts for their health. Those of further
fronts follow what it finds, so a host is in or out on all of them at once.
"""

from dataclasses import replace

from repave_agent.balancers.haproxy.conditions import milliseconds
from repave_agent.core.health_request import request_headers
from repave_agent.core.ports import Backend, Server, Structure
from repave_protos.daemon.endpoint import endpoint
from repave_protos.protocol.fronts import QUEUE_SECONDS, RETRIES, TrafficFront, plain_front
from repave_protos.protocol.values import Probe

CHECK_INTERVAL_SECONDS_MAX = 1.0  # a dead host leaves by itself even when the agent is away
CHECK_AGAIN_MILLISECONDS = 50, 250
"""While a server is down or in doubt: the least, and the most."""
CHECKS_AGAIN_PER_SECOND_MAX = 500  # by one HAProxy, while all of its servers are; within those bounds
FALL_MIN = 2  # with 1, a server that was just enabled shows as one whose check has passed
HOST_COOKIE = "repave-host"
"""Ours: the host that a client stays on, where the spec says so."""


def places(backend: Backend) -> tuple[str, ...]:
    """What the group's backends are called, the main front's first."""
    further = (f"{backend.group}_{front.name}" for front in backend.fronts[1:])
    return (str(backend.group), *further)


def check_again(structure: Structure) -> int:
    """Milliseconds between two checks of a server that is not known to be up. 20 servers: 50; 100: 200."""
    servers = sum(len(backend.servers) for backend in structure.backends)
    least, most = CHECK_AGAIN_MILLISECONDS
    return max(least, min(most, servers * 1000 // CHECKS_AGAIN_PER_SECOND_MAX))


def sections(backend: Backend, again_milliseconds: int, processes: int) -> list[str]:
    """One for each front. `processes`: so many HAProxys share what a host takes."""
    fronts = backend.fronts or (plain_front(0),)
    shared = [replace(each, host_connections=-(-each.host_connections // processes)) for each in fronts]
    named = zip(places(backend), shared, strict=True)
    return [_section(backend, name, front, again_milliseconds) for name, front in named]


def _section(backend: Backend, name: str, front: TrafficFront, again_milliseconds: int) -> str:
    is_main = name == backend.group
    lines = [f"backend {name}", *_of_front(front), *(_http_check(backend.probe) if is_main else ())]
    if is_main:
        lines.append(f"  timeout check {round(backend.probe.timeout_seconds * 1000)}ms")
    lines += [
        f"  timeout server {milliseconds(backend.timeouts.server_seconds)}",
        f"  timeout tunnel {milliseconds(backend.timeouts.tunnel_seconds)}",
    ]
    common = [*(_checks(backend.probe, front, again_milliseconds) if is_main else ()), *_to_hosts(front)]
    if common:
        lines.append("  " + " ".join(("default-server", *common)))
    for server in sorted(backend.servers, key=lambda each: each.host):
        if front.sticky == "cookie":
            lines.append(_let_go(name, server))
        lines.append(_server(backend, server, front, is_main=is_main))
    return "\n".join(lines) + "\n"


def _of_front(front: TrafficFront) -> list[str]:
    lines = ["  mode tcp"] * front.is_tcp
    lines.append(f"  balance {'source' if front.sticky == 'address' else front.balance}")
    lines += ["  hash-type consistent"] * (front.sticky == "address")
    lines += ["  option forwardfor"] * (not front.is_tcp)
    lines += [f"  timeout queue {milliseconds(front.queue_seconds)}"] * (front.queue_seconds != QUEUE_SECONDS)
    lines += [f"  retries {front.retries}"] * (front.retries != RETRIES)
    if front.sticky == "cookie":
        lines.append(f"  cookie {HOST_COOKIE} insert indirect nocache httponly attr SameSite=Lax")
    return lines


def _checks(probe: Probe, front: TrafficFront, again_milliseconds: int) -> list[str]:
    words = [check(probe, again_milliseconds, again_milliseconds)]
    words += [f"port {probe.port}"] * (front.to not in (0, probe.port))
    words += ["check-proto h1"] * (front.protocol == "grpc" and probe.kind == "http")
    return words


def check(probe: Probe, again_milliseconds: int, doubted_milliseconds: int) -> str:
    """When a server is asked, and which answers count. `doubted`: while it is up and not sure to be."""
    interval = round(min(probe.interval_seconds, CHECK_INTERVAL_SECONDS_MAX) * 1000)
    again, doubted = min(interval, again_milliseconds), min(interval, doubted_milliseconds)
    times = f"inter {interval}ms fastinter {doubted}ms downinter {again}ms"
    return f"check {times} fall {max(FALL_MIN, probe.unhealthy_after)} rise {probe.healthy_after}"


def _to_hosts(front: TrafficFront) -> list[str]:
    words = ["proto h2"] * (front.protocol == "grpc")
    words += [f"maxconn {front.host_connections}"] * (front.host_connections > 0)
    return [*words, *(["send-proxy-v2"] * front.sends_proxy)]


def _server(backend: Backend, server: Server, front: TrafficFront, *, is_main: bool) -> str:
    line = f"  server {server.host} {endpoint(server.address, front.to or server.port)}"
    line += "" if is_main else f" track {backend.group}/{server.host}"
    line += f" cookie {server.host}" if front.sticky == "cookie" else ""
    line += f" id {ordinal}" if front.sticky == "address" and (ordinal := _ordinal(server)) else ""
    return line + ("" if server.is_enabled else " weight 0")


def _ordinal(server: Server) -> int:
    """The number at the end of its name, which is its own in the group; 0: there is none. Clients' addresses
    are spread by servers' ids, and HAProxy would count these anew whenever one has left."""
    last = server.host.rpartition("-")[2]
    return int(last) if last.isascii() and last.isdecimal() and len(last) < 10 else 0


def _let_go(name: str, server: Server) -> str:
    """Weight 0 alone leaves a host the clients that its cookie keeps there, until it has ended."""
    is_kept = f"{{ req.cook({HOST_COOKIE}) -m str {server.host} }}"
    return f"  ignore-persist if {is_kept} {{ srv_uweight({name}/{server.host}) eq 0 }}"


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
