"""What rules of retention look at, table by table, and how the oldest rows are asked for in SQL."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from repave_controller.core.domain.application import Instant
from repave_controller.core.ports import Aged, Kept


@dataclass(frozen=True, slots=True)
class Table:
    """`at` and `size` are expressions: since when a row is there (seconds since 1970), and about its bytes.
    `is_by_age`: its rows come by age, else by key."""

    name: str
    key: tuple[str, ...]
    at: str
    size: str
    is_by_age: bool = False


def tables_of(number_in: Callable[[str, str], str]) -> Mapping[Kept, Table]:
    """`number_in` is the expression for a number in a column of JSON, by the column and the field."""
    began, audited = number_in("state", "started_at"), number_in("text", "at")
    return {
        Kept.EVENTS: Table("events", ("sequence",), "at", "length(text) + 80"),
        Kept.RECEIPTS: Table("receipts", ("key",), "at", "length(response) + 150", is_by_age=True),
        Kept.ROLLOUTS: Table("rollouts", ("application", "number"), f"coalesce({began}, 0)", "length(state)"),
        Kept.SPECS: Table("specs", ("application", "server_group"), "at", "length(text)"),
        Kept.IMAGES: Table("images", ("digest",), "pushed_at", "size_bytes", is_by_age=True),
        Kept.ANALYSES: Table("analyses", ("application", "rollout"), "at", "length(details) + 100"),
        Kept.AUDIT: Table("audit", ("number",), f"coalesce({audited}, 0)", "length(text) + 70"),
    }


def oldest_of(
    table: Table, limit: int, after: Aged | None, place: Callable[[int], str], schema: str = ""
) -> tuple[str, tuple[str | int | float, ...]]:
    """The query for the first rows, or those behind `after`, and its values; `place` is how a value is named
    by its number from 1 on."""
    order = ", ".join((table.at, *table.key) if table.is_by_age else table.key)
    where, values = "", tuple[str | int | float, ...]()
    if after is not None:
        values = (after.at, *after.key) if table.is_by_age else after.key
        where = f"WHERE ({order}) > ({', '.join(place(n) for n in range(1, len(values) + 1))})"
    query = (
        f"SELECT {', '.join(table.key)}, {table.at}, {table.size} FROM {schema}{table.name} {where} "  # noqa: S608  # our own words
        f"ORDER BY {order} LIMIT {place(len(values) + 1)}"
    )
    return query, (*values, limit)


def aged(row: Sequence[Any]) -> Aged:
    """A row of that query."""
    *key, at, size = row
    return Aged(tuple(key), Instant(at), size)
