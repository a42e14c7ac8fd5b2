"""What single parts cost in one process: a durable transition, a report taken in."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from repave_controller.core.domain.application import Application, Event, Instant
from repave_controller.core.domain.rollout import GroupNumber
from repave_controller.core.ports import Transaction
from repave_controller.fleet.sessions import Sessions
from repave_controller.stores.codec import encode_application
from repave_controller.stores.sqlite.store import SqliteStore
from repave_protos.protocol import wire
from repave_protos.protocol.values import (
    PROTOCOL_VERSION,
    ApplicationName,
    ApplicationReport,
    Epoch,
    GroupName,
    GroupReport,
    Hello,
    Observations,
    RegionName,
    Report,
    Welcome,
)
from tests.benchmarks.table import Line
from tests.fakes.controller.listener import QuietListener

COMMITTERS = 100
COMMITS_EACH = 100
REPORTS = 2000


def transitions(directory: Path) -> Iterator[Line]:
    """One event and one application row in a transaction, from a hundred tasks at once, fsync and all."""
    rate, spent = asyncio.run(_commit(directory / "store.db"))
    floor = _bare_sqlite(directory / "bare.db")
    yield Line(
        "durable transitions", rate, "/s", f"bare sqlite3, batches of 100: {floor:,.0f}/s", 10_000, True
    )
    yield Line("CPU of a durable transition", spent * 1e6, "us")


def _an_application(number: int) -> Application:
    return Application(ApplicationName(f"app{number}"), f"app{number}", GroupNumber(1))


async def _commit(path: Path) -> tuple[float, float]:
    store = SqliteStore(path)
    await store.open()

    async def committer(number: int) -> None:
        application = _an_application(number)
        event = Event("step.entered", "a line of text for people, about as long as such lines are" * 2)
        for _ in range(COMMITS_EACH):
            await store.commit(Transaction(application=application, events=(event,)))

    began, before = time.perf_counter(), time.process_time()
    await asyncio.gather(*(committer(number) for number in range(COMMITTERS)))
    wall, spent = time.perf_counter() - began, time.process_time() - before
    await store.close()
    return COMMITTERS * COMMITS_EACH / wall, spent / (COMMITTERS * COMMITS_EACH)


def _bare_sqlite(path: Path) -> float:
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE application (name TEXT PRIMARY KEY, body TEXT)")
    database.execute("CREATE TABLE event (sequence INTEGER PRIMARY KEY, body TEXT)")
    body = encode_application(_an_application(1))
    began = time.perf_counter()
    for _ in range(COMMITS_EACH):
        database.execute("BEGIN IMMEDIATE")
        database.executemany("INSERT INTO event (body) VALUES (?)", [("x" * 120,)] * COMMITTERS)
        rows = [(f"app{number}", body) for number in range(COMMITTERS)]
        database.executemany("INSERT OR REPLACE INTO application VALUES (?, ?)", rows)
        database.execute("COMMIT")
    return COMMITTERS * COMMITS_EACH / (time.perf_counter() - began)


# ---------------------------------------------------------------------------------------------- reports


class _Feed:
    """A link that brings ready-made messages as fast as they are taken."""

    def __init__(self, messages: list[bytes]) -> None:
        self._messages = messages
        self.is_over = asyncio.Event()

    async def send(self, message: bytes) -> None:
        pass

    async def receive(self) -> AsyncIterator[bytes]:
        for message in self._messages:
            yield message
        self.is_over.set()

    async def close(self) -> None:
        pass


def reports() -> Iterator[Line]:
    """A changed report, from bytes to merged state, beside decoding it alone."""
    for groups in (2, 100):
        messages = _messages(groups)
        began = time.process_time()
        for message in messages:
            wire.decode_from_agent(message)
        floor = (time.process_time() - began) / len(messages) * 1e6
        spent = asyncio.run(_ingest(messages)) / len(messages) * 1e6
        yield Line(f"CPU of a report with {groups} groups", spent, "us", f"decoding alone {floor:.1f} us")


def _messages(groups: int) -> list[bytes]:
    hello = Hello(RegionName("paris"), PROTOCOL_VERSION, "0", "local", "haproxy")
    seen, messages = Observations(), [wire.encode_from_agent(hello)]
    name = ApplicationName("app")
    for number in range(REPORTS):
        rows = tuple(
            GroupReport(GroupName(f"app-v{index:03d}"), verified=number % 7, balancer_up=5)
            for index in range(groups)
        )
        report = ApplicationReport(name, Epoch(1, 1, number + 1), rows)
        seen.applications[name] = report
        message = Report(number + 1, number == 0, (report,), seen.digest())
        messages.append(wire.encode_from_agent(message))
    return messages


async def _ingest(messages: list[bytes]) -> float:
    sessions = Sessions(Welcome("0", "bench", ""), lambda: Instant(0.0))
    sessions.report_to(QuietListener())
    began = time.process_time()
    await sessions.serve(_Feed(messages))
    spent = time.process_time() - began
    assert len(sessions.views()[RegionName("paris")].observations.applications) == 1
    return spent
