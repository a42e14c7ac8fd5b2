"""The one statement that saves a batch of transactions: a function in the database, and its arguments.

It is one round trip and a transaction of its own, so that no lock waits for a controller that has stopped in
the middle; and each of its statements sees what was committed before it had the locks. A batch has a number,
one higher than that of its writer's batch before: one that arrives late, after its writer has given it up,
finds its number taken and does nothing.
"""

SAVED, FENCED, CONFLICT, DUPLICATE = range(4)
"""What became of a transaction; of those that are not saved nothing is."""
GIVEN_UP = "RP001"
"""SQLSTATE: the batch's number is not the next one of its writer."""
CHANNEL = "repave"
"""Of NOTIFY; what is told is who changed something."""

COLUMNS: dict[str, tuple[tuple[str, str], ...]] = {
    "fence": (("shard", "int"), ("owner", "text"), ("incarnation", "bigint"), ("term", "bigint")),
    "seen": (("change", "bigint"),),
    "expected": (("kind", "text"), ("name", "text"), ("state", "text")),
    "application": (("name", "text"), ("state", "text")),
    "event": (
        ("at", "float8"),
        ("kind", "text"),
        ("text", "text"),
        ("application", "text"),
        ("region", "text"),
        ("server_group", "text"),
        ("host", "text"),
        ("by", "text"),
    ),
    "rollout": (("application", "text"), ("number", "bigint"), ("state", "text")),
    "spec": (("application", "text"), ("server_group", "text"), ("text", "text")),
    "receipt": (("key", "text"), ("body_hash", "text"), ("response", "text")),
    "freezes": (("state", "text"),),
    "record": (("kind", "text"), ("name", "text"), ("state", "text")),
    "image": (
        ("digest", "text"),
        ("size_bytes", "bigint"),
        ("files", "bigint"),
        ("name", "text"),
        ("pushed_at", "float8"),
    ),
    "audit": (("number", "bigint"), ("text", "text"), ("hash", "text")),
}
"""What a transaction may bring, in the order of the function's arguments. Before the columns of each kind
stands an array with the place, from 1, of the transaction that each row is of."""

CLASH = "EXISTS (SELECT FROM repave.receipts s WHERE s.key = r.key AND s.body_hash <> r.body_hash)"
RECORD = "(SELECT s.state FROM repave.records s WHERE s.kind = r.kind AND s.name = r.name)"
OWNED = "(SELECT FROM repave.shards s WHERE s.number = r.shard AND s.owner = r.owner AND s.term = r.term)"
WHEN_GONE = "CASE WHEN r.state IS NULL THEN clock_timestamp() END"


def _parameters() -> str:
    named = ["p_writer text", "p_number bigint", "p_count int"]
    for kind, columns in COLUMNS.items():
        named.append(f"{kind}_n int[]")
        named += [f"{kind}_{name} {what}[]" for name, what in columns]
    return ", ".join([*named, "OUT p_first_event bigint, OUT p_outcomes smallint[]"])


def _rows(kind: str) -> str:
    """The rows of a kind as r: r.n is the place of their transaction, r.place their own."""
    names = ["n", *(name for name, _ in COLUMNS[kind])]
    arrays = ", ".join(f"{kind}_{each}" for each in names)
    return f"unnest({arrays}) WITH ORDINALITY r({', '.join(names)}, place)"


def _good(kind: str) -> str:
    return f"{_rows(kind)} WHERE p_outcomes[r.n] = {SAVED}"


def _refuse(kind: str, outcome: int, where: str) -> str:
    return f"""
    IF cardinality({kind}_n) > 0 THEN
        FOR place IN SELECT r.n FROM {_rows(kind)} WHERE {where} LOOP
            p_outcomes[place] := {outcome};
        END LOOP;
    END IF;"""  # noqa: S608


