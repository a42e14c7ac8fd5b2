"""What a front is: one way by which clients reach an application. Says what is wrong with one, which
abilities of a balancer it needs, and why two can't share a port. Pure: controller and agents ask the same.

An application whose host template has no fronts has one: plain HTTP at its port, to the port of the probe.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from repave_protos.protocol.certificate_places import CertificateReference, certificate_fault

FrontProtocol = Literal["http", "https", "grpc", "tcp"]
Balance = Literal["roundrobin", "leastconn", "random"]
Sticky = Literal["", "cookie", "address"]

FRONTS_MAX = 20  # of one application
FRONT_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
QUEUE_SECONDS = 5.0
"""How long requests wait for a host that is full, where nothing else is said."""
RETRIES = 3
RETRIES_MAX = 10
HOST_CONNECTIONS_MAX = 100_000

_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})*")
_PATH = re.compile(r"(/[A-Za-z0-9._~!$&*+,;=:@%-]+)+")
HOST_LENGTH_MAX = 253
PATH_LENGTH_MAX = 200


@dataclass(frozen=True, slots=True)
class TrafficFront:
    """One way in. What clients see of it is that of the group with most of the traffic; how hosts are reached
    (`to`, `balance`, `host_connections`, `retries`, `sends_proxy`, `sticky`) is each group's own."""

    name: str
    port: int
    protocol: FrontProtocol = "http"
    to: int = 0  # the hosts' port; 0: the probe's
    certificate: CertificateReference | None = None
    host: str = ""  # only requests for it; of tcp: connections that name it in their TLS hello
    path: str = ""  # only requests for it, or below it
    redirect_from: int = 0  # requests at this port are sent to this front
    has_http2: bool = False  # offered to clients
    balance: Balance = "roundrobin"
    host_connections: int = 0  # that one host gets at a time; 0: as many as there are
    queue_seconds: float = QUEUE_SECONDS
    retries: int = RETRIES
    accepts_proxy: bool = False  # clients' connections begin with a header of the PROXY protocol
    sends_proxy: bool = False  # those to hosts do
    sticky: Sticky = ""

    @property
    def is_tcp(self) -> bool:
        return self.protocol == "tcp"

    @property
    def is_encrypted(self) -> bool:
        return self.certificate is not None

    @property
    def matches(self) -> str:
        """What it matches, as people read it; "": everything."""
        return f"{self.host}{self.path}"


def plain_front(port: int) -> TrafficFront:
    """That of an application whose template has none."""
    return TrafficFront("main", port)


# ------------------------------------------------------------------------------------------------- faults

NO_PLAIN_FRONT = (
    "an ACME server sees by http-01 whose a name is at a front without TLS: add redirect_from: 80 or a front "
    "of http, or write acme: {by: dns-01}"
)


def front_faults(fronts: tuple[TrafficFront, ...]) -> list[str]:
    """What is inconsistent in the fronts of one template; empty when nothing is."""
    wrong = [f"there are {len(fronts)} fronts, at most {FRONTS_MAX} can be"] * (len(fronts) > FRONTS_MAX)
    names = [each.name for each in fronts]
    wrong += [f"two fronts are called {name}" for name in sorted(set(names)) if names.count(name) > 1]
    has_plain = any(door.kind == "http" for front in fronts for door in doors(front))
    for number, front in enumerate(fronts):
        wrong += [f"front {front.name}: {fault}" for _, fault in faults_of(front)]
        if not has_plain and front.certificate is not None and front.certificate.kind == "acme-http-01":
            wrong.append(f"front {front.name}: {NO_PLAIN_FRONT}")
        for other in fronts[:number]:
            if found := conflict(front, other):
                wrong.append(f"fronts {other.name} and {front.name} both have port {found.port}: {found.why}")
    return wrong


def faults_of(front: TrafficFront) -> Iterator[tuple[str, str]]:
    """The option that is wrong, and why."""
    if FRONT_NAME.fullmatch(front.name) is None:
        yield "name", "a name begins with a-z, and has a-z, 0-9 and -, at most 31"
    if not 1 <= front.port <= 65_535:
        yield "port", f"{front.port} is no port"
    if front.protocol == "https" and front.certificate is None:
        yield (
            "certificate",
            "https needs a certificate: add certificate: {file: /etc/repave/certificates/NAME.pem}",
        )
    if front.protocol == "http" and front.certificate is not None:
        yield "certificate", "http has none: write protocol: https"
    if front.certificate is not None and certificate_fault(front.certificate):
        yield f"certificate.{front.certificate.source}", certificate_fault(front.certificate)
    elif front.certificate is not None and (fault := _acme_fault(front, front.certificate)):
        yield "certificate.acme", fault
    if front.host and host_fault(front.host):
        yield "match.host", host_fault(front.host)
    if front.path and path_fault(front.path):
        yield "match.path", path_fault(front.path)
    if front.path and front.is_tcp:
        yield "match.path", "tcp has no paths: use protocol http, https or grpc, or match host"
    if front.redirect_from and front.protocol != "https":
        yield "redirect_from", "leads to https only"
    if front.redirect_from == front.port:
        yield "redirect_from", "is the front's own port"
    if front.sticky == "cookie" and front.protocol not in ("http", "https"):
        yield "sticky", f"{front.protocol} has no cookies: use address"
    if front.sticky == "address" and front.balance != "roundrobin":
        yield "sticky", "by address, hosts are chosen by that alone: leave balance out"


