"""What every store promises: on SQLite, on PostgreSQL and in memory."""

import asyncio
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from repave_controller.core.domain.application import Application, Event, Instant, Tenure
from repave_controller.core.domain.by_region import ByRegion
from repave_controller.core.domain.freezes import Freezes, FullFreeze, NamedFreeze
from repave_controller.core.domain.rollout import (
    GroupNumber,
    Pass,
    Pause,
    Phase,
    Rollout,
    RolloutKind,
    Track,
    TrackPhase,
    Wave,
)
from repave_controller.core.domain.sequences import Listed
from repave_controller.core.ports import (
    Conflict,
    Drop,
    DuplicateKey,
    Image,
    Kept,
    Key,
    Look,
    Receipt,
    Record,
    Spec,
    Store,
    StoreError,
    Transaction,
)
from repave_controller.core.steps import Scale, Soak, Weight
from repave_controller.stores.postgresql.connection import Database
from repave_controller.stores.postgresql.place import Place
from repave_controller.stores.postgresql.store import PostgresStore
from repave_controller.stores.receipts import saved_with
from repave_controller.stores.sqlite.store import SqliteStore
from repave_protos.daemon.chain import Link
from repave_protos.protocol.values import ApplicationName, Digest, RegionName
from repave_simulation.tiers.store import MemoryStore, Shelf

Stores = Callable[[], Store]
HELLO, OTHER = ApplicationName("hello"), ApplicationName("other")


