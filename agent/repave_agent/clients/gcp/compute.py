"""Google's Compute Engine: paths of one project, operations that are waited for, and errors that say whose
fault it is. A change is answered with an operation, and may still come to nothing when that ends.
"""

import uuid
from collections.abc import Mapping
from typing import Any

from repave_agent.clients.faults import GoneError, LostError
from repave_agent.clients.rest import Answer, Rest
from repave_agent.core.ports import Clock, OutOfCapacityError, ProviderError, RefusedError, TransientError

OPERATION_SECONDS = 900.0
LOOK_SECONDS = 0.2
"""After a wait that returned at once, as that of an operation which has just begun may."""
FULL = ("QUOTA", "ZONE_RESOURCE_POOL_EXHAUSTED", "RESOURCE_POOL_EXHAUSTED", "STOCKOUT", "IP_SPACE_EXHAUSTED")
"""How codes of operations begin that mean that there is no room."""
REFUSED = ("INVALID", "PERMISSION", "FORBIDDEN", "RESOURCE_NOT_FOUND", "UNSUPPORTED", "CONDITION_NOT_MET")
LATER = ("rateLimitExceeded", "userRateLimitExceeded")


class ThereError(ProviderError):
    """There is something with this name already (409)."""


class BusyError(TransientError):
    """Another change of it is under way."""


class ChangedError(TransientError):
    """It is not as it was when it was read (412)."""


class InUseError(TransientError):
    """Something else names it."""


class Compute:
    """One project."""

    def __init__(self, rest: Rest, endpoint: str, project: str, clock: Clock) -> None:
        self.rest, self.project, self._clock = rest, project, clock
        self._base = f"{endpoint.rstrip('/')}/compute/v1/projects/"

    async def get(self, path: str, *, project: str = "", **query: str) -> dict[str, Any]:
        """Of a path below the project, such as `zones/europe-west1-b/instances/NAME`."""
        url = f"{self._base}{project or self.project}/{path}"
        return (await self.rest.call("GET", url, query=query, what=f"GET {path}")).body

    async def list_all(
        self, path: str, *, project: str = "", asked: Mapping[str, Any] | None = None, **query: str
    ) -> list[dict[str, Any]]:
        """All items, over pages; of an aggregated list those of every zone. `asked`: of a list that is asked
        for by POST."""
        items: list[dict[str, Any]] = []
        url = f"{self._base}{project or self.project}/{path}"
        method = "GET" if asked is None else "POST"
        while True:
            what = f"{method} {path}"
            answer = (await self.rest.call(method, url, asked, query, what=what, repeatable=True)).body
            found = answer.get("items") or []
            for each in found.values() if isinstance(found, dict) else [{"items": found}]:
                items += next((value for value in each.values() if isinstance(value, list)), [])
            if not answer.get("nextPageToken"):
                return items
            query["pageToken"] = answer["nextPageToken"]

    async def change(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, once: str = ""
    ) -> dict[str, Any]:
        """Begins a change and returns its operation. `once`: changes with the same are one change, whatever
        becomes of their answers. Raises ThereError, GoneError, LostError and ProviderError by kind."""
        query = {"requestId": str(uuid.uuid5(uuid.NAMESPACE_URL, once))} if once else {}
        url = f"{self._base}{self.project}/{path}"
        repeatable = bool(once) or method != "POST"
        what = f"{method} {path}"
        answer = await self.rest.call(method, url, body, query, what=what, repeatable=repeatable)
        return answer.body

    async def settle(
        self, operation: Mapping[str, Any], what: str, seconds: float = OPERATION_SECONDS
    ) -> None:
        """Waits until it has ended. Raises ProviderError as it says why it came to nothing, LostError when it
        has not ended after so many seconds."""
        deadline = self._clock.monotonic() + seconds
        scope = next((each for each in ("zone", "region") if each in operation), "")
        place = f"{scope}s/{operation[scope].rsplit('/', 1)[-1]}" if scope else "global"
        url = f"{self._base}{self.project}/{place}/operations/{operation['name']}/wait"
        while operation.get("status") != "DONE":
            if self._clock.monotonic() > deadline:
                raise LostError(f"Google: {what}: its operation has not ended after {seconds:g} s")
            operation = (await self.rest.call("POST", url, what=f"wait for {what}", repeatable=True)).body
            if operation.get("status") != "DONE":
                await self._clock.sleep(LOOK_SECONDS)
        errors = (operation.get("error") or {}).get("errors") or []
        if errors:
            raise _of_operation(what, errors[0])


def fault(what: str, answer: Answer) -> ProviderError:
    """Implements rest.Fault. Google's `reason` decides; the status alone says too little."""
    error = answer.body.get("error")
    error = error if isinstance(error, dict) else {"message": answer.body.get("message", "no reason")}
    reason = next((str(each.get("reason", "")) for each in error.get("errors") or []), "")
    text = f"Google: {what}: {answer.status}: {error.get('message', 'no reason')}"
    if answer.status == 404:
        return GoneError(text)
    if reason == "alreadyExists":
        return ThereError(text)
    if "quota" in reason.lower() and "rate" not in reason.lower():
        return OutOfCapacityError(f"{text.rstrip('.')}. Raise the quota, or free something.")
    if reason == "resourceInUseByAnotherResource":
        return InUseError(text)
    if reason == "resourceNotReady":
        return BusyError(text)
    if answer.status == 412:
        return ChangedError(text)
    if reason in LATER or answer.status in (408, 429, 503):
        return TransientError(text)
    if answer.status >= 500:
        return LostError(text)
    return RefusedError(text)


def _of_operation(what: str, error: Mapping[str, Any]) -> ProviderError:
    code = str(error.get("code", "UNKNOWN"))
    text = f"Google: {what}: {code}: {error.get('message', 'no reason was given')}"
    if code.startswith(FULL):
        return OutOfCapacityError(text)
    return RefusedError(text) if code.startswith(REFUSED) else TransientError(text)


def name_of(link: str) -> str:
    """The last part of a link, which Google gives in full whatever it was sent."""
    return link.rsplit("/", 1)[-1]
