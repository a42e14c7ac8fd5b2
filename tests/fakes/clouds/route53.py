"""One hosted zone of Route 53, as Amazon's client gives it: a deletion has to name a set exactly as it is;
simple sets stand alone at their name."""

from typing import Any

from repave_agent.core.ports import ChangedMeanwhileError

Set = dict[str, Any]


class FakeRoute53:
    """In the place of clients.aws.service.Route53. `calls` are the names of those that were made, `actions`
    those of the changes."""

    def __init__(self) -> None:
        self.sets: dict[tuple[str, str, str], Set] = {}
        self.calls: set[str] = set()
        self.actions: set[str] = set()

    def put(self, name: str, kind: str, value: str) -> None:
        made = {"Name": name, "Type": kind, "TTL": 300, "ResourceRecords": [{"Value": value}]}
        self.sets[_key(made)] = made

    async def call(self, name: str, **wanted: Any) -> dict[str, Any]:
        self.calls.add(name)
        if name == "list_resource_record_sets":
            return {"ResourceRecordSets": list(self.sets.values())}
        assert name == "change_resource_record_sets"
        after = dict(self.sets)
        for each in wanted["ChangeBatch"]["Changes"]:
            self.actions.add(each["Action"])
            made = each["ResourceRecordSet"]
            if each["Action"] == "DELETE":
                if after.pop(_key(made), None) != made:
                    raise ChangedMeanwhileError("InvalidChangeBatch: not found, or otherwise")
            else:
                after[_key(made)] = made
        for key in after:
            alike = [other for other in after if other[:2] == key[:2]]
            if len(alike) > 1 and any(not identifier for _, _, identifier in alike):
                raise ChangedMeanwhileError("InvalidChangeBatch: a simple set stands alone")
        self.sets = after
        return {}

    async def close(self) -> None:
        pass


def _key(found: Set) -> tuple[str, str, str]:
    return found["Name"], found["Type"], found.get("SetIdentifier", "")
