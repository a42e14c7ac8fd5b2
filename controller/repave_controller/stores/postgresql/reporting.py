"""Saves what agents report: a function of PostgreSQL, so that the counter is locked but for a moment.

The counters are not waited for either. They outlive a crash but for the last moments, and go on above what
they were: they follow the clock.
"""

from repave_controller.stores.postgresql.saving import CHANNEL

MICROSECONDS = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
SESSION = f"""CREATE FUNCTION repave.next_session_1() RETURNS bigint LANGUAGE sql AS $session$
    SELECT set_config('synchronous_commit', 'off', true);
    UPDATE repave.report_counter SET session = greatest(session + 1, {MICROSECONDS}) RETURNING session;
$session$"""  # noqa: S608  # words of our own
REPORT = f"""CREATE FUNCTION repave.report_1(
    regions text[], controllers text[], sessions bigint[], connected boolean[], sinces float8[],
    bodies bytea[], of_regions text[], applications text[], of_sessions bigint[], reports bytea[]
) RETURNS SETOF text LANGUAGE plpgsql AS $report$
#variable_conflict use_column
DECLARE
    this bigint;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    UPDATE repave.report_counter SET change = greatest(change + 1, {MICROSECONDS}) RETURNING change INTO this;
    INSERT INTO repave.report_life VALUES (1, this) ON CONFLICT DO NOTHING;
    RETURN QUERY SELECT DISTINCT s.region FROM repave.regions s
        JOIN (SELECT * FROM unnest(regions, sessions) UNION ALL SELECT * FROM unnest(of_regions, of_sessions))
            AS r(region, session) ON r.region = s.region
        WHERE s.session > r.session;
    INSERT INTO repave.regions AS s SELECT r.*, this
        FROM unnest(regions, controllers, sessions, connected, sinces, bodies) r
        ON CONFLICT (region) DO UPDATE SET controller = excluded.controller, session = excluded.session,
            is_connected = excluded.is_connected, since = excluded.since, body = excluded.body,
            change = excluded.change
        WHERE s.session <= excluded.session;
    DELETE FROM repave.reports s USING unnest(regions, sessions) r(region, session)
        WHERE s.region = r.region AND s.session < r.session;
    INSERT INTO repave.reports AS s
        SELECT r.region, r.application, r.session, r.body, this
        FROM unnest(of_regions, applications, of_sessions, reports) r(region, application, session, body)
        LEFT JOIN repave.regions n ON n.region = r.region
        WHERE n.session IS NULL OR n.session <= r.session
        ON CONFLICT (region, application) DO UPDATE SET session = excluded.session, body = excluded.body,
            change = excluded.change
        WHERE s.session <= excluded.session;
    PERFORM pg_notify('{CHANNEL}', '');
END
$report$"""  # noqa: S608  # words of our own
TABLES = (
    """CREATE UNLOGGED TABLE repave.report_life (
        one int PRIMARY KEY CHECK (one = 1),
        begun_at bigint NOT NULL
    )""",
    SESSION,
    REPORT,
)