@pytest.fixture(params=["sqlite", "memory", "postgresql"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Stores:
    """Makes stores over one and the same place: a controller that is started again and again."""
    shelf = Shelf()
    if request.param == "memory":
        return lambda: MemoryStore(shelf)
    if request.param == "postgresql":
        place = Place(request.getfixturevalue("database_url"))
        return lambda: PostgresStore(Database(place))
    return lambda: SqliteStore(tmp_path / "state" / "controller.db")


def an_application(name: ApplicationName = HELLO, rollouts: int = 0) -> Application:
    return Application(name, name, GroupNumber(1), rollouts_total=rollouts)


def a_rollout(number: int = 1, phase: Phase = Phase.RUNNING) -> Rollout:
    return Rollout(
        number=number,
        kind=RolloutKind.RELEASE,
        target=GroupNumber(number),
        steps=(Scale(100, 60.0), Weight(10_000, 60.0), Soak(1.5, 60.0)),
        tracks=ByRegion(
            (
                Track(RegionName("oslo"), 0, None, TrackPhase.RUNNING, 1, Instant(1.0), Instant(1.5), -1),
                Track(RegionName("paris"), 1, GroupNumber(1)),
            )
        ),
        waves=(Wave((RegionName("oslo"),), approve=""), Wave((RegionName("paris"),), is_lockstep=False)),
        passes=Listed((Pass("wave 2", "approved", Instant(1.0), "ann"),)),
        pause=Pause(Instant(2.0), is_hold=True),
        phase=phase,
        started_at=Instant(1.0),
        started_by="ann",
    )


def an_event(text: str = "moved", application: str = HELLO, at: float = 1.0) -> Event:
    return Event("step.entered", text, application, "paris", "hello-v001", "host-1", "ann", Instant(at))


async def test_a_pending_receipt_is_saved_with_the_first_thing_that_changes(stores: Stores) -> None:
    store = stores()
    await store.open()
    receipt, record = Receipt("key", "hash", "", Instant(1)), Record("kind", "one", "1")
    with saved_with(receipt) as pending:
        await store.commit(Transaction(events=(an_event("noted"),)))
        assert (pending.is_saved, await store.receipt("key")) == (False, None)
        stale = Transaction(records=(record,), expected=(Record("kind", "one", "0"),))
        with pytest.raises(Conflict):
            await store.commit(stale)
        assert (pending.is_saved, await store.receipt("key")) == (False, None)
        late = asyncio.Event()

        async def later() -> None:
            await late.wait()
            await store.commit(Transaction(records=(Record("kind", "late", "1"),)))

        goes_on = asyncio.create_task(later())
        await asyncio.sleep(0)
        await store.commit(Transaction(records=(record,)))
        await store.commit(Transaction(records=(Record("kind", "two", "2"),)))
    assert (pending.is_saved, await store.receipt("key")) == (True, receipt)
    with saved_with(Receipt("unused", "hash", "")):
        other = asyncio.create_task(later())
        await asyncio.sleep(0)
    late.set()
    await asyncio.gather(goes_on, other)
    assert await store.receipt("unused") is None, "the request has ended"
    await store.close()


async def test_what_was_committed_is_there_after_a_restart(stores: Stores) -> None:
    store = stores()
    await store.open()
    application = dataclasses.replace(an_application(), rollout=a_rollout(), rollouts_total=1)
    await store.commit(Transaction(application=application, events=(an_event(at=7.5),)))
    await store.close()
    loaded = await (again := stores()).open()
    assert loaded.applications == (application,)
    assert loaded.last_event_at == 7.5
    assert [event.text for event in await again.events()] == ["moved"]
    await again.close()


async def test_each_start_is_a_higher_term_of_the_same_store(stores: Stores) -> None:
    seen = []
    for _ in range(3):
        store = stores()
        seen.append(await store.open())
        await store.close()
    assert [loaded.tenure for loaded in seen] == [Tenure(1, 1), Tenure(1, 2), Tenure(1, 3)]
    assert len({loaded.installation for loaded in seen}) == 1
    assert seen[0].installation


async def test_a_new_incarnation_is_above_all_that_were_seen_and_outlives_a_restart(stores: Stores) -> None:
    store = stores()
    await store.open()
    assert await store.begin_incarnation(above=1) == Tenure(2, 1)
    assert await store.begin_incarnation(above=7) == Tenure(8, 1)
    assert await store.begin_incarnation(above=3) == Tenure(9, 1)
    await store.commit(Transaction(application=an_application()))
    await store.close()
    with pytest.raises(StoreError):
        await store.begin_incarnation(above=1)
    again = stores()
    assert (await again.open()).tenure == Tenure(9, 2)
    await again.close()


async def test_events_are_numbered_in_order_and_come_back_whole(stores: Stores) -> None:
    store = stores()
    await store.open()
    first = await store.commit(Transaction(events=(an_event("a"), an_event("b"))))
    second = await store.commit(Transaction(events=(an_event("c", OTHER),)))
    assert first[0].sequence < first[1].sequence < second[0].sequence
    assert list(await store.events()) == [*first, *second]
    assert dataclasses.replace(first[0], sequence=0) == an_event("a")
    await store.close()


async def test_events_can_be_followed_narrowed_and_limited(stores: Stores) -> None:
    store = stores()
    await store.open()
    saved = await store.commit(
        Transaction(events=tuple(an_event(str(n), HELLO if n % 2 else OTHER) for n in range(8)))
    )
    assert list(await store.events(after=saved[5].sequence)) == list(saved[6:])
    assert [each.text for each in await store.events(application=HELLO, limit=2)] == ["1", "3"]
    assert [each.text for each in await store.events(application=HELLO, limit=2, newest=True)] == ["5", "7"]
    assert [each.text for each in await store.events(after=saved[6].sequence, newest=True)] == ["7"]
    assert list(await store.events(after=saved[7].sequence)) == []
    assert list(await store.events(limit=0)) == []
    await store.close()


async def test_history_is_newest_first_and_a_rollout_is_replaced_by_its_newer_state(stores: Stores) -> None:
    store = stores()
    await store.open()
    for number in (1, 2, 3):
        await store.commit(Transaction(application=an_application(), rollout=a_rollout(number)))
    ended = a_rollout(2, Phase.SUCCEEDED)
    await store.commit(Transaction(application=an_application(), rollout=ended))
    await store.commit(Transaction(application=an_application(OTHER), rollout=a_rollout(9)))
    assert list(await store.rollouts(HELLO)) == [a_rollout(3), ended, a_rollout(1)]
    assert list(await store.rollouts(HELLO, limit=1)) == [a_rollout(3)]
    assert list(await store.rollouts(HELLO, limit=1, before=3)) == [ended]
    assert list(await store.rollouts(HELLO, before=2)) == [a_rollout(1)]
    assert list(await store.rollouts(HELLO, before=1)) == []
    assert list(await store.rollouts(ApplicationName("nobody"))) == []
    await store.close()


async def test_a_spec_is_kept_to_the_byte(stores: Stores) -> None:
    store = stores()
    await store.open()
    text = "repave: 1\r\n# Grüße \U0001f980\n\tapp:  hello"
    await store.commit(Transaction(spec=Spec(HELLO, "hello-v001", text)))
    assert await store.spec(HELLO, "hello-v001") == text
    assert await store.spec(HELLO, "hello-v002") is None
    await store.close()


async def test_a_repeated_request_finds_its_first_answer_and_a_clash_saves_nothing(stores: Stores) -> None:
    store = stores()
    await store.open()
    await store.commit(Transaction(receipt=Receipt("key", "hash", "first")))
    await store.commit(Transaction(events=(an_event("again"),), receipt=Receipt("key", "hash", "second")))
    assert await store.receipt("key") == Receipt("key", "hash", "first")
    assert await store.receipt("other") is None
    with pytest.raises(DuplicateKey, match="key"):
        await store.commit(
            Transaction(an_application(), (an_event("clash"),), receipt=Receipt("key", "else", ""))
        )
    assert [each.text for each in await store.events()] == ["again"]
    await store.close()
    again = stores()
    assert (await again.open()).applications == ()
    await again.close()


async def test_one_bad_transaction_does_not_fail_those_beside_it(stores: Stores) -> None:
    store = stores()
    await store.open()
    await store.commit(Transaction(receipt=Receipt("taken", "hash", "")))
    waiting = [
        store.commit(
            Transaction(
                application=an_application(ApplicationName(f"app{n}")),
                events=(an_event(str(n)),),
                receipt=Receipt("taken", "another", "") if n == 20 else Receipt(f"key{n}", "hash", ""),
            )
        )
        for n in range(40)
    ]
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    failed = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, BaseException)]
    assert failed == [20]
    texts = [each.text for each in await store.events()]
    assert texts == [str(n) for n in range(40) if n != 20]
    stored = await store.events()
    assert [each for outcome in outcomes if isinstance(outcome, tuple) for each in outcome] == list(stored)
    await store.close()


