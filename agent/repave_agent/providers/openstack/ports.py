"""The operator's own ports (`openstack.ports`): each is borrowed by one server at a time, and never deleted.

Who has one is written in the cloud: Neutron says whose a port is, and a server's metadata which it was asked
for with, for a server that is still being built does not have its port yet.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from repave_agent.clients.faults import GoneError
from repave_agent.clients.openstack.api import Api
from repave_agent.core.ports import OutOfCapacityError

BORROWED = "repave_borrowed_port"
"""In a server's metadata: the port that it was asked for with."""


class Ports:
    """`in_use`: the ports that the metadata of our servers names."""

    def __init__(self, api: Api, in_use: Callable[[], Awaitable[set[str]]]) -> None:
        self._api, self._in_use = api, in_use
        self._asked_with: set[str] = set()
        self._choosing = asyncio.Lock()

    @asynccontextmanager
    async def one_of(self, ports: Sequence[str]) -> AsyncIterator[str]:
        """The id of one that no other server has, as long as the server is asked for; "" where there are none
        in the settings. Raises OutOfCapacityError."""
        if not ports:
            yield ""
            return
        async with self._choosing:
            free = [each for each in await self.free(ports) if each not in self._asked_with]
            if not free:
                raise OutOfCapacityError(
                    f"openstack.ports: each of the {len(ports)} has a server: add ports, at least two for "
                    "each host, for old and new hosts run side by side"
                )
            self._asked_with.add(free[0])
        try:
            yield free[0]
        finally:
            self._asked_with.discard(free[0])

    async def free(self, ports: Sequence[str]) -> list[str]:
        """Those that no server has."""
        there = {each["id"]: each for each in await listed(self._api, "id", ports)}
        taken = await self._in_use()
        return [
            each for each in ports if each in there and each not in taken and not there[each]["device_id"]
        ]

    async def give_back(self, port: str) -> None:
        """Nova does so itself, but when Neutron was away just then."""
        body = {"port": {"device_id": "", "device_owner": ""}}
        with contextlib.suppress(GoneError):
            await self._api.call("network", "PUT", f"/ports/{port}", body)


async def listed(api: Api, by: str, ports: Sequence[str]) -> list[dict[str, Any]]:
    """Those that have these ids or names (`by`)."""
    return await api.list_all("network", "/ports", "ports", **{by: tuple(ports)}) if ports else []
