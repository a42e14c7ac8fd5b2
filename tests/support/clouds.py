"""The big clouds as their stand-ins have them: what a provider of each is made with, which calls it makes."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from aiobotocore.session import AioSession

from repave_agent.clients.aws.service import TRIES_MAX, Ec2, ServiceQuotas
from repave_agent.clients.azure.resources import COMPUTE, NETWORK
from repave_agent.clients.gcp.login import find_credentials
from repave_agent.core.ports import Clock
from repave_agent.packages.server import Depot
from repave_agent.providers.aws.options import AwsOptions
from repave_agent.providers.aws.provider import AwsProvider
from repave_agent.providers.azure.machines import MACHINES
from repave_agent.providers.azure.options import AzureMachineOptions
from repave_agent.providers.azure.provider import AzureProvider
from repave_agent.providers.cloud.machine import OWNER
from repave_agent.providers.gcp.options import GcpOptions
from repave_agent.providers.gcp.provider import GcpProvider
from repave_protos.protocol.values import RegionName
from tests.support.rigs import CloudRig

AnyProvider = GcpProvider | AzureProvider | AwsProvider
QUICK = {"boot_seconds": 0.0, "operation_seconds": 0.05}
"""Settings of a stand-in."""


@dataclass(frozen=True, slots=True)
class CloudKind:
    """`calls`: those of a launch and a destruction, as the stand-in names them. `create`: that which makes a
    machine. `settings`: what a provider needs, with two zones and two sizes. `wrong`: settings that can't
    work, and what is said of them. `sizes_of`, `images_of`: of the machines that there are. `remains_of`: all
    disks, interfaces and snapshots."""

    name: str
    settings: Callable[[CloudRig], dict[str, Any]]
    create: str
    calls: tuple[str, ...]
    make: Callable[[CloudRig, RegionName, Callable[[], str], dict[str, Any], Depot, Clock], AnyProvider]
    sizes_of: Callable[[Any], Awaitable[list[str]]]
    images_of: Callable[[Any], Awaitable[list[str]]]
    remains_of: Callable[[Any], Awaitable[list[str]]]
    sizes: tuple[str, ...]
    wrong: tuple[tuple[dict[str, Any], str], ...]
    calls_of: Callable[[Any], int]
    tries: int = 1  # so often one call is made where a cloud has no room
    tells_quota: bool = True
    tells_state: bool = True  # of the stand-in: its calls, and which of them the vendor allows

    def provider(
        self,
        rig: CloudRig,
        state: Path,
        clock: Clock,
        owner: str = "ours/here",
        settings: dict[str, Any] | None = None,
        **options: Any,
    ) -> AnyProvider:
        """Of an installation in a region; "" for one that has not met its controller. `settings`: when they
        are known already."""
        installation, _, region = owner.partition("/")
        wanted = {**(settings or self.settings(rig)), "endpoint": rig.url, **options}
        depot = Depot(state, "127.0.0.1:0")
        return self.make(rig, RegionName(region or "here"), lambda: installation, wanted, depot, clock)


def _gcp(
    rig: CloudRig,
    region: RegionName,
    installation: Callable[[], str],
    wanted: dict[str, Any],
    depot: Depot,
    clock: Clock,
) -> GcpProvider:
    options, credentials = GcpOptions.model_validate(wanted), find_credentials(None, rig.variables)
    return GcpProvider(region, installation, options, depot, clock, credentials)


def _azure(
    rig: CloudRig,
    region: RegionName,
    installation: Callable[[], str],
    wanted: dict[str, Any],
    depot: Depot,
    clock: Clock,
) -> AzureProvider:
    options = AzureMachineOptions.model_validate(wanted)
    return AzureProvider(region, installation, options, depot, clock, rig.variables)


async def _gcp_sizes(provider: GcpProvider) -> list[str]:
    there = await provider._compute.list_all("aggregated/instances")
    return [each["machineType"].rpartition("/")[2] for each in there]


async def _gcp_images(provider: GcpProvider) -> list[str]:
    disks = await provider._compute.list_all("aggregated/disks")
    return [each["sourceImage"].partition("/v1/")[2] for each in disks]


async def _gcp_remains(provider: GcpProvider) -> list[str]:
    return [each["name"] for each in await provider._compute.list_all("aggregated/disks")]


async def _azure_sizes(provider: AzureProvider) -> list[str]:
    resources = provider._resources
    there = await resources.list_all(resources.path(COMPUTE, MACHINES))
    return [each["properties"]["hardwareProfile"]["vmSize"] for each in there]


async def _azure_images(provider: AzureProvider) -> list[str]:
    resources = provider._resources
    there = await resources.list_all(resources.path(COMPUTE, MACHINES))
    named = [each["properties"]["storageProfile"]["imageReference"] for each in there]
    return [each.get("id") or ":".join(each.values()) for each in named]


async def _azure_remains(provider: AzureProvider) -> list[str]:
    resources = provider._resources
    paths = (resources.path(COMPUTE, "disks"), resources.path(NETWORK, "networkInterfaces"))
    return [each["name"] for path in paths for each in await resources.list_all(path)]


def _aws(
    rig: CloudRig,
    region: RegionName,
    installation: Callable[[], str],
    wanted: dict[str, Any],
    depot: Depot,
    clock: Clock,
) -> AwsProvider:
    options, session = AwsOptions.model_validate(wanted), AioSession()
    session.set_credentials("AKIARIG", "secret")
    ec2, quotas = RigEc2(options, session), ServiceQuotas(options, session)
    return AwsProvider(region, installation, options, depot, clock, ec2, quotas)


class RigEc2(Ec2):
    """Moto can't tag the snapshots of an image when it is made; here they are tagged just afterwards."""

    async def call(self, name: str, **wanted: Any) -> dict[str, Any]:
        if name != "create_image":
            return await super().call(name, **wanted)
        of_image, of_snapshots = wanted["TagSpecifications"]
        made = await super().call(name, **{**wanted, "TagSpecifications": [of_image]})
        (image,) = (await super().call("describe_images", ImageIds=[made["ImageId"]]))["Images"]
        snapshots = [each["Ebs"]["SnapshotId"] for each in image["BlockDeviceMappings"]]
        await super().call("create_tags", Resources=snapshots, Tags=of_snapshots["Tags"])
        return made


