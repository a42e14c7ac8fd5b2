"""What is asked of a store in PostgreSQL, as statements."""

from repave_controller.stores.kept import tables_of

EVENTS = "SELECT sequence, at, kind, text, application, region, server_group, host, by FROM repave.events"
ROLLOUTS = (
    "SELECT state FROM repave.rollouts WHERE application = $1 "
    "AND number < coalesce($2::bigint, 9223372036854775807) ORDER BY number DESC LIMIT $3"
)
SPEC = "SELECT text FROM repave.specs WHERE application = $1 AND server_group = $2"
RECEIPT = "SELECT key, body_hash, response, at FROM repave.receipts WHERE key = $1"
RECORDS = "SELECT kind, name, state FROM repave.records WHERE kind = $1 AND state IS NOT NULL ORDER BY name"
AUDIT = "SELECT number, text, hash FROM repave.audit WHERE number > $1"
LOOKS = """
    SELECT application, rollout, id, at, outcome, details FROM repave.analyses WHERE application = $1
    AND rollout = coalesce($2::bigint, (SELECT max(rollout) FROM repave.analyses WHERE application = $1))
    ORDER BY at DESC, id DESC LIMIT $3
"""
IMAGES = (
    "SELECT digest, size_bytes, files, name, pushed_at FROM repave.images ORDER BY pushed_at DESC, digest"
)
NEWEST = """
    SELECT coalesce(max(at), 0) FROM (SELECT at FROM repave.events ORDER BY sequence DESC LIMIT 1000) newest
"""
"""The newest instant: events are nearly in order of time."""
CHANGES = """
    SELECT 0 AS kind, NULL AS name, installation AS state, change, incarnation, event_change, forgotten_change
    FROM repave.store
    UNION ALL SELECT 1, name, state, change, 0, 0, 0 FROM repave.applications
    WHERE change > $1 AND ($2::int[] IS NULL OR shard = ANY ($2))
    UNION ALL SELECT 2, NULL, state, change, 0, 0, 0 FROM repave.freezes WHERE change > $1
    UNION ALL (
        SELECT 3, kind || chr(10) || name, state, change, 0, 0, 0 FROM repave.records WHERE change > $1
    )
    ORDER BY kind, change
"""
"""All at one moment. A kind has no line end."""
TABLES = """
    SELECT relname AS name, pg_total_relation_size(oid) AS bytes FROM pg_class
    WHERE relnamespace = 'repave'::regnamespace AND relkind = 'r' ORDER BY relname
"""
KEPT = tables_of(lambda column, field: f"({column}::json ->> '{field}')::float8")