async def test_the_newest_of_many_commits_at_once_is_the_one_that_stays(stores: Stores) -> None:
    store = stores()
    await store.open()
    await asyncio.gather(*(store.commit(Transaction(an_application(rollouts=n))) for n in range(300)))
    await store.close()
    again = stores()
    assert [each.rollouts_total for each in (await again.open()).applications] == [299]
    await again.close()


async def test_the_line_is_loaded_as_it_was_saved_last_with_what_was_told_of_it(stores: Stores) -> None:
    store = stores()
    assert (await store.open()).freezes == Freezes()
    freeze = NamedFreeze(
        "F1", Instant(5.0), Instant(9.5), "Asia/Tokyo", "Grüße \U0001f980", "ann", Instant(2.0), ("web-*",)
    )
    stopped = Freezes(FullFreeze("ann", "prices are wrong", Instant(3.0)), (freeze,), 7)
    await store.commit(Transaction(freezes=Freezes(named_total=6)))
    await store.commit(Transaction(freezes=stopped, events=(an_event("stopped"),)))
    await store.commit(Transaction(events=(an_event("else"),)))
    await store.close()
    again = stores()
    assert (await again.open()).freezes == stopped
    assert [event.text for event in await again.events()] == ["stopped", "else"]
    await again.commit(Transaction(freezes=Freezes()))
    await again.close()
    third = stores()
    assert (await third.open()).freezes == Freezes()
    await third.close()


async def test_a_line_that_is_not_saved_changes_nothing(stores: Stores) -> None:
    store = stores()
    await store.open()
    await store.commit(Transaction(receipt=Receipt("key", "hash", "")))
    freezes = Freezes(FullFreeze("ann", "", Instant(3.0)))
    with pytest.raises(DuplicateKey):
        await store.commit(Transaction(freezes=freezes, receipt=Receipt("key", "else", "")))
    await store.close()
    again = stores()
    assert (await again.open()).freezes == Freezes()
    await again.close()


@pytest.mark.parametrize(
    ("there", "expected", "is_taken"),
    [("1", "1", True), ("1", "2", False), ("1", None, False), (None, None, True), (None, "1", False)],
)
async def test_a_record_is_replaced_only_where_it_is_as_expected(
    stores: Stores, there: str | None, expected: str | None, is_taken: bool
) -> None:
    store = stores()
    await store.open()
    await store.commit(Transaction(records=(Record("token", "a", there),)))
    change = Transaction(records=(Record("token", "a", "new"),), expected=(Record("token", "a", expected),))
    if is_taken:
        await store.commit(change)
        assert await store.records("token") == [Record("token", "a", "new")]
    else:
        with pytest.raises(Conflict, match="token a"):
            await store.commit(change)
        assert await store.records("token") == ([Record("token", "a", there)] if there else [])
    await store.close()


