"""What a store that several controllers share promises about what agents report."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest

from repave_controller.core.ports import StoreError
from repave_controller.peers.ports import RegionRow, ReportLog, ReportRow
from repave_controller.stores.postgresql.connection import Database
from repave_controller.stores.postgresql.place import Place as store_at
from repave_controller.stores.postgresql.reports import ReportTables
from repave_protos.protocol.values import ApplicationName, RegionName
from repave_simulation.tiers.shared_reports import lose_reports
from repave_simulation.tiers.shared_shelf import SharedShelf
from repave_simulation.tiers.shared_store import SharedMemoryStore
from tests.support.postgresql import needs_postgresql, server

HELLO, OTHER = ApplicationName("hello"), ApplicationName("other")
OSLO, PARIS = RegionName("oslo"), RegionName("paris")


CRASHED = "TRUNCATE repave.regions, repave.reports, repave.report_life"
"""What PostgreSQL does to tables that are not logged."""


@dataclass
class Place:
    """One store, as two controllers have it open; `crash`: its database does, and is there again."""

    ann: ReportLog
    ben: ReportLog
    crash: Callable[[], None]


@pytest.fixture(params=["memory", "postgresql"])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    if request.param == "memory":
        yield await in_memory()
        return
    server = request.getfixturevalue("postgresql_server")
    url = server.fresh()
    async with tables(url) as ann, tables(url) as ben:
        yield Place(ann, ben, lambda: server.psql(CRASHED, url.rpartition("/")[2]))


async def in_memory() -> Place:
    shelf = SharedShelf()
    ann, ben = SharedMemoryStore(shelf, "ann"), SharedMemoryStore(shelf, "ben")
    await ann.open()
    await ben.open()
    return Place(ann, ben, lambda: lose_reports(shelf))


@asynccontextmanager
async def tables(url: str) -> AsyncIterator[ReportTables]:
    database = Database(store_at(url))
    await database.open()
    try:
        yield ReportTables(database)
    finally:
        await database.close()


def a_region(session: int, controller: str = "ann", region: RegionName = OSLO) -> RegionRow:
    return RegionRow(region, controller, session, is_connected=True, since=1.5, body=b"hello\x00")


def a_report(
    session: int, body: bytes | None = b"\x00one", application: ApplicationName = HELLO
) -> ReportRow:
    return ReportRow(OSLO, application, session, body)


async def test_each_session_is_above_all_before_at_whatever_controller(place: Place) -> None:
    given = [await each.next_session() for each in (place.ann, place.ben, place.ben, place.ann)]
    assert given == sorted(set(given))
    assert given[0] > 0


async def test_sessions_go_on_above_those_before_a_crash_of_the_database(place: Place) -> None:
    before = [await place.ann.next_session() for _ in range(3)]
    place.crash()
    assert await place.ben.next_session() > max(before)


async def test_what_one_controller_tells_the_others_read_and_itself_too(place: Place) -> None:
    start = await place.ben.reported(0)
    assert not start.regions
    row, report = a_region(1), a_report(1)
    assert not await place.ann.report([row], [report])
    for each in (place.ann, place.ben):
        found = await each.reported(start.until)
        assert (found.regions, found.reports) == ((row,), (report,))
        assert not (await each.reported(found.until)).regions


async def test_only_what_changed_since_is_read(place: Place) -> None:
    await place.ann.report([a_region(1), a_region(1, region=PARIS)], [a_report(1), a_report(1, b"x", OTHER)])
    first = await place.ben.reported(0)
    assert (len(first.regions), len(first.reports)) == (2, 2)
    await place.ann.report([], [a_report(1, b"two")])
    second = await place.ben.reported(first.until)
    assert (second.regions, second.reports) == ((), (a_report(1, b"two"),))
    assert second.until > first.until
    gone = a_report(1, None)
    await place.ann.report([replace(a_region(1), is_connected=False)], [gone])
    third = await place.ben.reported(second.until)
    assert [each.is_connected for each in third.regions] == [False]
    assert third.reports == (gone,)


async def test_rows_of_an_older_session_are_refused_and_those_beside_them_taken(place: Place) -> None:
    newer = a_region(2, "ben")
    await place.ben.report([newer], [a_report(2)])
    beside = a_region(1, region=PARIS)
    assert set(await place.ann.report([a_region(1), beside], [a_report(1, b"old")])) == {OSLO}
    assert set(await place.ann.report([], [a_report(1, b"old")])) == {OSLO}
    found = await place.ann.reported(0)
    assert set(found.regions) == {newer, beside}
    assert found.reports == (a_report(2),)


async def test_a_newer_session_begins_without_what_the_older_one_reported(place: Place) -> None:
    await place.ann.report([a_region(1)], [a_report(1), a_report(1, b"x", OTHER)])
    await place.ben.report([a_region(2, "ben")], [a_report(2, b"two")])
    found = await place.ann.reported(0)
    assert found.regions == (a_region(2, "ben"),)
    assert found.reports == (a_report(2, b"two"),)


async def test_a_crash_of_the_database_leaves_nothing_and_is_told_until_it_was_read(place: Place) -> None:
    await place.ann.report([a_region(1)], [a_report(1)])
    before = await place.ben.reported(0)
    assert not (await place.ben.reported(before.until)).is_whole
    place.crash()
    await place.ann.report([a_region(1, region=PARIS)], [])
    lost = await place.ben.reported(before.until)
    assert lost.is_whole
    assert lost.regions == (a_region(1, region=PARIS),)
    assert lost.reports == ()
    assert not (await place.ben.reported(lost.until)).is_whole


@needs_postgresql
async def test_what_postgresql_loses_when_it_is_killed_is_what_is_written_anew() -> None:
    with server() as running:
        url = running.fresh()
        async with tables(url) as ann, tables(url) as ben:
            session = await ann.next_session()
            await ann.report([a_region(session)], [a_report(session)])
            before = await ben.reported(0)
            assert before.reports == (a_report(session),)
            running.kill()
            with pytest.raises(StoreError):
                await ben.reported(before.until)
            running.start()
            lost = await ben.reported(before.until)
            assert (lost.is_whole, lost.regions, lost.reports) == (True, (), ())
            assert await ann.next_session() > session
            assert not await ann.report([a_region(session)], [a_report(session)])
            assert (await ben.reported(lost.until)).reports == (a_report(session),)
