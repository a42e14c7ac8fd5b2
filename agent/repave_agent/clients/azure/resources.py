"""Azure Resource Manager: paths of one resource group, changes that are waited for, and errors that say whose
fault it is. A change is accepted with an operation, and may still come to nothing when that ends.
"""

from collections.abc import Mapping
from typing import Any

from repave_agent.clients.faults import GoneError, LostError
from repave_agent.clients.rest import Answer, Rest
from repave_agent.core.ports import Clock, OutOfCapacityError, ProviderError, RefusedError, TransientError

COMPUTE, NETWORK = "Microsoft.Compute", "Microsoft.Network"
VERSIONS = {
    COMPUTE: "2026-04-01",
    NETWORK: "2026-03-01",
    f"{COMPUTE}/skus": "2021-07-01",
    f"{COMPUTE}/disks": "2026-03-02",
    f"{COMPUTE}/galleries": "2026-03-03",
}
QUERY = {"expand": "$expand", "filter": "$filter"}
OPERATION_SECONDS = 1200.0
LOOK_SECONDS, LOOK_SECONDS_MAX = 0.25, 15.0
FULL = (
    "AllocationFailed",
    "OverconstrainedAllocationRequest",
    "OverconstrainedZonalAllocationRequest",
    "QuotaExceeded",
    "SkuNotAvailable",
    "SubnetIsFull",
    "ZonalAllocationFailed",
)
"""Codes that mean that there is no room; OperationNotAllowed does where it speaks of a quota."""
BUSY = (
    "AnotherOperationInProgress",
    "Conflict",
    "InternalExecutionError",
    "InternalOperationError",
    "NetworkingInternalOperationError",
    "NicReservedForAnotherVm",
    "OperationPreempted",
    "RetryableError",
    "ServerTimeout",
    "TooManyRequests",
)


class ThereError(ProviderError):
    """There is something with this name already (412 of If-None-Match), or it is not as it was read (412 of
    If-Match)."""


class BusyError(TransientError):
    """Another change of the same resource is under way. Nothing was done; Azure asks for so much patience."""

    def __init__(self, text: str, after_seconds: float) -> None:
        super().__init__(text)
        self.after_seconds = after_seconds


