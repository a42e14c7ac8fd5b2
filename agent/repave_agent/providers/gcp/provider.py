"""The provider whose hosts are instances of a Google Cloud project: whether the project has what the settings
name, and room for more.

How an instance is made and seen: instances.py; what all clouds have in common: providers/cloud.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from repave_agent.clients.faults import GoneError
from repave_agent.clients.gcp.account import Account
from repave_agent.clients.gcp.compute import name_of
from repave_agent.clients.gcp.login import Credentials
from repave_agent.clients.rest import always
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

TYPE_NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
DISK_QUOTAS = {
    "": "DISKS_TOTAL_GB",
    "pd-standard": "DISKS_TOTAL_GB",
    "pd-balanced": "SSD_TOTAL_GB",
    "pd-ssd": "SSD_TOTAL_GB",
}
SPOT_QUOTA = "PREEMPTIBLE_CPUS"


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
        self._account = Account(options, clock, credentials, check)
        self._compute = self._account.compute
        bakes = Bakes(region, installation, self._compute, options)
        oven = Oven(bakes, depot, region, installation, clock, prepare=options.prepare, seal=SEAL, kept=kept)
        self._instances = Instances(region, installation, self._compute, options, depot, oven)
        super().__init__(
            "instances of Google", self._instances, oven, installation, depot, clock, self._instances
        )

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
        await self._account.begin()
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
        for machine_type in self._instances.chart.meant() if not wrong else ():
            if not await self._has_type(machine_type):
                wrong.append(f"gcp.sizes: no zone has {machine_type}")
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
        self.begin_sweep()
        return []

    async def room(self, asked: FindRoom) -> str:
        """By the project's quotas of the region. Whether a zone has room only an insert tells."""
        await self.start()
        chart, hosts = self._instances.chart, asked.hosts
        await chart.check(asked.machine_sizes, self._has_type, "machine type")
        await self._check_image(asked.machine_image, self._instances.image)
        kind = await self._type(chart.sizes(asked.machine_sizes)[0])
        assert kind is not None, "it was looked for"
        region = await self._compute.get(f"regions/{name_of(kind['zone']).rsplit('-', 1)[0]}")
        limits = {each["metric"]: each["limit"] for each in region.get("quotas") or []}
        cpus = int(kind["guestCpus"])
        wanted = wanted_of(self._options, kind["name"], cpus, hosts, limits, is_spot=asked.is_spot)
        short = []
        for quota in region.get("quotas") or []:
            more, used, most = wanted.get(quota["metric"], 0), quota["usage"], quota["limit"]
            if more and most >= 0 and used + more > most:
                name = quota["metric"].lower().replace("_", " ")
                short.append(f"{name}: {used:g} of {most:g} are used, {more} more are needed")
        return "; ".join(short)

    async def _has_type(self, name: str) -> bool:
        return await self._type(name) is not None

    async def _type(self, name: str) -> dict[str, Any] | None:
        """As the first zone that offers it describes it."""
        if TYPE_NAME.fullmatch(name) is None:  # another cloud's, of which Google says that it can't be meant
            return None
        for zone in self._options.zones:
            try:
                return await self._compute.get(f"zones/{zone}/machineTypes/{name}")
            except GoneError:
                continue
        return None


def wanted_of(
    options: GcpOptions,
    machine_type: str,
    cpus: int,
    hosts: int,
    limits: Mapping[str, float],
    *,
    is_spot: bool,
) -> dict[str, int]:
    """By metric of a region's quotas. A family of machines may have one of its own; disks that are as large
    as their image are not counted."""
    family = f"{machine_type.partition('-')[0].upper()}_CPUS"
    metric = family if family in limits else "CPUS"
    if is_spot and limits.get(SPOT_QUOTA):  # without one of its own, spot is of the usual quota
        metric = SPOT_QUOTA
    wanted = {"INSTANCES": hosts, metric: hosts * cpus}
    if options.disk_gb and options.disk_type in DISK_QUOTAS:
        wanted[DISK_QUOTAS[options.disk_type]] = hosts * options.disk_gb
    if options.public_address:
        wanted["IN_USE_ADDRESSES"] = hosts
    return wanted
