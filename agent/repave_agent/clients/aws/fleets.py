"""The instances of an Auto Scaling group of AWS that is there already, for a person who adopts them."""

from collections.abc import Sequence

from repave_agent.clients.aws.service import AutoScaling, Ec2
from repave_agent.core.ports import RefusedError
from repave_protos.protocol.values import GivenHost

AT_ONCE = 100
"""Instances that one call describes."""


async def instances_of(scaling: AutoScaling, ec2: Ec2, name: str) -> Sequence[GivenHost]:
    """Those in service, by their private addresses; the port is 0: the group knows none. Raises
    ProviderError."""
    groups = await scaling.list_all(
        "describe_auto_scaling_groups", "AutoScalingGroups", AutoScalingGroupNames=[name]
    )
    if not groups:
        raise RefusedError(f"there is no Auto Scaling group {name} in this region and account")
    ids = [each["InstanceId"] for each in groups[0]["Instances"] if each["LifecycleState"] == "InService"]
    found: list[GivenHost] = []
    for first in range(0, len(ids), AT_ONCE):
        wanted = ids[first : first + AT_ONCE]
        reservations = await ec2.list_all("describe_instances", "Reservations", InstanceIds=wanted)
        found += [
            GivenHost(each["PrivateIpAddress"], 0, each["InstanceId"])
            for reservation in reservations
            for each in reservation["Instances"]
            if each.get("PrivateIpAddress")
        ]
    return sorted(found, key=lambda each: each.name)
