"""Instances of a Google Cloud project as machines.

An insert is idempotent by its request id and by its name, which is made of ours and of whose it is: two
installations in one project never mean the same instance. Labels take neither digests nor capitals: one says
whose an instance is, its metadata says the rest. One listing covers all zones.
"""

import contextlib
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from repave_agent.clients.faults import GoneError
from repave_agent.clients.gcp.compute import Compute, ThereError, name_of
from repave_agent.core.ports import HostSpec, ProviderError, RefusedError
from repave_agent.packages.server import Depot
from repave_agent.providers.cloud.baking import bake_owner_of
from repave_agent.providers.cloud.first_boot import ON_SERVER, user_data
from repave_agent.providers.cloud.leaks import Part
from repave_agent.providers.cloud.machine import OWNER, Machine, Marks, State, machine_name, owner_of
from repave_agent.providers.cloud.oven import Oven
from repave_agent.providers.cloud.placement import NotOfferedError, Place, Placement
from repave_agent.providers.cloud.sizes import SizeChart
from repave_agent.providers.command import environment_of, substitute
from repave_agent.providers.gcp.options import GcpOptions
from repave_protos.protocol.values import GroupName, HostName, RegionName

SCRIPT = "startup-script"
BUILDING = ("PROVISIONING", "STAGING")
RUNNING = ("RUNNING", "REPAIRING")
LEAVING = ("STOPPING", "DEPROVISIONING")
NOT_IN_ZONE = re.compile(r"achine type\b.* does not exist|/machineTypes/\S+ was not found")
"""Of a zone that does not offer the machine type, as others may."""
IMAGE = re.compile(r"(?:(?P<project>[^/]+)/)?(?:(?P<family>family)/)?(?P<name>[^/]+)")


class Instances:
    """Implements MachineCloud and PartsCloud. `installation` is asked again at every call."""

    noun = "instance"

    def __init__(
        self,
        region: RegionName,
        installation: Callable[[], str],
        compute: Compute,
        options: GcpOptions,
        depot: Depot,
        oven: Oven,
    ) -> None:
        self._region, self._installation = region, installation
        self._compute, self._options, self._depot, self._oven = compute, options, depot, oven
        self._placement = Placement(options.zones)
        self.chart = SizeChart("gcp.sizes", options.sizes, options.machine_types)
        self._images: dict[str, str] = {}
        self._failed: dict[HostName, int] = {}

    @property
    def network(self) -> str:
        return self._options.network

    def owner(self) -> str:
        """One label for all that is ours."""
        return owner_of(self._installation(), self._region)

    # -------------------------------------------------------------------------------------------- make

    async def create(self, spec: HostSpec, package: Path) -> str:
        base = await self.image(spec.template.machine_image or self._options.image)
        return await self._oven.from_image(
            spec.digest, base, lambda image: self._create(spec, package, image)
        )

    async def _create(self, spec: HostSpec, package: Path, image: str) -> str:
        body = self._instance(spec, package, image)
        sizes = self.chart.sizes(spec.template.machine_sizes)
        return await self._placement.first_with_room(
            spec.name, sizes, lambda at: self._insert(spec.name, body, at)
        )

    async def _insert(self, host: HostName, body: dict[str, Any], place: Place) -> str:
        """Google answers an insert that failed with the same failure again, so the next one is another."""
        path = f"zones/{place.zone}/instances"
        once = f"{self.owner()}/{host}/{place}/{self._failed.get(host, 0)}"
        try:
            operation = await self._compute.change("POST", path, placed(body, place), once=once)
            await self._compute.settle(operation, f"insert {body['name']}, {place}")
        except ThereError:
            pass  # made by a call whose answer was lost
        except ProviderError as error:
            self._failed[host] = self._failed.get(host, 0) + 1
            if NOT_IN_ZONE.search(str(error)) is not None:
                raise NotOfferedError(str(error)) from error
            raise
        self._failed.pop(host, None)
        return f"{path}/{body['name']}"

    def _instance(self, spec: HostSpec, package: Path, image: str) -> dict[str, Any]:
        """All that an insert says but where, and what depends on that."""
        options, environment = self._options, environment_of(spec, ON_SERVER, self._region)
        words = substitute(spec.template.run, environment)
        url = self._depot.offer(spec.digest, package)
        script = user_data(spec.name, spec.digest, url, words, environment, options.prepare, spec.released_at)
        marks = Marks.of(spec, self._installation(), self._region).written()
        body = instance_of(options, image, script, marks, self.owner())
        if spec.template.is_spot:
            body["scheduling"] = {"provisioningModel": "SPOT", "instanceTerminationAction": "DELETE"}
        return {**body, "name": machine_name(self.owner(), spec.name)}

    async def image(self, named: str) -> str:
        """A family means the image that is its newest one when it is first asked for, until `forget_images`.
        Raises RefusedError."""
        if named not in self._images:
            self._images[named] = await self._find_image(named)
        return self._images[named]

    def forget_images(self) -> None:
        self._images.clear()

    async def _find_image(self, named: str) -> str:
        found = IMAGE.fullmatch(named)
        if found is None:
            raise RefusedError(f"{named!r} names no image: write NAME, PROJECT/NAME or PROJECT/family/NAME")
        project = found["project"] or self._compute.project
        if found["family"]:
            image = await self._newest(project, found["name"])
        else:
            image = await self._by_name(project, found["name"])
        if image.get("status", "READY") != "READY":
            raise RefusedError(f"image {named} is {image['status']}, not READY")
        return f"projects/{project}/global/images/{image['name']}"

    async def _by_name(self, project: str, name: str) -> dict[str, Any]:
        """Raises RefusedError."""
        try:
            return await self._compute.get(f"global/images/{name}", project=project)
        except GoneError as gone:
            raise RefusedError(f"there is no image {name} in project {project}") from gone

    async def _newest(self, project: str, family: str) -> dict[str, Any]:
        """Of a family, without those that are deprecated. Raises RefusedError."""
        wanted = f'family="{family}"'
        images = await self._compute.list_all("global/images", project=project, filter=wanted)
        good = [each for each in images if (each.get("deprecated") or {}).get("state", "ACTIVE") == "ACTIVE"]
        if not good:
            raise RefusedError(f"there is no image of family {family} in project {project}")
        return max(good, key=lambda each: datetime.fromisoformat(each["creationTimestamp"]))

    # -------------------------------------------------------------------------------------------- see

    async def machines(self) -> list[Machine]:
        if not self._installation():
            return []
        wanted = f"labels.{OWNER}={self.owner()}"
        listed = await self._compute.list_all("aggregated/instances", filter=wanted)
        return [machine for each in listed if (machine := self._machine(each)) is not None]

    def _machine(self, instance: dict[str, Any]) -> Machine | None:
        """None of one that is not ours after all: a label can be set by others."""
        try:
            marks = Marks.read(written_on(instance))
        except (KeyError, ValueError):
            return None
        if (marks.installation, marks.region) != (self._installation(), self._region):
            return None
        status, said = instance["status"], instance.get("statusMessage", "")
        state = _state(status)
        ended = f"is {status}{f': {said}' if said else ''}" if state is State.ENDED else ""
        card = (instance.get("networkInterfaces") or [{}])[0]
        return Machine(
            f"zones/{name_of(instance['zone'])}/instances/{instance['name']}",
            marks,
            state,
            datetime.fromisoformat(instance["creationTimestamp"]).timestamp(),
            str(card.get("networkIP") or card.get("ipv6Address") or ""),
            ended,
            is_spot=(instance.get("scheduling") or {}).get("provisioningModel") == "SPOT",
        )

    async def accept(self, machine: Machine) -> None:
        """Every one that runs is good."""

    async def look(self, machine: str) -> None:
        await self._compute.get(machine)

    async def console(self, machine: str, lines: int) -> str:
        try:
            return str((await self._compute.get(f"{machine}/serialPort")).get("contents", ""))
        except GoneError:
            return ""

    # -------------------------------------------------------------------------------------------- end

    async def delete(self, machine: str) -> None:
        """Its operation is not waited for: the listing tells when it is gone."""
        with contextlib.suppress(GoneError):
            await self._compute.change("DELETE", machine)

    async def clear(self, machine: Machine) -> None:
        """Its disk goes with it, and its address."""

    async def tidy(self, group: GroupName, launching: Callable[[], Iterable[GroupName]]) -> None:
        """A group has nothing of its own here."""

    async def unused_parts(self) -> list[Part]:
        """Addresses are the instances' own."""
        baked = bake_owner_of(self._installation(), self._region)
        wanted = f"(labels.{OWNER}={self.owner()}) OR (labels.{OWNER}={baked})"
        disks = await self._compute.list_all("aggregated/disks", filter=wanted)
        return [
            Part("disk", f"zones/{name_of(each['zone'])}/disks/{each['name']}")
            for each in disks
            if not each.get("users")
        ]

    async def delete_part(self, part: Part) -> None:
        await self._compute.change("DELETE", part.id)


