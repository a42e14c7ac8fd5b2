"""A Standard Load Balancer on the stand-in for Azure, as an operator has it before repave comes."""

from collections.abc import Callable
from typing import Any

from repave_agent.clients.azure import AzureOptions
from repave_agent.clients.azure.connection import connect
from repave_agent.clients.azure.resources import NETWORK, Resources
from repave_agent.core.ports import Clock
from tests.fakes.clock import FastClock
from tests.support.clouds import AZURE
from tests.support.rigs import CloudRig

NAME, SECONDS = "front", 30.0
STRANGERS_PORT = 8025
STRANGER: dict[str, Any] = {
    "name": "mail",
    "properties": {"protocol": "Tcp", "frontendPort": STRANGERS_PORT, "backendPort": 25},
}
"""A rule of somebody else, at the same frontend."""


def account(rig: CloudRig) -> AzureOptions:
    """What the section [azure] says of the stand-in."""
    settings = AZURE.settings(rig)
    named = {name: settings[name] for name in ("authority", "calls_per_second", "resource_group")}
    return AzureOptions.model_validate({**named, "endpoint": rig.url})


class AzureFront:
    """Changed as a person does it, without asking the agent. `address`: its internal one, once it is made."""

    def __init__(self, rig: CloudRig, name: str = NAME) -> None:
        self.rig, self.name, self.address = rig, name, ""
        self.path = self.resources().path(NETWORK, "loadBalancers", name)

    @property
    def loopback(self) -> str:
        """Where clients on this machine reach it."""
        return self.address.replace("10.", "127.", 1)

    def resources(self, clock: Clock | None = None) -> Resources:
        """A connection of one's own."""
        return connect(account(self.rig), clock or FastClock(20.0), environment=self.rig.variables)

    async def make(self, **properties: Any) -> None:
        subnet = self.resources().path(NETWORK, "virtualNetworks", "fleet", "subnets", "hosts")
        frontend = {"name": "inside", "properties": {"subnet": {"id": subnet}}}
        body = {
            "location": "westeurope",
            "sku": {"name": "Standard"},
            "properties": {"frontendIPConfigurations": [frontend], **properties},
        }
        await self._do("PUT", body)
        (made,) = (await self.body())["properties"]["frontendIPConfigurations"]
        self.address = made["properties"]["privateIPAddress"]

    async def serve(self, port: int, *addresses: str) -> None:
        """An operator's own rule for that port, with a probe of it: to these addresses of the network."""
        pool, probe = f"{self.path}/backendAddressPools/own", f"{self.path}/probes/own"
        network = self.resources().path(NETWORK, "virtualNetworks", "fleet")
        members = [{"name": each, "properties": {"ipAddress": each}} for each in addresses]
        placed = {"virtualNetwork": {"id": network}, "loadBalancerBackendAddresses": members}
        rule = {
            "protocol": "Tcp",
            "frontendPort": port,
            "backendPort": port,
            "backendAddressPool": {"id": pool},
            "probe": {"id": probe},
        }

        def add(body: dict[str, Any]) -> None:
            checked = {"protocol": "Tcp", "port": port, "intervalInSeconds": 5}
            body["properties"]["backendAddressPools"] = [{"name": "own", "properties": placed}]
            body["properties"]["probes"] = [{"name": "own", "properties": checked}]

        await self.edit(add)
        await self.add_rule({"name": "own", "properties": rule})

    async def body(self) -> dict[str, Any]:
        resources = self.resources()
        try:
            return await resources.get(self.path)
        finally:
            await resources.rest.close()

    async def edit(self, change: Callable[[dict[str, Any]], None]) -> None:
        """`change` gets the body as it is, and makes of it what it shall be."""
        body = await self.body()
        etag = body["etag"]
        change(body)
        await self._do("PUT", body, etag)

    async def add_rule(self, rule: dict[str, Any] = STRANGER) -> None:
        """Of somebody else."""

        def add(body: dict[str, Any]) -> None:
            inside = {"id": body["properties"]["frontendIPConfigurations"][0]["id"]}
            added = {**rule, "properties": {**rule["properties"], "frontendIPConfiguration": inside}}
            body["properties"].setdefault("loadBalancingRules", []).append(added)

        await self.edit(add)

    async def remove_rule(self, name: str) -> None:
        def remove(body: dict[str, Any]) -> None:
            rules = body["properties"]["loadBalancingRules"]
            body["properties"]["loadBalancingRules"] = [each for each in rules if each["name"] != name]

        await self.edit(remove)

    async def delete(self) -> None:
        await self._do("DELETE", None, (await self.body())["etag"])

    async def _do(self, method: str, body: dict[str, Any] | None, etag: str = "") -> None:
        resources = self.resources()
        try:
            what = f"{method} of {self.name}"
            await resources.change(method, self.path, body, what, etag=etag, seconds=SECONDS)
        finally:
            await resources.rest.close()
