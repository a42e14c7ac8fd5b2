"""Records of Route 53: each region has a weighted set of its own at the name; its identifier says whose.

Regions change nothing of each other's, so none can lose what another does at the same moment.
"""

from collections.abc import Callable
from typing import Any

from repave_agent.clients.aws.service import Route53
from repave_agent.core.ports import ChangedMeanwhileError
from repave_agent.core.records import Change, Seen, kind_of

KINDS = ("A", "AAAA", "CNAME")
TEXT = "TXT"
USUAL_WEIGHT = 100
INVALID = "InvalidChangeBatch"

Set = dict[str, Any]


class Route53Records:
    """Implements ports.Records."""

    kind = "route53"

    def __init__(
        self,
        region: str,
        installation: Callable[[], str],
        route53: Route53,
        zone: str,
        ttl_seconds: int,
        weight: int,
    ) -> None:
        """`zone`: the id of the hosted zone. `weight` 0: each region's is the same."""
        self._region, self._installation, self._route53 = region, installation, route53
        self._zone, self._ttl, self._weight = zone, ttl_seconds, weight or USUAL_WEIGHT

    async def look(self, name: str) -> Seen:
        answer = await self._route53.call(
            "list_resource_record_sets", HostedZoneId=self._zone, StartRecordName=f"{name}."
        )
        sets = [each for each in answer["ResourceRecordSets"] if _is_of(each, name)]
        ours = [each for each in sets if each.get("SetIdentifier") == self._identifier]
        mark = tuple(sorted(value for each in ours for value in _values(each)))
        return Seen(
            addresses=frozenset(value for each in sets for value in _values(each)),
            mark=mark or None,
            ttl_seconds=max((int(each.get("TTL", 0)) for each in sets), default=0),
            obstacle=self._obstacle(name, sets),
            version=ours,
        )

    async def change(self, seen: Seen, change: Change) -> None:
        assert isinstance(seen.version, list)
        values = sorted((seen.ours | set(change.add)).difference(change.remove))
        wanted = {kind: [each for each in values if kind_of(each) == kind] for kind in KINDS}
        changes = [
            {"Action": "DELETE", "ResourceRecordSet": each}
            for each in seen.version
            if not wanted[each["Type"]]
        ]
        changes += [
            {"Action": "UPSERT", "ResourceRecordSet": self._set(change.name, kind, of_kind)}
            for kind, of_kind in wanted.items()
            if of_kind
        ]
        try:
            await self._route53.call(
                "change_resource_record_sets", HostedZoneId=self._zone, ChangeBatch={"Changes": changes}
            )
        except ChangedMeanwhileError as error:
            raise ChangedMeanwhileError(f"{change.name}: {error}") from error

    async def set_text(self, name: str, text: str, *, is_there: bool) -> None:
        answer = await self._route53.call(
            "list_resource_record_sets", HostedZoneId=self._zone, StartRecordName=f"{name}."
        )
        former = [
            each for each in answer["ResourceRecordSets"] if _is_at(each, name) and each["Type"] == TEXT
        ]
        known = [str(record["Value"]) for each in former for record in each["ResourceRecords"]]
        wanted = [each for each in known if each != f'"{text}"'] + [f'"{text}"'] * is_there
        if sorted(wanted) == sorted(known):
            return
        records = [{"Value": value} for value in wanted]
        new = {"Name": f"{name}.", "Type": TEXT, "TTL": self._ttl, "ResourceRecords": records}
        change = {
            "Action": "UPSERT" if wanted else "DELETE",
            "ResourceRecordSet": new if wanted else former[0],
        }
        await self._route53.call(
            "change_resource_record_sets", HostedZoneId=self._zone, ChangeBatch={"Changes": [change]}
        )

    async def close(self) -> None:
        await self._route53.close()

    @property
    def _identifier(self) -> str:
        return f"repave {self._installation()} {self._region}"

    def _set(self, name: str, kind: str, values: list[str]) -> Set:
        return {
            "Name": f"{name}.",
            "Type": kind,
            "SetIdentifier": self._identifier,
            "Weight": self._weight,
            "TTL": self._ttl,
            "ResourceRecords": [{"Value": value} for value in values],
        }

    def _obstacle(self, name: str, sets: list[Set]) -> str:
        for each in sets:
            identifier = each.get("SetIdentifier")
            if identifier is None:
                return (
                    f"{name} has a simple record ({each['Type']}), and Route 53 takes no weighted one beside "
                    "it: remove it, or give it a weight"
                )
            is_alike = identifier.startswith("repave ") and identifier.endswith(f" {self._region}")
            if is_alike and identifier != self._identifier:
                return f"{name} has the set {identifier!r} of another installation: remove it there"
        return ""


def _is_of(each: Set, name: str) -> bool:
    return _is_at(each, name) and each["Type"] in KINDS


def _is_at(each: Set, name: str) -> bool:
    return str(each["Name"]).replace("\\052", "*").rstrip(".").lower() == name


def _values(each: Set) -> list[str]:
    if "AliasTarget" in each:
        return [str(each["AliasTarget"]["DNSName"]).rstrip(".").lower()]
    return [str(record["Value"]).rstrip(".").lower() for record in each.get("ResourceRecords") or []]
