"""Virtual machines of an Azure resource group as machines.

A machine is made with its network interface and its disk in one call, and both end with it. What Azure has
accepted may fail late and leaves a machine that is Failed: it is removed before another place is tried. An
interface that Azure kept back goes with the next sweep of what is left.
"""

import asyncio
import base64
import re
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from repave_agent.clients.azure.resources import COMPUTE, NETWORK, Resources, ThereError
from repave_agent.clients.faults import GoneError, LostError
from repave_agent.core.ports import HostSpec, ProviderError, RefusedError
from repave_agent.packages.server import Depot
from repave_agent.providers.azure.options import AzureMachineOptions
from repave_agent.providers.cloud.baking import bake_owner_of
from repave_agent.providers.cloud.first_boot import ON_SERVER, user_data
from repave_agent.providers.cloud.leaks import Part
from repave_agent.providers.cloud.machine import OWNER, Machine, Marks, State, machine_name, owner_of
from repave_agent.providers.cloud.oven import Oven
from repave_agent.providers.cloud.placement import Place, Placement
from repave_agent.providers.cloud.sizes import SizeChart
from repave_agent.providers.command import environment_of, substitute
from repave_protos.protocol.values import GroupName, RegionName

MACHINES, DISKS = "virtualMachines", "disks"
CARDS, ADDRESSES = "networkInterfaces", "publicIPAddresses"
MARKETPLACE = re.compile(r"(?P<publisher>[^:/]+):(?P<offer>[^:/]+):(?P<sku>[^:/]+):(?P<version>[^:/]+)")
RUNNING = ("running", "starting", "unknown", "")
CONSOLE_SECONDS = 20.0
WITHOUT_ROOM = re.compile(r"AllocationFailed|SkuNotAvailable|quota|capacity", re.IGNORECASE)


class VirtualMachines:
    """Implements MachineCloud and PartsCloud. `installation` is asked again at every call."""

    noun = "virtual machine"

    def __init__(
        self,
        region: RegionName,
        installation: Callable[[], str],
        resources: Resources,
        options: AzureMachineOptions,
        depot: Depot,
        oven: Oven,
    ) -> None:
        self._region, self._installation = region, installation
        self._resources, self._options, self._depot, self._oven = resources, options, depot, oven
        self._placement = Placement(options.zones or ("",))
        self.chart = SizeChart("azure.sizes", options.sizes, options.vm_sizes)

    @property
    def network(self) -> str:
        return self._options.subnet

    def owner(self) -> str:
        return owner_of(self._installation(), self._region)

    # -------------------------------------------------------------------------------------------- make

    async def create(self, spec: HostSpec, package: Path) -> str:
        base = spec.template.machine_image or self._options.image
        return await self._oven.from_image(
            spec.digest, base, lambda image: self._create(spec, package, image)
        )

    async def _create(self, spec: HostSpec, package: Path, image: str) -> str:
        name, body = machine_name(self.owner(), spec.name), self._machine_of(spec, package, image)
        path = self._resources.path(COMPUTE, MACHINES, name)
        sizes = self.chart.sizes(spec.template.machine_sizes)
        return await self._placement.first_with_room(
            spec.name, sizes, lambda at: made_at(self._resources, path, placed(body, at))
        )

    def _machine_of(self, spec: HostSpec, package: Path, image: str) -> dict[str, Any]:
        """All that is asked for but where, and what depends on that."""
        options, environment = self._options, environment_of(spec, ON_SERVER, self._region)
        words = substitute(spec.template.run, environment)
        url = self._depot.offer(spec.digest, package)
        script = user_data(spec.name, spec.digest, url, words, environment, options.prepare, spec.released_at)
        marks = Marks.of(spec, self._installation(), self._region).written()
        tags = {**options.tags, **marks, OWNER: self.owner()}
        name = machine_name(self.owner(), spec.name)
        body = machine_of(options, self._resources, name, image, script, tags)
        if spec.template.is_spot:
            body["properties"] |= {"priority": "Spot", "evictionPolicy": "Delete"}
        return body

    def subnet(self) -> str:
        """Its id."""
        return subnet_of(self._options, self._resources)

    # -------------------------------------------------------------------------------------------- see

    async def machines(self) -> list[Machine]:
        if not self._installation():
            return []
        machines, states, cards = await asyncio.gather(
            self._resources.list_all(self._resources.path(COMPUTE, MACHINES)),
            self._resources.list_all(
                f"{self._resources.subscription}/providers/{COMPUTE}/{MACHINES}", statusOnly="true"
            ),
            self._resources.list_all(self._resources.path(NETWORK, CARDS)),
        )
        seen = {each["id"].lower(): each for each in states}
        addresses = {each["id"].lower(): _address(each) for each in cards}
        found = (self._machine(each, seen.get(each["id"].lower(), {}), addresses) for each in machines)
        return [each for each in found if each is not None]

    def _machine(self, vm: dict[str, Any], seen: dict[str, Any], addresses: dict[str, str]) -> Machine | None:
        """None of a stranger. Ids differ in capitals from one answer of Azure's to the next."""
        try:
            marks = Marks.read(vm.get("tags") or {})
        except (KeyError, ValueError):
            return None
        if (marks.installation, marks.region) != (self._installation(), self._region):
            return None
        properties = vm["properties"]
        statuses = ((seen.get("properties") or {}).get("instanceView") or {}).get("statuses") or []
        state, ended = _state(str(properties.get("provisioningState", "")), statuses)
        cards = (properties.get("networkProfile") or {}).get("networkInterfaces") or []
        made_at = properties.get("timeCreated")
        return Machine(
            self._resources.path(COMPUTE, MACHINES, vm["name"]),
            marks,
            state,
            datetime.fromisoformat(made_at).timestamp() if made_at else 0.0,
            next((found for each in cards if (found := addresses.get(each["id"].lower()))), ""),
            ended,
            is_full=WITHOUT_ROOM.search(ended) is not None,
            is_spot=properties.get("priority") == "Spot",
        )

    async def accept(self, machine: Machine) -> None:
        """Every one that runs is good."""

    async def look(self, machine: str) -> None:
        await self._resources.get(machine)

    async def console(self, machine: str, lines: int) -> str:
        try:
            return await printed(self._resources, machine)
        except (GoneError, RefusedError):
            return ""

    # -------------------------------------------------------------------------------------------- end

    async def delete(self, machine: str) -> None:
        """Its operation is not waited for: the listing tells when it is gone."""
        await self._resources.delete(machine)

    async def clear(self, machine: Machine) -> None:
        """Its disk and interface go with it."""

    async def tidy(self, group: GroupName, launching: Callable[[], Iterable[GroupName]]) -> None:
        """A group has nothing of its own here."""

    async def unused_parts(self) -> list[Part]:
        """An interface that Azure kept back for a machine which could not be made is one."""
        ours = (self.owner(), bake_owner_of(self._installation(), self._region))
        lists = [("interface", NETWORK, CARDS), ("disk", COMPUTE, DISKS)]
        if self._options.public_address:
            lists.append(("address", NETWORK, ADDRESSES))
        parts = []
        for kind, provider, what in lists:
            for each in await self._resources.list_all(self._resources.path(provider, what)):
                if (each.get("tags") or {}).get(OWNER) in ours and not _is_used(each):
                    parts.append(Part(kind, self._resources.path(provider, what, each["name"])))
        return parts

    async def delete_part(self, part: Part) -> None:
        await self._resources.delete(part.id)


