"""The SQLite store on a real disk: who may open it, what it refuses, and what it says when the disk fails."""

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from repave_controller.core.domain.application import Application, Event
from repave_controller.core.domain.rollout import GroupNumber
from repave_controller.core.ports import StoreError, Transaction, Unsavable
from repave_controller.stores import migrations
from repave_controller.stores.migrations import MIGRATIONS, migrate
from repave_controller.stores.sqlite import file
from repave_controller.stores.sqlite.store import SqliteStore
from repave_protos.protocol.values import ApplicationName

PROCESS_TIMEOUT_SECONDS = 30


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "controller.db"


async def make(path: Path) -> None:
    """A store with an application and an event."""
    store = SqliteStore(path)
    await store.open()
    await store.commit(a_transaction("first"))
    await store.close()


def a_transaction(text: str = "something") -> Transaction:
    name = ApplicationName("hello")
    return Transaction(Application(name, name, GroupNumber(1)), (Event("step.entered", text, name),))


async def refusal(path: Path, **options: object) -> str:
    store = SqliteStore(path, **options)  # type: ignore[arg-type]  # keyword arguments of the store
    with pytest.raises(StoreError) as caught:
        await store.open()
    return str(caught.value)


async def texts(path: Path) -> list[str]:
    store = SqliteStore(path)
    await store.open()
    found = [event.text for event in await store.events()]
    await store.close()
    return found


# ----------------------------------------------------------------------------------------- who may open it


