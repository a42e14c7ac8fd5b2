"""Images of Azure that are baked: machines with a tag of their own, so that no listing of hosts shows them,
and versions of an image definition in a compute gallery, which the operator has made for them.

A version is taken of a machine that was deprovisioned inside, deallocated, and marked as generalized: it
never starts again, and goes with its disk.
"""

import contextlib
import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import Any

from repave_agent.clients.azure.resources import COMPUTE, Resources, ThereError
from repave_agent.clients.faults import GoneError
from repave_agent.core.ports import RefusedError
from repave_agent.providers.azure.machines import (
    MACHINES,
    machine_of,
    made_at,
    message_of,
    placed,
    power_of,
    printed,
)
from repave_agent.providers.azure.options import AzureMachineOptions
from repave_agent.providers.cloud.baking import (
    BAKED_LABEL,
    BakeMarks,
    BakingMachine,
    CloudImage,
    ImageState,
    Stage,
    bake_owner_of,
    home_of,
)
from repave_agent.providers.cloud.machine import OWNER, machine_name
from repave_agent.providers.cloud.placement import Placement
from repave_protos.protocol.values import HostName, RegionName

SEAL = """\
if command -v waagent >/dev/null; then
    waagent -deprovision+user -force
fi"""
STATES = {
    "Creating": ImageState.MAKING,
    "Updating": ImageState.MAKING,
    "Migrating": ImageState.MAKING,
    "Succeeded": ImageState.WHOLE,
}
NO_GALLERY = (
    "azure.gallery is not set: make a gallery and an image definition for baked images once (az sig create, "
    "az sig image-definition create --os-type Linux --os-state Generalized), and name them as GALLERY/IMAGE"
)


class Bakes:
    """Implements BakingCloud."""

    noun = "virtual machine"

    def __init__(
        self,
        region: RegionName,
        installation: Callable[[], str],
        resources: Resources,
        options: AzureMachineOptions,
    ) -> None:
        self._region, self._installation = region, installation
        self._resources, self._options = resources, options
        self._placement = Placement(options.zones or ("",))

    def _owner(self) -> str:
        return bake_owner_of(self._installation(), self._region)

    def definition(self) -> str:
        """The id of the image definition; "" where none is named."""
        named = self._options.gallery
        if not named or named.startswith("/"):
            return named
        gallery, _, image = named.partition("/")
        return self._resources.path(COMPUTE, "galleries", gallery, "images", image)

    # -------------------------------------------------------------------------------------------- machines

    async def make(self, marks: BakeMarks, script: str) -> str:
        if not self.definition():
            raise RefusedError(NO_GALLERY)
        name = machine_name(self._owner(), HostName(marks.machine))
        tags = {**self._options.tags, **marks.written(), OWNER: self._owner()}
        body = machine_of(self._options, self._resources, name, marks.base, script, tags)
        path = self._resources.path(COMPUTE, MACHINES, name)
        return await self._placement.first_with_room(
            HostName(marks.machine),
            self._options.vm_sizes,
            lambda at: made_at(self._resources, path, placed(body, at)),
        )

    async def machines(self) -> list[BakingMachine]:
        listed = await self._resources.list_all(self._resources.path(COMPUTE, MACHINES))
        ours = [each for each in listed if (each.get("tags") or {}).get(OWNER) == self._owner()]
        if not ours:
            return []
        states = await self._resources.list_all(
            f"{self._resources.subscription}/providers/{COMPUTE}/{MACHINES}", statusOnly="true"
        )
        seen = {each["id"].lower(): each for each in states}
        machines = (self._machine(each, seen.get(each["id"].lower(), {})) for each in ours)
        return [each for each in machines if each is not None]

    def _machine(self, vm: dict[str, Any], seen: dict[str, Any]) -> BakingMachine | None:
        try:
            marks = BakeMarks.read(vm["tags"])
        except (KeyError, ValueError):
            return None
        statuses = ((seen.get("properties") or {}).get("instanceView") or {}).get("statuses") or []
        stage, said = _stage(str(vm["properties"].get("provisioningState", "")), statuses)
        return BakingMachine(
            self._resources.path(COMPUTE, MACHINES, vm["name"]), marks.digest, marks.at, stage, said
        )

    async def console(self, machine: str, lines: int) -> str:
        return await printed(self._resources, machine)

    async def stop(self, machine: str) -> None:
        """Only a machine without hardware may become an image."""
        await self._resources.act(f"{machine}/deallocate")

    async def delete_machine(self, machine: str) -> None:
        await self._resources.delete(machine)

    # -------------------------------------------------------------------------------------------- images

    async def take(self, machine: str, marks: BakeMarks) -> str:
        await self._resources.act(f"{machine}/generalize")
        tags = {OWNER: self._owner(), BAKED_LABEL: home_of(self._installation()), **marks.written()}
        body = {
            "location": self._options.location,
            "tags": {**self._options.tags, **tags},
            "properties": {
                "storageProfile": {"source": {"virtualMachineId": machine}},
                "publishingProfile": {
                    "targetRegions": [{"name": self._options.location, "regionalReplicaCount": 1}],
                    "excludeFromLatest": True,
                },
            },
        }
        path = f"{self.definition()}/versions/{_version(marks, self._owner())}"
        with contextlib.suppress(ThereError):
            await self._resources.make(path, body, f"make image {marks.name}")
        return path

    async def images(self) -> list[CloudImage]:
        if not self.definition():
            return []
        listed = await self._resources.list_all(f"{self.definition()}/versions")
        return [image for each in listed if (image := self._image(each)) is not None]

    async def delete_image(self, image: str) -> None:
        with contextlib.suppress(GoneError):
            await self._resources.delete(image, waits=True)

    async def sweep(self) -> None:
        """A version leaves nothing."""

    def _image(self, version: dict[str, Any]) -> CloudImage | None:
        tags = version.get("tags") or {}
        try:
            marks = BakeMarks.read(tags)
        except (KeyError, ValueError):
            return None
        properties = version["properties"]
        state = str(properties.get("provisioningState", ""))
        if tags.get(BAKED_LABEL) != home_of(self._installation()) or state == "Deleting":
            return None
        return CloudImage(
            f"{self.definition()}/versions/{version['name']}",
            marks,
            STATES.get(state, ImageState.BROKEN),
            marks.region == self._region,
            _published(properties, marks.at),
            f"is {state}",
        )


def _stage(provisioning: str, statuses: list[dict[str, Any]]) -> tuple[Stage, str]:
    power = power_of(statuses)
    if provisioning == "Creating":
        return Stage.BOOTING, ""
    if provisioning == "Failed" and power not in ("running", "deallocated"):
        said = message_of(statuses)
        return Stage.BROKEN, f"is Failed{f': {said}' if said else ''}"
    if power == "deallocated":
        return Stage.STOPPED, "is deallocated"
    return (Stage.RUNNING, "") if power != "starting" else (Stage.BOOTING, "")


def _version(marks: BakeMarks, owner: str) -> str:
    """Three numbers that grow: days since 1970, the second of the day, and which bake of that second."""
    day, second = divmod(marks.at, 86_400)
    which = hashlib.sha256(f"{owner}/{marks.digest}".encode()).hexdigest()[:6]
    return f"{day}.{second}.{int(which, 16)}"


def _published(properties: dict[str, Any], otherwise: float) -> float:
    written = (properties.get("publishingProfile") or {}).get("publishedDate")
    return datetime.fromisoformat(written).timestamp() if written else float(otherwise)
