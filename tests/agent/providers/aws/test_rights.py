"""The policy in deploy/aws has the rights that the provider's calls need, and no others."""

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from repave_agent.clients.aws.service import Ec2, ServiceQuotas
from repave_agent.core.ports import RefusedError
from repave_agent.providers.aws.options import AwsOptions
from repave_agent.providers.aws.provider import AwsProvider
from repave_protos.protocol.queries import FindRoom
from tests.agent.providers.cloud.test_faults import spec
from tests.agent.providers.cloud.test_leaks import aws_left
from tests.fakes.clock import FastClock
from tests.fakes.scripted import scripted
from tests.support.bakes import baked
from tests.support.clouds import AWS, QUICK
from tests.support.paths import ROOT
from tests.support.rigs import CloudRig, cloud_rig, why_no_cloud

pytestmark = pytest.mark.rig
MADE_BY_THE_TEST = {"create_volume", "create_network_interface"}


@pytest.fixture
def rig() -> Iterator[CloudRig]:
    if reason := why_no_cloud("aws"):
        pytest.skip(reason)
    with TemporaryDirectory(prefix="rg") as directory, cloud_rig("aws", Path(directory), 112) as made:
        made.reset(**QUICK)
        yield made


async def test_the_policy_allows_the_calls_that_are_made_and_no_others(
    rig: CloudRig, tmp_path: Path, package: Path
) -> None:
    provider = AWS.provider(rig, tmp_path, FastClock(20.0))
    assert isinstance(provider, AwsProvider)
    listed = await provider._ec2.call("describe_security_groups")
    group = listed["SecurityGroups"][0]["GroupId"]
    provider._options = provider._options.model_copy(update={"security_groups": (group,)})
    made = recorded(provider._ec2)
    host = await provider.launch(spec(package), package)
    with pytest.raises(RefusedError, match="L-1216C47A can't be read"):
        await provider.room(FindRoom(3))  # moto knows no quotas of EC2
    async with scripted(
        (200, {"Quota": {"Value": 64.0}}, {}), (200, {"Quota": {"Value": 4.0}}, {})
    ) as quotas:
        there = AwsOptions(region="eu-west-1", endpoint=quotas.url)
        provider._quotas = ServiceQuotas(there, provider._ec2._given)
        assert await provider.room(FindRoom(3)) == ""
        said = "vCPUs of on-demand standard instances: 2 of 4 are used, 6 more are needed"
        assert await provider.room(FindRoom(3)) == said
    await provider.log_tail(host.name, 5)
    assert await provider.troubles() == []
    (machine,) = await provider._instances.machines()
    await provider._instances.look(machine.id)
    await provider.destroy(host.name)
    made_image = await baked(provider, rig, tmp_path, package)
    await provider._oven._cloud.delete_image(made_image.image)
    await aws_left(provider, provider._instances.owner())
    for part in await provider._instances.unused_parts():
        await provider._instances.delete_part(part)
    await provider.close()
    policy = json.loads((ROOT / "deploy" / "aws" / "policy.json").read_text())
    allowed: set[str] = set()
    for statement in policy["Statement"]:
        actions = statement["Action"]
        allowed |= {actions} if isinstance(actions, str) else set(actions)
    assert "servicequotas:GetServiceQuota" in allowed
    allowed = {each for each in allowed if each.startswith("ec2:")}
    called = {
        f"ec2:{''.join(word.capitalize() for word in name.split('_'))}"
        for name in made
        if name not in MADE_BY_THE_TEST
    }
    # AWS itself asks for CreateTags where a new instance is tagged.
    assert called | {"ec2:CreateTags"} == allowed


def recorded(ec2: Ec2) -> list[str]:
    """The names of all calls from now on."""
    names: list[str] = []
    client = ec2._client

    class Recording:
        def __getattr__(self, name: str) -> object:
            names.append(name)
            return getattr(client, name)

    ec2._client = Recording()
    return names


async def test_a_role_is_assumed_and_assumed_again_by_the_agent_s_own_credentials(
    rig: CloudRig, tmp_path: Path, package: Path
) -> None:
    rig.set(token_seconds=60)  # so short that it is renewed at each call
    provider = AWS.provider(rig, tmp_path, FastClock(20.0), role_arn="arn:aws:iam::123456789012:role/repave")
    await provider.launch(spec(package), package)
    rig.expire_tokens()
    assert [host.name for host in await provider.list_hosts()] == [spec(package).name]
    await provider.destroy(spec(package).name)
    await provider.close()
