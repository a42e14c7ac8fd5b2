"""What AWS is asked for, and what it says of an instance: as its answers have it, without its stand-in."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from repave_agent.core.ports import OutOfCapacityError
from repave_agent.packages.server import Depot
from repave_agent.providers.aws.instances import Instances
from repave_agent.providers.aws.options import AwsOptions
from repave_agent.providers.cloud.machine import Marks, State
from repave_protos.protocol.values import RegionName
from tests.agent.providers.cloud.test_faults import of, spec

OPTIONS = AwsOptions(subnets=("subnet-a", "subnet-b"), instance_types=("t3.micro",), image="ami-1")
IMAGE = {"ImageId": "ami-1", "State": "available", "BlockDeviceMappings": []}


class Ec2:
    """Has `room` for instances of these types, and keeps what was ordered."""

    def __init__(self, room: tuple[str, ...] = ("t3.micro",)) -> None:
        self.room, self.orders = room, list[dict[str, Any]]()

    async def call(self, name: str, **wanted: Any) -> dict[str, Any]:
        if name == "describe_images":
            return {"Images": [IMAGE]}
        self.orders.append(wanted)
        if wanted["InstanceType"] not in self.room:
            raise OutOfCapacityError(f"InsufficientInstanceCapacity: no {wanted['InstanceType']}")
        return {"Instances": [{"InstanceId": "i-1"}]}


class NoOven:
    """Nothing was baked."""

    async def from_image(self, _digest: str, base: str, make: Callable[[str], Awaitable[str]]) -> str:
        return await make(base)


def instances(ec2: Any, tmp_path: Path, **options: Any) -> Instances:
    depot = Depot(tmp_path, "127.0.0.1:0")
    made = OPTIONS.model_copy(update=options)
    return Instances(RegionName("here"), lambda: "ours", ec2, made, depot, NoOven())  # type: ignore[arg-type]  # of it only this is asked


async def test_each_place_is_another_order_and_each_is_tried_once(package: Path, tmp_path: Path) -> None:
    ec2 = Ec2(room=("m6i.large",))
    cloud = instances(ec2, tmp_path, sizes={"l": ("m7i.large", "m6i.large")})
    await cloud._depot.start()
    assert await cloud.create(of(spec(package), machine_sizes=("l",)), package) == "i-1"
    places = [(each["InstanceType"], each["NetworkInterfaces"][0]["SubnetId"]) for each in ec2.orders]
    assert places == [("m7i.large", "subnet-a"), ("m7i.large", "subnet-b"), ("m6i.large", "subnet-a")]
    assert len({each["ClientToken"] for each in ec2.orders}) == 3
    assert not [each for each in ec2.orders if "InstanceMarketOptions" in each]
    await cloud._depot.close()


async def test_spot_is_asked_for_once_and_ends_for_good(package: Path, tmp_path: Path) -> None:
    ec2 = Ec2()
    cloud = instances(ec2, tmp_path)
    await cloud._depot.start()
    await cloud.create(of(spec(package), is_spot=True), package)
    (order,) = ec2.orders
    assert order["InstanceMarketOptions"] == {
        "MarketType": "spot",
        "SpotOptions": {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"},
    }
    await cloud._depot.close()


@pytest.mark.parametrize("is_spot", [True, False])
def test_what_ended_an_instance_is_aws_s_word(is_spot: bool, package: Path, tmp_path: Path) -> None:
    marks = Marks.of(spec(package), "ours", RegionName("here")).written()
    reason = "Server.SpotInstanceTermination"
    described = {
        "InstanceId": "i-1",
        "Tags": [{"Key": key, "Value": value} for key, value in marks.items()],
        "State": {"Name": "terminated"},
        "StateReason": {"Code": reason, "Message": f"{reason}: Spot instance termination"},
        "LaunchTime": datetime(2026, 1, 1, tzinfo=UTC),
        **({"InstanceLifecycle": "spot"} if is_spot else {}),
    }
    machine = instances(Ec2(), tmp_path)._machine(described)
    assert machine is not None
    assert (machine.state, machine.is_spot, machine.is_full) == (State.ENDED, is_spot, False)
    assert machine.ended == f"is terminated: {reason}: Spot instance termination"
