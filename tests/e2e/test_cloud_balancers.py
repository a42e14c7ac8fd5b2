"""The main job by the clouds' own load balancers, on stand-ins that send real requests on by the weights
given through the API: releases, a canary whose share is counted there, and a way back, under load.
"""

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from tests.support.clouds import CLOUDS
from tests.support.google_front import GoogleFront
from tests.support.load import Load
from tests.support.ports import free_ports
from tests.support.releases import release
from tests.support.rigs import CloudRig, cloud_rig, on_both_addresses, reachable, why_no_cloud, why_no_rigs
from tests.support.stage import Stage, staged

pytestmark = [pytest.mark.e2e, pytest.mark.rig, pytest.mark.timeout(600)]
NET = 96
PORT = 8000
SECONDS = 150.0
CANARY = "{canary: {steps: [{traffic: 5%, hold: 12s}]}}"
COUNTED = 200
"""Requests, all at one share."""


@dataclass(frozen=True, slots=True)
class Front:
    """A load balancer of a cloud. `make`: as its operator would; returns the settings of the agent. `left`:
    what there is of repave's, beside machines. `addresses`: of machines."""

    balancer: str
    addresses: str
    make: Callable[[CloudRig], dict[str, str]]
    left: Callable[[CloudRig], list[str]]


def _elbv2(rig: CloudRig, service: str = "elbv2") -> Any:
    return botocore.session.get_session().create_client(
        service,
        region_name="eu-west-1",
        endpoint_url=rig.url,
        aws_access_key_id="AKIARIG",
        aws_secret_access_key="secret",
    )


def _alb(rig: CloudRig) -> dict[str, str]:
    subnets = [each["SubnetId"] for each in _elbv2(rig, "ec2").describe_subnets()["Subnets"]]
    _elbv2(rig).create_load_balancer(Name="front", Subnets=subnets[:2])
    return {"REPAVE_AGENT_AWS_ALB__LOAD_BALANCER": "front"}


def _alb_left(rig: CloudRig) -> list[str]:
    elbv2 = _elbv2(rig)
    (front,) = elbv2.describe_load_balancers()["LoadBalancers"]
    arn = front["LoadBalancerArn"]
    (tags,) = elbv2.describe_tags(ResourceArns=[arn])["TagDescriptions"]
    listeners = elbv2.describe_listeners(LoadBalancerArn=arn)["Listeners"]
    groups = elbv2.describe_target_groups()["TargetGroups"]
    return [
        *(each["ListenerArn"] for each in listeners),
        *(each["TargetGroupName"] for each in groups),
        *(each["Key"] for each in tags["Tags"]),
    ]


def _google(rig: CloudRig) -> dict[str, str]:
    GoogleFront(rig).reserve()
    return {"REPAVE_AGENT_GCP_LB__ADDRESS": "front"}


def _google_left(rig: CloudRig) -> list[str]:
    front = GoogleFront(rig)
    return [*front.all_listed(), *front.labels()]


FRONTS = {
    "aws": Front("aws_alb", "172.31.0.0/16", _alb, _alb_left),
    "gcp": Front("gcp_lb", f"10.{NET}.0.0/16", _google, _google_left),
}


@pytest.fixture
def cloud(request: pytest.FixtureRequest, directory: Path) -> Iterator[tuple[str, CloudRig]]:
    name = str(request.param)
    if reason := why_no_rigs() or why_no_cloud(name):
        pytest.skip(reason)
    with reachable(FRONTS[name].addresses), cloud_rig(name, directory / "rig", NET) as rig:
        rig.reset(run_user_data=True, boot_seconds=0.2, operation_seconds=0.2, health_seconds=0.2)
        yield name, rig


def settings(name: str, rig: CloudRig) -> dict[str, str]:
    (port,) = free_ports(1)
    usual = {
        key.upper(): " ".join(value) if isinstance(value, tuple) else str(value)
        for key, value in CLOUDS[name].settings(rig).items()
    }
    named = {**usual, "PREPARE": on_both_addresses(8080), "ENDPOINT": rig.url}
    return {
        **rig.variables,
        **({"AWS_ACCESS_KEY_ID": "AKIARIG", "AWS_SECRET_ACCESS_KEY": "secret"} if name == "aws" else {}),
        "REPAVE_AGENT_PROVIDER": name,
        "REPAVE_AGENT_BALANCER": FRONTS[name].balancer,
        "REPAVE_AGENT_PACKAGES__LISTEN": f"127.0.0.1:{port}",
        **{f"REPAVE_AGENT_{name.upper()}__{key}": value for key, value in named.items()},
        **FRONTS[name].make(rig),
    }


@pytest.mark.parametrize("cloud", [*FRONTS], indirect=True)
async def test_a_release_by_a_cloud_s_load_balancer_is_exact_loses_no_request_and_leaves_nothing(
    cloud: tuple[str, CloudRig], directory: Path
) -> None:
    name, rig = cloud
    wanted: dict[str, Any] = {
        "provider": name, "launch_deadline": "60s", "size": 2, "environment": {}, "port": PORT, "drain": "3s"
    }  # fmt: skip
    environment = {"paris": settings(name, rig)}
    with staged(directory / "s", regions=("paris",), region_environment=environment) as stage:
        ended, _ = await release(stage, "v1", SECONDS, **wanted, warm="0s")
        assert ended["phase"] == "succeeded", stage.logs()
        (front,) = rig.fronts()
        load = Load(front["url"], rate=50, keepalive=4, closing=4)
        await load.start()
        ended, _ = await release(stage, "v2", SECONDS, **wanted, strategy="{blue_green: {warm: 1s}}")
        assert ended["phase"] == "succeeded", stage.logs()
        canary = asyncio.create_task(release(stage, "v3", SECONDS, **wanted, strategy=CANARY))
        old, new = await counted(stage, rig, {"hello-v002": 9_500, "hello-v003": 500})
        assert abs(new - (old + new) * 0.05) <= 1, (old, new)
        ended, _ = await canary
        assert ended["phase"] == "succeeded", stage.logs()
        await asyncio.to_thread(stage.rollback)
        back = await asyncio.to_thread(stage.ended, SECONDS)
        assert back["phase"] == "succeeded", stage.logs()
        assert stage.weights() == {"paris": {"hello-v002": 10_000}}
        result = await load.stop()
        assert result.failures == (), result.summary()
        assert result.requests[-1].version == "v2"
        orphans = await asyncio.to_thread(stage.repave, "orphans", "-o", "json")
        assert json.loads(orphans.stdout)["items"] == []
    assert rig.instances() == []
    assert FRONTS[name].left(rig) == []
    assert not CLOUDS[name].tells_state or rig.state()["violations"] == []


async def counted(stage: Stage, rig: CloudRig, shares: dict[str, int]) -> tuple[int, ...]:
    """Requests of each group that the load balancer has sent on while the shares were these."""

    def pools() -> dict[str, int]:
        return {pool: n for front in rig.traffic().values() for pool, n in front["pools"].items()}

    await asyncio.to_thread(stage.wait, lambda: stage.weights() == {"paris": shares}, "the share", SECONDS)
    rig.forget_traffic()
    await asyncio.to_thread(stage.wait, lambda: sum(pools().values()) >= COUNTED, "requests", SECONDS)
    found = pools()
    assert stage.weights() == {"paris": shares}, "the share changed meanwhile"
    return tuple(sum(n for pool, n in found.items() if pool.endswith(group[-4:])) for group in shares)
