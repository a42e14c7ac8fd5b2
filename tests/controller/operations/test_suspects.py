"""From what balancers have counted, and the histories, to who is suspected: one wave of a release after the
other, beside releases of other applications."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from repave_controller.core.domain.instants import Instant
from repave_controller.core.domain.naming import format_group
from repave_controller.core.domain.rollout import GroupNumber, Phase, RolloutKind
from repave_controller.core.ports import Transaction
from repave_controller.operations.suspects import Findings, Inquiry, Suspects
from repave_protos.protocol.queries import Flip, GroupTraffic, Traffic
from repave_protos.protocol.values import ApplicationName, RegionName
from repave_simulation.tiers.store import MemoryStore
from tests.benchmarks.growth import copies, served

BEGIN, NOW, STEP = 100_000, 101_800, 5
SLOTS = range(BEGIN // STEP, NOW // STEP)


@dataclass
class Reader:
    """As operations.traffic.TrafficReader: tells what it was given."""

    told: dict[tuple[ApplicationName, RegionName], Traffic]
    asked: int = 0

    async def ask(
        self, application: ApplicationName, regions: Iterable[RegionName], since: float
    ) -> tuple[dict[RegionName, Traffic], dict[RegionName, str]]:
        self.asked += 1
        known = {each: self.told[application, each] for each in regions if (application, each) in self.told}
        return known, {each: "its agent is away" for each in regions if each not in known}


class Fleet:
    """Three applications in three regions. Each serves 50 requests a slot from v1."""

    def __init__(self) -> None:
        self.applications = {each.name: each for each in copies(served("fleet", 3), 3)}
        self.web, self.auth, self.db = self.applications.values()
        self.regions = self.web.regions
        self.reader = Reader({})
        for name in self.applications:
            for region in self.regions:
                self.serve(name, region)

    def serve(
        self, name: ApplicationName, region: RegionName, flip: int = 0, fails_from: int = 0, back: int = 0
    ) -> None:
        """Half of the requests go to v2 from `flip` on, until `back`, and a tenth of these fails."""
        cluster = self.applications[name].cluster
        old, new = format_group(cluster, 1), format_group(cluster, 2)
        moved = [each for each in SLOTS if flip and each * STEP >= flip and (not back or each * STEP < back)]
        failing = [bool(fails_from and each * STEP >= fails_from) for each in moved]
        groups = [GroupTraffic(old, tuple(SLOTS), (50,) * len(SLOTS), (0,) * len(SLOTS), (1,) * len(SLOTS))]
        if moved:
            errors = tuple(5 if each else 0 for each in failing)
            groups.append(GroupTraffic(new, tuple(moved), (50,) * len(moved), errors, (1,) * len(moved)))
        flips = [Flip(BEGIN - 500.0, ((old, 10_000),))]
        flips += [Flip(float(flip), ((old, 5000), (new, 5000)))] if flip else []
        flips += [Flip(float(back), ((old, 10_000),))] if back else []
        self.reader.told[name, region] = Traffic(STEP, tuple(groups), tuple(flips), BEGIN - 1000.0)

    def release(self, name: ApplicationName, begun: float) -> None:
        known = self.applications[name].rollout
        assert known is not None
        rollout = replace(
            known,
            number=2,
            kind=RolloutKind.RELEASE,
            target=GroupNumber(2),
            phase=Phase.RUNNING,
            started_at=Instant(begun),
            ended_at=None,
            version="2.0",
        )
        self.applications[name] = replace(self.applications[name], rollout=rollout)

    async def find(self, *names: ApplicationName, regions: Iterable[RegionName] = ()) -> Findings:
        store = MemoryStore()
        await store.open()
        for each in self.applications.values():
            assert each.rollout is not None
            await store.commit(Transaction(application=each, rollout=each.rollout))
        where = frozenset(regions or self.regions)
        asked = Inquiry([self.applications[each] for each in names], where, BEGIN, NOW)
        suspects = Suspects(self.reader, store)  # type: ignore[arg-type]  # the part that is used
        return await suspects.find(asked, list(self.applications.values()))


def verdicts(found: Findings) -> Mapping[str, str]:
    return {each.move.application: each.verdict for each in found.suspects}


async def test_the_release_whose_waves_the_errors_follow_is_named_first() -> None:
    fleet = Fleet()
    web, auth = fleet.web.name, fleet.auth.name
    fleet.release(web, BEGIN + 500)
    fleet.release(auth, BEGIN + 500)
    for number, region in enumerate(fleet.regions):
        at = BEGIN + 600 + number * 200
        fleet.serve(web, region, flip=at, fails_from=at + 5)
    fleet.serve(auth, fleet.regions[0], flip=BEGIN + 590)
    found = await fleet.find(web)
    assert [(each.application, each.region) for each in found.troubles] == [
        (web, region) for region in sorted(fleet.regions)
    ]
    assert abs(found.troubles[0].rise.at - (BEGIN + 605)) <= STEP
    assert verdicts(found) == {web: "likely", auth: "possible"}
    assert found.suspects[0].move.version == "2.0"


async def test_errors_from_before_any_release_are_blamed_on_none() -> None:
    fleet = Fleet()
    web, auth = fleet.web.name, fleet.auth.name
    fleet.release(web, BEGIN + 900)
    region = fleet.regions[0]
    cluster = fleet.web.cluster
    old = format_group(cluster, 1)
    errors = tuple(5 if each * STEP >= BEGIN + 300 else 0 for each in SLOTS)
    counted = GroupTraffic(old, tuple(SLOTS), (50,) * len(SLOTS), errors, (1,) * len(SLOTS))
    flip = Flip(BEGIN + 1000.0, ((old, 5000), (format_group(cluster, 2), 5000)))
    fleet.reader.told[web, region] = Traffic(STEP, (counted,), (flip,), BEGIN - 1000.0)
    found = await fleet.find(web, auth)
    assert len(found.troubles) == 1
    assert verdicts(found) == {web: "unlikely"}


async def test_a_release_that_was_rolled_back_stays_the_suspect() -> None:
    fleet = Fleet()
    web = fleet.web.name
    fleet.release(web, BEGIN + 500)
    at = BEGIN + 600
    fleet.serve(web, fleet.regions[0], flip=at, fails_from=at + 5, back=at + 300)
    found = await fleet.find(web)
    (trouble,) = found.troubles
    assert not trouble.goes_on
    (suspect,) = found.suspects
    assert suspect.verdict == "likely"
    assert "fell-after" in [str(each.kind) for each in suspect.clues]


async def test_a_quiet_region_asks_no_other_application() -> None:
    fleet = Fleet()
    fleet.release(fleet.auth.name, BEGIN + 500)
    found = await fleet.find(fleet.web.name, regions=fleet.regions[:1])
    assert found == Findings()
    assert fleet.reader.asked == 1


async def test_a_region_that_tells_nothing_is_named() -> None:
    fleet = Fleet()
    del fleet.reader.told[fleet.web.name, fleet.regions[0]]
    found = await fleet.find(fleet.web.name)
    assert found.unknown == {fleet.regions[0]: "its agent is away"}
