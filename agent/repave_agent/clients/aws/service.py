"""Services of AWS by Amazon's own library for asyncio, which finds credentials as every AWS tool does, renews
them, and repeats what may be repeated at an account's pace. Here an error's kind is told by its code.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from repave_agent.core.ports import (
    ChangedMeanwhileError,
    OutOfCapacityError,
    ProviderError,
    RefusedError,
    TransientError,
)

try:
    from aiobotocore.config import AioConfig
    from aiobotocore.credentials import AioRefreshableCredentials
    from aiobotocore.session import AioSession
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        ConnectTimeoutError,
        EndpointConnectionError,
        HTTPClientError,
        NoCredentialsError,
        ProfileNotFound,
    )
except ImportError as missing:  # pragma: no cover  # an agent without the extra
    raise RefusedError(
        "this agent can't speak with AWS: its extra is not installed. Do: pip install 'repave[aws]'"
    ) from missing

from repave_agent.clients.aws import AmazonOptions
from repave_agent.clients.faults import GoneError, LostError
from repave_agent.clients.rest import always

CALL_SECONDS = 30.0
TRIES_MAX = 5
CONNECTIONS_MAX = 40
SESSION_NAME = "repave-agent"
UNSENT = (ConnectTimeoutError, EndpointConnectionError)
UNANSWERED = (*UNSENT, HTTPClientError)
FULL = (
    "InsufficientAddressCapacity",
    "InsufficientFreeAddressesInSubnet",
    "InsufficientHostCapacity",
    "InsufficientInstanceCapacity",
    "InstanceLimitExceeded",
    "MaxSpotInstanceCountExceeded",
    "SpotMaxPriceTooLow",
    "TooManyListeners",
    "TooManyRegistrationsForTargetId",
    "TooManyRules",
    "TooManyTargetGroups",
    "TooManyTargets",
    "TooManyUniqueTargetGroupsPerLoadBalancer",
    "Unsupported",  # the type is not offered in this zone
    "VcpuLimitExceeded",
    "VolumeLimitExceeded",
)
GONE = (
    "InvalidInstanceID.NotFound",
    "ListenerNotFound",
    "LoadBalancerNotFound",
    "RuleNotFound",
    "TargetGroupNotFound",
)
ENDS = ("delete_", "deregister_", "terminate_")
"""Calls after which something shall be gone."""
PASSING = (
    "InternalError",
    "InternalFailure",
    "PriorRequestNotComplete",
    "RequestExpired",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "Unavailable",
)


class AwsService:
    """One service of one account in one region. `calls` counts requests, for benchmarks. `check` raises
    NotActingError: asked before each call that changes something, for what is under way must not go on
    without a lease."""

    service: str
    page: tuple[str, str]
    """What says in an answer that there is more, and what asks for it."""

    def __init__(
        self,
        options: AmazonOptions,
        session: AioSession | None = None,
        check: Callable[[], None] = always,
    ) -> None:
        self._options, self._given, self._check = options, session, check
        self._opened, self._connecting = contextlib.AsyncExitStack(), asyncio.Lock()
        self._client: Any = None
        self.calls = 0

    async def call(self, name: str, **wanted: Any) -> dict[str, Any]:
        """`name`: as the library has it, such as run_instances. Raises GoneError, LostError and ProviderError
        by kind."""
        client = await self._connect()
        self.calls += 1
        if not name.startswith(("describe_", "get_", "list_")):
            self._check()
        try:
            return dict(await getattr(client, name)(**wanted))
        except ClientError as error:
            raise _of_code(name, error) from error
        except (NoCredentialsError, ProfileNotFound) as error:
            raise RefusedError(f"AWS: {error}") from error
        except UNSENT as error:
            raise TransientError(f"AWS: {name}: {error}") from error
        except (HTTPClientError, BotoCoreError) as error:
            raise LostError(f"AWS: {name}: {error}") from error

    async def list_all(self, name: str, what: str, **wanted: Any) -> list[dict[str, Any]]:
        """All items, over pages."""
        items: list[dict[str, Any]] = []
        while True:
            answer = await self.call(name, **wanted)
            items += answer.get(what) or []
            if not answer.get(self.page[0]):
                return items
            wanted[self.page[1]] = answer[self.page[0]]

    async def close(self) -> None:
        self._client = None
        await self._opened.aclose()

    async def _connect(self) -> Any:
        """One client for all who ask: a client loads Amazon's description of the service."""
        async with self._connecting:
            if self._client is None:
                try:
                    self._client = await self._opened.enter_async_context(
                        self._of(await self._acting(), self.service)
                    )
                except UNANSWERED as error:
                    raise TransientError(f"AWS: no answer: {error}") from error
                except (BotoCoreError, ValueError) as error:
                    raise RefusedError(f"aws: {error}") from error
            return self._client

    async def _acting(self) -> AioSession:
        """Who calls: the role that is assumed, if there is one."""
        session = self._session()
        if not self._options.role_arn:
            return session
        acting = AioSession(profile=self._options.profile or None)
        acting._credentials = await self._assumed(session)
        return acting

    def _session(self) -> AioSession:
        if self._given is not None:
            return self._given
        try:
            return AioSession(profile=self._options.profile or None)
        except ProfileNotFound as error:
            raise RefusedError(f"aws.profile: {error}") from error

    def _of(self, session: AioSession, service: str) -> Any:
        config = AioConfig(
            retries={"mode": "adaptive", "total_max_attempts": TRIES_MAX},
            connect_timeout=CALL_SECONDS,
            read_timeout=CALL_SECONDS,
            max_pool_connections=CONNECTIONS_MAX,
        )
        return session.create_client(
            service,
            region_name=self._options.region or None,
            endpoint_url=self._options.endpoint or None,
            config=config,
        )

    async def _assumed(self, session: AioSession) -> AioRefreshableCredentials:
        """Credentials of the role, renewed before they end by those that `session` has."""

        async def refresh() -> dict[str, str]:
            wanted = {"RoleArn": self._options.role_arn, "RoleSessionName": SESSION_NAME}
            if self._options.external_id:
                wanted["ExternalId"] = self._options.external_id
            try:
                async with self._of(session, "sts") as sts:
                    given = (await sts.assume_role(**wanted))["Credentials"]
            except ClientError as error:
                raise RefusedError(f"aws.role_arn: {error}") from error
            return {
                "access_key": given["AccessKeyId"],
                "secret_key": given["SecretAccessKey"],
                "token": given["SessionToken"],
                "expiry_time": given["Expiration"].isoformat(),
            }

        return AioRefreshableCredentials.create_from_metadata(await refresh(), refresh, "sts-assume-role")


class Ec2(AwsService):
    """Instances, and what they are made of."""

    service, page = "ec2", ("NextToken", "NextToken")


class AutoScaling(AwsService):
    """Groups of instances that AWS keeps."""

    service, page = "autoscaling", ("NextToken", "NextToken")


class ServiceQuotas(AwsService):
    """How much an account may have."""

    service, page = "service-quotas", ("NextToken", "NextToken")


class Elbv2(AwsService):
    """Application load balancers."""

    service, page = "elbv2", ("NextMarker", "Marker")


class Route53(AwsService):
    """Zones of DNS."""

    service, page = "route53", ("NextRecordName", "StartRecordName")


def _of_code(name: str, error: ClientError) -> ProviderError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    text = f"AWS: {name}: {code}: {error.response.get('Error', {}).get('Message', 'no reason was given')}"
    is_end = name.startswith(ENDS) and code.endswith((".NotFound", ".Unavailable"))
    if code in GONE or is_end:
        return GoneError(text)
    if code == "InvalidChangeBatch":
        return ChangedMeanwhileError(text)
    if code in FULL:
        return OutOfCapacityError(text)
    return TransientError(text) if code in PASSING else RefusedError(text)
