"""Sweeps: a few rows at a time, never in the way of decisions, with the same end however they are cut off."""

import asyncio
import json
from collections.abc import Collection, Sequence
from dataclasses import replace

import pytest

from repave_controller.core.commands.rollback import Rollback
from repave_controller.core.domain.application import Application, Event, Instant
from repave_controller.core.domain.rollout import GroupNumber, Phase
from repave_controller.core.ports import Drop, Image, Kept, Look, Receipt, Spec, StoreError, Transaction
from repave_controller.core.rules.retention import (
    DAY_SECONDS,
    EVENTS_LEAST,
    HISTORY_LEAST,
    Rule,
    Rules,
)
from repave_controller.operations.retention import (
    BEHIND_SECONDS,
    ROWS_MAX,
    SWEEP_SECONDS,
    Retention,
    reason_to_hold,
)
from repave_controller.runtime.broadcast import Broadcast
from repave_controller.runtime.event_log import EventLog
from repave_controller.security.audit import Audit, Entry, audit_of
from repave_protos.daemon.chain import Link, verify
from repave_protos.protocol.values import Digest
from repave_simulation.tiers.store import MemoryStore
from tests.contracts.test_store import a_rollout, an_application, an_event
from tests.fakes.controller.scheduled import PARIS, SHOP, an_order, scheduled
from tests.fakes.virtual_time import in_virtual_time

NOW = Instant(1000 * DAY_SECONDS)
LONG_AGO = Instant(1.0)
DAY = Rule(days=1)
STRICT = Rules(DAY, DAY, DAY, DAY, DAY)


class Shelves(MemoryStore):
    """Remembers what was dropped in each transaction. `fails_at`: the number of the one that fails."""

    def __init__(self) -> None:
        super().__init__()
        self.dropped: list[Drop] = []
        self.fails_at = 0
        self.behind = 0

    async def commit(self, transaction: Transaction) -> tuple[Event, ...]:
        if transaction.drops:
            self.dropped += transaction.drops
            if len(self.dropped) == self.fails_at:
                raise StoreError("killed here")
        return await super().commit(transaction)

    @property
    def waiting(self) -> int:
        return self.behind


class Packages:
    def __init__(self) -> None:
        self.removed: list[str] = []
        self.asked: set[str] = set()
        self.unknown: list[Digest] = []

    async def remove(self, digest: Digest) -> None:
        self.removed.append(digest)

    def was_asked_for(self, digest: Digest, since: Instant) -> bool:
        return digest in self.asked

    def strays(self, known: Collection[Digest], before: Instant) -> dict[Digest, int]:
        return {digest: 1000 for digest in self.unknown if digest not in known}


class Office:
    def __init__(self, *applications: Application) -> None:
        self.applications, self.told = applications, list[Event]()

    async def catch_up(self) -> None:
        pass

    def all_applications(self) -> Sequence[Application]:
        return self.applications

    def note(self, event: Event) -> None:
        self.told.append(event)


class Sweeping:
    """A retention over a store that is filled."""

    def __init__(self, rules: Rules = STRICT, *applications: Application) -> None:
        self.store, self.packages, self.office = Shelves(), Packages(), Office(*applications)
        self.rules, self.held, self.paused = rules, "", list[float]()
        self.audit: Audit | None = None
        self.is_mine = True

    async def pause(self, seconds: float) -> None:
        self.paused.append(seconds)
        if seconds == BEHIND_SECONDS:
            self.store.behind -= 1

    @property
    def retention(self) -> Retention:
        return Retention(
            self.store,
            self.packages,
            self.office,
            self.rules,
            lambda: NOW,
            audit=self.audit,
            holds=lambda: self.held,
            is_mine=lambda: self.is_mine,
            pause=self.pause,
        )

    async def left(self, kind: Kept) -> list[tuple[str | int, ...]]:
        return [each.key for each in await self.store.oldest(kind, 100_000)]


async def with_events(count: int, rules: Rules = STRICT) -> Sweeping:
    sweeping = Sweeping(rules)
    await sweeping.store.open()
    await sweeping.store.commit(Transaction(events=tuple(an_event(str(n), at=n) for n in range(count))))
    return sweeping


