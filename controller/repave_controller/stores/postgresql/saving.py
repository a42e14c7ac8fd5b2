"""The one statement that saves a batch of transactions: a function in the database, and its arguments.

It is one round trip and a transaction of its own, so that no lock waits for a controller that has stopped in
the middle; and each of its statements sees what was committed before it had the locks. A batch has a number,
one higher than that of its writer's batch before: one that arrives late, after its writer has given it up,
finds its number taken and does nothing.
"""

from collections.abc import Iterator, Mapping, Sequence

from repave_controller.peers.ports import shard_of
from repave_controller.stores.rows import Rows
from repave_protos.protocol.values import ApplicationName

SAVED, FENCED, CONFLICT, DUPLICATE = range(4)
"""What became of a transaction; of those that are not saved nothing is."""
GIVEN_UP = "RP001"
"""SQLSTATE: the batch's number is not the next one of its writer."""
CHANNEL = "repave"
"""Of NOTIFY: something has changed."""

COLUMNS_1: dict[str, tuple[tuple[str, str], ...]] = {
    "fence": (("application", "text"), ("shard", "int"), ("incarnation", "bigint"), ("term", "bigint")),
    "seen": (("change", "bigint"),),
    "expected": (("kind", "text"), ("name", "text"), ("state", "text")),
    "application": (("name", "text"), ("state", "text"), ("shard", "int")),
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
    "spec": (("application", "text"), ("server_group", "text"), ("text", "text"), ("at", "float8")),
    "receipt": (("key", "text"), ("body_hash", "text"), ("response", "text"), ("at", "float8")),
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
    "drop": (("kind", "text"), ("first", "text"), ("second", "text")),
}
"""What a transaction may bring, in the order of the function's arguments. Before the columns of each kind
stands an array with the place, from 1, of the transaction that each row is of."""
COLUMNS = COLUMNS_1 | {
    "look": (
        ("application", "text"),
        ("rollout", "bigint"),
        ("id", "text"),
        ("at", "float8"),
        ("outcome", "text"),
        ("details", "text"),
    ),
}
"""The same of the function's second version."""
Columns = Mapping[str, tuple[tuple[str, str], ...]]
KEYS_1: Columns = {
    "events": (("sequence", "bigint"),),
    "receipts": (("key", "text"),),
    "rollouts": (("application", "text"), ("number", "bigint")),
    "specs": (("application", "text"), ("server_group", "text")),
    "images": (("digest", "text"),),
    "audit": (("number", "bigint"),),
}
"""Of what may be dropped."""
KEYS: Columns = {**KEYS_1, "analyses": (("application", "text"), ("rollout", "bigint"))}

_PLACES = range(1, 4 + sum(1 + len(columns) for columns in COLUMNS.values()))
SAVE = f"SELECT * FROM repave.save_2({', '.join(f'${place}' for place in _PLACES)})"  # noqa: S608  # our own words


def arguments(batch: Sequence[Rows]) -> list[object]:
    """Those of SAVE that follow the writer, the number and the count."""
    found: dict[str, list[tuple[object, ...]]] = {kind: [] for kind in COLUMNS}
    for place, rows in enumerate(batch, 1):
        for kind, row in _rows_of(rows):
            found[kind].append((place, *row))
    given: list[object] = []
    for kind, columns in COLUMNS.items():
        given += map(list, zip(*found[kind], strict=True)) if found[kind] else [[]] * (1 + len(columns))
    return given


def _rows_of(rows: Rows) -> Iterator[tuple[str, tuple[object, ...]]]:
    """One after the other, each with its kind."""
    name = ApplicationName(rows.application[0] if rows.application is not None else "")
    if rows.application is not None:
        yield "application", (*rows.application, shard_of(name))
    if rows.tenure is not None:
        yield "fence", (name, shard_of(name) if name else None, rows.tenure.incarnation, rows.tenure.term)
    if rows.seen is not None:
        yield "seen", (rows.seen,)
    for kind, one in (
        ("rollout", rows.rollout),
        ("spec", rows.spec),
        ("receipt", rows.receipt),
        ("freezes", rows.freezes),
        ("image", rows.image),
    ):
        if one is not None:
            yield kind, one
    for kind, many in (
        ("event", rows.events),
        ("expected", rows.expected),
        ("record", rows.records),
        ("audit", rows.audit),
        ("look", rows.looks),
    ):
        for each in many:
            yield kind, each
    for drop in rows.drops:
        for key in drop.keys:
            first, second = (*map(str, key), "")[:2]
            yield "drop", (str(drop.kind), first, second)


