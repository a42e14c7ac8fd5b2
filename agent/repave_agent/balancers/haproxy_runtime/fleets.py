"""Reads the servers of a backend that an operator's HAProxy has already, for a person who adopts them."""

import asyncio
import re
from collections.abc import Mapping, Sequence

from repave_agent.balancers.haproxy_runtime.options import HaproxyRuntimeOptions
from repave_agent.balancers.haproxy_runtime.socket import RuntimeSocket
from repave_agent.balancers.haproxy_runtime.transport import Keys
from repave_agent.core.ports import BalancerError
from repave_agent.kinds import Site
from repave_protos.protocol.values import GivenHost

BACKEND = re.compile(r"[A-Za-z0-9_.:-]{1,200}")
"""What HAProxy takes as a name: nothing that ends a command."""
MAINTENANCE = 0x01 | 0x02 | 0x04 | 0x20
"""Bits of `srv_admin_state`: by the configuration, a command, another server, for want of an address."""
DRAINS = 0x08 | 0x10
"""Likewise: by a command, another server."""


async def of_backend(options: HaproxyRuntimeOptions, site: Site, name: str) -> Sequence[GivenHost]:
    """Those that take requests: none in maintenance, that drains, has a weight of 0 or is a backup. Raises
    BalancerError, OSError."""
    return await asyncio.to_thread(_of_backend, options, name)


def _of_backend(options: HaproxyRuntimeOptions, name: str) -> tuple[GivenHost, ...]:
    if BACKEND.fullmatch(name) is None:
        raise BalancerError(f"{name[:40]!a} is no name of a backend: letters, digits and _ . : - only")
    keys = Keys(options.key, options.known_hosts)
    sides = [RuntimeSocket(each, options.map, keys) for each in options.sockets]
    try:
        found = {str(side): _servers(side, name) for side in sides}
    finally:
        for side in sides:
            side.close()
    (first, hosts), *others = found.items()
    for other, theirs in others:
        if {(each.address, each.port) for each in theirs} != {(each.address, each.port) for each in hosts}:
            raise BalancerError(f"{name} has other servers at {first} than at {other}: make them alike first")
    return hosts


def _servers(side: RuntimeSocket, name: str) -> tuple[GivenHost, ...]:
    rows = side.servers_of(name)
    if secure := [row["srv_name"] for row in rows if row.get("srv_use_ssl") == "1"]:
        raise BalancerError(
            f"{side}: {secure[0]} of {name} is spoken to by TLS, which repave's balancers do not: it can't "
            "be adopted"
        )
    backups = side.backups_of(name)
    return tuple(
        GivenHost(row["srv_addr"], int(row["srv_port"]), row["srv_name"])
        for row in rows
        if _takes_requests(row) and row["srv_addr"] != "-" and row["srv_name"] not in backups
    )


def _takes_requests(row: Mapping[str, str]) -> bool:
    return not int(row["srv_admin_state"]) & (MAINTENANCE | DRAINS) and row["srv_uweight"] != "0"