class Resources:
    """One resource group of one subscription."""

    def __init__(
        self, rest: Rest, endpoint: str, subscription: str, group: str, location: str, clock: Clock
    ) -> None:
        self.rest, self._clock = rest, clock
        self._endpoint = endpoint.rstrip("/")
        self.subscription, self.location = f"/subscriptions/{subscription}", location
        self.group = f"{self.subscription}/resourceGroups/{group}"

    def path(self, provider: str, *names: str) -> str:
        """The id of a resource of the group: `Microsoft.Compute`, `virtualMachines`, its name."""
        return "/".join((self.group, "providers", provider, *names))

    async def get(self, path: str, **query: str) -> dict[str, Any]:
        """Of a resource by its id."""
        return (await self._call("GET", path, None, query)).body

    async def list_all(self, path: str, **query: str) -> list[dict[str, Any]]:
        """All items of a list, over its pages."""
        answer = await self._call("GET", path, None, query)
        items = list(answer.body.get("value") or [])
        while link := answer.body.get("nextLink"):
            answer = await self.rest.call("GET", self._own(link), what=f"GET {path}")
            items += answer.body.get("value") or []
        return items

    async def make(self, path: str, body: Mapping[str, Any], what: str) -> None:
        """Makes what is not there, and waits until it is. Raises ThereError, LostError and ProviderError by
        kind; then the resource may be there all the same, as failed."""
        answer = await self._call("PUT", path, body, {}, {"If-None-Match": "*"})
        await self._settle(answer, what)

    async def change(
        self, method: str, path: str, body: Mapping[str, Any] | None, what: str, *, etag: str, seconds: float
    ) -> None:
        """Makes, replaces or deletes what has that etag; "" is what is not there yet. Waits until nothing
        else is under way, and until it is done, so many seconds each. Raises ThereError when it is not as
        it was, BusyError, LostError and ProviderError by kind."""
        headers = {"If-Match": etag} if etag else {"If-None-Match": "*"}
        deadline = self._clock.monotonic() + seconds
        while True:
            try:
                answer = await self._call(method, path, body, {}, headers)
            except BusyError as busy:
                if self._clock.monotonic() + busy.after_seconds > deadline:
                    raise
                await self._clock.sleep(busy.after_seconds)
                continue
            await self._settle(answer, what, seconds)
            return

    async def post(self, path: str) -> dict[str, Any]:
        """An action that only reads."""
        return (await self._call("POST", path, None, {}, repeatable=True)).body

    async def act(self, path: str) -> None:
        """An action that changes something, twice no more than once; waits until it is done."""
        answer = await self._call("POST", path, None, {}, repeatable=True)
        await self._settle(answer, f"POST {path.removeprefix(self.group)}")

    async def ask(self, path: str, what: str, seconds: float) -> dict[str, Any]:
        """An action that only reads, and takes its time: so many seconds at most."""
        begun = await self._call("POST", path, None, {}, repeatable=True)
        return (await self._settle(begun, what, seconds)).body

    async def delete(self, path: str, *, waits: bool = False) -> None:
        """Asks for its end, and may wait for that. What is gone is fine."""
        try:
            answer = await self._call("DELETE", path, None, {})
        except GoneError:
            return
        if waits:
            await self._settle(answer, f"DELETE {path}")

    async def _call(
        self,
        method: str,
        path: str,
        body: Any,
        query: Mapping[str, str],
        headers: Mapping[str, str] | None = None,
        *,
        repeatable: bool | None = None,
    ) -> Answer:
        provider = NETWORK if f"/providers/{NETWORK}/" in path else COMPUTE
        kind = path.partition(f"/providers/{provider}/")[2].partition("/")[0]
        version = VERSIONS.get(f"{provider}/{kind}")
        asked = {
            "api-version": version or VERSIONS[provider],
            **{QUERY.get(key, key): value for key, value in query.items()},
        }
        what = f"{method} {path.removeprefix(self.group)}"
        return await self.rest.call(
            method, self._endpoint + path, body, asked, what=what, headers=headers, repeatable=repeatable
        )

    async def _settle(self, answer: Answer, what: str, seconds: float = OPERATION_SECONDS) -> Answer:
        """Waits until the operation has ended, which an answer may name; returns the last answer."""
        link = answer.headers.get("Azure-AsyncOperation") or answer.headers.get("Location")
        if not link or answer.status not in (200, 201, 202):
            return answer
        deadline, pause = self._clock.monotonic() + seconds, LOOK_SECONDS
        while self._clock.monotonic() < deadline:
            after = min(_seconds(answer.headers.get("Retry-After", "")), LOOK_SECONDS_MAX)
            await self._clock.sleep(max(after, pause))
            pause = min(pause * 2, LOOK_SECONDS_MAX)
            answer = await self.rest.call("GET", self._own(link), what=f"wait for {what}")
            status = str(answer.body.get("status", "Succeeded" if answer.status != 202 else "InProgress"))
            if status == "Succeeded":
                return answer
            if status in ("Failed", "Canceled"):
                raise of_error(what, answer.body.get("error") or {"code": status})
        raise LostError(f"Azure: {what}: its operation has not ended after {seconds:g} s")

    def _own(self, link: str) -> str:
        """A link that Azure gave, on the endpoint of the settings: no token goes elsewhere."""
        return self._endpoint + "/" + link.partition("://")[2].partition("/")[2]


def fault(what: str, answer: Answer) -> ProviderError:
    """Implements rest.Fault. Azure's `code` decides; 409 alone may be a quota or a moment's wait."""
    error = answer.body.get("error")
    error = error if isinstance(error, dict) else {"message": answer.body.get("message", "no reason")}
    code = str(error.get("code", ""))
    text = f"Azure: {what}: {answer.status}: {code}: {error.get('message', 'no reason')}"
    if answer.status == 404 and code != "ResourceGroupNotFound":
        return GoneError(text)
    if answer.status == 412:
        return ThereError(text)
    if code == "AnotherOperationInProgress":
        return BusyError(text, _seconds(answer.headers.get("Retry-After", "")) or LOOK_SECONDS)
    if answer.status in (408, 429, 503) or (code in BUSY and answer.status < 500):
        return TransientError(text)
    if answer.status >= 500:
        return LostError(text)
    found = of_error(what, error)
    return found if not isinstance(found, TransientError) else RefusedError(text)


def of_error(what: str, error: Mapping[str, Any]) -> ProviderError:
    """An error of an operation, or of an answer."""
    code, said = str(error.get("code", "Failed")), str(error.get("message", "no reason was given"))
    text = f"Azure: {what}: {code}: {said}"
    if code in FULL or (code == "OperationNotAllowed" and "quota" in said.lower()):
        return OutOfCapacityError(text)
    return TransientError(text)


def _seconds(text: str) -> float:
    return float(text) if text.isdigit() else 0.0
