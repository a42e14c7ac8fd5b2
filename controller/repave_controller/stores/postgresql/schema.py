"""The tables of a store in PostgreSQL, in a schema of their own, as numbered migrations.

All that are missing are applied in one transaction, behind a lock: two controllers may start at once. Rows of
`store`, then `writers`, then `shards` are locked in this order, everywhere.
"""

from repave_controller.core.ports import StoreError
from repave_controller.peers.ports import SHARDS
from repave_controller.stores.postgresql.calls import Connection
from repave_controller.stores.postgresql.reporting import TABLES as REPORTS
from repave_controller.stores.postgresql.saving import SAVE_1, SAVE_2

LOCK = 0x72657076  # "repv"
MIGRATING_SECONDS = 600

PACKAGES = (
    """CREATE TABLE repave.packages (
        digest text COLLATE "C" PRIMARY KEY,
        bytes bigint NOT NULL,
        pieces int NOT NULL
    )""",
    """CREATE TABLE repave.package_pieces (
        digest text COLLATE "C" NOT NULL,
        number int NOT NULL,
        content bytea NOT NULL,
        at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (digest, number)
    )""",
    "ALTER TABLE repave.package_pieces ALTER content SET STORAGE EXTERNAL",  # it is packed already
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE repave.store (
            one int PRIMARY KEY CHECK (one = 1),
            incarnation bigint NOT NULL,
            term bigint NOT NULL,
            installation text NOT NULL,
            change bigint NOT NULL DEFAULT 0,
            next_event bigint NOT NULL DEFAULT 1,
            event_change bigint NOT NULL DEFAULT 0,
            forgotten_change bigint NOT NULL DEFAULT 0,
            system text NOT NULL DEFAULT '',
            timeline text NOT NULL DEFAULT ''
        ) WITH (fillfactor = 10)""",
        """CREATE TABLE repave.writers (
            writer text PRIMARY KEY,
            number bigint NOT NULL,
            change bigint NOT NULL,
            first_event bigint NOT NULL,
            outcomes smallint[] NOT NULL,
            details text[] NOT NULL
        ) WITH (fillfactor = 20)""",
        """CREATE TABLE repave.applications (
            name text COLLATE "C" PRIMARY KEY,
            state text NOT NULL,
            shard int NOT NULL,
            change bigint NOT NULL
        )""",
        "CREATE INDEX applications_changed ON repave.applications (change)",
        """CREATE TABLE repave.events (
            sequence bigint PRIMARY KEY,
            at float8 NOT NULL,
            kind text NOT NULL,
            text text NOT NULL,
            application text COLLATE "C" NOT NULL,
            region text NOT NULL,
            server_group text NOT NULL,
            host text NOT NULL,
            by text NOT NULL
        )""",
        "CREATE INDEX events_of_application ON repave.events (application, sequence)",
        """CREATE TABLE repave.rollouts (
            application text COLLATE "C" NOT NULL,
            number bigint NOT NULL,
            state text NOT NULL,
            PRIMARY KEY (application, number)
        )""",
        """CREATE TABLE repave.specs (
            application text COLLATE "C" NOT NULL,
            server_group text COLLATE "C" NOT NULL,
            text text NOT NULL,
            at float8 NOT NULL,
            PRIMARY KEY (application, server_group)
        )""",
        """CREATE TABLE repave.receipts (
            key text COLLATE "C" PRIMARY KEY,
            body_hash text NOT NULL,
            response text NOT NULL,
            at float8 NOT NULL
        )""",
        "CREATE INDEX receipts_by_age ON repave.receipts (at, key)",
        """CREATE TABLE repave.images (
            digest text COLLATE "C" PRIMARY KEY,
            size_bytes bigint NOT NULL,
            files bigint NOT NULL,
            name text NOT NULL,
            pushed_at float8 NOT NULL
        )""",
        """CREATE TABLE repave.freezes (
            one int PRIMARY KEY CHECK (one = 1),
            state text NOT NULL,
            change bigint NOT NULL
        )""",
        """CREATE TABLE repave.records (
            kind text COLLATE "C" NOT NULL,
            name text COLLATE "C" NOT NULL,
            state text,
            change bigint NOT NULL,
            gone_at timestamptz,
            PRIMARY KEY (kind, name)
        )""",
        "CREATE INDEX records_changed ON repave.records (change)",
        "CREATE TABLE repave.audit (number bigint PRIMARY KEY, text text NOT NULL, hash text NOT NULL)",
        """CREATE TABLE repave.controllers (
            id text COLLATE "C" PRIMARY KEY,
            instance text NOT NULL,
            url text NOT NULL,
            agents text NOT NULL,
            version text NOT NULL,
            started_at float8 NOT NULL,
            expires_at timestamptz NOT NULL,
            lock_key bigint
        ) WITH (fillfactor = 20)""",
        """CREATE TABLE repave.shards (
            number int PRIMARY KEY,
            owner text COLLATE "C",
            term bigint NOT NULL
        ) WITH (fillfactor = 20)""",
        f"INSERT INTO repave.shards SELECT number, NULL, 0 FROM generate_series(0, {SHARDS - 1}) number",  # noqa: S608  # our own words
        """CREATE TABLE repave.report_counter (
            one int PRIMARY KEY CHECK (one = 1),
            change bigint NOT NULL,
            session bigint NOT NULL
        ) WITH (fillfactor = 20)""",
        "INSERT INTO repave.report_counter VALUES (1, 0, 0)",
        """CREATE UNLOGGED TABLE repave.regions (
            region text COLLATE "C" PRIMARY KEY,
            controller text COLLATE "C" NOT NULL,
            session bigint NOT NULL,
            is_connected boolean NOT NULL,
            since float8 NOT NULL,
            body bytea NOT NULL,
            change bigint NOT NULL
        )""",
        "CREATE INDEX regions_changed ON repave.regions (change)",
        """CREATE UNLOGGED TABLE repave.reports (
            region text COLLATE "C" NOT NULL,
            application text COLLATE "C" NOT NULL,
            session bigint NOT NULL,
            body bytea,
            change bigint NOT NULL,
            PRIMARY KEY (region, application)
        )""",
        "CREATE INDEX reports_changed ON repave.reports (change)",
        *REPORTS,
        """CREATE UNLOGGED TABLE repave.letters (
            id uuid PRIMARY KEY,
            recipient text COLLATE "C" NOT NULL,
            kind text NOT NULL,
            body bytea NOT NULL,
            answer bytea,
            sent_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            expires_at timestamptz NOT NULL,
            is_taken boolean NOT NULL DEFAULT false
        )""",
        "CREATE INDEX letters_of_recipient ON repave.letters (recipient) WHERE NOT is_taken",
        *PACKAGES,
    ),
    (
        """CREATE TABLE repave.analyses (
            application text COLLATE "C" NOT NULL,
            rollout bigint NOT NULL,
            id text COLLATE "C" NOT NULL,
            at float8 NOT NULL,
            outcome text NOT NULL,
            details text NOT NULL,
            PRIMARY KEY (application, rollout, id)
        )""",
    ),
    (
        "ALTER TABLE repave.writers ADD at timestamptz NOT NULL DEFAULT clock_timestamp()",
        SAVE_1,
        SAVE_2,
    ),
)
"""The functions that save are made by the newest one that changes them, after all tables."""


async def migrate(
    connection: Connection, place: str, migrations: tuple[tuple[str, ...], ...] = MIGRATIONS
) -> tuple[int, int]:
    """In the transaction that has begun: returns the versions (before, after).

    Raises StoreError for a schema of a newer repave or of another program, and leaves that as it is.
    """
    await connection.execute(
        f"SET LOCAL lock_timeout = '{MIGRATING_SECONDS}s'; "
        f"SET LOCAL statement_timeout = '{MIGRATING_SECONDS}s'; "
        f"SELECT pg_advisory_xact_lock({LOCK})"
    )
    before = await _version(connection, place)
    if before > len(migrations):
        raise StoreError(
            f"{place}: it was written by a newer repave (schema {before}, this one knows {len(migrations)}). "
            "Run that version again, or restore the backup from before the upgrade."
        )
    for number in range(before, len(migrations)):
        await connection.execute(";\n".join(migrations[number]))
    if before < len(migrations):
        await connection.execute("UPDATE repave.schema SET version = $1", len(migrations))
    return before, len(migrations)


async def _version(connection: Connection, place: str) -> int:
    """Makes the schema where there is none."""
    if not await connection.fetchval("SELECT to_regnamespace('repave') IS NOT NULL"):
        await connection.execute("CREATE SCHEMA repave")
    if not await connection.fetchval("SELECT to_regclass('repave.schema') IS NOT NULL"):
        of_schema = "SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace('repave')"
        if await connection.fetchval(of_schema):
            raise StoreError(
                f"{place}: the schema repave there belongs to another program. Name another database."
            )
        await connection.execute("CREATE TABLE repave.schema (version int NOT NULL)")
        await connection.execute("INSERT INTO repave.schema VALUES (0)")
    return int(await connection.fetchval("SELECT version FROM repave.schema"))