async def test_of_two_that_expect_the_same_one_is_saved(stores: Stores) -> None:
    store = stores()
    await store.open()
    changes = [
        Transaction(records=(Record("token", "a", state),), expected=(Record("token", "a", None),))
        for state in ("1", "2")
    ]
    outcomes = await asyncio.gather(*map(store.commit, changes), return_exceptions=True)
    assert [isinstance(each, Conflict) for each in outcomes] == [False, True]
    assert await store.records("token") == [Record("token", "a", "1")]
    await store.close()


async def test_a_record_replaces_the_former_one_of_its_kind_and_name_and_one_that_is_gone_is_gone(
    stores: Stores,
) -> None:
    store = stores()
    await store.open()
    saved = [
        (Record("token", "b", "1"), Record("token", "a", "1"), Record("agent", "a", "other kind")),
        (Record("token", "b", "2"),),
        (Record("token", "a", None),),
        (Record("token", "c", None),),
        (Record("token", "c", "back"),),
    ]
    await asyncio.gather(*(store.commit(Transaction(records=each)) for each in saved))
    expected = [Record("token", "b", "2"), Record("token", "c", "back")]
    assert await store.records("token") == expected
    await store.close()
    again = stores()
    await again.open()
    assert await again.records("token") == expected
    assert await again.records("agent") == [Record("agent", "a", "other kind")]
    assert await again.records("none") == []
    await again.close()


async def test_a_digest_keeps_its_first_name_and_what_was_pushed_last_is_listed_first(stores: Stores) -> None:
    store = stores()
    await store.open()
    old = Image(Digest("a" * 64), 10, 1, "old", Instant(1.0))
    new = Image(Digest("b" * 64), 20, 2, "new", Instant(2.0))
    for image in (old, new, dataclasses.replace(old, name="again", pushed_at=Instant(3.0))):
        await store.add_image(image)
    assert list(await store.images()) == [dataclasses.replace(old, pushed_at=Instant(3.0)), new]
    await store.add_image(dataclasses.replace(old, pushed_at=Instant(0.5)))
    assert [each.pushed_at for each in await store.images()] == [3.0, 2.0]
    await store.close()


def a_link(number: int, at: float) -> Link:
    return Link(number, json.dumps({"at": at}), "hash")


def a_look(rollout: int, name: str = "1/oslo", at: float = 0.0, details: str = "{}") -> Look:
    return Look(HELLO, rollout, name, Instant(at or rollout), "pass", details)


async def test_looks_of_a_rollout_come_in_order_of_time_and_the_last_of_a_name_counts(stores: Stores) -> None:
    store = stores()
    await store.open()
    assert list(await store.looks(HELLO)) == []
    long = json.dumps({"values": [n / 7 for n in range(2000)], "word": "é"})
    first, second, other = a_look(2, "2", 20.0, long), a_look(2, "1", 21.0), a_look(1, "1", 30.0)
    await store.commit(Transaction(looks=(first, other, dataclasses.replace(second, details="old"))))
    await store.commit(Transaction(looks=(second,)))
    assert list(await store.looks(HELLO)) == [first, second]
    assert list(await store.looks(HELLO, limit=1)) == [second]
    assert list(await store.looks(HELLO, 1)) == [other]
    assert list(await store.looks(HELLO, 3)) == list(await store.looks(OTHER)) == []
    await store.commit(Transaction(drops=(Drop(Kept.ANALYSES, ((HELLO, 2),)),)))
    assert list(await store.looks(HELLO)) == [other]
    await store.close()


async def shelve(store: Store) -> None:
    """Three rows of each kind."""
    for n in (1, 2, 3):
        at = Instant(10.0 - n)  # of what goes by age, the last is the oldest
        await store.commit(
            Transaction(
                application=an_application(),
                events=(an_event(str(n), at=n),),
                rollout=dataclasses.replace(a_rollout(n), started_at=Instant(n)),
                spec=Spec(HELLO, f"hello-v00{n}", "text", at),
                receipt=Receipt(f"key{n}", "hash", "answer", at),
                audit=(a_link(n, n),),
                looks=(a_look(n),),
            )
        )
        await store.add_image(Image(Digest(f"{n}" * 64), n, 1, "name", at))


