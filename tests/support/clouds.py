"""The big clouds as their stand-ins have them: what a provider of each is made with, which calls it makes."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.session
from aiobotocore.session import AioSession

from repave_agent.clients.aws.service import TRIES_MAX, Ec2
from repave_agent.clients.azure.resources import COMPUTE
from repave_agent.clients.gcp.login import find_credentials
from repave_agent.core.ports import Clock
from repave_agent.packages.server import Depot
from repave_agent.providers.aws.options import AwsOptions
from repave_agent.providers.aws.provider import AwsProvider
from repave_agent.providers.azure.machines import MACHINES
from repave_agent.providers.azure.options import AzureMachineOptions
from repave_agent.providers.azure.provider import AzureProvider
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
    work, and what is said of them. `sizes_of`: of the machines that there are."""

    name: str
    settings: Callable[[CloudRig], dict[str, Any]]
    create: str
    calls: tuple[str, ...]
    make: Callable[[CloudRig, RegionName, Callable[[], str], dict[str, Any], Depot, Clock], AnyProvider]
    sizes_of: Callable[[Any], Awaitable[list[str]]]
    sizes: tuple[str, ...]
    wrong: tuple[tuple[dict[str, Any], str], ...]
    calls_of: Callable[[Any], int]
    tries: int = 1  # so often one call is made where a cloud has no room
    tells_quota: bool = True
    tells_state: bool = True  # of the stand-in: its calls, and which of them the vendor allows

    def provider(
        self, rig: CloudRig, state: Path, clock: Clock, owner: str = "ours/here", **options: Any
    ) -> AnyProvider:
        """Of an installation in a region; "" for one that has not met its controller."""
        installation, _, region = owner.partition("/")
        wanted = {**self.settings(rig), "endpoint": rig.url, **options}
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


async def _azure_sizes(provider: AzureProvider) -> list[str]:
    resources = provider._resources
    there = await resources.list_all(resources.path(COMPUTE, MACHINES))
    return [each["properties"]["hardwareProfile"]["vmSize"] for each in there]


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
    return AwsProvider(region, installation, options, depot, clock, Ec2(options, session))


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
    ("e2-small", "e2-medium"),
    (
        ({"zones": ()}, r"gcp\.zones is not set"),
        ({"zones": ("europe-west1-b", "us-central1-a")}, "are not of one region"),
        ({"machine_types": ("e2-small", "x9")}, r"gcp\.machine_types: europe-west1-b has no x9"),
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
        "sizes": ("Standard_B1s", "Standard_B2s"),
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
    ("Standard_B1s", "Standard_B2s"),
    (
        ({"resource_group": "", "sizes": ()}, r"azure\.resource_group is not set; azure\.sizes is not set"),
        ({"sizes": ("Standard_B1s", "x9")}, r"azure\.sizes: westeurope has no x9"),
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
    ("t3.micro", "t3.small"),
    (
        ({"subnets": (), "image": ""}, r"aws\.subnets is not set; aws\.image is not set"),
        ({"subnets": ("subnet-0",)}, r"aws\.subnets: .*InvalidSubnetID\.NotFound"),
        ({"image": "ami-0"}, r"aws\.image: .*InvalidAMIID"),
        ({"instance_types": ("x9.huge",)}, r"aws\.instance_types: .*x9\.huge"),
    ),
    lambda provider: int(provider._ec2.calls),
    tries=TRIES_MAX,
    tells_quota=False,
    tells_state=False,
)
CLOUDS = {kind.name: kind for kind in (GCP, AZURE, AWS)}
