"""Images of Google Cloud that are baked: instances with a label of their own, so that no listing of hosts
shows them, and images of their disks, which Google takes only of an instance that is stopped. Labels take
neither digests nor capitals: they say whose an image is, its description says the rest.
"""

import contextlib
import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from repave_agent.clients.faults import GoneError
from repave_agent.clients.gcp.compute import Compute, ThereError, name_of
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
from repave_agent.providers.cloud.placement import Place, Placement
from repave_agent.providers.gcp.instances import instance_of, placed, written_on
from repave_agent.providers.gcp.options import GcpOptions
from repave_protos.protocol.values import HostName, RegionName

SEAL = """\
if command -v google_guest_agent >/dev/null && ! command -v cloud-init >/dev/null; then
    : >/etc/machine-id
fi"""
"""Google's guest agent makes new SSH keys where an instance is another one than before."""
STAGES = {
    "PROVISIONING": Stage.BOOTING,
    "STAGING": Stage.BOOTING,
    "RUNNING": Stage.RUNNING,
    "STOPPING": Stage.RUNNING,
    "TERMINATED": Stage.STOPPED,
}
STATES = {"PENDING": ImageState.MAKING, "READY": ImageState.WHOLE}


class Bakes:
    """Implements BakingCloud."""

    noun = "instance"

    def __init__(
        self, region: RegionName, installation: Callable[[], str], compute: Compute, options: GcpOptions
    ) -> None:
        self._region, self._installation = region, installation
        self._compute, self._options = compute, options
        self._placement = Placement(options.zones)

    def _owner(self) -> str:
        return bake_owner_of(self._installation(), self._region)

    # -------------------------------------------------------------------------------------------- instances

    async def make(self, marks: BakeMarks, script: str) -> str:
        body = instance_of(self._options, marks.base, script, marks.written(), self._owner())
        body["name"] = self._name(marks)
        return await self._placement.first_with_room(
            HostName(marks.machine), self._options.machine_types, lambda at: self._insert(body, at)
        )

    async def _insert(self, body: dict[str, Any], place: Place) -> str:
        path = f"zones/{place.zone}/instances"
        once = f"{self._owner()}/{body['name']}/{place}"
        with contextlib.suppress(ThereError):  # made by a call whose answer was lost
            operation = await self._compute.change("POST", path, placed(body, place), once=once)
            await self._compute.settle(operation, f"insert {body['name']}, {place}")
        return f"{path}/{body['name']}"

    async def machines(self) -> list[BakingMachine]:
        wanted = f"labels.{OWNER}={self._owner()}"
        listed = await self._compute.list_all("aggregated/instances", filter=wanted)
        return [machine for each in listed if (machine := _machine(each)) is not None]

    async def console(self, machine: str, lines: int) -> str:
        try:
            return str((await self._compute.get(f"{machine}/serialPort")).get("contents", ""))
        except GoneError:
            return ""

    async def stop(self, machine: str) -> None:
        await self._compute.change("POST", f"{machine}/stop")

    async def delete_machine(self, machine: str) -> None:
        with contextlib.suppress(GoneError):
            await self._compute.change("DELETE", machine)

    # -------------------------------------------------------------------------------------------- images

    async def take(self, machine: str, marks: BakeMarks) -> str:
        zone, name = machine.split("/")[1], self._name(marks)
        body = {
            "name": name,
            "sourceDisk": f"zones/{zone}/disks/{name_of(machine)}",
            "labels": {OWNER: self._owner(), BAKED_LABEL: home_of(self._installation())},
            "description": json.dumps(marks.written()),
        }
        once = f"{self._owner()}/{name}/image"
        with contextlib.suppress(ThereError):
            operation = await self._compute.change("POST", "global/images", body, once=once)
            await self._compute.settle(operation, f"insert image {name}")
        return self._image_id(name)

    async def images(self) -> list[CloudImage]:
        """Of our own project: who can share an image could run theirs as ours."""
        wanted = f"labels.{BAKED_LABEL}={home_of(self._installation())}"
        listed = await self._compute.list_all("global/images", filter=wanted)
        return [image for each in listed if (image := self._image(each)) is not None]

    async def delete_image(self, image: str) -> None:
        try:
            operation = await self._compute.change("DELETE", f"global/images/{name_of(image)}")
            await self._compute.settle(operation, f"delete {image}")
        except GoneError:
            pass

    async def sweep(self) -> None:
        """An image leaves nothing."""

    def _image(self, image: dict[str, Any]) -> CloudImage | None:
        try:
            marks = BakeMarks.read(json.loads(image.get("description") or "{}"))
        except (KeyError, ValueError, TypeError):
            return None
        status = str(image.get("status", "READY"))
        if marks.installation != self._installation() or status == "DELETING":
            return None
        return CloudImage(
            self._image_id(image["name"]),
            marks,
            STATES.get(status, ImageState.BROKEN),
            marks.region == self._region,
            datetime.fromisoformat(image["creationTimestamp"]).timestamp(),
            f"is {status}",
        )

    def _image_id(self, name: str) -> str:
        return f"projects/{self._compute.project}/global/images/{name}"

    def _name(self, marks: BakeMarks) -> str:
        return machine_name(self._owner(), HostName(marks.machine))


def _machine(instance: dict[str, Any]) -> BakingMachine | None:
    try:
        marks = BakeMarks.read(written_on(instance))
    except (KeyError, ValueError):
        return None
    status, said = instance["status"], instance.get("statusMessage", "")
    return BakingMachine(
        f"zones/{name_of(instance['zone'])}/instances/{instance['name']}",
        marks.digest,
        marks.at,
        STAGES.get(status, Stage.BROKEN),
        f"is {status}{f': {said}' if said else ''}",
    )