def _aws_settings(rig: CloudRig) -> dict[str, Any]:
    """Moto's ids of subnets are others each time."""
    ec2 = botocore.session.get_session().create_client(
        "ec2",
        region_name="eu-west-1",
        endpoint_url=rig.url,
        aws_access_key_id="AKIARIG",
        aws_secret_access_key="secret",
    )
    subnets = [each["SubnetId"] for each in ec2.describe_subnets()["Subnets"]]
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    return {
        "region": "eu-west-1",
        "subnets": tuple(subnets[:2]),
        "instance_types": ("t3.micro", "t3.small"),
        "image": image,
    }


async def _aws_sizes(provider: AwsProvider) -> list[str]:
    listed = await provider._ec2.list_all("describe_instances", "Reservations")
    return [each["InstanceType"] for one in listed for each in one["Instances"]]


async def _aws_images(provider: AwsProvider) -> list[str]:
    listed = await provider._ec2.list_all("describe_instances", "Reservations")
    instances = [each for one in listed for each in one["Instances"]]
    return [each["ImageId"] for each in instances if each["State"]["Name"] in ("pending", "running")]


async def _aws_remains(provider: AwsProvider) -> list[str]:
    """And our snapshots of which there is no image."""
    ec2 = provider._ec2
    volumes = await ec2.list_all("describe_volumes", "Volumes")
    ours = [{"Name": "tag-key", "Values": [OWNER]}]
    snapshots = await ec2.list_all("describe_snapshots", "Snapshots", OwnerIds=["self"], Filters=ours)
    images = await ec2.list_all("describe_images", "Images", Owners=["self"])
    used = {one["Ebs"]["SnapshotId"] for each in images for one in each["BlockDeviceMappings"]}
    left = [each["SnapshotId"] for each in snapshots if each["SnapshotId"] not in used]
    return [*(each["VolumeId"] for each in volumes), *left]


