"""The provider whose hosts are servers of an OpenStack project: room for them, troubles of the cloud, images.

How a server is made and seen: servers.py; what all clouds have in common: providers/cloud.
"""

import asyncio
from collections.abc import Callable

from repave_agent.clients.openstack.api import Api
from repave_agent.core.ports import Clock, MisfitError, ProviderError, RefusedError
from repave_agent.packages.server import Depot
from repave_agent.providers.cloud.oven import Oven
from repave_agent.providers.cloud.provider import CloudProvider
from repave_agent.providers.openstack.bake import Bakes
from repave_agent.providers.openstack.flavors import Flavors
from repave_agent.providers.openstack.lookup import Found
from repave_agent.providers.openstack.names import Names
from repave_agent.providers.openstack.options import OpenstackOptions
from repave_agent.providers.openstack.rights import check_rights
from repave_agent.providers.openstack.servers import Servers, tag_of
from repave_agent.settings import ImagesSettings
from repave_protos.protocol.queries import FindRoom
from repave_protos.protocol.values import RegionName

LOOK_UP_SECONDS = 60.0
"""From one look whether what the settings name is there to the next."""
SERVICES = {
    "compute": ("Nova", "/servers"),
    "image": ("Glance", "/images"),
    "network": ("Neutron", "/networks"),
}
SERVICE_SECONDS = 8.0
QUOTAS = {"Instances": "instances", "Cores": "cores", "RAMSize": "MiB of RAM"}


class OpenstackProvider(CloudProvider):
    """Implements ports.Provider."""

    name = "openstack"

    def __init__(
        self,
        region: RegionName,
        installation: Callable[[], str],
        api: Api,
        options: OpenstackOptions,
        depot: Depot,
        clock: Clock,
        kept: ImagesSettings | None = None,
    ) -> None:
        self._api, self._clock = api, clock
        self._names = Names(api, options, clock)
        bakes = Bakes(api, options, self._names, lambda: tag_of(installation(), region))
        oven = Oven(bakes, depot, region, installation, clock, prepare=options.prepare, kept=kept)
        flavors = Flavors(options, self._names.flavor_name, clock)
        self._servers = Servers(region, installation, api, options, self._names, depot, oven, flavors)
        super().__init__("servers of OpenStack", self._servers, oven, installation, depot, clock)
        self._looked_at = float("-inf")

    async def _begin(self) -> str:
        await self._names.look()
        await check_rights(self._api)
        await self._servers.sweep()
        return f"servers of project {self._api.project_id}"

    async def _disconnect(self) -> None:
        await self._api.close()

    async def troubles(self) -> list[str]:
        """Services that do not answer, what the settings name and is gone, and what was replaced."""
        asked = [self._api.greet_identity(), *(self._ask_service(service) for service in SERVICES)]
        lines = [line for line in await asyncio.gather(*asked) if line]
        now = self._clock.monotonic()
        if not lines and now >= self._looked_at + LOOK_UP_SECONDS:
            self._looked_at = now
            await self._names.look_anew()
            await check_rights(self._api)
            await self._servers.sweep()
            self.begin_sweep()
        return lines + self._names.notes()

    async def _ask_service(self, service: str) -> str:
        """Why it is no use; "" when it answers."""
        name, path = SERVICES[service]
        try:
            async with asyncio.timeout(SERVICE_SECONDS):
                await self._api.call(service, "GET", path, limit=1)
        except TimeoutError:
            return f"{name} ({service}) does not answer within {SERVICE_SECONDS:g} s"
        except ProviderError as error:
            return f"{name}: {error}"
        return ""

    async def room(self, asked: FindRoom) -> str:
        """By the project's quota. Whether the cloud itself has room only a creation tells."""
        await self.start()
        try:
            await self._names.look_anew()
        except RefusedError as error:
            return str(error)
        found = await self._fitting(asked)
        limits = (await self._api.call("compute", "GET", "/limits"))["limits"]["absolute"]
        flavor = (await self._api.call("compute", "GET", f"/flavors/{found.flavor}"))["flavor"]
        hosts = asked.hosts
        wanted = {"Instances": hosts, "Cores": hosts * flavor["vcpus"], "RAMSize": hosts * flavor["ram"]}
        short = []
        for name, more in wanted.items():
            most = limits[f"maxTotal{name}"]
            used = limits["totalRAMUsed" if name == "RAMSize" else f"total{name}Used"]
            if most >= 0 and used + more > most:
                short.append(f"{QUOTAS[name]}: {used} of {most} are used, {more} more are needed")
        return "; ".join([*short, *await self._servers.short_of(hosts)])

    async def _fitting(self, asked: FindRoom) -> Found:
        """What the hosts would be made of; of several sizes the best. Raises MisfitError."""
        chart, names = self._servers.flavors.chart, self._names
        try:
            await chart.check(asked.machine_sizes, names.has_flavor, "flavor")
        except MisfitError as error:
            raise MisfitError(f"{error}; flavors: {names.flavors()}") from error
        try:
            return await names.base(asked.machine_image, chart.sizes(asked.machine_sizes)[0])
        except RefusedError as error:
            raise MisfitError(str(error)) from error

    async def _base(self) -> str:
        await self._names.look_anew()
        return self._names.known().image
