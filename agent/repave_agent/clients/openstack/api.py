"""OpenStack's REST APIs as the provider speaks them: the catalogue, that comes with a token, and errors that
say whose fault it is, in the cloud's own words. How they are called, and again: clients/rest.py.

Plain aiohttp instead of openstacksdk, which is synchronous: a list of ten servers took 27 ms there and 0.5 ms
here, and its threads stalled the loop for up to 53 ms.
"""

import asyncio
import random
import ssl
from collections.abc import Callable
from datetime import datetime
from typing import Any

import aiohttp

from repave_agent.clients.faults import GoneError, LostError
from repave_agent.clients.openstack.login import Cloud
from repave_agent.clients.rest import Answer, Asked, Pace, Rest, SharedToken, always
from repave_agent.core.ports import Clock, OutOfCapacityError, ProviderError, RefusedError, TransientError

COMPUTE_VERSION = "2.67"
"""Of the compute API, since Stein (2019): tags at create, policy of server groups, types of volumes."""
CALL_SECONDS = 30.0
GREETING_SECONDS = 8.0
SERVICES = {
    "compute": ("compute",),
    "image": ("image",),
    "network": ("network",),
    "block-storage": ("block-storage", "volumev3"),
    "load-balancer": ("load-balancer", "loadbalancer"),
    "dns": ("dns",),
}
LOGIN = "identity: POST /auth/tokens"
FULL = ("quota", "no valid host", "no more ip addresses", "unable to find any ip address")
"""What a cloud says that has no room, whatever the status."""


