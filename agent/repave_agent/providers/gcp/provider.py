"""The provider whose hosts are instances of a Google Cloud project: whether the project has what the settings
name, and room for more.

How an instance is made and seen: instances.py; what all clouds have in common: providers/cloud.
"""

import random
from collections.abc import Callable

from repave_agent.clients.faults import GoneError
from repave_agent.clients.gcp.compute import Compute, fault, name_of
from repave_agent.clients.gcp.login import Credentials, fetch_of, find_credentials, project_of_metadata
from repave_agent.clients.rest import Pace, Rest, SharedToken, always
from repave_agent.core.ports import Clock, ProviderError, RefusedError
from repave_agent.packages.server import Depot
from repave_agent.providers.cloud.oven import Oven
from repave_agent.providers.cloud.provider import CloudProvider
from repave_agent.providers.gcp.bake import SEAL, Bakes
from repave_agent.providers.gcp.instances import Instances
from repave_agent.providers.gcp.options import GcpOptions
from repave_agent.settings import ImagesSettings
from repave_protos.protocol.queries import FindRoom
from repave_protos.protocol.values import RegionName


class GcpProvider(CloudProvider):
    """Implements ports.Provider."""

    name = "gcp"

    def __init__(
        self,
        region: RegionName,
        installation: Callable[[], str],
        options: GcpOptions,
        depot: Depot,
        clock: Clock,
        credentials: Credentials | None = None,
        check: Callable[[], None] = always,
        kept: ImagesSettings | None = None,
    ) -> None:
        self._options = options
        found = credentials or find_credentials(options.credentials)
        self._credentials = found
        tokens = SharedToken(fetch_of(found, clock), clock)
        pace = Pace(options.calls_per_second, clock)
        chance = random.Random()  # noqa: S311  # spreads retries
        rest = Rest(tokens, fault, clock, pace, chance=chance, service="Google", check=check)
        self._compute = Compute(rest, options.endpoint, options.project or found.project, clock)
        bakes = Bakes(region, installation, self._compute, options)
        oven = Oven(bakes, depot, region, installation, clock, prepare=options.prepare, seal=SEAL, kept=kept)
        self._instances = Instances(region, installation, self._compute, options, depot, oven)
        super().__init__("instances of Google", self._instances, oven, installation, depot, clock)

    async def _begin(self) -> str:
        await self._look()
        return f"instances of project {self._compute.project}"

    async def _base(self) -> str:
        self._instances.forget_images()
        return await self._instances.image(self._options.image)

    async def _disconnect(self) -> None:
        await self._compute.rest.close()

    async def _look(self) -> None:
        options = self._options
        if not self._compute.project:
            self._compute.project = await project_of_metadata(self._credentials)
        names = {
            "gcp.project": self._compute.project,
            "gcp.zones": options.zones,
            "gcp.machine_types": options.machine_types,
            "gcp.image": options.image,
        }
        wrong = [f"{name} is not set" for name, value in names.items() if not value]
        if len({zone.rsplit("-", 1)[0] for zone in options.zones}) > 1:
            wrong.append(f"gcp.zones: {', '.join(options.zones)} are not of one region")
        for zone in options.zones if not wrong else ():
            for machine_type in options.machine_types:
                try:
                    await self._compute.get(f"zones/{zone}/machineTypes/{machine_type}")
                except GoneError:
                    wrong.append(f"gcp.machine_types: {zone} has no {machine_type}")
        if options.image and not wrong:
            try:
                await self._instances.image(options.image)
            except RefusedError as error:
                wrong.append(f"gcp.image: {error}")
        if wrong:
            raise RefusedError("; ".join(wrong))

    async def troubles(self) -> list[str]:
        """Whether the project can be asked, and still has what the settings name."""
        self._instances.forget_images()
        try:
            await self._look()
        except ProviderError as error:
            return [str(error)]
        return []

    async def room(self, asked: FindRoom) -> str:
        """By the project's quotas of the region. Whether a zone has room only an insert tells."""
        await self.start()
        hosts = asked.hosts
        zone, machine_type = self._options.zones[0], self._options.machine_types[0]
        kind = await self._compute.get(f"zones/{zone}/machineTypes/{machine_type}")
        region = await self._compute.get(f"regions/{name_of(kind['zone']).rsplit('-', 1)[0]}")
        wanted = {"INSTANCES": hosts, "CPUS": hosts * int(kind["guestCpus"])}
        if self._options.spot:
            wanted["PREEMPTIBLE_CPUS"] = wanted.pop("CPUS")
        short = []
        for quota in region.get("quotas") or []:
            more, used, most = wanted.get(quota["metric"], 0), quota["usage"], quota["limit"]
            if more and most >= 0 and used + more > most:
                name = quota["metric"].lower().replace("_", " ")
                short.append(f"{name}: {used:g} of {most:g} are used, {more} more are needed")
        return "; ".join(short)
