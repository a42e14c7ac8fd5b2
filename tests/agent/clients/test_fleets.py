"""The hosts of fleets that clouds have already: which of them take requests, where they listen."""

from pathlib import Path
from typing import Any, cast

import pytest

from repave_agent.clients.aws.fleets import instances_of as of_scaling_group
from repave_agent.clients.aws.service import AutoScaling, Ec2
from repave_agent.clients.gcp.fleets import instances_of as of_instance_group
from repave_agent.clients.openstack.api import Api
from repave_agent.clients.openstack.fleets import members_of
from repave_agent.core.ports import RefusedError
from repave_agent.providers.gcp.provider import GcpProvider
from repave_protos.protocol.values import GivenHost
from tests.fakes.clock import FastClock, QuickClock
from tests.fakes.clouds.openstack import FakeOpenstack, served
from tests.support.clouds import GCP, QUICK
from tests.support.rigs import cloud_rig, why_no_cloud

# ------------------------------------------------------------------------------------------- OpenStack


async def test_a_pool_has_the_members_that_take_requests() -> None:
    member = {"protocol_port": 8080, "weight": 1, "admin_state_up": True, "name": ""}
    async with served(FakeOpenstack()) as cloud:
        front = cloud.octavia.add("front")
        api = Api(cloud.cloud(), QuickClock())
        pool = {
            "loadbalancer_id": front["id"],
            "name": "old",
            "protocol": "HTTP",
            "lb_algorithm": "ROUND_ROBIN",
        }
        made = (await api.call("load-balancer", "POST", "/lbaas/pools", {"pool": pool}))["pool"]
        cloud.octavia.things["pool"][made["id"]]["members"] = [
            {**member, "id": "1", "address": "10.0.0.1", "name": "web1"},
            {**member, "id": "2", "address": "10.0.0.2", "protocol_port": 9090},
            {**member, "id": "3", "address": "10.0.0.3", "weight": 0},
            {**member, "id": "4", "address": "10.0.0.4", "admin_state_up": False},
        ]
        found = (GivenHost("10.0.0.1", 8080, "web1"), GivenHost("10.0.0.2", 9090))
        assert await members_of(api, "old") == found == await members_of(api, made["id"])
        with pytest.raises(RefusedError, match="the pool new: there is none; the project has: old"):
            await members_of(api, "new")
        await api.close()


# ------------------------------------------------------------------------------------------------- AWS


class Listing:
    """One service of AWS, as its answers have it."""

    def __init__(self, **lists: list[dict[str, Any]]) -> None:
        self._lists = lists

    async def list_all(self, name: str, what: str, **wanted: Any) -> list[dict[str, Any]]:
        return self._lists[name]


async def test_a_scaling_group_has_the_instances_in_service() -> None:
    states = {"i-2": "InService", "i-1": "InService", "i-3": "Terminating"}
    instances = [{"InstanceId": each, "LifecycleState": state} for each, state in states.items()]
    scaling = Listing(describe_auto_scaling_groups=[{"Instances": instances}])
    shown = [{"InstanceId": each, "PrivateIpAddress": f"172.31.0.{each[-1]}"} for each in ("i-2", "i-1")]
    ec2 = Listing(describe_instances=[{"Instances": shown}])
    found = await of_scaling_group(cast("AutoScaling", scaling), cast("Ec2", ec2), "web")
    assert found == [GivenHost("172.31.0.1", 0, "i-1"), GivenHost("172.31.0.2", 0, "i-2")]
    with pytest.raises(RefusedError, match="there is no Auto Scaling group web"):
        await of_scaling_group(
            cast("AutoScaling", Listing(describe_auto_scaling_groups=[])), cast("Ec2", ec2), "web"
        )


# -------------------------------------------------------------------------------------------- Google Cloud


async def test_an_instance_group_has_the_instances_that_run(tmp_path: Path) -> None:
    if reason := why_no_cloud("gcp"):
        pytest.skip(reason)
    with cloud_rig("gcp", tmp_path / "rig", 119) as rig:
        rig.reset(**QUICK)
        provider = GCP.provider(rig, tmp_path, FastClock(20.0))
        assert isinstance(provider, GcpProvider)
        await provider.start()
        compute = provider._compute
        image = await provider._instances.image(GCP.settings(rig)["image"])
        zone = "zones/europe-west1-b"
        for name in ("web-1", "web-2"):
            disk = {"boot": True, "initializeParams": {"sourceImage": image}}
            body = {
                "name": name,
                "machineType": f"{zone}/machineTypes/e2-small",
                "disks": [disk],
                "networkInterfaces": [{"network": "global/networks/default"}],
            }
            await compute.settle(await compute.change("POST", f"{zone}/instances", body), name)
        group = {"name": "old", "namedPorts": [{"name": "http", "port": 8080}]}
        await compute.settle(await compute.change("POST", f"{zone}/instanceGroups", group), "old")
        members = {"instances": [{"instance": f"{zone}/instances/{name}"} for name in ("web-1", "web-2")]}
        adding = await compute.change("POST", f"{zone}/instanceGroups/old/addInstances", members)
        await compute.settle(adding, "old")
        found = await of_instance_group(compute, "old")
        assert [(each.name, each.port) for each in found] == [("web-1", 8080), ("web-2", 8080)]
        assert all(each.address.startswith("10.") for each in found)
        for name, said in (("new", "the project has none"), ("New!", "is no name of an instance group")):
            with pytest.raises(RefusedError, match=said):
                await of_instance_group(compute, name)
        await provider.close()