class Api:
    """One project of one cloud. `check` raises NotActingError: asked before each call that changes something,
    for what is under way must not go on once the lease is over."""

    def __init__(self, cloud: Cloud, clock: Clock, check: Callable[[], None] = always) -> None:
        self._cloud, self._clock = cloud, clock
        self._tokens = SharedToken(self._log_in, clock, header=("X-Auth-Token", ""))
        self._rest = Rest(
            self._tokens,
            fault,
            clock,
            Pace(0.0, clock),
            chance=random.Random(),  # noqa: S311  # spreads retries
            service="OpenStack",
            check=check,
            tls=self._tls,
            call_seconds=CALL_SECONDS,
        )
        self._endpoints: dict[str, str] = {}
        self._offered = ""  # interfaces and regions of the catalogue
        self.project_id = ""
        self.roles: tuple[str, ...] = ()  # in the project, as the token names them

    @property
    def calls(self) -> int:
        """Requests, for benchmarks."""
        return self._rest.calls

    async def call(
        self, service: str, method: str, path: str, body: Any = None, **query: Asked
    ) -> dict[str, Any]:
        """The decoded answer, {} when it is empty. Raises GoneError, LostError, and ProviderError by kind."""
        url = await self._endpoint(service) + path
        headers = {"Accept": "application/json"}
        if service == "compute":
            headers["OpenStack-API-Version"] = f"compute {COMPUTE_VERSION}"
        what = f"{service}: {method} {path}"
        return (await self._rest.call(method, url, body, query, what=what, headers=headers)).body

    async def greet_identity(self) -> str:
        """Why the identity service is no use; "" when it answers. A token may outlive it for hours."""
        url = self._cloud.auth_url
        try:
            async with asyncio.timeout(GREETING_SECONDS):
                status = (await self._rest.send("GET", url)).status
        except (aiohttp.ClientError, TimeoutError, OSError, RefusedError) as error:
            return f"Keystone: {url}: no answer: {error or type(error).__name__}"
        return "" if status < 500 else f"Keystone: {url}: {status}"

    async def list_all(self, service: str, path: str, what: str, **query: Asked) -> list[dict[str, Any]]:
        """All items of a list, over its pages."""
        items: list[dict[str, Any]] = []
        while True:
            answer = await self.call(service, "GET", path, **query)
            page = answer.get(what) or []
            items += page
            links = answer.get(f"{what}_links") or []
            if not page or not any(link.get("rel") == "next" for link in links):
                return items
            query["marker"] = page[-1]["id"]

    async def close(self) -> None:
        await self._rest.close()

    # ------------------------------------------------------------------------------------------ log-in

    def _tls(self) -> ssl.SSLContext | bool:
        if not self._cloud.verifies:
            return False
        try:
            return ssl.create_default_context(cafile=self._cloud.cacert) if self._cloud.cacert else True
        except OSError as error:
            why = error.strerror or error
            raise RefusedError(f"cacert of the cloud: {self._cloud.cacert} can't be used: {why}") from error

    async def _endpoint(self, service: str) -> str:
        await self._tokens.headers()  # the catalogue comes with a token
        override = self._cloud.overrides.get(f"{service.replace('-', '_')}_endpoint_override")
        if override:
            return override
        if service not in self._endpoints:
            raise RefusedError(
                f"the cloud's catalogue has no {service} in region {self._cloud.region_name or 'any'} for "
                f"interface {self._cloud.interface}: correct region_name or interface of the cloud"
                f"{f'; it has: {self._offered}' if self._offered else ''}"
            )
        return self._endpoints[service]

    async def _log_in(self) -> tuple[str, float]:
        url = f"{self._cloud.auth_url}/auth/tokens"
        try:
            answer = await self._rest.send("POST", url, self._cloud.login())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise TransientError(f"identity: {url}: no answer: {error}") from error
        token = answer.headers.get("X-Subject-Token", "")
        if answer.status == 401:
            raise RefusedError(f"identity: {url} refuses the credentials: {_message_of(answer.body)}")
        if answer.status >= 400 or not token:
            raise fault(LOGIN, answer)
        given = answer.body["token"]
        self.project_id = given.get("project", {}).get("id", "")
        self.roles = tuple(sorted(str(each.get("name", "")) for each in given.get("roles") or ()))
        self._endpoints = self._choose(given.get("catalog") or [])
        return token, self._expiry(given.get("expires_at", ""))

    def _expiry(self, text: str) -> float:
        """Seconds of the wall clock; an hour from now when it can't be read."""
        try:
            return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
        except ValueError:
            return self._clock.wall() + 3600.0

    def _choose(self, catalogue: list[dict[str, Any]]) -> dict[str, str]:
        places = {
            f"{endpoint.get('interface')} in {endpoint.get('region_id')}"
            for entry in catalogue
            for endpoint in entry.get("endpoints") or []
        }
        self._offered = ", ".join(sorted(places))
        wanted, kind = self._cloud.region_name, self._cloud.interface
        chosen: dict[str, str] = {}
        for service, types in SERVICES.items():
            for entry in catalogue:
                for endpoint in entry.get("endpoints") or [] if entry.get("type") in types else []:
                    if endpoint.get("interface") == kind and wanted in ("", endpoint.get("region_id")):
                        chosen.setdefault(service, _versioned(service, endpoint["url"].rstrip("/")))
        return chosen


def _versioned(service: str, url: str) -> str:
    """Catalogues name some services with their version and some without."""
    version = {"image": "v2", "network": "v2.0", "load-balancer": "v2", "dns": "v2"}.get(service, "")
    return url if not version or url.endswith(version) else f"{url}/{version}"


def fault(what: str, answer: Answer) -> ProviderError:
    """Implements rest.Fault. Quotas and full clouds come as 403, 413 or 409, as 500 too. A creation that a
    gateway gave up, or that broke half-way, may have made something: LostError."""
    status, said = answer.status, _message_of(answer.body)
    text = f"{what}: {status}: {said}"
    lower = said.lower()
    if status == 404:
        return GoneError(text)
    if any(words in lower for words in FULL):
        return OutOfCapacityError(f"{text.rstrip('.')}. Raise the quota, or free something.")
    if status in (500, 502, 504) and ": POST " in what and what != LOGIN:
        return LostError(text)
    if status in (409, 413, 429) or status >= 500:
        return TransientError(text)
    return RefusedError(text)


def _message_of(answer: dict[str, Any]) -> str:
    """What the cloud said in words, whichever of its many forms they have."""
    for value in answer.values():
        if isinstance(value, dict) and "message" in value:
            return str(value["message"])
    if isinstance(answer.get("NeutronError"), str):
        return str(answer["NeutronError"])
    return str(answer.get("faultstring") or answer.get("message") or answer or "nothing was said")
