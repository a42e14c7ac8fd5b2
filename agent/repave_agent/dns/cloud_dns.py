"""Records of Google's Cloud DNS: one set for all regions, each with its own item where they have weights.

A change names the whole sets that it replaces, and Google refuses it where they have changed: regions that
change one name together lose nothing.
"""

from collections.abc import Callable
from typing import Any

from repave_agent.clients.gcp.compute import fault
from repave_agent.clients.rest import Answer, Rest
from repave_agent.core.ports import ChangedMeanwhileError, ProviderError
from repave_agent.core.records import Change, Seen, kind_of, mark_name, mark_text, read_mark

KINDS = ("A", "AAAA")
CHANGED = (404, 409, 412)
"""Of a change: a set that it replaces is not there, or another one is."""

Set = dict[str, Any]


class CloudDnsRecords:
    """Implements ports.Records."""

    kind = "cloud_dns"

    def __init__(
        self,
        region: str,
        installation: Callable[[], str],
        rest: Rest,
        zone_url: str,
        ttl_seconds: int,
        weight: int,
    ) -> None:
        """`zone_url`: of the managed zone. `weight` 0: simple records, each region has the same share."""
        self._region, self._installation, self._rest = region, installation, rest
        self._url, self._ttl, self._weight = zone_url, ttl_seconds, weight

    async def look(self, name: str) -> Seen:
        sets = {each["type"]: each for each in await self._sets(name)}
        marks = [each for each in await self._sets(mark_name(name, self._region)) if each["type"] == "TXT"]
        found = [sets[kind] for kind in KINDS if kind in sets]
        texts = [value.strip('"') for each in marks for value in each.get("rrdatas") or ()]
        mark, why = read_mark(texts, self._installation(), self._region)
        return Seen(
            addresses=frozenset(value for each in found for value in _values(each)),
            mark=mark,
            ttl_seconds=max((int(each["ttl"]) for each in found), default=0),
            obstacle=self._obstacle(name, sets) or why,
            version=(sets, marks),
        )

    async def change(self, seen: Seen, change: Change) -> None:
        assert isinstance(seen.version, tuple)
        sets, marks = seen.version
        deletions: list[Set] = []
        additions: list[Set] = []
        for kind in KINDS:
            former = sets.get(kind)
            add = [each for each in change.add if kind_of(each) == kind]
            remove = [each for each in change.remove if kind_of(each) == kind]
            if add or remove:
                deletions += [former] if former is not None else []
                new = self._changed(change.name, kind, former, add, remove)
                additions += [new] if new is not None else []
        if change.mark != seen.mark:
            deletions += marks
            additions += [self._mark(change.name, change.mark)] if change.mark is not None else []
        await self._post({"additions": additions, "deletions": deletions}, change.name)

    async def set_text(self, name: str, text: str, *, is_there: bool) -> None:
        former = [each for each in await self._sets(name) if each["type"] == "TXT"]
        known = [value for each in former for value in each["rrdatas"]]
        wanted = [each for each in known if each != f'"{text}"'] + [f'"{text}"'] * is_there
        new = {"name": f"{name}.", "type": "TXT", "ttl": self._ttl, "rrdatas": wanted}
        if sorted(wanted) != sorted(known):
            await self._post({"additions": [new] if wanted else [], "deletions": former}, name)

    async def close(self) -> None:
        await self._rest.close()

    async def _sets(self, name: str) -> list[Set]:
        answer = await self._rest.call(
            "GET", f"{self._url}/rrsets", query={"name": f"{name}."}, what=f"GET rrsets of {name}"
        )
        return list(answer.body.get("rrsets") or [])

    async def _post(self, body: dict[str, Any], name: str) -> None:
        try:
            await self._rest.call("POST", f"{self._url}/changes", body, what=f"change of {name}")
        except ChangeRefused as error:
            raise ChangedMeanwhileError(str(error)) from error

    def _changed(
        self, name: str, kind: str, former: Set | None, add: list[str], remove: list[str]
    ) -> Set | None:
        """None: nothing is left."""
        new: Set = {"name": f"{name}.", "type": kind, "ttl": former["ttl"] if former else self._ttl}
        if self._weight:
            items = [
                {"weight": each["weight"], "rrdatas": left}
                for each in _items(former)
                if (left := [value for value in each["rrdatas"] if value not in remove])
            ]
            items += [{"weight": self._weight, "rrdatas": add}] if add else []
            return {**new, "routingPolicy": {"wrr": {"items": items}}} if items else None
        values = [value for value in (former or {}).get("rrdatas", []) if value not in remove] + add
        return {**new, "rrdatas": values} if values else None

    def _mark(self, name: str, mark: tuple[str, ...]) -> Set:
        text = f'"{mark_text(self._installation(), mark)}"'
        return {
            "name": f"{mark_name(name, self._region)}.",
            "type": "TXT",
            "ttl": self._ttl,
            "rrdatas": [text],
        }

    def _obstacle(self, name: str, sets: dict[str, Set]) -> str:
        if "CNAME" in sets:
            return f"{name} is an alias (CNAME): remove it, or name another in dns.names"
        for kind in KINDS:
            policy = sets.get(kind, {}).get("routingPolicy")
            if policy is not None and "wrr" not in policy:
                return f"{name} has a routing policy that is not by weight: remove it"
            if kind in sets and (policy is not None) != bool(self._weight):
                has, do = ("weights", "set dns.weight") if policy else ("no weights", "set dns.weight to 0")
                return f"{name} has {has}: {do}, or remove it"
        return ""


class ChangeRefused(ProviderError):
    """A change did not fit what there is."""


def fault_of(what: str, answer: Answer) -> ProviderError:
    """Implements rest.Fault."""
    if what.startswith("change of ") and answer.status in CHANGED:
        return ChangeRefused(str(fault(what, answer)))
    return fault(what, answer)


def _items(found: Set | None) -> list[Set]:
    if found is None:
        return []
    return list(((found.get("routingPolicy") or {}).get("wrr") or {}).get("items") or [])


def _values(found: Set) -> list[str]:
    return [*(found.get("rrdatas") or []), *(value for each in _items(found) for value in each["rrdatas"])]
