"""How a server joins a backend while HAProxy runs, and when that is all that a change needs. Pure.

A reload takes as long as HAProxy's start, and leaves an old worker. So the backend of a new group is there,
by a reload, while its hosts are being launched; they join it as they come. Leaving takes a reload.
"""

import ipaddress
from collections.abc import Iterable, Iterator, Mapping

from repave_agent.balancers.haproxy.backends import CHECK_AGAIN_MILLISECONDS, check, check_again
from repave_agent.balancers.haproxy.socket import ServerState, WorkerState
from repave_agent.balancers.haproxy.up import Key
from repave_agent.core.ports import Backend, Server, Structure
from repave_protos.daemon.endpoint import endpoint
from repave_protos.protocol.values import GroupName

Place = tuple[str, int]
"""Address and port."""

_GROUP, _HOST, _ADDRESS, _PORT = 1, 3, 4, 18
"""Columns of `show servers state`."""


def joining(backend: Backend, server: Server, structure: Structure) -> Iterator[str]:
    """The commands, after which it is as one of the file. Its first check comes as soon as one of a server in
    doubt: those of the file are spread over that time, and these come a few at once."""
    name, weight = f"{backend.group}/{server.host}", int(server.is_enabled)
    checked = check(backend.probe, check_again(structure), CHECK_AGAIN_MILLISECONDS[0])
    yield f"add server {name} {endpoint(server.address, server.port)} weight {weight} {checked}"
    yield f"enable health {name}"
    yield f"set server {name} state ready"


def is_reached_by_joining(
    running: Mapping[Key, Place | None], structure: Structure, state: WorkerState
) -> bool:
    """Whether nothing of what runs has to leave, or be elsewhere, for it to be this. To a backend with fronts
    of its own, which may have cookies or follow another one, no server is added."""
    wanted = addresses_of(structure)
    if any(place is None or wanted.get(key) != place for key, place in running.items()):
        return False
    joins = {GroupName(group) for group, _ in wanted.keys() - running.keys()}
    return not joins or (
        state.takes_servers and not any(each.fronts for each in structure.backends if each.group in joins)
    )


def running_in(structure: Structure, servers: Iterable[ServerState]) -> set[Key]:
    """Those in its backends: HAProxy has some of its own."""
    groups = {str(each.group) for each in structure.backends}
    return {(each.group, each.host) for each in servers if each.group in groups}


def addresses_of(structure: Structure) -> dict[Key, Place]:
    """At the main front, which the others follow."""
    return {
        (str(backend.group), str(server.host)): _place(server.address, _port(backend) or server.port)
        for backend in structure.backends
        for server in backend.servers
    }


def _port(backend: Backend) -> int:
    return backend.fronts[0].to if backend.fronts else 0


def addresses_in(answer: str, structure: Structure) -> dict[Key, Place]:
    """As a worker has them in backends of the structure, from its answer to `show servers state`."""
    rows = (line.split(" ") for line in answer.splitlines())
    return {
        (row[_GROUP], row[_HOST]): _place(row[_ADDRESS], int(row[_PORT]))
        for row in rows
        if len(row) > _PORT and row[_PORT].isdecimal() and structure.backend(GroupName(row[_GROUP]))
    }


def _place(address: str, port: int) -> Place:
    return str(ipaddress.ip_address(address)), port
