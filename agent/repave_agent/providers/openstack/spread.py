"""Keeps the hosts of one group on different hypervisors where that is possible: one Nova server group for
each of repave's groups, made with its first host, removed with its last one.

It is a wish, not a promise: where the quota of server groups is used up (10 groups of 10 members is what Nova
gives unasked) hosts are made all the same, and it is said once for each group.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import structlog

from repave_agent.clients.faults import GoneError, LostError
from repave_agent.clients.openstack.api import Api
from repave_agent.core.ports import OutOfCapacityError, ProviderError, RefusedError
from repave_protos.protocol.values import GroupName

log = structlog.get_logger()

PATH = "/os-server-groups"
HINTS = "os:scheduler_hints"


class Spread:
    """`prefix` is how the names of our server groups begin, and no others."""

    def __init__(self, api: Api, prefix: Callable[[], str]) -> None:
        self._api, self._prefix = api, prefix
        self._known: dict[GroupName, str] = {}
        self._full: set[GroupName] = set()
        self._lock = asyncio.Lock()

    async def hints(self, group: GroupName) -> dict[str, str]:
        """With which a creation's host is spread; none where there is no room for a server group."""
        async with self._lock:
            if group in self._full:
                return {}
            if group not in self._known:
                try:
                    self._known[group] = await self._find(group) or await self._create(group)
                except OutOfCapacityError as full:
                    self._fill(group, full)
                    return {}
            return {"group": self._known[group]}

    def is_to_blame(self, group: GroupName, error: ProviderError) -> bool:
        """Whether a creation was refused for its server group's sake only: then it is repeated without, or
        with a fresh one where ours was deleted."""
        text = str(error).lower()
        if isinstance(error, OutOfCapacityError) and "too many servers in group" in text:
            self._fill(group, error)
            return True
        if isinstance(error, RefusedError) and "instance group" in text and "could not be found" in text:
            self._known.pop(group, None)
            return True
        return False

    async def forget_all_but(self, wanted: Callable[[], Iterable[GroupName]]) -> None:
        """Removes our server groups whose hosts are gone, those included that an agent left when it was
        killed. `wanted` is asked under the lock, so that no launch begins to use one meanwhile."""
        async with self._lock:
            before = set(wanted())
            listed = await self._list()
            kept = {self._name(group) for group in before | set(wanted())}
            for each in listed:
                if each["name"].startswith(f"{self._prefix()}-") and each["name"] not in kept:
                    await self._delete(each)

    async def _delete(self, server_group: dict[str, Any]) -> None:
        gone = [group for group, known in self._known.items() if known == server_group["id"]]
        for group in gone:
            del self._known[group]
        try:
            await self._api.call("compute", "DELETE", f"{PATH}/{server_group['id']}")
        except GoneError:
            pass

    async def _find(self, group: GroupName) -> str:
        named = (each for each in await self._list() if each["name"] == self._name(group))
        return next((str(each["id"]) for each in named), "")

    async def _create(self, group: GroupName) -> str:
        body = {"server_group": {"name": self._name(group), "policy": "soft-anti-affinity"}}
        try:
            return str((await self._api.call("compute", "POST", PATH, body))["server_group"]["id"])
        except LostError:
            if found := await self._find(group):
                return found
            raise

    async def _list(self) -> list[dict[str, Any]]:
        return await self._api.list_all("compute", PATH, "server_groups")

    def _fill(self, group: GroupName, why: ProviderError) -> None:
        if group not in self._full:
            self._full.add(group)
            log.warning("group.not_spread", group=group, because=str(why))

    def one_left(self, group: GroupName) -> None:
        """A host of the group is gone: the next one may have its place again."""
        self._full.discard(group)

    def _name(self, group: GroupName) -> str:
        return f"{self._prefix()}-{group}"
