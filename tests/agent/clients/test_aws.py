"""AWS by Amazon's library: whose fault an error is, one client for all, no change without the lease."""

import asyncio

import pytest
from aiobotocore.session import AioSession

from repave_agent.clients.aws import AmazonOptions
from repave_agent.clients.aws.service import Ec2, ServiceQuotas
from repave_agent.clients.faults import GoneError
from repave_agent.core.ports import NotActingError, OutOfCapacityError, ProviderError, RefusedError
from tests.fakes.scripted import scripted

SAID = "<Response><Errors><Error><Code>{}</Code><Message>so it is</Message></Error></Errors></Response>"


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> AioSession:
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    made = AioSession()
    made.set_credentials("AKIA", "secret")
    return made


@pytest.mark.parametrize(
    ("call", "code", "kind"),
    [
        ("describe_instances", "InvalidInstanceID.NotFound", GoneError),
        ("terminate_instances", "InvalidNetworkInterfaceID.NotFound", GoneError),
        ("describe_images", "InvalidAMIID.NotFound", RefusedError),
        ("describe_subnets", "UnauthorizedOperation", RefusedError),
        ("terminate_instances", "InsufficientFreeAddressesInSubnet", OutOfCapacityError),
        ("terminate_instances", "VcpuLimitExceeded", OutOfCapacityError),
    ],
)
async def test_an_error_s_kind_is_told_by_its_code(
    session: AioSession, call: str, code: str, kind: type[ProviderError]
) -> None:
    async with scripted((400, SAID.format(code), {})) as server:
        ec2 = Ec2(AmazonOptions(region="eu-west-1", endpoint=server.url), session)
        named = {"InstanceIds": ["i-1"]} if call.endswith("_instances") else {}
        with pytest.raises(kind, match=f"AWS: {call}: {code}: so it is") as caught:
            await ec2.call(call, **named)
        await ec2.close()
    assert type(caught.value) is kind


async def test_all_who_ask_at_once_share_one_client(session: AioSession) -> None:
    ec2 = Ec2(AmazonOptions(region="eu-west-1", endpoint="http://127.0.0.1:9"), session)
    clients = await asyncio.gather(*(ec2._connect() for _ in range(5)))
    assert len({id(client) for client in clients}) == 1
    await ec2.close()


async def test_a_region_that_is_not_named_is_refused_as_a_setting(session: AioSession) -> None:
    ec2 = Ec2(AmazonOptions(), session)
    with pytest.raises(RefusedError, match="aws: You must specify a region"):
        await ec2.call("describe_images")
    await ec2.close()


async def test_nothing_is_changed_once_another_agent_may_have_the_region(session: AioSession) -> None:
    def check() -> None:
        raise NotActingError("no lease")

    async with scripted() as server:
        ec2 = Ec2(AmazonOptions(region="eu-west-1", endpoint=server.url), session, check)
        with pytest.raises(NotActingError):
            await ec2.call("terminate_instances", InstanceIds=["i-1"])
        await ec2.close()
    assert server.asked == []


async def test_a_quota_is_read_or_it_is_said_why_not(session: AioSession) -> None:
    denied = {"__type": "AccessDeniedException", "Message": "not authorized"}
    async with scripted((200, {"Quota": {"Value": 64.0}}, {}), (400, denied, {})) as server:
        quotas = ServiceQuotas(AmazonOptions(region="eu-west-1", endpoint=server.url), session)
        wanted = {"ServiceCode": "ec2", "QuotaCode": "L-1216C47A"}
        assert (await quotas.call("get_service_quota", **wanted))["Quota"]["Value"] == 64.0
        with pytest.raises(RefusedError, match="AccessDeniedException: not authorized"):
            await quotas.call("get_service_quota", **wanted)
        await quotas.close()
