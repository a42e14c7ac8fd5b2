"""All that controllers which share a database keep in it: decisions, members, reports and letters."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from repave_controller.stores.postgresql.connection import Database
from repave_controller.stores.postgresql.letters import LetterTable
from repave_controller.stores.postgresql.members import Members
from repave_controller.stores.postgresql.place import Place
from repave_controller.stores.postgresql.reports import ReportTables
from repave_controller.stores.postgresql.store import PostgresStore


@dataclass(frozen=True, slots=True)
class Shared:
    """Over one database, which the store opens and closes."""

    store: PostgresStore
    members: Members
    reports: ReportTables
    letters: LetterTable


def shared_in(place: Place, new_name: Callable[[], str]) -> Shared:
    """`new_name` names a store that is made; it may raise StoreError."""
    chance = random.Random()  # noqa: S311  # pauses, and keys of locks
    database = Database(place, chance)
    store = PostgresStore(database, new_name=new_name)
    letters = LetterTable(database, store.hints)
    return Shared(store, Members(database, chance), ReportTables(database), letters)
