"""Images of AWS that are baked: instances with a tag of their own, so that no listing of hosts shows them,
and AMIs of instances that are stopped. An AMI's snapshots are not removed with it; they have its tags, by
which they are found when an agent ends in between.
"""

import contextlib
import hashlib
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from repave_agent.clients.aws.service import Ec2
from repave_agent.clients.faults import GoneError, LostError
from repave_agent.core.ports import RefusedError
from repave_agent.providers.aws.instances import as_tags, at_place, image_of, order_of, printed, written_on
from repave_agent.providers.aws.options import AwsOptions
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
from repave_agent.providers.cloud.machine import OWNER
from repave_agent.providers.cloud.placement import Place, Placement
from repave_protos.protocol.values import HostName, RegionName

NAME_LENGTH_MAX = 128
THERE = "InvalidAMIName.Duplicate"
"""Amazon's library repeats a call that was not answered, and the image was made by the first one."""
STAGES = {
    "pending": Stage.BOOTING,
    "running": Stage.RUNNING,
    "stopping": Stage.RUNNING,
    "stopped": Stage.STOPPED,
    "shutting-down": Stage.BROKEN,
    "terminated": Stage.GONE,
}
STATES = {"pending": ImageState.MAKING, "available": ImageState.WHOLE}


class Bakes:
    """Implements BakingCloud."""

    noun = "instance"

    def __init__(
        self, region: RegionName, installation: Callable[[], str], ec2: Ec2, options: AwsOptions
    ) -> None:
        self._region, self._installation = region, installation
        self._ec2, self._options = ec2, options
        self._placement = Placement(options.subnets)

    def _owner(self) -> str:
        return bake_owner_of(self._installation(), self._region)

    # -------------------------------------------------------------------------------------------- instances

    async def make(self, marks: BakeMarks, script: str) -> str:
        image = await image_of(self._ec2, marks.base)
        tags = {**marks.written(), OWNER: self._owner(), "Name": marks.machine}
        order = order_of(self._options, image, script, tags)
        return await self._placement.first_with_room(
            HostName(marks.machine), self._options.instance_types, lambda at: self._run(marks, order, at)
        )

    async def _run(self, marks: BakeMarks, order: dict[str, Any], place: Place) -> str:
        token = hashlib.sha256(f"{self._owner()}/{marks.machine}/{place}".encode()).hexdigest()
        made = await self._ec2.call("run_instances", **at_place(order, place, token))
        (instance,) = made["Instances"]
        return str(instance["InstanceId"])

    async def machines(self) -> list[BakingMachine]:
        wanted = [{"Name": f"tag:{OWNER}", "Values": [self._owner()]}]
        listed = await self._ec2.list_all("describe_instances", "Reservations", Filters=wanted)
        instances = [each for reservation in listed for each in reservation["Instances"]]
        return [machine for each in instances if (machine := _machine(each)) is not None]

    async def console(self, machine: str, lines: int) -> str:
        """The latest, which older types of instances don't tell: theirs comes minutes later."""
        try:
            return printed(await self._ec2.call("get_console_output", InstanceId=machine, Latest=True))
        except GoneError:
            return ""
        except RefusedError:
            return printed(await self._ec2.call("get_console_output", InstanceId=machine))

    async def stop(self, machine: str) -> None:
        await self._ec2.call("stop_instances", InstanceIds=[machine])

    async def delete_machine(self, machine: str) -> None:
        with contextlib.suppress(GoneError):
            await self._ec2.call("terminate_instances", InstanceIds=[machine])

    # -------------------------------------------------------------------------------------------- images

    async def take(self, machine: str, marks: BakeMarks) -> str:
        tags = {**marks.written(), OWNER: self._owner(), BAKED_LABEL: home_of(self._installation())}
        written = as_tags({**self._options.tags, **tags, "Name": marks.name})
        try:
            answer = await self._ec2.call(
                "create_image",
                InstanceId=machine,
                Name=_name(marks),
                Description=f"{marks.name}, baked by repave",
                NoReboot=True,
                TagSpecifications=[{"ResourceType": kind, "Tags": written} for kind in ("image", "snapshot")],
            )
        except RefusedError as error:
            if THERE in str(error):
                raise LostError(f"AWS: an answer was lost: {error}") from error
            raise
        return str(answer["ImageId"])

    async def images(self) -> list[CloudImage]:
        """Of our own account: who can share an image could run theirs as ours."""
        wanted = [{"Name": f"tag:{BAKED_LABEL}", "Values": [home_of(self._installation())]}]
        listed = await self._ec2.list_all("describe_images", "Images", Owners=["self"], Filters=wanted)
        return [image for each in listed if (image := self._image(each)) is not None]

    async def delete_image(self, image: str) -> None:
        """With its snapshots."""
        wanted = [{"Name": "image-id", "Values": [image]}]
        found = await self._ec2.list_all("describe_images", "Images", Owners=["self"], Filters=wanted)
        with contextlib.suppress(GoneError):
            await self._ec2.call("deregister_image", ImageId=image)
        for snapshot in _snapshots(found[0]) if found else []:
            await self._delete_snapshot(snapshot)

    async def sweep(self) -> None:
        """Our snapshots of which there is no image any more."""
        wanted = [{"Name": f"tag:{OWNER}", "Values": [self._owner()]}]
        there = await self._ec2.list_all("describe_snapshots", "Snapshots", OwnerIds=["self"], Filters=wanted)
        if not there:
            return
        images = await self._ec2.list_all("describe_images", "Images", Owners=["self"], Filters=wanted)
        used = {snapshot for each in images for snapshot in _snapshots(each)}
        for each in there:
            if each["SnapshotId"] not in used:
                await self._delete_snapshot(each["SnapshotId"])

    async def _delete_snapshot(self, snapshot: str) -> None:
        with contextlib.suppress(GoneError):
            await self._ec2.call("delete_snapshot", SnapshotId=snapshot)

    def _image(self, image: dict[str, Any]) -> CloudImage | None:
        try:
            marks = BakeMarks.read(written_on(image))
        except (KeyError, ValueError):
            return None
        if marks.installation != self._installation() or image["State"] == "deregistered":
            return None
        said = (image.get("StateReason") or {}).get("Message", "")
        return CloudImage(
            image["ImageId"],
            marks,
            STATES.get(image["State"], ImageState.BROKEN),
            marks.region == self._region,
            datetime.fromisoformat(image["CreationDate"]).timestamp(),
            f"is {image['State']}{f': {said}' if said else ''}",
        )


def _machine(instance: dict[str, Any]) -> BakingMachine | None:
    try:
        marks = BakeMarks.read(written_on(instance))
    except (KeyError, ValueError):
        return None
    name, reason = instance["State"]["Name"], instance.get("StateReason") or {}
    said = str(reason.get("Message") or instance.get("StateTransitionReason") or "")
    return BakingMachine(
        instance["InstanceId"],
        marks.digest,
        marks.at,
        STAGES[name],
        f"is {name}{f': {said}' if said else ''}",
    )


def _snapshots(image: dict[str, Any]) -> list[str]:
    mapped = ((each.get("Ebs") or {}).get("SnapshotId") for each in image.get("BlockDeviceMappings") or [])
    return [each for each in mapped if each]


def _name(marks: BakeMarks) -> str:
    """AWS takes each name once, and not every character."""
    plain = re.sub(r"[^A-Za-z0-9()\[\] ./'@_-]", "-", marks.name)
    end = f"-{marks.machine}"
    return f"{plain[: NAME_LENGTH_MAX - len(end)]}{end}"
