"""Floating addresses of servers: made for each from the pool that the settings name, removed after it.

An address says in its description whose it is, from the moment it is made: so one whose answer was lost, or
whose server is gone, is found again. The tag is for people and for their filters.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog

from repave_agent.clients.faults import GoneError, LostError
from repave_agent.clients.openstack.api import Api
from repave_agent.core.ports import ProviderError, RefusedError, TransientError

log = structlog.get_logger()

PATH = "/floatingips"
FLOATS = "repave_floating_ip"
"""In a server's metadata: it is to have one."""


class Floating:
    """`tag`: of all that is ours."""

    def __init__(self, api: Api, tag: Callable[[], str]) -> None:
        self._api, self._tag = api, tag
        self._known: dict[str, str] | None = None  # server to its address
        self._looking = asyncio.Lock()
        self._giving: set[str] = set()

    async def give(self, server: str, host: str, pool: str, network: str) -> None:
        """Repeatable. `pool`: the external network's id. `network`: in which the server has the port. Raises
        ProviderError."""
        if server in await self._addresses() or server in self._giving:
            return
        self._giving.add(server)
        try:
            made = await self._make(server, pool, await self._port(server, host, network))
            self._remember(server, str(made["floating_ip_address"]))
        finally:
            self._giving.discard(server)
        log.info("floating_ip.attached", host=host, server=server, address=made["floating_ip_address"])
        await self._put_tag(made)

    def address_of(self, server: str) -> str:
        """As far as this agent knows."""
        return (self._known or {}).get(server, "")

    async def _port(self, server: str, host: str, network: str) -> str:
        ports = await self._api.list_all("network", "/ports", "ports", device_id=server)
        found = next((str(each["id"]) for each in ports if each["network_id"] == network), "")
        if not found:
            raise TransientError(f"the server of {host} has no port in network {network}")
        return found

    async def _make(self, server: str, pool: str, port: str) -> dict[str, Any]:
        wanted = {"floating_network_id": pool, "port_id": port, "description": self._mark(server)}
        try:
            made = await self._api.call("network", "POST", PATH, {"floatingip": wanted})
        except LostError:
            there = (each for each in await self._ours() if each["description"] == self._mark(server))
            if found := next(there, None):
                return found
            raise
        except GoneError as gone:
            raise RefusedError(
                f"openstack.floating_ip_pool: {gone} Connect the servers' subnet to the pool by a router"
            ) from gone
        return dict(made["floatingip"])

    async def _put_tag(self, made: Mapping[str, Any]) -> None:
        try:
            await self._api.call("network", "PUT", f"{PATH}/{made['id']}/tags", {"tags": [self._tag()]})
        except ProviderError as error:
            log.warning("floating_ip.not_tagged", address=made["floating_ip_address"], because=str(error))

    async def _addresses(self) -> dict[str, str]:
        async with self._looking:
            if self._known is None:
                self._known = {
                    self._server(each): str(each["floating_ip_address"]) for each in await self._ours()
                }
            return self._known

    def _remember(self, server: str, address: str) -> None:
        assert self._known is not None, "it was looked before an address was made"
        self._known[server] = address

    async def sweep(self, servers: Callable[[], Awaitable[Mapping[str, object]]]) -> None:
        """Removes those whose server is gone, and forgets those that others removed. `servers`: all of
        ours, asked afterwards: an address that is listed first is of a server that was there."""
        known = await self._addresses()
        before = set(known)
        ours = await self._ours()
        for server in before - {self._server(each) for each in ours}:
            known.pop(server, None)
        there = await servers() if ours else {}
        for each in ours:
            if (server := self._server(each)) not in there:
                log.info("floating_ip.removed", server=server, address=each["floating_ip_address"])
                with contextlib.suppress(GoneError):
                    await self._api.call("network", "DELETE", f"{PATH}/{each['id']}")
                known.pop(server, None)

    async def _ours(self) -> list[dict[str, Any]]:
        everything = await self._api.list_all("network", PATH, "floatingips")
        return [each for each in everything if str(each["description"]).startswith(self._mark(""))]

    def _mark(self, server: str) -> str:
        return f"{self._tag()} {server}"

    def _server(self, address: Mapping[str, Any]) -> str:
        return str(address["description"]).removeprefix(self._mark(""))
