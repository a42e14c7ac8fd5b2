"""The role in deploy/azure has the rights that the calls of provider and balancer need, and no others."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from repave_agent.balancers.azure_lb.balancer import AzureBalancer
from repave_agent.balancers.azure_lb.load_balancer import AzureLoadBalancer
from repave_agent.core.ports import Route, Structure
from repave_agent.providers.azure.provider import AzureProvider
from repave_protos.protocol.queries import FindRoom
from repave_protos.protocol.values import ApplicationName
from tests.agent.providers.cloud.test_faults import spec
from tests.agent.providers.cloud.test_leaks import azure_left
from tests.fakes.agent.haproxy_rig import backend, frontend
from tests.fakes.clock import FastClock
from tests.support.azure_front import AzureFront
from tests.support.bakes import GALLERY, a_gallery, baked
from tests.support.clouds import AZURE, QUICK
from tests.support.paths import ROOT
from tests.support.rigs import CloudRig, cloud_rig, why_no_cloud

NET = 111
COMPUTE, NETWORK = "Microsoft.Compute", "Microsoft.Network"
RIGHTS = {
    "entra.token": set(),
    "operations.get": set(),  # whoever may begin one may look at it
    "operationresults.get": set(),
    "blob.get": set(),  # by a signed address
    "subnets_get": {f"{NETWORK}/virtualNetworks/subnets/read"},
    "resource_skus_list": {f"{COMPUTE}/skus/read"},
    "usage_list": {f"{COMPUTE}/locations/usages/read"},
    "gallery_images_get": {f"{COMPUTE}/galleries/images/read"},
    "gallery_image_versions_list_by_gallery_image": {f"{COMPUTE}/galleries/images/versions/read"},
    "gallery_image_versions_create_or_update": {f"{COMPUTE}/galleries/images/versions/write"},
    "gallery_image_versions_delete": {f"{COMPUTE}/galleries/images/versions/delete"},
    "virtual_machines_deallocate": {f"{COMPUTE}/virtualMachines/deallocate/action"},
    "virtual_machines_generalize": {f"{COMPUTE}/virtualMachines/generalize/action"},
    "virtual_machines_get": {f"{COMPUTE}/virtualMachines/read"},
    "virtual_machines_list": {f"{COMPUTE}/virtualMachines/read"},
    "virtual_machines_list_all": {f"{COMPUTE}/virtualMachines/read"},
    "virtual_machines_delete": {f"{COMPUTE}/virtualMachines/delete"},
    "virtual_machines_retrieve_boot_diagnostics_data": {
        f"{COMPUTE}/virtualMachines/retrieveBootDiagnosticsData/action"
    },
    "virtual_machines_create_or_update": {
        f"{COMPUTE}/virtualMachines/write",
        f"{COMPUTE}/disks/write",
        f"{NETWORK}/networkInterfaces/write",
        f"{NETWORK}/networkInterfaces/join/action",
        f"{NETWORK}/publicIPAddresses/write",
        f"{NETWORK}/publicIPAddresses/join/action",
        f"{NETWORK}/virtualNetworks/subnets/join/action",
    },
    "disks_list_by_resource_group": {f"{COMPUTE}/disks/read"},
    "disks_delete": {f"{COMPUTE}/disks/delete"},
    "public_ip_addresses_list": {f"{NETWORK}/publicIPAddresses/read"},
    "public_ip_addresses_delete": {f"{NETWORK}/publicIPAddresses/delete"},
    "network_interfaces_list": {f"{NETWORK}/networkInterfaces/read"},
    "network_interfaces_delete": {f"{NETWORK}/networkInterfaces/delete"},
    "load_balancers_get": {f"{NETWORK}/loadBalancers/read"},
    "load_balancers_update_tags": {f"{NETWORK}/loadBalancers/write"},
    "load_balancers_create_or_update": {
        f"{NETWORK}/loadBalancers/write",
        f"{NETWORK}/virtualNetworks/subnets/join/action",
    },
    "load_balancer_backend_address_pools_create_or_update": {
        f"{NETWORK}/loadBalancers/backendAddressPools/write",
        f"{NETWORK}/virtualNetworks/joinLoadBalancer/action",
    },
    "load_balancer_backend_address_pools_delete": {f"{NETWORK}/loadBalancers/backendAddressPools/delete"},
    "load_balancer_load_balancing_rules_health": {
        f"{NETWORK}/loadBalancers/loadBalancingRules/health/action"
    },
}
"""Of Microsoft's reference: the actions that each call needs."""
MADE_BY_THE_TEST = {
    "disks_create_or_update",
    "public_ip_addresses_create_or_update",
    "network_interfaces_create_or_update",
    "galleries_create_or_update",
    "gallery_images_create_or_update",
}


@pytest.fixture
def rig() -> Iterator[CloudRig]:
    if reason := why_no_cloud("azure"):
        pytest.skip(reason)
    with TemporaryDirectory(prefix="rg") as directory, cloud_rig("azure", Path(directory), NET) as made:
        made.reset(**QUICK)
        yield made


async def test_the_role_allows_the_calls_that_are_made_and_no_others(
    rig: CloudRig, tmp_path: Path, package: Path
) -> None:
    provider = AZURE.provider(rig, tmp_path, FastClock(20.0), gallery=GALLERY, public_address=True)
    assert isinstance(provider, AzureProvider)
    await a_gallery(provider)
    host = await provider.launch(spec(package), package)
    await provider.room(FindRoom(3))
    assert "login" in await provider.log_tail(host.name, 5)
    assert await provider.troubles() == []
    (machine,) = await provider._machines.machines()
    await provider._machines.look(machine.id)
    await provider.destroy(host.name)
    made_image = await baked(provider, rig, tmp_path, package)
    await provider._oven._cloud.delete_image(made_image.image)
    await azure_left(provider, provider._machines.owner())
    for part in await provider._machines.unused_parts():
        await provider._machines.delete_part(part)
    await provider.close()
    await traffic_moves(rig, tmp_path)
    made = set(rig.state()["counts"]) - MADE_BY_THE_TEST
    assert made <= RIGHTS.keys()
    role = json.loads((ROOT / "deploy" / "azure" / "role.json").read_text())
    assert set(role["Actions"]) == {right for call in made for right in RIGHTS[call]}


async def traffic_moves(rig: CloudRig, directory: Path) -> None:
    """From nothing to a switch, and back to nothing."""
    front, clock = AzureFront(rig), FastClock(20.0)
    await front.make()
    there = AzureLoadBalancer(front.resources(clock), front.name, clock=clock)
    balancer = AzureBalancer(directory / "azure_lb", there, "here", clock=clock)
    await balancer.start()
    groups = [backend("shop-v001", 8080), backend("shop-v002", 8080)]
    groups = [
        replace(each, servers=(replace(each.servers[0], address=f"10.{NET}.9.{number}"),))
        for number, each in enumerate(groups, 1)
    ]
    await balancer.arrange(Structure((frontend("shop", 80),), tuple(groups)))
    for group in groups:
        await balancer.route((Route(ApplicationName("shop"), group.group),))
    assert "2 of" not in (await balancer.troubles())[0]
    await balancer.end()
