"""Records of OpenStack's Designate: one set for all regions at the name, and a mark for each.

Designate compares nothing: of two regions that change one name at the same moment one may undo what the other
did. Each looks again a few seconds later, and its mark tells it what it has to mend.
"""

from collections.abc import Callable
from typing import Any

from repave_agent.clients.faults import GoneError
from repave_agent.clients.openstack.api import Api
from repave_agent.core.ports import ChangedMeanwhileError, RefusedError, TransientError
from repave_agent.core.records import Change, Seen, kind_of, mark_name, mark_text, read_mark

KINDS = ("A", "AAAA")

Set = dict[str, Any]


class DesignateRecords:
    """Implements ports.Records."""

    kind = "designate"

    def __init__(
        self, region: str, installation: Callable[[], str], api: Api, zone: str, ttl_seconds: int
    ) -> None:
        self._region, self._installation, self._api = region, installation, api
        self._zone, self._ttl = f"{zone.rstrip('.')}.", ttl_seconds
        self._path = ""

    async def look(self, name: str) -> Seen:
        sets = {each["type"]: each for each in await self._sets(name)}
        marks = [each for each in await self._sets(mark_name(name, self._region)) if each["type"] == "TXT"]
        found = [sets[kind] for kind in KINDS if kind in sets]
        texts = [value.strip('"') for each in marks for value in each["records"]]
        mark, why = read_mark(texts, self._installation(), self._region)
        if "CNAME" in sets:
            why = f"{name} is an alias (CNAME): remove it, or name another in dns.names"
        return Seen(
            addresses=frozenset(value for each in found for value in each["records"]),
            mark=mark,
            ttl_seconds=max((int(each.get("ttl") or self._ttl) for each in found), default=0),
            obstacle=why,
            version=(sets, marks),
        )

    async def change(self, seen: Seen, change: Change) -> None:
        """The mark comes first and goes last: what it names can be mended after any break."""
        assert isinstance(seen.version, tuple)
        sets, marks = seen.version
        there = marks[0] if marks else None
        if change.mark is not None and change.mark != seen.mark:
            there = await self._put_mark(change.name, there, {*change.mark, *(seen.mark or ())})
        for kind in KINDS:
            add = [each for each in change.add if kind_of(each) == kind]
            remove = [each for each in change.remove if kind_of(each) == kind]
            if add or remove:
                known = sets.get(kind)
                kept = [each for each in (known or {}).get("records", []) if each not in remove]
                await self._put(change.name, kind, known, kept + add)
        if change.mark is None and there is not None:
            await self._put(mark_name(change.name, self._region), "TXT", there, [])
        elif change.mark is not None and change.remove and change.mark != seen.mark:
            await self._put_mark(change.name, there, set(change.mark))

    async def set_text(self, name: str, text: str, *, is_there: bool) -> None:
        former = next((each for each in await self._sets(name) if each["type"] == "TXT"), None)
        known = [] if former is None else list(former["records"])
        wanted = [each for each in known if each != f'"{text}"'] + [f'"{text}"'] * is_there
        if sorted(wanted) != sorted(known):
            await self._put(name, "TXT", former, wanted)

    async def close(self) -> None:
        await self._api.close()

    async def _put_mark(self, name: str, former: Set | None, addresses: set[str]) -> Set:
        text = mark_text(self._installation(), tuple(sorted(addresses)))
        return await self._put(mark_name(name, self._region), "TXT", former, [f'"{text}"'])

    async def _put(self, name: str, kind: str, former: Set | None, records: list[str]) -> Set:
        """The set as it is then; nothing of one that is gone."""
        path = await self._sets_path()
        try:
            if former is None:
                body = {"name": f"{name}.", "type": kind, "ttl": self._ttl, "records": records}
                return await self._api.call("dns", "POST", path, body)
            if records:
                return await self._api.call("dns", "PUT", f"{path}/{former['id']}", {"records": records})
            await self._api.call("dns", "DELETE", f"{path}/{former['id']}")
        except (GoneError, TransientError) as error:  # by another region, or not known: it is looked at again
            raise ChangedMeanwhileError(str(error)) from error
        return {}

    async def _sets(self, name: str) -> list[Set]:
        answer = await self._api.call("dns", "GET", await self._sets_path(), name=f"{name}.")
        return [each for each in answer.get("recordsets") or [] if each["name"] == f"{name}."]

    async def _sets_path(self) -> str:
        if not self._path:
            zones = (await self._api.call("dns", "GET", "/zones", name=self._zone)).get("zones") or []
            found = [each for each in zones if each["name"] == self._zone]
            if not found:
                raise RefusedError(f"dns.zone: the project has no zone {self._zone} in Designate")
            self._path = f"/zones/{found[0]['id']}/recordsets"
        return self._path