async def test_events_go_in_small_transactions_with_a_pause_before_each() -> None:
    sweeping = await with_events(EVENTS_LEAST + 3 * ROWS_MAX + 7)
    await sweeping.retention.sweep()
    assert [len(each.keys) for each in sweeping.store.dropped] == [ROWS_MAX] * 3 + [7]
    assert len(sweeping.paused) == 4
    assert await sweeping.left(Kept.EVENTS) == [
        (n,) for n in range(3 * ROWS_MAX + 8, 3 * ROWS_MAX + 8 + EVENTS_LEAST)
    ]


async def test_nothing_is_dropped_while_the_store_is_behind() -> None:
    sweeping = await with_events(EVENTS_LEAST + 5)
    sweeping.store.behind = 3
    await sweeping.retention.sweep()
    assert sweeping.paused.count(BEHIND_SECONDS) == 3
    assert len(sweeping.store.dropped) == 1


@pytest.mark.parametrize("fails_at", [1, 2, 3])
async def test_a_sweep_that_was_cut_off_is_ended_by_the_next_one(fails_at: int) -> None:
    sweeping = await with_events(EVENTS_LEAST + 2 * ROWS_MAX + 1)
    sweeping.store.fails_at = fails_at
    with pytest.raises(StoreError):
        await sweeping.retention.sweep()
    await sweeping.retention.sweep()
    assert len(await sweeping.left(Kept.EVENTS)) == EVENTS_LEAST
    assert [each.rows for each in await sweeping.retention.forecast() if each.rows] == []


async def test_a_forecast_tells_what_the_next_sweep_drops() -> None:
    sweeping = await with_events(EVENTS_LEAST + 42)
    forecast = await sweeping.retention.forecast()
    assert forecast == await sweeping.retention.sweep()
    assert [(each.kind, each.rows) for each in forecast if each.rows] == [(Kept.EVENTS, 42)]


async def test_an_event_from_a_clock_that_was_ahead_keeps_those_after_it() -> None:
    """What readers are told is one number, so there are no holes."""
    sweeping = await with_events(10)
    await sweeping.store.commit(Transaction(events=(an_event("ahead", at=NOW),)))
    late = tuple(an_event(str(n), at=n) for n in range(EVENTS_LEAST + 10))
    await sweeping.store.commit(Transaction(events=late))
    await sweeping.retention.sweep()
    assert (await sweeping.left(Kept.EVENTS))[0] == (11,)


async def test_readers_of_events_are_told_of_the_gap_once() -> None:
    sweeping = await with_events(EVENTS_LEAST + 5)
    await sweeping.retention.sweep()
    log = EventLog(sweeping.store, lambda: NOW, Broadcast())
    following = log.follow(after=2)
    gap, first = [await anext(following) for _ in range(2)]
    assert (gap.kind, gap.sequence, first.sequence) == ("events.dropped", 5, 6)
    assert "events 3 to 5" in gap.text
    assert (await anext(log.follow(after=5))).sequence == 6, "nothing is missing for this one"


def receipts(*ages_in_days: float) -> list[Transaction]:
    return [
        Transaction(receipt=Receipt(f"key{n}", "hash", "", Instant(NOW - days * DAY_SECONDS)))
        for n, days in enumerate(ages_in_days)
    ]


async def test_receipts_go_by_age_and_by_count_and_young_ones_stay() -> None:
    rules = Rules(receipts=Rule(days=10, count=2))
    sweeping = Sweeping(rules)
    await sweeping.store.open()
    for each in receipts(20, 11, 5, 4, 0.1, 0.2, 0.3):
        await sweeping.store.commit(each)
    await sweeping.retention.sweep()
    assert sorted(await sweeping.left(Kept.RECEIPTS)) == [("key4",), ("key5",), ("key6",)]


async def test_history_goes_but_for_the_newest_of_each_application() -> None:
    application = replace(an_application(rollouts=35), next_number=GroupNumber(36))
    sweeping = Sweeping(STRICT, application)
    await sweeping.store.open()
    for n in range(1, 36):
        rollout, spec = a_rollout(n), Spec(application.name, f"hello-v{n:03d}", "text")
        await sweeping.store.commit(Transaction(application=application, rollout=rollout, spec=spec))
    await sweeping.retention.sweep()
    newest = range(36 - HISTORY_LEAST, 36)
    assert await sweeping.left(Kept.ROLLOUTS) == [("hello", n) for n in newest]
    assert await sweeping.left(Kept.SPECS) == [("hello", f"hello-v{n:03d}") for n in newest]