async def made_at(resources: Resources, path: str, body: dict[str, Any]) -> str:
    """Its path. What Azure accepted and then could not make is removed. Raises ProviderError; LostError where
    it may have been made all the same."""
    try:
        await resources.make(path, body, f"make {path.rpartition('/')[2]}")
    except ThereError:
        pass  # made by a call whose answer was lost; the listing tells whether it is good
    except (LostError, RefusedError):
        raise
    except ProviderError:
        await resources.delete(path, waits=True)
        raise
    return path


def _is_used(part: dict[str, Any]) -> bool:
    """A disk by a machine, an interface by a machine or an endpoint, an address by an interface."""
    properties = part.get("properties") or {}
    users = ("virtualMachine", "privateEndpoint", "ipConfiguration")
    is_attached = part.get("managedBy") or properties.get("diskState") in ("Attached", "Reserved")
    return bool(is_attached) or any(properties.get(user) for user in users)


def machine_of(
    options: AzureMachineOptions,
    resources: Resources,
    name: str,
    image: str,
    script: str,
    tags: dict[str, str],
) -> dict[str, Any]:
    """All that is asked for but where. The machine runs `script` at its first boot; its disk, its interface
    and its public address end with it."""
    key = options.ssh_key or _key_without_owner()
    login = {"path": f"/home/{options.ssh_user}/.ssh/authorized_keys", "keyData": key}
    disk: dict[str, Any] = {"createOption": "FromImage", "deleteOption": "Delete"}
    if options.disk_gb:
        disk["diskSizeGB"] = options.disk_gb
    if options.disk_type:
        disk["managedDisk"] = {"storageAccountType": options.disk_type}
    properties: dict[str, Any] = {
        "storageProfile": {"imageReference": image_reference(image), "osDisk": disk},
        "osProfile": {
            "computerName": name,
            "adminUsername": options.ssh_user,
            "customData": base64.b64encode(script.encode()).decode(),
            "linuxConfiguration": {
                "disablePasswordAuthentication": True, "ssh": {"publicKeys": [login]}
            },
        },
        "networkProfile": {
            "networkApiVersion": "2022-11-01",
            "networkInterfaceConfigurations": [_card(options, resources, tags)],
        },
        "diagnosticsProfile": {"bootDiagnostics": {"enabled": True}},
    }  # fmt: skip
    body: dict[str, Any] = {"location": options.location, "tags": tags, "properties": properties}
    if options.identity:
        body["identity"] = {"type": "UserAssigned", "userAssignedIdentities": {options.identity: {}}}
    return body


