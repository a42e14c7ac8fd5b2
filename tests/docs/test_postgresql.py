"""What docs/postgresql.md tells to do in the database is done as it stands there."""

import re

from repave_controller.core.domain.application import Application, Event
from repave_controller.core.domain.rollout import GroupNumber
from repave_controller.core.ports import Transaction
from repave_controller.stores.postgresql.connection import Database
from repave_controller.stores.postgresql.place import Place
from repave_controller.stores.postgresql.store import PostgresStore
from repave_protos.protocol.values import ApplicationName
from tests.support.paths import ROOT
from tests.support.postgresql import Server

PAGE = (ROOT / "docs" / "postgresql.md").read_text()
SET_UP, LOOK = re.findall(r"```sql\n(.*?)```", PAGE.replace("   ", ""), flags=re.DOTALL)


async def test_the_user_and_the_rights_shown_are_all_that_is_needed(postgresql_server: Server) -> None:
    for statement in SET_UP.replace("repave", "shown").split(";"):
        postgresql_server.psql(statement)
    store = PostgresStore(Database(Place(postgresql_server.url("shown", "shown"))))
    await store.open()
    name = ApplicationName("hello")
    await store.commit(Transaction(Application(name, name, GroupNumber(1)), (Event("told", "moved"),)))
    phases, events = (postgresql_server.psql(each, "shown") for each in LOOK.strip().split(";")[:2])
    assert phases.startswith("hello|")
    assert events.endswith("|moved")
    await store.close()
