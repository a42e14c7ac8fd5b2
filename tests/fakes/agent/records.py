"""A zone in memory that regions share, and each region's way to it."""

from dataclasses import dataclass, field

from repave_agent.core.ports import ChangedMeanwhileError, ProviderError
from repave_agent.core.records import Change, Seen, mark_name, mark_text, read_mark

TTL_SECONDS = 60


@dataclass
class FakeZone:
    """`names`: the addresses that clients get; `marks`: by the names of the TXT records."""

    names: dict[str, set[str]] = field(default_factory=dict)
    marks: dict[str, str] = field(default_factory=dict)
    texts: dict[str, set[str]] = field(default_factory=dict)
    aliases: set[str] = field(default_factory=set)
    faults: list[ProviderError] = field(default_factory=list)  # for the calls to come
    version: int = 0


class FakeRecords:
    """Implements ports.Records."""

    kind = "fake"

    def __init__(self, zone: FakeZone, region: str, installation: str = "home") -> None:
        self.zone, self.region, self.installation = zone, region, installation

    async def look(self, name: str) -> Seen:
        if self.zone.faults:
            raise self.zone.faults.pop(0)
        mark, why = None, ""
        if (text := self.zone.marks.get(mark_name(name, self.region))) is not None:
            mark, why = read_mark([text], self.installation, self.region)
        obstacle = f"{name} is an alias" if name in self.zone.aliases else why
        addresses = frozenset(self.zone.names.get(name, ()))
        return Seen(addresses, mark, TTL_SECONDS if addresses else 0, obstacle, self.zone.version)

    async def change(self, seen: Seen, change: Change) -> None:
        if self.zone.faults:
            raise self.zone.faults.pop(0)
        if seen.version != self.zone.version:
            raise ChangedMeanwhileError(f"{change.name} has changed")
        self.zone.version += 1
        there = self.zone.names.setdefault(change.name, set())
        there.difference_update(change.remove)
        there.update(change.add)
        if change.mark is None:
            self.zone.marks.pop(mark_name(change.name, self.region), None)
        else:
            self.zone.marks[mark_name(change.name, self.region)] = mark_text(self.installation, change.mark)

    async def set_text(self, name: str, text: str, *, is_there: bool) -> None:
        there = self.zone.texts.setdefault(name, set())
        there.discard(text)
        there.update({text} if is_there else ())

    async def close(self) -> None:
        pass