def _card(options: AzureMachineOptions, resources: Resources, tags: dict[str, str]) -> dict[str, Any]:
    address: dict[str, Any] = {"subnet": {"id": subnet_of(options, resources)}, "primary": True}
    if options.public_address:
        address["publicIPAddressConfiguration"] = {
            "name": "public",
            "properties": {"deleteOption": "Delete"},
            "sku": {"name": "Standard"},
            "tags": tags,
        }
    properties: dict[str, Any] = {
        "primary": True,
        "deleteOption": "Delete",
        "ipConfigurations": [{"name": "ip", "properties": address}],
    }
    if options.security_group:
        name = options.security_group
        found = name if "/" in name else resources.path(NETWORK, "networkSecurityGroups", name)
        properties["networkSecurityGroup"] = {"id": found}
    return {"name": "nic", "properties": properties, "tags": tags}


def subnet_of(options: AzureMachineOptions, resources: Resources) -> str:
    """Its id."""
    if options.subnet.startswith("/"):
        return options.subnet
    network, _, subnet = options.subnet.partition("/")
    return resources.path(NETWORK, "virtualNetworks", network, "subnets", subnet)


async def printed(resources: Resources, machine: str) -> str:
    """What its serial console says; "" where it can't be fetched now. Raises GoneError and RefusedError."""
    link = (await resources.post(f"{machine}/retrieveBootDiagnosticsData")).get("serialConsoleLogBlobUri")
    if not link:
        return ""
    timeout = aiohttp.ClientTimeout(total=CONSOLE_SECONDS)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as http, http.get(link) as response:
            return await response.text(errors="replace") if response.status == 200 else ""
    except (aiohttp.ClientError, TimeoutError, OSError):
        return ""


def image_reference(named: str) -> dict[str, str]:
    """Raises RefusedError where it names no image, or not one alone."""
    if named.startswith("/"):
        return {"id": named}
    found = MARKETPLACE.fullmatch(named)
    if found is None:
        raise RefusedError(
            f"{named!r} names no image: write its id, or PUBLISHER:OFFER:SKU:VERSION of the marketplace"
        )
    if found["version"] == "latest":
        raise RefusedError(
            f"{named}: latest means another image from one day to the next; name a version of: az vm image "
            f"list --all --publisher {found['publisher']} --offer {found['offer']} --sku {found['sku']}"
        )
    return dict(found.groupdict())


def placed(body: dict[str, Any], place: Place) -> dict[str, Any]:
    properties = {**body["properties"], "hardwareProfile": {"vmSize": place.size}}
    return {**body, "properties": properties, **({"zones": [place.zone]} if place.zone else {})}


def power_of(statuses: list[dict[str, Any]]) -> str:
    """Such as running; "" where Azure says nothing of it."""
    codes = [str(each.get("code", "")) for each in statuses]
    return next((each.partition("/")[2] for each in codes if each.startswith("PowerState/")), "")


def message_of(statuses: list[dict[str, Any]]) -> str:
    return next((str(each["message"]) for each in statuses if each.get("message")), "")


def _state(provisioning: str, statuses: list[dict[str, Any]]) -> tuple[State, str]:
    """With how it ended. A machine that runs stays one when a later change of it failed."""
    power = power_of(statuses)
    if provisioning == "Deleting":
        return State.LEAVING, ""
    if provisioning == "Creating":
        return State.BUILDING, ""
    if provisioning == "Failed" and power not in ("running", "starting"):
        said = message_of(statuses)
        return State.ENDED, f"is Failed{f': {said}' if said else ''}"
    return (State.RUNNING, "") if power in RUNNING else (State.ENDED, f"is {power}")


def _address(card: dict[str, Any]) -> str:
    found = (card.get("properties") or {}).get("ipConfigurations") or []
    return next((str(each["properties"].get("privateIPAddress", "")) for each in found), "")


def _key_without_owner() -> str:
    """Azure wants a way to log in. The other half of this key is forgotten at once."""
    key = ed25519.Ed25519PrivateKey.generate().public_key()
    return key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
