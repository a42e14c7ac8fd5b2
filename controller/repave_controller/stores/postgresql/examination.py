"""What is to be said of the PostgreSQL behind a store: whether what it has saved is there after a crash or a
fail-over, and whether it is the one that it was.
"""

from collections.abc import Sequence

from repave_controller.core.domain.reasons import Concern, Reason, reason_of
from repave_controller.stores.postgresql.calls import Connection, Row
from repave_controller.stores.postgresql.connection import Database

SETTINGS = ("fsync", "full_page_writes")
WAITED_FOR = ("sync", "quorum")

IDENTITY = """
SELECT (SELECT system_identifier FROM pg_control_system())::text AS system,
    substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) AS timeline
"""
NOTED = """
WITH former AS (
    SELECT system, timeline FROM repave.store WHERE (system, timeline) IS DISTINCT FROM ($1, $2) FOR UPDATE
)
UPDATE repave.store s SET system = $1, timeline = $2, change = change + 1,
    incarnation = CASE WHEN former.system = '' THEN incarnation
        ELSE greatest(incarnation + 1, ('x' || $2)::bit(32)::bigint) END
FROM former
RETURNING former.system, former.timeline, s.incarnation
"""
"""A database that was restored, or failed over to a standby, may have lost terms that were decided under: it
begins a new incarnation, at least the number of its timeline, so that no epoch is given out twice."""
STANDBYS = """
SELECT coalesce(application_name, '') AS name, state, sync_state FROM pg_stat_replication
WHERE state IS NULL OR state NOT IN ('backup', 'startup')
"""


async def note_identity(connection: Connection) -> tuple[str, str] | None:
    """What the database was and is, if that has changed since a controller looked last; told to the first one
    that looks."""
    found = await connection.fetchrow(IDENTITY)
    assert found is not None
    row = await connection.fetchrow(NOTED, found["system"], found["timeline"])
    if row is None or not row["system"]:
        return None
    return _named(row), _named(found)


def _named(row: Row) -> str:
    return f"cluster {row['system']} on timeline {int(row['timeline'], 16)}"


async def concerns_of(database: Database) -> Sequence[Reason]:
    """Raises StoreError."""
    found = []
    shown = {name: (await database.fetch(f"SHOW {name}"))[0][name] for name in SETTINGS}
    off = [f"{name} = {value}" for name, value in shown.items() if value == "off"]
    if off:
        found.append(reason_of(Concern.NOT_ON_DISK, settings=", ".join(off)))
    standbys = await database.fetch(STANDBYS)
    if not standbys or any(each["sync_state"] in WAITED_FOR for each in standbys):
        return found
    unseen = [each for each in standbys if each["sync_state"] is None]
    if unseen:
        return [*found, reason_of(Concern.COPIES_UNSEEN, standbys=len(unseen))]
    names = tuple(sorted({each["name"] or "?" for each in standbys}))
    return [*found, reason_of(Concern.COPIED_LATE, standbys=names)]
