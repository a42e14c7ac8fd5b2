"""The provider whose hosts are virtual machines of an Azure resource group: whether there is what the
settings name, and room for more.

How a machine is made and seen: machines.py; what all clouds have in common: providers/cloud.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any

from repave_agent.clients.azure.connection import connect, subscription_of
from repave_agent.clients.azure.resources import COMPUTE
from repave_agent.clients.faults import GoneError
from repave_agent.clients.rest import always
from repave_agent.core.ports import Clock, ProviderError, RefusedError
from repave_agent.packages.server import Depot
from repave_agent.providers.azure.bake import SEAL, Bakes
from repave_agent.providers.azure.machines import VirtualMachines, image_reference
from repave_agent.providers.azure.options import AzureMachineOptions
from repave_agent.providers.cloud.oven import Oven
from repave_agent.providers.cloud.provider import CloudProvider
from repave_agent.settings import ImagesSettings
from repave_protos.protocol.queries import FindRoom
from repave_protos.protocol.values import RegionName


class AzureProvider(CloudProvider):
    """Implements ports.Provider."""

    name = "azure"

    def __init__(
        self,
        region: RegionName,
        installation: Callable[[], str],
        options: AzureMachineOptions,
        depot: Depot,
        clock: Clock,
        environment: Mapping[str, str] = os.environ,
        check: Callable[[], None] = always,
        kept: ImagesSettings | None = None,
    ) -> None:
        self._options = options
        self._subscription = subscription_of(options, environment)
        self._resources = connect(
            options, clock, location=options.location, environment=environment, check=check
        )
        self._bakes = Bakes(region, installation, self._resources, options)
        oven = Oven(
            self._bakes, depot, region, installation, clock, prepare=options.prepare, seal=SEAL, kept=kept
        )
        self._machines = VirtualMachines(region, installation, self._resources, options, depot, oven)
        super().__init__(
            "machines of Azure", self._machines, oven, installation, depot, clock, self._machines
        )

    async def _begin(self) -> str:
        await self._look()
        return f"virtual machines of resource group {self._options.resource_group}"

    async def _base(self) -> str:
        return self._options.image

    async def _disconnect(self) -> None:
        await self._resources.rest.close()

    async def _look(self) -> None:
        options = self._options
        names = {
            "azure.subscription": self._subscription,
            "azure.resource_group": options.resource_group,
            "azure.location": options.location,
            "azure.vm_sizes": options.vm_sizes,
            "azure.image": options.image,
            "azure.subnet": options.subnet,
        }
        wrong = [f"{name} is not set" for name, value in names.items() if not value]
        try:
            if options.image:
                image_reference(options.image)
        except RefusedError as error:
            wrong.append(f"azure.image: {error}")
        if not wrong:
            wrong = [*await self._missing(), *await self._missing_sizes()]
        if wrong:
            raise RefusedError("; ".join(wrong))

    async def _missing(self) -> list[str]:
        named = {"azure.subnet": self._machines.subnet()}
        if self._options.image.startswith("/"):
            named["azure.image"] = self._options.image
        if self._options.gallery:
            named["azure.gallery"] = self._bakes.definition()
        wrong = []
        for name, path in named.items():
            try:
                await self._resources.get(path)
            except GoneError:
                wrong.append(f"{name}: there is no {path}")
        return wrong

    async def _find_image(self, named: str) -> None:
        """Raises RefusedError. One of the marketplace is not asked for."""
        found = image_reference(named)
        try:
            if "id" in found:
                await self._resources.get(found["id"])
        except GoneError as gone:
            raise RefusedError(f"there is no {named}") from gone

    async def _missing_sizes(self) -> list[str]:
        there = await self._sizes()
        named = {"azure.vm_sizes": self._options.vm_sizes, "azure.sizes": self._machines.chart.meant()}
        return [
            f"{setting}: {self._options.location} has no {size}"
            for setting, sizes in named.items()
            for size in sizes
            if size.lower() not in there
        ]

    async def _sizes(self) -> dict[str, tuple[int, str]]:
        """Cores and family by size, in small letters, of those that this subscription may have here."""
        wanted = f"location eq '{self._options.location}'"
        listed = await self._resources.list_all(
            f"{self._resources.subscription}/providers/{COMPUTE}/skus", filter=wanted
        )
        return {
            each["name"].lower(): (
                int(
                    next(
                        (one["value"] for one in each.get("capabilities") or [] if one["name"] == "vCPUs"), 0
                    )
                ),
                str(each.get("family", "")),
            )
            for each in listed
            if each.get("resourceType") == "virtualMachines"
            and not any(one.get("type") == "Location" for one in each.get("restrictions") or [])
        }

    async def troubles(self) -> list[str]:
        """Whether the subscription can be asked, and still has what the settings name."""
        try:
            await self._look()
        except ProviderError as error:
            return [str(error)]
        self.begin_sweep()
        return []

    async def room(self, asked: FindRoom) -> str:
        """By the subscription's quotas here. Whether a zone has room only a machine's making tells."""
        await self.start()
        there = await self._sizes()
        chart, hosts = self._machines.chart, asked.hosts

        async def is_there(size: str) -> bool:
            return size.lower() in there

        await chart.check(asked.machine_sizes, is_there, "size")
        await self._check_image(asked.machine_image, self._find_image)
        cores, family = there.get(chart.sizes(asked.machine_sizes)[0].lower(), (0, ""))
        usages = await self._resources.list_all(
            f"{self._resources.subscription}/providers/{COMPUTE}/locations/{self._options.location}/usages"
        )
        return short_of(usages, hosts, cores, family, is_spot=asked.is_spot)


def short_of(usages: list[dict[str, Any]], hosts: int, cores: int, family: str, *, is_spot: bool) -> str:
    """Of which quotas there is too little; "" where there is room. Spot machines have one of their own,
    others count for the location's and for their family's."""
    metrics = ["lowpriorityCores"] if is_spot else ["cores", family]
    wanted = {"virtualmachines": hosts, **{each.lower(): hosts * cores for each in metrics}}
    short = []
    for usage in usages:
        more = wanted.get(str(usage["name"]["value"]).lower(), 0)
        used, most = usage["currentValue"], usage["limit"]
        if more and used + more > most:
            name = usage["name"]["localizedValue"]
            short.append(f"{name}: {used} of {most} are used, {more} more are needed")
    return "; ".join(short)
