"""Parts of machines go with them by the way they are made, and what a cloud leaves all the same is found by
our mark and removed: never what is in use, another's, or younger than a launch can take.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from repave_agent.clients.azure.resources import COMPUTE, NETWORK
from repave_agent.core.ports import TransientError
from repave_agent.providers.aws.instances import order_of
from repave_agent.providers.aws.options import AwsOptions
from repave_agent.providers.aws.provider import AwsProvider
from repave_agent.providers.azure.machines import machine_of
from repave_agent.providers.azure.options import AzureMachineOptions
from repave_agent.providers.azure.provider import AzureProvider
from repave_agent.providers.cloud.leaks import LEFT_SECONDS, SWEEP_SECONDS, Leaks, Part
from repave_agent.providers.cloud.machine import OWNER
from repave_agent.providers.gcp.instances import instance_of
from repave_agent.providers.gcp.options import GcpOptions
from repave_agent.providers.gcp.provider import GcpProvider
from tests.agent.providers.cloud.test_faults import spec
from tests.fakes.clock import FastClock, QuickClock
from tests.fakes.waiting import until_async
from tests.support.clouds import CLOUD_NAMES, CLOUDS, QUICK, AnyProvider, CloudKind
from tests.support.rigs import CloudRig, cloud_rig, why_no_cloud


class Pile:
    """Parts that a cloud has left. `faults`: so many deletions fail."""

    def __init__(self, *parts: Part) -> None:
        self.parts, self.faults, self.listings = list(parts), 0, 0

    async def unused_parts(self) -> list[Part]:
        self.listings += 1
        return list(self.parts)

    async def delete_part(self, part: Part) -> None:
        if self.faults:
            self.faults -= 1
            raise TransientError("no answer")
        self.parts.remove(part)


async def test_what_is_unused_for_longer_than_a_launch_takes_is_removed_and_nothing_younger() -> None:
    clock, pile = QuickClock(), Pile(Part("disk", "old"))
    leaks = Leaks(pile, clock)
    await leaks.sweep()
    clock.slept += LEFT_SECONDS - SWEEP_SECONDS
    pile.parts.append(Part("disk", "young"))
    await leaks.sweep()
    assert len(pile.parts) == 2
    clock.slept += SWEEP_SECONDS
    await leaks.sweep()
    assert [each.id for each in pile.parts] == ["young"]


async def test_what_was_used_meanwhile_counts_as_new() -> None:
    clock, pile = QuickClock(), Pile(Part("disk", "busy"))
    leaks = Leaks(pile, clock)
    await leaks.sweep()
    for there in ([], [Part("disk", "busy")]):
        pile.parts = there
        clock.slept += LEFT_SECONDS
        await leaks.sweep()
    assert [each.id for each in pile.parts] == ["busy"]


async def test_a_deletion_that_fails_is_tried_again_and_the_cloud_is_not_asked_all_the_time() -> None:
    clock, pile = QuickClock(), Pile(Part("disk", "a"), Part("address", "b"))
    pile.faults = 1
    leaks = Leaks(pile, clock)
    await leaks.sweep()
    clock.slept += LEFT_SECONDS
    for _ in range(5):
        await leaks.sweep()
    assert (pile.parts, pile.listings) == ([Part("disk", "a")], 2)
    clock.slept += SWEEP_SECONDS
    await leaks.sweep()
    assert pile.parts == []


# ---------------------------------------------------------------------------------------------------- made so


def test_disks_and_interfaces_of_aws_go_with_their_instance() -> None:
    image = {"ImageId": "ami-1", "RootDeviceName": "/dev/xvda", "BlockDeviceMappings": []}
    order = order_of(AwsOptions(public_address=True), image, "#!/bin/sh", {"Name": "a", OWNER: "us"})
    assert [each["Ebs"]["DeleteOnTermination"] for each in order["BlockDeviceMappings"]] == [True]
    assert [each["DeleteOnTermination"] for each in order["NetworkInterfaces"]] == [True]
    tagged = {each["ResourceType"]: each["Tags"] for each in order["TagSpecifications"]}
    assert tagged.keys() == {"instance", "volume", "network-interface"}
    assert all({"Key": OWNER, "Value": "us"} in tags for tags in tagged.values())


def test_disks_and_addresses_of_google_go_with_their_instance() -> None:
    body = instance_of(GcpOptions(public_address=True), "image", "#!/bin/sh", {}, "us")
    assert [each["autoDelete"] for each in body["disks"]] == [True]
    assert [each["initializeParams"]["labels"] for each in body["disks"]] == [{OWNER: "us"}]
    (address,) = body["networkInterfaces"][0]["accessConfigs"]
    assert "natIP" not in address, "an address of its own would stay"


def test_disks_interfaces_and_addresses_of_azure_go_with_their_machine() -> None:
    options = AzureMachineOptions(subnet="/subnet", public_address=True)
    tags = {OWNER: "us"}
    body = machine_of(options, None, "a", "a:b:c:1", "#!/bin/sh", tags)["properties"]  # type: ignore[arg-type]
    (card,) = body["networkProfile"]["networkInterfaceConfigurations"]
    (ip,) = card["properties"]["ipConfigurations"]
    address = ip["properties"]["publicIPAddressConfiguration"]
    assert body["storageProfile"]["osDisk"]["deleteOption"] == "Delete"
    assert [each["properties"]["deleteOption"] for each in (card, address)] == ["Delete", "Delete"]
    assert [each["tags"] for each in (card, address)] == [tags, tags]


# ---------------------------------------------------------------------------------------------------- left


class Ahead(FastClock):
    """As fast as usual, with hours that pass at once."""

    ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


@pytest.fixture(scope="module", params=CLOUD_NAMES)
def world(request: pytest.FixtureRequest) -> Iterator[tuple[CloudKind, CloudRig]]:
    kind = CLOUDS[request.param]
    if reason := why_no_cloud(kind.name):
        pytest.skip(reason)
    net = 130 + [*CLOUDS].index(kind.name)
    with TemporaryDirectory(prefix="rg") as directory, cloud_rig(kind.name, Path(directory), net) as rig:
        yield kind, rig


@pytest.fixture
async def provider(world: tuple[CloudKind, CloudRig], tmp_path: Path) -> AsyncIterator[AnyProvider]:
    kind, rig = world
    rig.reset(**QUICK)
    made = kind.provider(rig, tmp_path, Ahead(20.0), public_address=True)
    yield made
    await made.close()


async def gcp_left(provider: GcpProvider, owner: str) -> None:
    compute = provider._compute
    for name in (f"disk-of-{owner[:8]}", f"disk-of-{owner[:8]}-too"):
        body = {"name": name, "labels": {OWNER: owner}, "sizeGb": "10"}
        operation = await compute.change("POST", "zones/europe-west1-b/disks", body)
        await compute.settle(operation, name)


async def azure_left(provider: AzureProvider, owner: str) -> None:
    resources, machines = provider._resources, provider._machines
    where = {"location": "westeurope", "tags": {OWNER: owner}}
    name = owner[:8]
    disk = {"creationData": {"createOption": "Empty"}, "diskSizeGB": 10}
    address = {"publicIPAllocationMethod": "Static"}
    address_id = resources.path(NETWORK, "publicIPAddresses", name)
    ip = {"subnet": {"id": machines.subnet()}}
    card = {"ipConfigurations": [{"name": "ip", "properties": ip}]}
    for path, properties in (
        (resources.path(COMPUTE, "disks", name), disk),
        (address_id, address),
        (resources.path(NETWORK, "networkInterfaces", name), card),
    ):
        await resources.make(path, {**where, "properties": properties}, path)


async def aws_left(provider: AwsProvider, owner: str) -> None:
    ec2, tags = provider._ec2, [{"Key": OWNER, "Value": owner}]
    zone = (await ec2.call("describe_subnets"))["Subnets"][0]["AvailabilityZone"]
    spec = [{"ResourceType": "volume", "Tags": tags}]
    await ec2.call("create_volume", AvailabilityZone=zone, Size=1, TagSpecifications=spec)
    spec = [{"ResourceType": "network-interface", "Tags": tags}]
    subnet = provider._options.subnets[0]
    await ec2.call("create_network_interface", SubnetId=subnet, TagSpecifications=spec)


LEFT: dict[str, Callable[[Any, str], Awaitable[None]]] = {
    "gcp": gcp_left,
    "azure": azure_left,
    "aws": aws_left,
}
DELETIONS = {"gcp": "disks.delete", "azure": "*_delete", "aws": "ec2.Delete*"}


@pytest.mark.parametrize("fault", [{}, {"do": "lose", "times": 2}, {"do": "error", "status": 403}])
async def test_what_a_cloud_has_left_is_found_by_our_mark_and_removed(
    world: tuple[CloudKind, CloudRig], provider: AnyProvider, package: Path, fault: dict[str, Any]
) -> None:
    kind, rig = world
    host = await provider.launch(spec(package), package)
    clock = provider._hosts._clock
    assert isinstance(clock, Ahead)
    cloud: Any = provider._machines if isinstance(provider, AzureProvider) else provider._instances
    await LEFT[kind.name](provider, cloud.owner())
    await LEFT[kind.name](provider, "strange1")
    assert len(await cloud.unused_parts()) >= 2
    await provider.sweep()
    assert len(await cloud.unused_parts()) >= 2, "it may be of a machine that is being made"
    if fault:
        rig.fault(DELETIONS[kind.name], **fault)

    async def is_gone() -> bool:
        """A deletion that failed is repeated."""
        clock.ahead += LEFT_SECONDS
        await provider.sweep()
        return not await cloud.unused_parts()

    await until_async(is_gone)
    rig.forget_faults()
    there = await kind.remains_of(provider)
    assert any("strange1" in each for each in there) or kind.name == "aws"
    assert (await provider.list_hosts())[0].is_running
    await provider.destroy(host.name)


async def test_nothing_is_left_of_a_machine_that_vanishes(
    world: tuple[CloudKind, CloudRig], provider: AnyProvider, package: Path
) -> None:
    kind, rig = world
    await provider.launch(spec(package), package)
    (machine,) = rig.instances()
    rig.act(machine["name"], "vanish")
    assert await provider.list_hosts() == [] or kind.name == "aws", "AWS lists what has ended"
    assert await kind.remains_of(provider) == []