ROWS: dict[Kept, list[tuple[Key, float]]] = {
    Kept.EVENTS: [((n,), n) for n in (1, 2, 3)],
    Kept.RECEIPTS: [((f"key{n}",), 10.0 - n) for n in (3, 2, 1)],
    Kept.ROLLOUTS: [((HELLO, n), n) for n in (1, 2, 3)],
    Kept.SPECS: [((HELLO, f"hello-v00{n}"), 10.0 - n) for n in (1, 2, 3)],
    Kept.IMAGES: [((f"{n}" * 64,), 10.0 - n) for n in (3, 2, 1)],
    Kept.AUDIT: [((n,), n) for n in (1, 2, 3)],
    Kept.ANALYSES: [((HELLO, n), n) for n in (1, 2, 3)],
}


@pytest.mark.parametrize("kind", Kept)
async def test_what_grows_is_read_from_the_oldest_on_page_by_page(stores: Stores, kind: Kept) -> None:
    store = stores()
    await store.open()
    await shelve(store)
    found = await store.oldest(kind)
    assert [(each.key, each.at) for each in found] == ROWS[kind]
    assert list(await store.oldest(kind, limit=2)) == list(found[:2])
    assert list(await store.oldest(kind, limit=2, after=found[1])) == list(found[2:])
    assert list(await store.oldest(kind, after=found[2])) == []
    assert kind is not Kept.IMAGES or [each.bytes for each in found] == [3, 2, 1]
    await store.close()


@pytest.mark.parametrize("kind", Kept)
async def test_rows_that_are_dropped_are_gone_and_no_others_and_may_be_dropped_again(
    stores: Stores, kind: Kept
) -> None:
    store = stores()
    await store.open()
    await shelve(store)
    before = {each: list(await store.oldest(each)) for each in Kept}
    drop = Drop(kind, tuple(each.key for each in before[kind][:2]))
    await store.commit(Transaction(drops=(drop,)))
    await store.commit(Transaction(drops=(drop,)))
    await store.close()
    again = stores()
    await again.open()
    left = {each: list(await again.oldest(each)) for each in Kept}
    assert left == {**before, kind: before[kind][2:]}
    await again.close()


async def test_what_is_dropped_goes_with_its_transaction_or_not_at_all(stores: Stores) -> None:
    store = stores()
    await store.open()
    await shelve(store)
    drop = Drop(Kept.EVENTS, ((1,),))
    with pytest.raises(DuplicateKey):
        await store.commit(Transaction(drops=(drop,), receipt=Receipt("key1", "else", "")))
    assert [each.sequence for each in await store.events()] == [1, 2, 3]
    await store.close()


async def test_events_are_numbered_on_after_the_oldest_were_dropped(stores: Stores) -> None:
    store = stores()
    await store.open()
    await shelve(store)
    await store.commit(Transaction(drops=(Drop(Kept.EVENTS, ((1,), (2,))),)))
    (fourth,) = await store.commit(Transaction(events=(an_event("4"),)))
    assert [each.text for each in await store.events()] == ["3", "4"]
    assert [each.text for each in await store.events(after=3)] == ["4"]
    assert [each.text for each in await store.events(after=1, limit=1, newest=True)] == ["4"]
    assert fourth.sequence == 4
    await store.close()


async def test_each_table_tells_how_much_it_takes(stores: Stores) -> None:
    store = stores()
    await store.open()
    await shelve(store)
    sizes = {each.table: each for each in await store.sizes()}
    assert [sizes[each].rows for each in Kept] == [3] * len(Kept)
    assert [await store.count(each) for each in Kept] == [3] * len(Kept)
    assert all(each.bytes >= 0 for each in sizes.values())
    assert sizes["specs"].bytes > 0
    assert store.waiting == 0
    await store.close()


async def test_a_closed_store_takes_nothing(stores: Stores) -> None:
    store = stores()
    await store.open()
    await store.close()
    with pytest.raises(StoreError, match="closed"):
        await store.commit(Transaction(events=(an_event(),)))
