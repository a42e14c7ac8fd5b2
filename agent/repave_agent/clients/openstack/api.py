"""OpenStack's REST APIs as the provider speaks them: a token that is renewed, the catalogue, bounded
patience, and errors that say whose fault it is, in the cloud's own words.

Plain aiohttp instead of openstacksdk, which is synchronous: a list of ten servers took 27 ms there and 0.5 ms
here, and its threads stalled the loop for up to 53 ms.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from datetime import datetime
from typing import Any

import aiohttp

from repave_agent.clients.faults import GoneError, LostError
from repave_agent.clients.openstack.login import Cloud
from repave_agent.clients.rest import always
from repave_agent.core.ports import Clock, OutOfCapacityError, ProviderError, RefusedError, TransientError

COMPUTE_VERSION = "2.64"
"""Of the compute API, since Rocky (2018): tags at create, policy of server groups."""
CALL_SECONDS = 30.0
TRIES_MAX = 4
PAUSE_SECONDS = 0.5
PAUSE_SECONDS_MAX = 30.0
RENEW_SECONDS = 120.0
"""So long before its end a token is renewed."""
SERVICES = {
    "compute": ("compute",),
    "image": ("image",),
    "network": ("network",),
    "load-balancer": ("load-balancer", "loadbalancer"),
}
SAFE_TO_REPEAT = ("GET", "DELETE", "PUT")
GREETING = aiohttp.ClientTimeout(total=8.0)
IDLE_SECONDS = 4.0
"""So long a connection is kept for the next call: less than servers keep it (Apache 5 s, HAProxy 10 s), for a
creation on a connection that just closes is an answer lost."""


class Api:
    """One project of one cloud. `calls` counts requests, for benchmarks. `check` raises NotActingError: asked
    before each call that changes something, for what is under way must not go on once the lease is over."""

    def __init__(self, cloud: Cloud, clock: Clock, check: Callable[[], None] = always) -> None:
        self._cloud, self._clock, self._check = cloud, clock, check
        self._http: aiohttp.ClientSession | None = None
        self._token, self._expires_at = "", 0.0
        self._endpoints: dict[str, str] = {}
        self._lock = asyncio.Lock()
        self.project_id = ""
        self.calls = 0

    async def call(
        self, service: str, method: str, path: str, body: Any = None, **query: str | int
    ) -> dict[str, Any]:
        """The decoded answer, {} when it is empty. Raises GoneError, LostError, and ProviderError by kind."""
        pause = PAUSE_SECONDS
        for attempt in range(TRIES_MAX):
            is_last = attempt == TRIES_MAX - 1
            url = await self._endpoint(service) + path
            token = self._token
            try:
                status, answer, after = await self._once(service, method, url, token, body, query)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                was_sent = not isinstance(error, aiohttp.ClientConnectorError)
                if is_last or (was_sent and method not in SAFE_TO_REPEAT):
                    raise LostError(f"{service}: {method} {path}: no answer: {error}") from error
            else:
                if status < 400:
                    return answer
                if status == 401:
                    self._forget(token)
                elif is_last or not _may_repeat(method, status):
                    raise failure(service, method, path, status, answer)
                pause = min(max(pause, after), PAUSE_SECONDS_MAX)
            await self._clock.sleep(pause)
            pause *= 2
        raise RefusedError(f"{service}: {method} {path}: the cloud does not accept its own token (401)")

    async def greet_identity(self) -> str:
        """Why the identity service is no use; "" when it answers. A token may outlive it for hours."""
        try:
            async with self._session().get(self._cloud.auth_url, timeout=GREETING) as response:
                if response.status < 500:
                    return ""
                return f"Keystone: {self._cloud.auth_url}: {response.status}"
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return f"Keystone: {self._cloud.auth_url}: no answer: {error or type(error).__name__}"

    async def list_all(self, service: str, path: str, what: str, **query: str | int) -> list[dict[str, Any]]:
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
        if self._http is not None:
            await self._http.close()
            self._http = None

    # ---------------------------------------------------------------------------------------- one call

    async def _once(
        self, service: str, method: str, url: str, token: str, body: Any, query: dict[str, str | int]
    ) -> tuple[int, dict[str, Any], float]:
        headers = {"X-Auth-Token": token, "Accept": "application/json"}
        if service == "compute":
            headers["OpenStack-API-Version"] = f"compute {COMPUTE_VERSION}"
        self.calls += 1
        if method != "GET":
            self._check()
        async with self._session().request(method, url, json=body, params=query, headers=headers) as response:
            after = 0.0
            with contextlib.suppress(ValueError):
                after = float(response.headers.get("Retry-After", "0"))
            return response.status, await _decode(response), after

    def _forget(self, token: str) -> None:
        """Of many calls that are refused together only the first one costs a login."""
        if self._token == token:
            self._token = ""

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            context: ssl.SSLContext | bool = True
            if not self._cloud.verifies:
                context = False
            elif self._cloud.cacert:
                context = ssl.create_default_context(cafile=self._cloud.cacert)
            connector = aiohttp.TCPConnector(ssl=context, limit=20, keepalive_timeout=IDLE_SECONDS)
            timeout = aiohttp.ClientTimeout(total=CALL_SECONDS)
            self._http = aiohttp.ClientSession(connector=connector, timeout=timeout)
        return self._http

    async def _endpoint(self, service: str) -> str:
        async with self._lock:
            if not self._token or self._clock.wall() > self._expires_at - RENEW_SECONDS:
                await self._log_in()
        override = self._cloud.overrides.get(f"{service.replace('-', '_')}_endpoint_override")
        if override:
            return override
        if service not in self._endpoints:
            raise RefusedError(
                f"the cloud's catalogue has no {service} in region {self._cloud.region_name or 'any'}: "
                "correct region_name or interface of the cloud"
            )
        return self._endpoints[service]

    async def _log_in(self) -> None:
        url = f"{self._cloud.auth_url}/auth/tokens"
        self.calls += 1
        try:
            async with self._session().post(url, json=self._cloud.login()) as response:
                answer = await _decode(response)
                token = response.headers.get("X-Subject-Token", "")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise TransientError(f"identity: {url}: no answer: {error}") from error
        if response.status == 401:
            raise RefusedError(f"identity: {url} refuses the credentials: {_message_of(answer)}")
        if response.status >= 400 or not token:
            raise failure("identity", "POST", "/auth/tokens", response.status, answer)
        given = answer["token"]
        self._token, self._expires_at = token, self._expiry(given.get("expires_at", ""))
        self.project_id = given.get("project", {}).get("id", "")
        self._endpoints = self._choose(given.get("catalog") or [])

    def _expiry(self, text: str) -> float:
        """Seconds of the wall clock; an hour from now when it can't be read."""
        try:
            return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
        except ValueError:
            return self._clock.wall() + 3600.0

    def _choose(self, catalogue: list[dict[str, Any]]) -> dict[str, str]:
        wanted, kind = self._cloud.region_name, self._cloud.interface.removesuffix("URL")
        chosen: dict[str, str] = {}
        for service, types in SERVICES.items():
            for entry in catalogue:
                for endpoint in entry.get("endpoints") or [] if entry.get("type") in types else []:
                    if endpoint.get("interface") == kind and wanted in ("", endpoint.get("region_id")):
                        chosen.setdefault(service, _versioned(service, endpoint["url"].rstrip("/")))
        return chosen


