"""The main job on a real OpenStack control plane: two regions, servers that run their user data, releases and
rollbacks under load. Slow: `make test-rigs`."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from repave_agent.clients.openstack.api import Api
from repave_agent.clock import SystemClock
from repave_agent.core.ports import HostSpec, OutOfCapacityError, TransientError
from repave_agent.packages.server import Depot
from repave_agent.providers.openstack.options import OpenstackOptions
from repave_agent.providers.openstack.provider import OpenstackProvider
from repave_protos.package.archive import pack
from repave_protos.protocol.values import ApplicationName, GroupName, HostName, RegionName
from tests.fakes.templates import a_template
from tests.support.journals import journal_of
from tests.support.releases import there_and_back
from tests.support.rigs import STATE, rig_cloud
from tests.support.stage import Stage, staged

pytestmark = [pytest.mark.e2e, pytest.mark.rig, pytest.mark.usefixtures("rig"), pytest.mark.timeout(600)]
PREPARE = "HOST=$RIG_FIXED_IP ROOT=$PWD/repave"
WANTED: dict[str, Any] = {"provider": "openstack", "launch_deadline": "150s", "size": 1, "environment": {}}
CANARY = "{canary: {steps: [{traffic: 50%, hold: 2s}]}}"


def settings(port: int) -> dict[str, str]:
    named = {"CLOUD": "repave-test", "FLAVOR": "m1.tiny", "IMAGE": "tiny", "NETWORK": "fleet",
             "METADATA": "rig_run_user_data=1", "PREPARE": PREPARE}  # fmt: skip
    return {
        "OS_CLIENT_CONFIG_FILE": str(STATE / "clouds.yaml"),
        "REPAVE_AGENT_PROVIDER": "openstack",
        "REPAVE_AGENT_PACKAGES__LISTEN": f"127.0.0.1:{port}",
        **{f"REPAVE_AGENT_OPENSTACK__{name}": value for name, value in named.items()},
    }


async def test_releases_and_rollbacks_of_two_regions_lose_no_request_and_leave_nothing(
    directory: Path,
) -> None:
    environment = {"paris": settings(7481), "oslo": settings(7482)}
    with staged(directory / "s", region_environment=environment) as stage:
        await there_and_back(stage, CANARY, 240, **WANTED)
    await nothing_is_left(stage)


async def nothing_is_left(stage: Stage) -> None:
    """Of this stage; what others have in the project is no matter of its."""
    api = Api(rig_cloud(), SystemClock())
    servers = await our_servers(api, stage)
    groups = await api.list_all("compute", "/os-server-groups", "server_groups")
    await api.close()
    assert [each["name"] for each in servers] == []
    assert [each["name"] for each in groups if each["name"].startswith(tuple(our_tags(stage)))] == []


async def our_servers(api: Api, stage: Stage) -> list[dict[str, Any]]:
    """Of the stage, those included of which an image is made."""
    there = await api.list_all("compute", "/servers/detail", "servers")
    return [each for each in there if our_tags(stage).intersection(each["tags"])]


def our_tags(stage: Stage) -> set[str]:
    return {tag for path in stage.directory.glob("*/journal.json") for tag in tags_of(path)}


def tags_of(journal: Path) -> list[str]:
    """How one region's servers and images are tagged; its server groups' names begin so."""
    installation = journal_of(journal.parent)["installation"]
    owner = hashlib.sha256(f"{installation}/{journal.parent.name}".encode()).hexdigest()[:24]
    return [f"repave-{owner}", f"repave-{owner}-bake"]


@pytest.mark.parametrize(
    ("told", "kind"),
    [({"rig_spawn_fail": "abort"}, TransientError), ({"rig_spawn_fail": "error"}, OutOfCapacityError)],
)
async def test_a_server_that_the_real_cloud_can_not_build_is_told_and_removed(
    tmp_path: Path, told: dict[str, str], kind: type[Exception]
) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "a").write_text("a")
    digest = pack(tmp_path / "app", tmp_path / "app.tar.gz")
    api = Api(rig_cloud(), SystemClock())
    options = OpenstackOptions(flavor="m1.tiny", image="tiny", network="fleet", metadata=told)
    provider = OpenstackProvider(
        RegionName("faults"), lambda: "ours", api, options, Depot(tmp_path, "127.0.0.1:0"), SystemClock()
    )
    name, group = HostName("shop-v001-1"), GroupName("shop-v001")
    spec = HostSpec(name, group, ApplicationName("shop"), digest, a_template(("serve",)))
    with pytest.raises(kind):
        await provider.launch(spec, tmp_path / "app.tar.gz")
    await provider.destroy(name)
    assert await provider.list_hosts() == []
    await provider.close()
