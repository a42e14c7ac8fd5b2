"""The PostgreSQL that tests have: each test its own database, and what happens to it can be chosen."""

import subprocess

import pytest

from tests.support.postgresql import Server, needs_postgresql, server


def test_each_database_is_new_and_empty(postgresql_server: Server) -> None:
    first, second = (postgresql_server.fresh().rpartition("/")[2] for _ in range(2))
    postgresql_server.psql("CREATE TABLE mine (one int)", first)
    with pytest.raises(subprocess.CalledProcessError):
        postgresql_server.psql("SELECT * FROM mine", second)


@needs_postgresql
def test_what_was_saved_is_there_after_a_kill() -> None:
    with server() as running:
        running.psql("CREATE TABLE mine (one int); INSERT INTO mine VALUES (7)")
        running.kill()
        with pytest.raises(subprocess.CalledProcessError):
            running.psql("SELECT 1")
        running.start()
        assert running.psql("SELECT * FROM mine") == "7"
