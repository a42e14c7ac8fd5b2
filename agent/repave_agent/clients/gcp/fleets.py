"""The instances of a Google Cloud instance group that is there already, for a person who adopts them."""

import asyncio
import re
from collections.abc import Sequence
from typing import Any

from repave_agent.clients.gcp.compute import Compute, name_of
from repave_agent.core.ports import RefusedError
from repave_protos.protocol.values import GivenHost

GROUP = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
AT_ONCE = 10
"""Instances that are asked for at the same time."""


async def instances_of(compute: Compute, name: str) -> Sequence[GivenHost]:
    """Those that run, by their internal addresses, at the group's one named port; 0 where it has none or
    several. `name`: of a zonal or a regional group, managed or not. Raises ProviderError."""
    group = await _group(compute, name)
    ports = {int(each["port"]) for each in group.get("namedPorts") or ()}
    port = ports.pop() if len(ports) == 1 else 0
    place = _place(group)
    listed = await compute.list_all(
        f"{place}/instanceGroups/{name}/listInstances", asked={"instanceState": "RUNNING"}
    )
    turn = asyncio.Semaphore(AT_ONCE)

    async def look(link: str) -> GivenHost:
        async with turn:
            instance = await compute.get(link.partition("/projects/")[2].partition("/")[2])
        return GivenHost(str(instance["networkInterfaces"][0]["networkIP"]), port, name_of(link))

    found = await asyncio.gather(*(look(str(each["instance"])) for each in listed))
    return sorted(found, key=lambda each: each.name)


async def _group(compute: Compute, name: str) -> dict[str, Any]:
    if GROUP.fullmatch(name) is None:
        raise RefusedError(f"{name[:80]!a} is no name of an instance group: a-z, 0-9 and - only")
    found = await compute.list_all("aggregated/instanceGroups", filter=f'name = "{name}"')
    named = [each for each in found if each["name"] == name]
    if len(named) == 1:
        return named[0]
    places = ", ".join(sorted(map(_place, named)))
    problem = f"there are several: in {places}" if named else "the project has none"
    raise RefusedError(f"the instance group {name}: {problem}")


def _place(group: dict[str, Any]) -> str:
    """`zones/europe-west1-b` or `regions/europe-west1`."""
    scope = "zone" if "zone" in group else "region"
    return f"{scope}s/{name_of(str(group[scope]))}"