# ------------------------------------------------------------------------------------------- the function


def _parameters(of: Columns) -> str:
    named = ["p_writer text", "p_number bigint", "p_count int"]
    for kind, columns in of.items():
        named.append(f"{kind}_n int[]")
        named += [f"{kind}_{name} {what}[]" for name, what in columns]
    return ", ".join([*named, "OUT p_first_event bigint, OUT p_outcomes smallint[], OUT p_details text[]"])


def _rows(kind: str) -> str:
    """The rows of a kind as r: r.n is the place of their transaction, r.place their own."""
    names = ["n", *(name for name, _ in COLUMNS[kind])]
    arrays = ", ".join(f"{kind}_{each}" for each in names)
    return f"unnest({arrays}) WITH ORDINALITY r({', '.join(names)}, place)"


def _good(kind: str) -> str:
    return f"{_rows(kind)} WHERE p_outcomes[r.n] = {SAVED}"


def _refuse(kind: str, outcome: int, why: str, where: str = "true", joined: str = "") -> str:
    return f"""
    IF cardinality({kind}_n) > 0 THEN
        FOR place, detail IN SELECT r.n, {why} FROM {_rows(kind)} {joined} WHERE {where} LOOP
            p_outcomes[place] := {outcome};
            p_details[place] := detail;
        END LOOP;
    END IF;"""  # noqa: S608  # our own words


REFUSALS = (
    _refuse(
        "receipt",
        DUPLICATE,
        "format('the key %L was used for another request; use a new key', r.key)",
        joined="JOIN repave.receipts s ON s.key = r.key AND s.body_hash <> r.body_hash",
    ),
    _refuse(
        "expected",
        CONFLICT,
        "format('%s %s is another one by now', r.kind, r.name)",
        "r.state IS DISTINCT FROM s.state",
        "LEFT JOIN repave.records s ON s.kind = r.kind AND s.name = r.name",
    ),
    _refuse(
        "audit",
        CONFLICT,
        "format('the audit log has a row %s by now', r.number)",
        joined="JOIN repave.audit s ON s.number = r.number",
    ),
    _refuse(
        "seen",
        CONFLICT,
        "format('another controller has saved change %s; %s was seen', others, r.change)",
        "r.change < others",
    ),
    _refuse(
        "fence",
        FENCED,
        "format('%s is decided by %s, term %s', r.application, coalesce(s.owner, 'no controller'), s.term)",
        "s.owner IS NULL OR s.term <> r.term",
        "JOIN repave.shards s ON s.number = r.shard",
    ),
    _refuse(
        "fence",
        FENCED,
        "format('the store is in incarnation %s by now', st.incarnation)",
        "r.incarnation <> st.incarnation",
    ),
)
"""The last one that applies counts."""


def _replace(kind: str, table: str, key: tuple[str, ...], **more: str) -> str:
    """Saves rows, the last of each key. `more`: further columns."""
    columns = [name for name, _ in COLUMNS[kind]]
    into = [*columns, *more]
    values = [*(f"r.{name}" for name in columns), *more.values()]
    newer = ", ".join(f"{name} = excluded.{name}" for name in into if name not in key)
    keys = ", ".join(f"r.{name}" for name in key)
    return f"""
    IF cardinality({kind}_n) > 0 THEN
        INSERT INTO repave.{table} ({", ".join(into)})
        SELECT DISTINCT ON ({keys}) {", ".join(values)}
        FROM {_good(kind)} ORDER BY {keys}, r.place DESC
        ON CONFLICT ({", ".join(key)}) DO UPDATE SET {newer};
    END IF;"""  # noqa: S608  # our own words