GCP = CloudKind(
    "gcp",
    lambda _: {
        "zones": ("europe-west1-b", "europe-west1-c"),
        "machine_types": ("e2-small", "e2-medium"),
        "image": "debian-cloud/family/debian-12",
        "calls_per_second": 0.0,
    },
    "instances.insert",
    (
        "oauth2.token",
        "machineTypes.get",
        "images.list",
        "instances.insert",
        "zoneOperations.wait",
        "instances.aggregatedList",
        "instances.delete",
    ),
    _gcp,
    _gcp_sizes,
    _gcp_images,
    _gcp_remains,
    ("e2-small", "e2-medium"),
    (
        ({"zones": ()}, r"gcp\.zones is not set"),
        ({"zones": ("europe-west1-b", "us-central1-a")}, "are not of one region"),
        ({"machine_types": ("e2-small", "x9")}, r"gcp\.machine_types: europe-west1-b has no x9"),
        ({"sizes": {"xl": ("x9",)}}, r"gcp\.sizes: no zone has x9"),
        ({"image": "debian-cloud/family/debian-1"}, r"gcp\.image: there is no image of family debian-1"),
        (
            {"image": "debian-cloud/debian-1"},
            r"gcp\.image: there is no image debian-1 in project",
        ),
        ({"image": "a/b/c/d"}, "names no image: write NAME, PROJECT/NAME or PROJECT/family/NAME"),
    ),
    lambda provider: int(provider._compute.rest.calls),
)
AZURE = CloudKind(
    "azure",
    lambda rig: {
        "authority": rig.url,
        "calls_per_second": 0.0,
        "resource_group": "repave",
        "location": "westeurope",
        "zones": ("1", "2"),
        "vm_sizes": ("Standard_B1s", "Standard_B2s"),
        "image": "Debian:debian-12:12-gen2:0.20261101.1",
        "subnet": "fleet/hosts",
    },
    "virtual_machines_create_or_update",
    (
        "entra.token",
        "subnets_get",
        "resource_skus_list",
        "virtual_machines_create_or_update",
        "operations.get",
        "virtual_machines_list",
        "virtual_machines_list_all",
        "network_interfaces_list",
        "virtual_machines_delete",
    ),
    _azure,
    _azure_sizes,
    _azure_images,
    _azure_remains,
    ("Standard_B1s", "Standard_B2s"),
    (
        (
            {"resource_group": "", "vm_sizes": ()},
            r"azure\.resource_group is not set; azure\.vm_sizes is not set",
        ),
        ({"vm_sizes": ("Standard_B1s", "x9")}, r"azure\.vm_sizes: westeurope has no x9"),
        ({"sizes": {"xl": ("x9",)}}, r"azure\.sizes: westeurope has no x9"),
        ({"subnet": "fleet/none"}, r"azure\.subnet: there is no .*/virtualNetworks/fleet/subnets/none"),
        ({"image": "debian-12"}, r"azure\.image: 'debian-12' names no image: write its id, or PUBLISHER"),
        ({"image": "Debian:debian-12:12-gen2:latest"}, r"azure\.image: .*latest means another image"),
    ),
    lambda provider: int(provider._resources.rest.calls),
)
AWS = CloudKind(
    "aws",
    _aws_settings,
    "ec2.RunInstances",
    (
        "ec2.DescribeSubnets",
        "ec2.DescribeImages",
        "ec2.DescribeInstanceTypes",
        "ec2.RunInstances",
        "ec2.DescribeInstances",
        "ec2.TerminateInstances",
    ),
    _aws,
    _aws_sizes,
    _aws_images,
    _aws_remains,
    ("t3.micro", "t3.small"),
    (
        ({"subnets": (), "image": ""}, r"aws\.subnets is not set; aws\.image is not set"),
        ({"subnets": ("subnet-0",)}, r"aws\.subnets: .*InvalidSubnetID\.NotFound"),
        ({"image": "ami-0"}, r"aws\.image: .*InvalidAMIID"),
        ({"instance_types": ("x9.huge",)}, r"aws\.instance_types: .*x9\.huge"),
        ({"sizes": {"xl": ("x9.huge",)}}, r"aws\.sizes: .*x9\.huge"),
    ),
    lambda provider: int(provider._ec2.calls),
    tries=TRIES_MAX,
    tells_quota=False,
    tells_state=False,
)
CLOUDS = {kind.name: kind for kind in (GCP, AZURE, AWS)}
CLOUD_NAMES = ["gcp", "azure", pytest.param("aws", marks=pytest.mark.rig)]
"""For tests over all of them: that of AWS takes too long for `make test`."""