async def test_analyses_go_by_rollouts_but_for_those_of_the_newest() -> None:
    application = an_application(rollouts=4)
    looks = tuple(
        Look(application.name, n, f"{m:03d}", LONG_AGO, "pass", "{}") for n in (1, 2, 4) for m in range(30)
    )
    for rules, left in (
        (Rules(analyses=Rule(days=1)), {4}),
        (Rules(analyses=Rule(count=3)), {2, 4}),
        (Rules(analyses=Rule()), {1, 2, 4}),
    ):
        sweeping = Sweeping(rules, application)
        await sweeping.store.open()
        await sweeping.store.commit(Transaction(looks=looks))
        await sweeping.retention.sweep()
        assert {number for _, number in await sweeping.left(Kept.ANALYSES)} == left
        assert len(await sweeping.store.looks(application.name)) == 30


def a_package(n: int, days: float) -> Image:
    return Image(Digest(f"{n}" * 64), 1000, 1, "app", Instant(NOW - days * DAY_SECONDS))


async def test_an_old_package_goes_unless_it_was_asked_for_and_is_told_of() -> None:
    sweeping = Sweeping()
    await sweeping.store.open()
    for each in (a_package(1, 30), a_package(2, 30), a_package(3, 0.5)):
        await sweeping.store.add_image(each)
    sweeping.packages.asked = {"2" * 64}
    await sweeping.retention.sweep()
    assert sweeping.packages.removed == ["1" * 64]
    assert await sweeping.left(Kept.IMAGES) == [("2" * 64,), ("3" * 64,)]
    assert [each.kind for each in sweeping.office.told] == ["packages.dropped"]


async def test_one_that_leads_no_more_removes_no_further_package(monkeypatch: pytest.MonkeyPatch) -> None:
    sweeping = Sweeping()
    await sweeping.store.open()
    for each in (a_package(1, 31), a_package(2, 30)):
        await sweeping.store.add_image(each)

    async def frozen_at_the_second() -> None:
        sweeping.is_mine = not sweeping.packages.removed

    monkeypatch.setattr(sweeping.office, "catch_up", frozen_at_the_second)
    await sweeping.retention.sweep()
    assert sweeping.packages.removed == ["1" * 64]
    assert await sweeping.left(Kept.IMAGES) == [("2" * 64,)]


async def test_a_package_whose_row_outlived_a_crash_goes_with_the_next_sweep() -> None:
    sweeping = Sweeping()
    await sweeping.store.open()
    await sweeping.store.add_image(a_package(1, 30))
    sweeping.store.fails_at = 1
    with pytest.raises(StoreError):
        await sweeping.retention.sweep()
    await sweeping.retention.sweep()
    assert sweeping.packages.removed == ["1" * 64] * 2
    assert await sweeping.left(Kept.IMAGES) == []


async def test_packages_that_the_store_does_not_know_go_too_unless_they_are_needed() -> None:
    application = replace(an_application(), queue=(an_order("3"),))
    sweeping = Sweeping(STRICT, application)
    await sweeping.store.open()
    await sweeping.store.add_image(a_package(1, 0.5))
    sweeping.packages.unknown = [Digest(each * 64) for each in "1234"]
    sweeping.packages.asked = {"4" * 64}
    await sweeping.retention.sweep()
    assert sweeping.packages.removed == ["2" * 64]


async def test_history_and_packages_stay_while_it_is_not_known_what_regions_run() -> None:
    sweeping = Sweeping()
    await sweeping.store.open()
    await sweeping.store.add_image(a_package(1, 30))
    await sweeping.store.commit(receipts(30)[0])
    sweeping.held = "oslo is ahead of the store"
    await sweeping.retention.sweep()
    assert sweeping.packages.removed == []
    assert await sweeping.left(Kept.RECEIPTS) == []