def _may_repeat(method: str, status: int) -> bool:
    """Refused for now, or answered by something in between: a creation may have been done after all."""
    return status in (413, 429, 503) or (status in (500, 502, 504) and method in SAFE_TO_REPEAT)


def _versioned(service: str, url: str) -> str:
    """Catalogues name some services with their version and some without."""
    version = {"image": "v2", "network": "v2.0", "load-balancer": "v2"}.get(service, "")
    return url if not version or url.endswith(version) else f"{url}/{version}"


def failure(service: str, method: str, path: str, status: int, answer: dict[str, Any]) -> ProviderError:
    """By whose fault it is. Quotas and full clouds come as 403, 413 or 409, as 500 too. A creation that a
    gateway gave up, or that broke half-way, may have made something: LostError."""
    said = _message_of(answer)
    text = f"{service}: {method} {path}: {status}: {said}"
    lower = said.lower()
    if status == 404:
        return GoneError(text)
    if "quota" in lower or "no valid host" in lower or "no more ip addresses" in lower:
        return OutOfCapacityError(f"{text.rstrip('.')}. Raise the quota, or free something.")
    if status in (500, 502, 504) and method == "POST" and service != "identity":
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


async def _decode(response: aiohttp.ClientResponse) -> dict[str, Any]:
    text = await response.text(errors="replace")
    try:
        raw = await response.json(content_type=None) if text else {}
    except ValueError:
        return {"message": text[:300]}
    return raw if isinstance(raw, dict) else {"items": raw}
