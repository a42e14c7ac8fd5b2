"""The members of a pool of Octavia that is there already, for a person who adopts them."""

from collections.abc import Sequence
from typing import Any

from repave_agent.clients.openstack.api import Api
from repave_agent.core.ports import RefusedError
from repave_protos.protocol.values import GivenHost

SERVICE = "load-balancer"


async def members_of(api: Api, named: str) -> Sequence[GivenHost]:
    """Those that take requests, of the pool with this name or id. Raises ProviderError."""
    pool = _one(named, await api.list_all(SERVICE, "/lbaas/pools", "pools"))
    members = await api.list_all(SERVICE, f"/lbaas/pools/{pool['id']}/members", "members")
    if pool.get("tls_enabled"):
        raise RefusedError(f"the pool {named} speaks TLS to its members, which repave's balancers do not")
    return tuple(
        GivenHost(str(each["address"]), int(each["protocol_port"]), str(each.get("name") or ""))
        for each in members
        if each.get("admin_state_up", True) and each.get("weight", 1) and not each.get("backup")
    )


def _one(named: str, pools: list[dict[str, Any]]) -> dict[str, Any]:
    found = [each for each in pools if named in (each["id"], each["name"])]
    if len(found) == 1:
        return found[0]
    names = ", ".join(sorted(str(each["name"] or each["id"]) for each in pools)) or "none"
    problem = "there is none" if not found else f"{len(found)} are called so: name one by its id"
    raise RefusedError(f"the pool {named}: {problem}; the project has: {names}")
