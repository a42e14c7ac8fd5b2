"""Instances of EC2 as machines.

A client token makes an order that is repeated one order, and is never trusted alone: it also gives an
instance that has ended meanwhile. One that AWS has ended stays listed for an hour, with the reason; one that
repave has ended is gone as soon as it is terminated.
"""

import base64
import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from repave_agent.clients.aws.service import Ec2
from repave_agent.clients.faults import GoneError, LostError
from repave_agent.core.ports import HostSpec, ProviderError, RefusedError
from repave_agent.packages.server import Depot
from repave_agent.providers.aws.options import AwsOptions
from repave_agent.providers.cloud.baking import bake_owner_of
from repave_agent.providers.cloud.first_boot import ON_SERVER, user_data
from repave_agent.providers.cloud.leaks import Part
from repave_agent.providers.cloud.machine import OWNER, Machine, Marks, State, owner_of
from repave_agent.providers.cloud.oven import Oven
from repave_agent.providers.cloud.placement import Place, Placement
from repave_agent.providers.cloud.sizes import SizeChart
from repave_agent.providers.command import environment_of, substitute
from repave_protos.protocol.values import GroupName, HostName, RegionName

USER_DATA_BYTES_MAX = 16_384
ENDED_BY_US_MAX = 10_000
STATES = {
    "pending": State.BUILDING,
    "running": State.RUNNING,
    "shutting-down": State.LEAVING,
    "stopping": State.ENDED,
    "stopped": State.ENDED,
    "terminated": State.ENDED,
}
SPOT = {
    "MarketType": "spot",
    "SpotOptions": {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"},
}
WITHOUT_ROOM = ("InsufficientInstanceCapacity", "VcpuLimitExceeded", "VolumeLimitExceeded")


class Instances:
    """Implements MachineCloud and PartsCloud. `installation` is asked again at every call."""

    noun = "instance"

    def __init__(
        self,
        region: RegionName,
        installation: Callable[[], str],
        ec2: Ec2,
        options: AwsOptions,
        depot: Depot,
        oven: Oven,
    ) -> None:
        self._region, self._installation = region, installation
        self._ec2, self._options, self._depot, self._oven = ec2, options, depot, oven
        self._placement = Placement(options.subnets)
        self.chart = SizeChart("aws.sizes", options.sizes, options.instance_types)
        self._orders: dict[HostName, int] = {}
        self._ended: dict[str, None] = {}  # by us, in order
        self._images: dict[str, dict[str, Any]] = {}

    @property
    def network(self) -> str:
        return ", ".join(self._options.subnets)

    def owner(self) -> str:
        """One tag for all that is ours."""
        return owner_of(self._installation(), self._region)

    # -------------------------------------------------------------------------------------------- make

    async def create(self, spec: HostSpec, package: Path) -> str:
        base = spec.template.machine_image or self._options.image
        await self.image(base)
        return await self._oven.from_image(
            spec.digest, base, lambda image: self._create(spec, package, image)
        )

    async def _create(self, spec: HostSpec, package: Path, image: str) -> str:
        wanted = self._wanted(spec, package, await self.image(image))
        sizes = self.chart.sizes(spec.template.machine_sizes)
        return await self._placement.first_with_room(
            spec.name, sizes, lambda at: self._run(spec.name, wanted, at)
        )

    async def _run(self, host: HostName, wanted: dict[str, Any], place: Place) -> str:
        """What failed is ordered again by another token, and what may have been done by the same one."""
        order = f"{self.owner()}/{host}/{place}/{self._orders.get(host, 0)}"
        token = hashlib.sha256(order.encode()).hexdigest()
        try:
            made = await self._ec2.call("run_instances", **at_place(wanted, place, token))
        except LostError:
            raise
        except ProviderError:
            self._orders[host] = self._orders.get(host, 0) + 1
            raise
        (instance,) = made["Instances"]
        return str(instance["InstanceId"])

    async def image(self, named: str) -> dict[str, Any]:
        """As AWS describes it. Raises RefusedError where a host can't be made of it."""
        if named not in self._images:
            self._images[named] = await image_of(self._ec2, named)
        return self._images[named]

    def forget_images(self) -> None:
        self._images.clear()

    def _wanted(self, spec: HostSpec, package: Path, image: dict[str, Any]) -> dict[str, Any]:
        """All that is ordered but where, and what depends on that."""
        options, environment = self._options, environment_of(spec, ON_SERVER, self._region)
        words = substitute(spec.template.run, environment)
        url = self._depot.offer(spec.digest, package)
        script = user_data(spec.name, spec.digest, url, words, environment, options.prepare, spec.released_at)
        marks = Marks.of(spec, self._installation(), self._region).written()
        wanted = order_of(options, image, script, {**marks, OWNER: self.owner(), "Name": spec.name})
        if spec.template.is_spot:
            wanted["InstanceMarketOptions"] = SPOT
        return wanted

    # -------------------------------------------------------------------------------------------- see

    async def machines(self) -> list[Machine]:
        if not self._installation():
            return []
        wanted = [{"Name": f"tag:{OWNER}", "Values": [self.owner()]}]
        listed = await self._ec2.list_all("describe_instances", "Reservations", Filters=wanted)
        instances = [each for reservation in listed for each in reservation["Instances"]]
        return [machine for each in instances if (machine := self._machine(each)) is not None]

    def _machine(self, instance: dict[str, Any]) -> Machine | None:
        """None of a stranger, and of one that we have ended."""
        try:
            marks = Marks.read(written_on(instance))
        except (KeyError, ValueError):
            return None
        if (marks.installation, marks.region) != (self._installation(), self._region):
            return None
        name = instance["State"]["Name"]
        if name == "terminated" and instance["InstanceId"] in self._ended:
            return None
        reason = instance.get("StateReason") or {}
        said = str(reason.get("Message") or instance.get("StateTransitionReason") or "")
        state = STATES[name]
        return Machine(
            instance["InstanceId"],
            marks,
            state,
            instance["LaunchTime"].timestamp(),
            str(instance.get("PrivateIpAddress") or ""),
            f"is {name}{f': {said}' if said else ''}" if state is State.ENDED else "",
            is_full=any(word in f"{reason.get('Code', '')} {said}" for word in WITHOUT_ROOM),
            is_spot=instance.get("InstanceLifecycle") == "spot",
        )

    async def accept(self, machine: Machine) -> None:
        """Every one that runs is good."""

    async def look(self, machine: str) -> None:
        answer = await self._ec2.call("describe_instances", InstanceIds=[machine])
        if not answer.get("Reservations"):
            raise GoneError(f"AWS: there is no instance {machine}")

    async def console(self, machine: str, lines: int) -> str:
        try:
            return printed(await self._ec2.call("get_console_output", InstanceId=machine))
        except (GoneError, RefusedError):
            return ""

    # -------------------------------------------------------------------------------------------- end

    async def delete(self, machine: str) -> None:
        try:
            await self._ec2.call("terminate_instances", InstanceIds=[machine])
        except GoneError:
            pass
        self._ended[machine] = None
        while len(self._ended) > ENDED_BY_US_MAX:
            del self._ended[next(iter(self._ended))]

    async def clear(self, machine: Machine) -> None:
        """Its disk and interface go with it. The next launch of this host is another order."""
        host = machine.marks.host
        self._orders[host] = self._orders.get(host, 0) + 1

    async def tidy(self, group: GroupName, launching: Callable[[], Iterable[GroupName]]) -> None:
        """A group has nothing of its own here."""

    async def unused_parts(self) -> list[Part]:
        """Public addresses are the instances' own: none is allocated."""
        owners = [self.owner(), bake_owner_of(self._installation(), self._region)]
        wanted = [
            {"Name": f"tag:{OWNER}", "Values": owners},
            {"Name": "status", "Values": ["available"]},
        ]
        cards = await self._ec2.list_all("describe_network_interfaces", "NetworkInterfaces", Filters=wanted)
        volumes = await self._ec2.list_all("describe_volumes", "Volumes", Filters=wanted)
        return [
            *(Part("interface", each["NetworkInterfaceId"]) for each in cards),
            *(Part("disk", each["VolumeId"]) for each in volumes),
        ]

    async def delete_part(self, part: Part) -> None:
        if part.kind == "disk":
            await self._ec2.call("delete_volume", VolumeId=part.id)
        else:
            await self._ec2.call("delete_network_interface", NetworkInterfaceId=part.id)


async def image_of(ec2: Ec2, named: str) -> dict[str, Any]:
    """As AWS describes it. Raises RefusedError where an instance can't be made of it."""
    try:
        found = (await ec2.call("describe_images", ImageIds=[named])).get("Images") or []
    except RefusedError as error:
        raise RefusedError(f"there is no image {named}: {error}") from error
    if not found:
        raise RefusedError(f"there is no image {named}, or it is not shared with this account")
    if found[0]["State"] != "available":
        raise RefusedError(f"image {named} is {found[0]['State']}, not available")
    return dict(found[0])


def order_of(options: AwsOptions, image: dict[str, Any], script: str, tags: dict[str, str]) -> dict[str, Any]:
    """All that an order says but its place. The instance runs `script` at its first boot; its disk and its
    interface go with it, and have its tags."""
    if len(script.encode()) > USER_DATA_BYTES_MAX:
        raise RefusedError(
            f"the user data of {tags['Name']} has {len(script.encode())} bytes, AWS takes "
            f"{USER_DATA_BYTES_MAX}: shorten run, env or prepare"
        )
    card: dict[str, Any] = {
        "DeviceIndex": 0,
        "AssociatePublicIpAddress": options.public_address,
        "DeleteOnTermination": True,
    }
    if options.security_groups:
        card["Groups"] = list(options.security_groups)
    written = as_tags({**options.tags, **tags})
    order: dict[str, Any] = {
        "ImageId": image["ImageId"],
        "MinCount": 1,
        "MaxCount": 1,
        "UserData": script,
        "NetworkInterfaces": [card],
        "BlockDeviceMappings": [_disk(options, image)],
        "MetadataOptions": {"HttpTokens": "required", "HttpEndpoint": "enabled"},
        "TagSpecifications": [
            {"ResourceType": kind, "Tags": written} for kind in ("instance", "volume", "network-interface")
        ],
    }
    if options.instance_profile:
        order["IamInstanceProfile"] = {"Name": options.instance_profile}
    if options.key_name:
        order["KeyName"] = options.key_name
    return order


def at_place(order: dict[str, Any], place: Place, token: str) -> dict[str, Any]:
    card = {**order["NetworkInterfaces"][0], "SubnetId": place.zone}
    return {**order, "NetworkInterfaces": [card], "InstanceType": place.size, "ClientToken": token}


def _disk(options: AwsOptions, image: dict[str, Any]) -> dict[str, Any]:
    """The image's own root disk, encrypted, and gone with the instance."""
    root = str(image.get("RootDeviceName") or "/dev/xvda")
    mapped = {each.get("DeviceName"): each.get("Ebs") or {} for each in image["BlockDeviceMappings"]}
    disk: dict[str, Any] = {"DeleteOnTermination": True, "Encrypted": True}
    if size := options.disk_gb or mapped.get(root, {}).get("VolumeSize"):
        disk["VolumeSize"] = size
    if options.disk_type:
        disk["VolumeType"] = options.disk_type
    return {"DeviceName": root, "Ebs": disk}


def as_tags(given: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in given.items()]


def written_on(thing: dict[str, Any]) -> dict[str, str]:
    return {each["Key"]: each["Value"] for each in thing.get("Tags") or []}


def printed(answer: dict[str, Any]) -> str:
    """What a console says: AWS encodes it, stand-ins may not."""
    text = str(answer.get("Output") or "")
    try:
        return base64.b64decode(text, validate=True).decode(errors="replace")
    except ValueError:
        return text
