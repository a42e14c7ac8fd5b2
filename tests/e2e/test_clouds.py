"""The main job on stand-ins for the big clouds: two regions, machines that run their user data, releases and
rollbacks under load, through repave's own HAProxy in each region.
"""

from pathlib import Path
from typing import Any

import pytest

from tests.support.clouds import CLOUDS
from tests.support.ports import free_ports
from tests.support.releases import there_and_back
from tests.support.rigs import CloudRig
from tests.support.stage import staged

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
PREPARE = "HOST=$RIG_FIXED_IP ROOT=$PWD/repave"
CANARY = "{canary: {steps: [{traffic: 5%, hold: 3s}]}}"
REGIONS: dict[str, dict[str, dict[str, str]]] = {
    "gcp": {"paris": {}, "oslo": {"ZONES": "us-central1-a us-central1-b"}},
    "azure": {"paris": {}, "oslo": {}},
    "aws": {"paris": {}, "oslo": {}},
}


def settings(name: str, rig: CloudRig, region: str) -> dict[str, str]:
    (port,) = free_ports(1)
    usual = {
        key.upper(): " ".join(value) if isinstance(value, tuple) else str(value)
        for key, value in CLOUDS[name].settings(rig).items()
    }
    named = {**usual, **REGIONS[name][region], "PREPARE": PREPARE, "ENDPOINT": rig.url}
    return {
        **rig.variables,
        **({"AWS_ACCESS_KEY_ID": "AKIARIG", "AWS_SECRET_ACCESS_KEY": "secret"} if name == "aws" else {}),
        "REPAVE_AGENT_PROVIDER": name,
        "REPAVE_AGENT_PACKAGES__LISTEN": f"127.0.0.1:{port}",
        **{f"REPAVE_AGENT_{name.upper()}__{key}": value for key, value in named.items()},
    }


@pytest.mark.parametrize(
    "cloud", ["gcp", *(pytest.param(each, marks=pytest.mark.rig) for each in ("azure", "aws"))], indirect=True
)
async def test_releases_and_rollbacks_lose_no_request_and_leave_nothing(
    cloud: tuple[str, CloudRig], directory: Path
) -> None:
    name, rig = cloud
    wanted: dict[str, Any] = {
        "provider": name, "launch_deadline": "60s", "size": 2, "environment": {}
    }  # fmt: skip
    environment = {region: settings(name, rig, region) for region in REGIONS[name]}
    with staged(directory / "s", region_environment=environment) as stage:
        await there_and_back(stage, CANARY, 120, **wanted)
    assert rig.instances() == []
    assert not CLOUDS[name].tells_state or rig.state()["violations"] == []