def _add(kind: str, table: str, otherwise: str = "") -> str:
    columns = [name for name, _ in COLUMNS[kind]]
    return f"""
    IF cardinality({kind}_n) > 0 THEN
        INSERT INTO repave.{table} ({", ".join(columns)})
        SELECT {", ".join(f"r.{name}" for name in columns)} FROM {_good(kind)} {otherwise};
    END IF;"""  # noqa: S608  # our own words


def _drop(table: str, columns: tuple[tuple[str, str], ...]) -> str:
    same = " AND ".join(
        f"t.{name} = CASE WHEN r.kind = '{table}' THEN r.{given}::{what} END"
        for (name, what), given in zip(columns, ("first", "second"), strict=False)
    )
    return f"""
        DELETE FROM repave.{table} t USING {_good("drop")} AND r.kind = '{table}' AND {same};"""  # noqa: S608  # our own words


YOUNGER = "ON CONFLICT (digest) DO UPDATE SET pushed_at = greatest(images.pushed_at, excluded.pushed_at)"


def _function(name: str, of: Columns, keys: Columns) -> str:
    looks = _replace("look", "analyses", ("application", "rollout", "id")) if "look" in of else ""
    return f"""CREATE OR REPLACE FUNCTION repave.{name}({_parameters(of)}) LANGUAGE plpgsql AS $save$
#variable_conflict use_column
DECLARE
    st repave.store%ROWTYPE;
    place int;
    detail text;
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
    p_details := array_fill(''::text, ARRAY[p_count]);
    IF cardinality(seen_n) > 0 THEN
        SELECT coalesce(max(change), 0) INTO others FROM repave.writers WHERE writer <> p_writer;
    END IF;
    IF cardinality(fence_n) > 0 THEN
        PERFORM 1 FROM repave.shards WHERE number = ANY (fence_shard) ORDER BY number FOR SHARE;
    END IF;
    {"".join(REFUSALS)}
    IF cardinality(event_n) > 0 THEN
        INSERT INTO repave.events
        SELECT st.next_event - 1 + row_number() OVER (ORDER BY r.place), r.at, r.kind, r.text, r.application,
            r.region, r.server_group, r.host, r.by
        FROM {_good("event")};
        GET DIAGNOSTICS events = ROW_COUNT;
    END IF;
    {_replace("application", "applications", ("name",), change="st.change")}
    {_replace("rollout", "rollouts", ("application", "number"))}
    {_replace("spec", "specs", ("application", "server_group"))}
    {_add("receipt", "receipts", "ON CONFLICT DO NOTHING")}
    IF cardinality(freezes_n) > 0 THEN
        INSERT INTO repave.freezes SELECT 1, r.state, st.change FROM {_good("freezes")}
        ORDER BY r.place DESC LIMIT 1
        ON CONFLICT (one) DO UPDATE SET state = excluded.state, change = excluded.change;
    END IF;
    {
        _replace(
            "record",
            "records",
            ("kind", "name"),
            change="st.change",
            gone_at="CASE WHEN r.state IS NULL THEN clock_timestamp() END",
        )
    }
    {_add("image", "images", YOUNGER)}
    {_add("audit", "audit")}{looks}
    IF cardinality(drop_n) > 0 THEN
        {"".join(_drop(table, columns) for table, columns in keys.items())}
    END IF;
    UPDATE repave.store SET change = st.change, next_event = st.next_event + events,
        event_change = CASE WHEN events > 0 THEN st.change ELSE event_change END;
    UPDATE repave.writers SET number = p_number, first_event = st.next_event, outcomes = p_outcomes,
        details = p_details,
        change = CASE WHEN cardinality(application_n) + cardinality(freezes_n) > 0
            THEN st.change ELSE change END,
        at = clock_timestamp()
    WHERE writer = p_writer;
    PERFORM pg_notify('{CHANNEL}', '');
END
$save$"""  # noqa: S608  # our own words


SAVE_1 = _function("save_1", COLUMNS_1, KEYS_1)
"""Controllers of the version before still call it while others are renewed."""
SAVE_2 = _function("save_2", COLUMNS, KEYS)
