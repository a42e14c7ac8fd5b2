"""The role in deploy/gcp has the rights that the calls of provider and balancer need, and no others."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from ruamel.yaml import YAML

from repave_agent.core.ports import Structure
from repave_agent.providers.gcp.provider import GcpProvider
from repave_protos.protocol.queries import FindRoom
from repave_protos.protocol.values import Probe, Timeouts
from tests.agent.balancers.gcp_lb.test_balancer import BLUE, DOOR, GREEN, TO_BLUE, behind
from tests.agent.providers.cloud.test_faults import spec
from tests.agent.providers.cloud.test_leaks import gcp_left
from tests.fakes.clock import FastClock
from tests.support.bakes import baked
from tests.support.clouds import GCP, QUICK
from tests.support.google_front import GoogleFront
from tests.support.paths import ROOT
from tests.support.rigs import CloudRig, cloud_rig, why_no_cloud


def _alike(everywhere: str, in_region: str, *used: str) -> dict[str, set[str]]:
    """The calls of a kind of thing, global and of a region. `used`: what such a thing names."""
    found = {}
    for name in (everywhere, in_region):
        prefix = "region" if name == in_region else ""
        rights = {_regional(prefix, each) for each in used}
        uses = {f"{each}.{'useReadOnly' if 'ealthChecks' in each else 'use'}" for each in rights}
        found[f"{name}.insert"] = {f"{name}.create", *uses}
        found[f"{name}.patch"] = found[f"{name}.update"] = {f"{name}.update", f"{name}.get", *uses}
        found[f"{name}.list"] = {f"{name}.list"}
        found[f"{name}.delete"] = {f"{name}.delete"}
    return found


def _regional(prefix: str, name: str) -> str:
    if not prefix or name == "networkEndpointGroups":
        return name
    return f"{prefix}{name[0].upper()}{name[1:]}"


RIGHTS = {
    "images.list": {"images.list"},
    "images.get": {"images.get"},
    "images.insert": {"images.create", "images.setLabels", "disks.useReadOnly"},
    "images.delete": {"images.delete"},
    "instances.stop": {"instances.stop"},
    "disks.aggregatedList": {"disks.list"},
    "disks.delete": {"disks.delete"},
    "instances.aggregatedList": {"instances.list"},
    "instances.get": {"instances.get"},
    "instances.delete": {"instances.delete"},
    "instances.getSerialPortOutput": {"instances.getSerialPortOutput"},
    "instances.insert": {
        "instances.create", "instances.setLabels", "instances.setMetadata", "instances.setTags",
        "disks.create", "disks.setLabels", "images.useReadOnly", "subnetworks.use",
        "subnetworks.useExternalIp",
    },
    "machineTypes.get": {"machineTypes.get"},
    "regions.get": {"regions.get"},
    "zoneOperations.wait": {"zoneOperations.get"},
    "globalOperations.wait": {"globalOperations.get"},
    "regionOperations.wait": {"regionOperations.get"},
    "networkEndpointGroups.aggregatedList": {"networkEndpointGroups.list"},
    "networkEndpointGroups.listNetworkEndpoints": {"networkEndpointGroups.get", "networkEndpointGroups.list"},
    "networkEndpointGroups.insert": {"networkEndpointGroups.create", "networks.use", "subnetworks.use"},
    "networkEndpointGroups.attachNetworkEndpoints": {
        "networkEndpointGroups.attachNetworkEndpoints", "instances.use",
    },
    "networkEndpointGroups.detachNetworkEndpoints": {
        "networkEndpointGroups.detachNetworkEndpoints", "instances.use",
    },
    "networkEndpointGroups.delete": {"networkEndpointGroups.delete"},
    "globalAddresses.get": {"globalAddresses.get"},
    "globalAddresses.setLabels": {"globalAddresses.setLabels"},
    "globalForwardingRules.insert": {
        "globalForwardingRules.create", "globalAddresses.use", "targetHttpProxies.use",
    },
    "globalForwardingRules.list": {"globalForwardingRules.list"},
    "globalForwardingRules.delete": {"globalForwardingRules.delete"},
    "addresses.get": {"addresses.get"},
    "addresses.setLabels": {"addresses.setLabels"},
    "forwardingRules.insert": {
        "forwardingRules.create", "addresses.use", "addresses.useInternal", "regionTargetHttpProxies.use",
        "networks.use", "subnetworks.use",
    },
    "forwardingRules.list": {"forwardingRules.list"},
    "forwardingRules.delete": {"forwardingRules.delete"},
    **_alike("healthChecks", "regionHealthChecks"),
    **_alike("backendServices", "regionBackendServices", "healthChecks", "networkEndpointGroups"),
    **_alike("urlMaps", "regionUrlMaps", "backendServices"),
    **_alike("targetHttpProxies", "regionTargetHttpProxies", "urlMaps"),
}  # fmt: skip
"""Of Google's reference: what each call needs, below `compute.`."""
OPERATORS = {"metadata.get", "addresses.insert", "globalAddresses.insert"}
"""Calls of the test in an operator's stead."""


@pytest.fixture
def rig() -> Iterator[CloudRig]:
    if reason := why_no_cloud("gcp"):
        pytest.skip(reason)
    with TemporaryDirectory(prefix="rg") as directory, cloud_rig("gcp", Path(directory), 95) as made:
        made.reset(**QUICK)
        yield made


async def test_the_role_allows_the_calls_that_are_made_and_no_others(
    rig: CloudRig, tmp_path: Path, package: Path
) -> None:
    provider = GCP.provider(rig, tmp_path, FastClock(20.0), public_address=True)
    assert isinstance(provider, GcpProvider)
    host = await provider.launch(spec(package), package)
    await provider.room(FindRoom(3))
    await provider.log_tail(host.name, 5)
    await provider.troubles()
    (machine,) = await provider._instances.machines()
    await provider._instances.look(machine.id)
    await provider._instances.image("debian-cloud/debian-12-bookworm-v20261111")
    await provider.destroy(host.name)
    made_image = await baked(provider, rig, tmp_path, package)
    await provider._oven._cloud.delete_image(made_image.image)
    await gcp_left(provider, provider._instances.owner())
    for part in await provider._instances.unused_parts():
        await provider._instances.delete_part(part)
    await provider.close()
    for region in ("", "europe-west1"):
        await balance(GoogleFront(rig, f"front{region}", region), tmp_path / f"balancer{region}")
    made = set(rig.state()["counts"]) - {"oauth2.token", "disks.insert"} - OPERATORS
    assert made <= RIGHTS.keys()
    role = YAML(typ="safe").load((ROOT / "deploy" / "gcp" / "role.yaml").read_text())
    needed = {f"compute.{right}" for call in made for right in RIGHTS[call]}
    assert set(role["includedPermissions"]) == needed


async def balance(front: GoogleFront, directory: Path) -> None:
    """Every change that a release makes at a load balancer."""
    front.reserve()
    balancer = front.balancer(directory)
    await balancer.start()
    blue, green = behind(front, BLUE, 2), behind(front, GREEN, 1)
    await balancer.arrange(Structure((DOOR,), (blue, green)))
    await balancer.route((TO_BLUE,))
    one = replace(blue, servers=blue.servers[:1], probe=Probe("tcp", 8080))
    await balancer.arrange(Structure((DOOR,), (replace(one, timeouts=Timeouts(server_seconds=90.0)),)))
    assert await balancer.troubles() == []
    await balancer.end()
    for each in front.rig.instances():
        front.rig.act(each["name"], "vanish")