def instance_of(
    options: GcpOptions, image: str, script: str, written: Mapping[str, str], owner: str
) -> dict[str, Any]:
    """All that an insert says but name and place. The instance runs `script` at each boot; its disk has the
    labels too, by which one that is left is found."""
    labels = {**options.labels, OWNER: owner}
    disk: dict[str, Any] = {"sourceImage": image, "labels": labels}
    if options.disk_gb:
        disk["diskSizeGb"] = str(options.disk_gb)
    if options.disk_type:
        disk["diskType"] = options.disk_type
    card: dict[str, Any] = {"network": f"global/networks/{options.network}"}
    if options.subnetwork:
        card["subnetwork"] = options.subnetwork
    if options.public_address:
        card["accessConfigs"] = [{"type": "ONE_TO_ONE_NAT", "name": "External NAT"}]
    body: dict[str, Any] = {
        "labels": labels,
        "metadata": {"items": _items({**written, SCRIPT: script})},
        "disks": [{"boot": True, "autoDelete": True, "initializeParams": disk}],
        "networkInterfaces": [card],
    }
    if options.network_tags:
        body["tags"] = {"items": list(options.network_tags)}
    if options.service_account:
        body["serviceAccounts"] = [{"email": options.service_account, "scopes": list(options.scopes)}]
    return body


def placed(body: dict[str, Any], place: Place) -> dict[str, Any]:
    (disk,) = body["disks"]
    first = dict(disk["initializeParams"])
    if "diskType" in first:
        first["diskType"] = f"zones/{place.zone}/diskTypes/{first['diskType']}"
    return {
        **body,
        "machineType": f"zones/{place.zone}/machineTypes/{place.size}",
        "disks": [{**disk, "initializeParams": first}],
    }


def _items(written: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in written.items()]


def written_on(instance: dict[str, Any]) -> dict[str, str]:
    items = (instance.get("metadata") or {}).get("items") or []
    return {each["key"]: each.get("value", "") for each in items}


def _state(status: str) -> State:
    if status in BUILDING:
        return State.BUILDING
    if status in LEAVING:
        return State.LEAVING
    return State.RUNNING if status in RUNNING else State.ENDED