async def test_a_second_controller_on_one_store_is_refused_naming_the_first(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    assert f"process {os.getpid()}" in await refusal(path)
    await store.commit(a_transaction())
    await store.close()
    assert await texts(path) == ["something"]


WRITER = """
import asyncio, sys
from pathlib import Path
from repave_controller.core.domain.application import Event
from repave_controller.core.ports import Transaction
from repave_controller.stores.sqlite.store import SqliteStore

async def write():
    store = SqliteStore(Path(sys.argv[1]))
    await store.open()
    number = 0
    while True:
        await store.commit(Transaction(events=(Event("x", str(number)),)))
        print(number, flush=True)
        number += 1

asyncio.run(write())
"""


def test_nothing_acknowledged_is_lost_when_the_controller_is_killed(path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        acknowledged = [int(process.stdout.readline()) for _ in range(50)]
        process.send_signal(signal.SIGKILL)
        acknowledged += [int(line) for line in process.stdout.readlines() if line.endswith(b"\n")]
    assert asyncio.run(texts(path))[: len(acknowledged)] == [str(number) for number in acknowledged]


async def test_a_controller_whose_lock_was_deleted_saves_nothing_once_another_has_begun(path: Path) -> None:
    first, second = SqliteStore(path), SqliteStore(path)
    await first.open()
    await first.commit(Transaction(events=(Event("before", "is saved"),)))
    path.with_name(f"{path.name}.lock").unlink()
    loaded = await second.open()
    for _ in range(2):
        with pytest.raises(StoreError, match=f"has this store now .term {loaded.tenure.term}"):
            await first.commit(Transaction(events=(Event("stale", "is not"),)))
    with pytest.raises(StoreError, match="another controller"):
        await first.begin_incarnation(0)
    await second.commit(Transaction(events=(Event("after", "is saved"),)))
    assert [event.kind for event in await second.events()] == ["before", "after"]
    await first.close()
    await second.close()


async def test_a_store_that_is_a_link_or_where_others_may_write_is_refused(path: Path) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    victim = path.parent / "victim"
    victim.write_text("precious")
    path.symlink_to(victim)
    with pytest.raises(StoreError, match=path.name):
        await SqliteStore(path).open()
    assert victim.read_text() == "precious"
    path.unlink()
    path.parent.chmod(0o777)
    with pytest.raises(StoreError, match="others may write"):
        await SqliteStore(path).open()


async def test_only_its_owner_can_read_the_store(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    await store.commit(a_transaction())
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    assert set(modes) == {"controller.db", "controller.db-wal", "controller.db-shm", "controller.db.lock"}
    assert set(modes.values()) == {0o600}
    await store.close()


async def test_a_network_file_system_is_refused(path: Path) -> None:
    device = path.parent.stat().st_dev
    mounts = path.with_name("mountinfo")
    mounts.write_text(
        f"22 1 {os.major(device)}:{os.minor(device)} / /data rw - nfs4 server:/data rw,vers=4.2\n"
    )
    text = await refusal(path, mounts=mounts)
    assert "nfs4" in text
    assert "local disk" in text
    assert not path.exists()


async def test_a_folder_that_cannot_be_made_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "Check the folder" in await refusal(tmp_path / "file" / "controller.db")


# ------------------------------------------------------------------------------------ what it can't open


async def test_a_database_of_a_newer_repave_is_refused_and_left_alone(path: Path) -> None:
    await make(path)
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.close()
    before = path.read_bytes()
    text = await refusal(path)
    assert "newer repave" in text
    assert str(path) in text
    assert path.read_bytes() == before


async def test_the_database_of_another_program_is_refused_and_left_alone(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (a)")
    connection.close()
    assert "another program" in await refusal(path)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("theirs",)]
    connection.close()


async def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_text("repave: 1\n" * 1000)
    assert "no SQLite database" in await refusal(path)
    assert path.read_text() == "repave: 1\n" * 1000


async def test_a_damaged_database_is_refused(path: Path) -> None:
    await make(path)
    content = bytearray(path.read_bytes())
    content[4096 : 2 * 4096] = b"\xff" * 4096
    path.write_bytes(content)
    text = await refusal(path)
    assert "damaged" in text
    assert "backup" in text


async def test_a_refused_store_can_be_opened_once_it_is_put_right(path: Path) -> None:
    path.write_text("nonsense" * 100)
    await refusal(path)
    path.unlink()
    await make(path)
    assert await texts(path) == ["first"]


def test_a_migration_happens_whole_or_not_at_all(path: Path) -> None:
    connection = file.connect(path)
    broken = (
        *MIGRATIONS,
        ("ALTER TABLE events ADD COLUMN more TEXT", "ALTER TABLE nothing ADD COLUMN a TEXT"),
    )
    with pytest.raises(sqlite3.OperationalError, match="nothing"):
        migrate(connection, broken)
    columns = [row[1] for row in connection.execute("PRAGMA table_info(events)")]
    assert "more" not in columns
    newest = len(MIGRATIONS)
    assert migrate(connection, MIGRATIONS) == (newest, newest)
    newer = (*MIGRATIONS, ("ALTER TABLE events ADD COLUMN more TEXT",))
    assert migrate(connection, newer) == (newest, newest + 1)
    assert migrate(connection, newer) == (newest + 1, newest + 1)
    connection.close()


def test_a_repave_database_can_be_told_from_others(path: Path) -> None:
    connection = file.connect(path)
    migrate(connection)
    connection.close()
    assert int.from_bytes(path.read_bytes()[68:72]) == migrations.APPLICATION_ID


# -------------------------------------------------------------------------------------------- committing


def traced(statements: list[str]) -> Callable[[Path], sqlite3.Connection]:
    def connect(path: Path) -> sqlite3.Connection:
        connection = file.connect(path)
        connection.set_trace_callback(statements.append)
        return connection

    return connect


async def test_commits_that_wait_together_share_one(path: Path) -> None:
    statements: list[str] = []
    store = SqliteStore(path, connect=traced(statements))
    await store.open()
    statements.clear()
    await asyncio.gather(*(store.commit(a_transaction(str(n))) for n in range(200)))
    assert statements.count("COMMIT") == 1
    await store.close()


async def test_every_commit_waits_for_the_disk(path: Path) -> None:
    connections: list[sqlite3.Connection] = []

    def connect(path: Path) -> sqlite3.Connection:
        connections.append(sqlite3.connect(path, isolation_level=None, check_same_thread=False))
        return connections[-1]

    store = SqliteStore(path, connect=connect)
    await store.open()
    (mode,) = connections[0].execute("PRAGMA synchronous").fetchone()
    (journal,) = connections[0].execute("PRAGMA journal_mode").fetchone()
    assert (mode, journal) == (2, "wal")  # 2 is FULL
    await store.close()


async def test_text_that_cannot_be_saved_fails_alone(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    outcomes = await asyncio.gather(
        *(store.commit(Transaction(events=(Event("x", text),))) for text in ("a", "\ud800", "b")),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [tuple, Unsavable, tuple]
    assert [event.text for event in await store.events()] == ["a", "b"]
    await store.close()


async def test_what_was_asked_for_is_saved_though_the_caller_has_gone(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    caller = asyncio.create_task(store.commit(a_transaction("gone")))
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    await store.close()
    assert await texts(path) == ["gone"]


async def test_a_full_disk_saves_nothing_and_is_survived(path: Path) -> None:
    connections: list[sqlite3.Connection] = []

    def connect(path: Path) -> sqlite3.Connection:
        connections.append(sqlite3.connect(path, isolation_level=None, check_same_thread=False))
        return connections[-1]

    store = SqliteStore(path, connect=connect)
    await store.open()
    (pages,) = connections[0].execute("PRAGMA page_count").fetchone()
    connections[0].execute(f"PRAGMA max_page_count = {pages}")
    outcomes = await asyncio.gather(
        store.commit(a_transaction("x" * 20_000)), store.commit(a_transaction()), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [StoreError, StoreError]
    assert "disk is full" in str(outcomes[0])
    assert list(await store.events()) == []
    connections[0].execute("PRAGMA max_page_count = 1000000")
    (event,) = await store.commit(a_transaction("after"))
    assert [each.text for each in await store.events()] == ["after"]
    assert event.sequence == 1
    await store.close()


FAILING_DISK = """
import asyncio, resource, sys
from pathlib import Path
from repave_controller.core.domain.application import Event
from repave_controller.core.ports import StoreError, Transaction
from repave_controller.stores.sqlite.store import SqliteStore

async def write():
    store = SqliteStore(Path(sys.argv[1]))
    await store.open()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    for limit in (100_000, limits[0]):  # the disk fails, then it seems well again
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
        try:
            await store.commit(Transaction(events=(Event("x", "y" * 500_000),)))
            print("answer: saved")
        except StoreError as error:
            print("answer:", error)

asyncio.run(write())
"""


def test_after_a_disk_error_nothing_is_taken_until_a_restart(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FAILING_DISK, str(path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=PROCESS_TIMEOUT_SECONDS,
    )
    failures = [line for line in done.stdout.splitlines() if line.startswith("answer: ")]
    assert ["the disk failed" in failure for failure in failures] == [True, True]
    assert "until the controller is restarted" in failures[1]
    assert asyncio.run(texts(path)) == []