def _replace(kind: str, table: str, key: tuple[str, ...], *, change: str = "") -> str:
    """Saves rows, the last of each key; `change`: what else is written, as NAME = VALUE, apart by commas."""
    columns = [name for name, _ in COLUMNS[kind]]
    more = [each.partition(" = ") for each in change.split(", ")] if change else []
    into = [*columns, *(name for name, _, _ in more)]
    values = [*(f"r.{name}" for name in columns), *(value for _, _, value in more)]
    newer = ", ".join(f"{name} = excluded.{name}" for name in into if name not in key)
    keys = ", ".join(f"r.{name}" for name in key)
    return f"""
    IF cardinality({kind}_n) > 0 THEN
        INSERT INTO repave.{table} ({", ".join(into)})
        SELECT DISTINCT ON ({keys}) {", ".join(values)}
        FROM {_good(kind)} ORDER BY {keys}, r.place DESC
        ON CONFLICT ({", ".join(key)}) DO UPDATE SET {newer};
    END IF;"""  # noqa: S608


def _add(kind: str, table: str, otherwise: str = "") -> str:
    columns = [name for name, _ in COLUMNS[kind]]
    return f"""
    IF cardinality({kind}_n) > 0 THEN
        INSERT INTO repave.{table} ({", ".join(columns)})
        SELECT {", ".join(f"r.{name}" for name in columns)} FROM {_good(kind)} {otherwise};
    END IF;"""  # noqa: S608


SAVE_1 = f"""CREATE FUNCTION repave.save_1({_parameters()}) LANGUAGE plpgsql AS $save$
#variable_conflict use_column
DECLARE
    st repave.store%ROWTYPE;
    place int;
    others bigint;
    events bigint := 0;
BEGIN
    SELECT * INTO st FROM repave.store FOR UPDATE;
    PERFORM 1 FROM repave.writers WHERE writer = p_writer AND number = p_number - 1 FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'this batch was given up' USING ERRCODE = '{GIVEN_UP}';
    END IF;
    st.change := st.change + 1;
    p_first_event := st.next_event;
    p_outcomes := array_fill({SAVED}::smallint, ARRAY[p_count]);
    {_refuse("receipt", DUPLICATE, CLASH)}
    {_refuse("expected", CONFLICT, f"r.state IS DISTINCT FROM {RECORD}")}
    {_refuse("audit", CONFLICT, "EXISTS (SELECT FROM repave.audit s WHERE s.number = r.number)")}
    IF cardinality(seen_n) > 0 THEN
        SELECT coalesce(max(change), 0) INTO others FROM repave.writers WHERE writer <> p_writer;
    END IF;
    {_refuse("seen", CONFLICT, "r.change < others")}
    IF cardinality(fence_n) > 0 THEN
        PERFORM 1 FROM repave.shards WHERE number = ANY (fence_shard) ORDER BY number FOR SHARE;
    END IF;
    {_refuse("fence", FENCED, f"r.incarnation <> st.incarnation OR NOT EXISTS {OWNED}")}
    IF cardinality(event_n) > 0 THEN
        INSERT INTO repave.events
        SELECT st.next_event - 1 + row_number() OVER (ORDER BY r.place), r.at, r.kind, r.text, r.application,
            r.region, r.server_group, r.host, r.by
        FROM {_good("event")};
        GET DIAGNOSTICS events = ROW_COUNT;
    END IF;
    {_replace("application", "applications", ("name",), change="change = st.change")}
    {_replace("rollout", "rollouts", ("application", "number"))}
    {_replace("spec", "specs", ("application", "server_group"))}
    {_add("receipt", "receipts", "ON CONFLICT DO NOTHING")}
    IF cardinality(freezes_n) > 0 THEN
        INSERT INTO repave.freezes SELECT 1, r.state, st.change FROM {_good("freezes")}
        ORDER BY r.place DESC LIMIT 1
        ON CONFLICT (one) DO UPDATE SET state = excluded.state, change = excluded.change;
    END IF;
    {_replace("record", "records", ("kind", "name"), change=f"change = st.change, gone_at = {WHEN_GONE}")}
    {_add("image", "images", "ON CONFLICT DO NOTHING")}
    {_add("audit", "audit")}
    UPDATE repave.store SET change = st.change, next_event = st.next_event + events,
        event_change = CASE WHEN events > 0 THEN st.change ELSE event_change END;
    UPDATE repave.writers SET number = p_number, first_event = st.next_event, outcomes = p_outcomes,
        change = CASE WHEN cardinality(application_n) + cardinality(freezes_n) + cardinality(record_n) > 0
            THEN st.change ELSE change END
    WHERE writer = p_writer;
    PERFORM pg_notify('{CHANNEL}', p_writer);
END
$save$"""  # noqa: S608