@in_virtual_time
async def test_history_is_held_until_each_region_has_been_heard() -> None:
    async with scheduled() as world:
        await world.release()
        assert await world.ended() is Phase.SUCCEEDED
        assert reason_to_hold(world.scheduler) == ""
        del world.regions[PARIS]
        assert "paris" in reason_to_hold(world.scheduler)


# --------------------------------------------------------------------------------------------- the audit log


async def with_audit(rows: int) -> Sweeping:
    sweeping = Sweeping()
    loaded = await sweeping.store.open()
    times = iter(range(rows * 10))
    sweeping.audit = await audit_of(sweeping.store, loaded.installation, lambda: Instant(next(times)))
    for _ in range(rows):
        await sweeping.audit.add(Entry(Instant(0), "ann", "token", "", "", "release", outcome="done"))
    return sweeping


def told(row: Link) -> tuple[int, str] | None:
    entry = json.loads(row.text)
    facts = entry["facts"]
    return (int(facts["through"]), facts["hash"]) if entry["action"] == "trim audit" else None


async def test_the_audit_log_that_was_trimmed_still_holds_and_tells_what_is_gone() -> None:
    sweeping = await with_audit(1700)
    before = list(sweeping.store.shelf.audit)
    await sweeping.retention.sweep()
    rows = sweeping.store.shelf.audit
    assert rows[0].number > 500
    verdict = verify(rows, "memory", before[-1], told)
    assert (verdict.fault, verdict.trimmed_through) == ("", rows[0].number - 1)
    assert verify(rows, "memory", before[10], told).is_compared is False
    assert "no row tells" in verify(rows, "memory").fault
    assert verify(rows[1:], "memory", None, told).fault, "one more that no row tells of"


async def test_the_audit_log_holds_wherever_its_trimming_was_cut_off() -> None:
    sweeping = await with_audit(2700)
    sweeping.store.fails_at = 2
    with pytest.raises(StoreError):
        await sweeping.retention.sweep()
    assert verify(sweeping.store.shelf.audit, "memory", None, told).fault == ""
    await sweeping.retention.sweep()
    assert verify(sweeping.store.shelf.audit, "memory", None, told).fault == ""


async def test_the_audit_log_is_kept_for_ever_unless_a_rule_says_otherwise() -> None:
    sweeping = await with_audit(1700)
    sweeping.rules = Rules()
    await sweeping.retention.sweep()
    assert len(sweeping.store.shelf.audit) == 1700


# ----------------------------------------------------------------------------------- a controller that runs


@in_virtual_time
async def test_after_many_releases_and_a_strict_sweep_each_rollback_still_has_its_package() -> None:
    async with scheduled() as world:
        digests = "123456789abcdef"
        for digest in digests:
            await world.store.add_image(Image(Digest(digest * 64), 10, 1, "app", Instant(0)))
            await world.release(digest)
            assert await world.ended() is Phase.SUCCEEDED
            await asyncio.sleep(700)  # kept groups end
        packages = Packages()
        later = Instant(world.clock() + 400 * DAY_SECONDS)
        retention = Retention(
            world.store, packages, world.scheduler, STRICT, lambda: later, pause=lambda _: asyncio.sleep(0)
        )
        await retention.sweep()
        assert packages.removed, "the oldest ones went"
        kept = {digest for digest in digests if digest * 64 not in packages.removed}
        named = {each.version for each in (*world.application().past, *world.application().groups)}
        assert named <= kept
        for version in sorted(named - {"f"}):  # which serves
            await world.scheduler.steer(SHOP, Rollback(to=version), by="ann")
            assert await world.ended() is Phase.SUCCEEDED
            assert version * 64 not in packages.removed


@in_virtual_time
async def test_the_first_sweep_comes_after_what_is_asked_for_is_known() -> None:
    sweeping = Sweeping()
    slept: list[float] = []

    async def pause(seconds: float) -> None:
        slept.append(seconds)
        raise asyncio.CancelledError

    retention = Retention(
        sweeping.store, sweeping.packages, sweeping.office, STRICT, lambda: NOW, pause=pause
    )
    with pytest.raises(asyncio.CancelledError):
        await retention.run()
    assert slept == [SWEEP_SECONDS]