def _acme_fault(front: TrafficFront, wanted: CertificateReference) -> str:
    """What an ACME server could not do for it."""
    if wanted.source != "acme":
        return ""
    if not front.host and not wanted.names:
        return "a server gives certificates of names: say match.host, or names"
    host = CertificateReference("acme", wanted.where, (front.host,) if front.host else ())
    return certificate_fault(host)


def host_fault(host: str) -> str:
    """Why no front can match it; "" when one can."""
    if len(host) > HOST_LENGTH_MAX or _HOST.fullmatch(host) is None:
        return "write a name in small letters, such as shop.example.com or *.example.com, without a port"
    return ""


def path_fault(path: str) -> str:
    """Why no front can match it; "" when one can."""
    if len(path) > PATH_LENGTH_MAX or _PATH.fullmatch(path) is None:
        return "write a path such as /api, without / at its end; it takes what is below it, too"
    return ""


# -------------------------------------------------------------------------------------------- shared ports


@dataclass(frozen=True, slots=True)
class Door:
    """A port that a front listens at. `kind`: what is spoken there before anything is matched."""

    port: int
    kind: Literal["http", "https", "h2c", "tcp", "tls"]
    accepts_proxy: bool


@dataclass(frozen=True, slots=True)
class PortConflict:
    """Why two fronts can't share a port. `is_plain`: neither of them tries to."""

    port: int
    why: str
    is_plain: bool = False


def doors(front: TrafficFront) -> tuple[Door, ...]:
    """Its port, and the one that it redirects from."""
    own = Door(front.port, _kind(front), front.accepts_proxy)
    if not front.redirect_from:
        return (own,)
    return own, Door(front.redirect_from, "http", front.accepts_proxy)


def ports_of(front: TrafficFront) -> tuple[int, ...]:
    """All that it listens at."""
    return tuple(door.port for door in doors(front))


def _kind(front: TrafficFront) -> Literal["http", "https", "h2c", "tcp", "tls"]:
    if front.is_tcp:
        return "tls" if front.is_encrypted else "tcp"
    if front.is_encrypted:
        return "https"
    return "h2c" if front.protocol == "grpc" else "http"


def conflict(one: TrafficFront, other: TrafficFront) -> PortConflict | None:
    """Why both can't be there; None when they can."""
    for door in doors(one):
        for taken in doors(other):
            if door.port == taken.port and (why := _clash(one, door, other, taken)):
                return PortConflict(door.port, why, is_plain=not one.matches and not other.matches)
    return None


def _clash(one: TrafficFront, door: Door, other: TrafficFront, taken: Door) -> str:
    if not one.matches or not other.matches:
        return "fronts that share a port need match.host or match.path, each of them"
    if door.kind != taken.kind:
        return f"one speaks {taken.kind}, the other {door.kind}"
    if door.kind in ("https", "tls") and not (one.host and other.host):
        return "fronts with certificates that share a port need match.host, each: it says which one is shown"
    if door.accepts_proxy != taken.accepts_proxy:
        return "only one of them has proxy_protocol.accept"
    if door.kind == "https" and one.has_http2 != other.has_http2:
        return "only one of them offers http2, and clients agree on that before they say what they want"
    if (one.host, one.path) == (other.host, other.path):
        return f"both match {one.matches}"
    return ""


# ------------------------------------------------------------------------------------------------ abilities

SEVERAL = "several"
ABILITIES = {
    "http": "fronts",
    "https": "protocol https",
    "grpc": "protocol grpc",
    "tcp": "protocol tcp",
    SEVERAL: "further fronts",
    "to": "port of its hosts but the probe's",
    "match": "fronts that match a host or a path",
    "redirect": "redirect_from",
    "balance": "choice of balance",
    "host_connections": "limit of connections to a host",
    "retries": "number of retries",
    "proxy_accept": "PROXY protocol from clients",
    "proxy_send": "PROXY protocol to hosts",
    "sticky_cookie": "clients that stay on a host by a cookie",
    "sticky_address": "clients that stay on a host by their address",
}
"""What fronts may need of a balancer, and what people call it. Beside these, `certificate_KIND`."""


def needs(fronts: tuple[TrafficFront, ...]) -> dict[str, str]:
    """The abilities that a balancer needs for these fronts, each with the option that asks for it first."""
    found: dict[str, str] = {}
    for number, front in enumerate(fronts):
        for ability, option in _needs(front):
            found.setdefault(ability, f"{number}.{option}")
    if len(fronts) > 1:
        found[SEVERAL] = "1.port"
    return found


def _needs(front: TrafficFront) -> Iterator[tuple[str, str]]:
    yield "http", "port"
    if front.protocol != "http":
        yield front.protocol, "protocol"
    if front.certificate is not None:
        yield f"certificate_{front.certificate.kind}", f"certificate.{front.certificate.source}"
    wanted = {
        ("to", "to"): front.to,
        ("match", "match"): front.matches,
        ("redirect", "redirect_from"): front.redirect_from,
        ("balance", "balance"): front.balance != "roundrobin",
        ("host_connections", "host_connections"): front.host_connections,
        ("retries", "retries"): front.retries != RETRIES,
        ("proxy_accept", "proxy_protocol.accept"): front.accepts_proxy,
        ("proxy_send", "proxy_protocol.send"): front.sends_proxy,
        (f"sticky_{front.sticky}", "sticky"): front.sticky,
    }
    yield from (need for need, is_wanted in wanted.items() if is_wanted)


def ability_in_words(ability: str) -> str:
    kind = ability.removeprefix("certificate_")
    return f"certificates by {kind}" if kind != ability else ABILITIES.get(ability, ability)
