"""What HAProxy needs of this machine: free ports, files replaced whole, limits that fit."""

import errno
import hashlib
import os
import pwd
import resource
import socket
from collections.abc import Collection, Iterable
from ipaddress import IPv4Network
from pathlib import Path

from repave_agent.balancers.haproxy.conditions import Conditions
from repave_agent.balancers.haproxy.options import HaproxyOptions
from repave_agent.core.ports import BalancerError, Frontend
from repave_protos.daemon import files
from repave_protos.protocol.fronts import ports_of
from repave_protos.protocol.values import ApplicationName

THREADS_MAX = 4
CONNECTIONS_MAX = 10_000
DESCRIPTORS_APART = 800
MAP_FILE = "routes.map"
STATES_FILE = "servers.state"
INNER_ADDRESSES = IPv4Network("127.192.0.0/10")
UNPRIVILEGED_USER = "haproxy"  # made by the Debian package


def conditions(directory: Path, others_directory: Path | None, options: HaproxyOptions) -> Conditions:
    """Fits the machine and the limits of this process. Raises BalancerError where they allow less than was
    asked for."""
    connections = _connections(options.connections)
    return Conditions(
        map_path=str(directory / MAP_FILE),
        states_path=str(directory / STATES_FILE),
        traffic_address=options.traffic_address,
        redispatch=options.redispatch,
        threads=min(THREADS_MAX, len(os.sched_getaffinity(0))),
        connections_max=connections,
        connections_per_application_max=min(
            connections, options.connections_per_application or max(1, connections * 3 // 4)
        ),
        connections_per_client_max=options.connections_per_client,
        header_seconds_max=options.header_seconds,
        old_seconds_max=round(options.old_connections_hours * 3600),
        user=UNPRIVILEGED_USER if os.geteuid() == 0 and _is_user(UNPRIVILEGED_USER) else "",
        inner_address=_inner_address(directory),
        others_inner_address=_inner_address(others_directory) if others_directory else "",
    )


def _connections(wanted: int) -> int:
    """A connection takes two descriptors; checks, listeners and the rest have DESCRIPTORS_APART."""
    _, descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)
    is_bounded = descriptors != resource.RLIM_INFINITY
    affordable = max(100, (descriptors - DESCRIPTORS_APART) // 2) if is_bounded else wanted or CONNECTIONS_MAX
    if wanted > affordable:
        needed = 2 * wanted + DESCRIPTORS_APART
        raise BalancerError(
            f"haproxy.connections: {wanted} connections need {needed} open files, and the agent's limit is "
            f"{descriptors}: raise it (LimitNOFILE in the unit, ulimit -Hn), or ask for {affordable} at most"
        )
    return wanted or min(CONNECTIONS_MAX, affordable)


def _inner_address(directory: Path) -> str:
    """A loopback address of one HAProxy's own: the path of its directory tells it from all others."""
    digest = hashlib.sha256(os.fsencode(directory.absolute())).digest()
    place = int.from_bytes(digest[:3], "big") % (INNER_ADDRESSES.num_addresses - 2) + 1
    return str(INNER_ADDRESSES[place])


def _is_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def known_ports(frontends: Iterable[Frontend]) -> set[int]:
    """All that they listen at."""
    return {port for frontend in frontends for front in frontend.all_fronts for port in ports_of(front)}


def taken_ports(
    frontends: Iterable[Frontend], address: str, ours: Collection[int] = ()
) -> dict[ApplicationName, str]:
    """Those of which a port can't be had, and why: HAProxy would share a port with another HAProxy without a
    word, and would serve no client for 2 s while it tries for one that is taken. `ours`: it has them."""
    troubles = (
        (each.application, _port_trouble(each, port, address))
        for each in frontends
        for port in sorted(known_ports((each,)) - set(ours))
    )
    return {application: trouble for application, trouble in troubles if trouble}


def _port_trouble(frontend: Frontend, port: int, address: str) -> str:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((address, port))
        except OSError as error:
            return _in_words(frontend, port, address, error)
    return ""


def _in_words(frontend: Frontend, port: int, address: str, error: OSError) -> str:
    where = f"{frontend.application}: port {port} on {address}"
    if error.errno == errno.EADDRINUSE:
        return f"{where} is taken by another program: stop it, or give the application another port"
    if error.errno == errno.EACCES:
        return f"{where} needs root or CAP_NET_BIND_SERVICE: ports below 1024 are privileged"
    return f"{where} cannot be used: {error.strerror}"


def make_directory(path: Path) -> None:
    """Only its owner may look inside: the socket there rules all traffic. Raises BalancerError."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise BalancerError(f"the balancer's directory {path} cannot be made: {error.strerror}") from None


def read(path: Path) -> str:
    """ "" when it is not there. Raises BalancerError."""
    try:
        return files.read_file(path).decode(errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise BalancerError(f"{path}: {error.strerror}") from error


def write(path: Path, text: str) -> None:
    """Replaces the file whole and durably; leaves it alone when it says so already. Makes a directory that
    was deleted anew. Raises BalancerError."""
    if read(path) == text and path.exists():
        return
    make_directory(path.parent)
    try:
        files.replace(path, text.encode())
    except OSError as error:
        raise BalancerError(f"{path} cannot be written: {error.strerror}") from None
