"""A controller whose store is in PostgreSQL, on real processes: it is killed in a release, and its database
restarted in the next one."""

import asyncio
from pathlib import Path

import pytest

from tests.support.postgresql import Server
from tests.support.stage import Stage, staged

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


async def test_releases_go_on_after_the_controller_was_killed_and_the_database_restarted(
    directory: Path, database_url: str, postgresql_server: Server
) -> None:
    settings = {"REPAVE_CONTROLLER_STORE__URL": database_url}
    with staged(directory, regions=("paris",), controller_environment=settings) as stage:
        await begun(stage, "v1")
        stage.kill_controller()
        await asyncio.to_thread(stage.start_controller)
        assert await outcome(stage) == (1, "succeeded")
        await begun(stage, "v2")
        postgresql_server.restart()
        assert await outcome(stage) == (2, "succeeded")
        assert stage.weights() == {"paris": {"hello-v002": 10_000}}
        assert not (directory / "controller" / "controller.db").exists()


async def begun(stage: Stage, version: str) -> None:
    await asyncio.to_thread(stage.release, version)
    await asyncio.to_thread(
        stage.wait,
        lambda: any(version.replace("v", "v00") in each for each in stage.hosts()["paris"]),
        "a host",
    )


async def outcome(stage: Stage) -> tuple[object, object]:
    ended = await asyncio.to_thread(stage.ended)
    return ended["number"], ended["phase"]


@pytest.mark.rig
async def test_a_database_that_was_put_back_changes_nothing_until_recover(
    directory: Path, database_url: str, postgresql_server: Server
) -> None:
    name = database_url.rpartition("/")[2]
    settings = {"REPAVE_CONTROLLER_STORE__URL": database_url}
    with staged(directory, regions=("paris",), controller_environment=settings) as stage:
        await released(stage, "v1")
        stage.kill_controller()
        postgresql_server.end_sessions(name)
        postgresql_server.psql(f"CREATE DATABASE {name}_kept TEMPLATE {name}")
        await asyncio.to_thread(stage.start_controller)
        await released(stage, "v2")
        hosts = stage.hosts()
        stage.kill_controller()
        postgresql_server.psql(f"DROP DATABASE {name} WITH (FORCE)")
        postgresql_server.psql(f"ALTER DATABASE {name}_kept RENAME TO {name}")
        await asyncio.to_thread(stage.start_controller)
        await asyncio.to_thread(
            stage.wait, lambda: any(each["ahead"] for each in stage.get("regions")["items"]), "notice"
        )
        assert stage.get("applications/hello")["serving"] == "hello-v001"
        assert stage.hosts() == hosts
        recovered = await asyncio.to_thread(stage.repave, "controller", "recover", "--yes")
        assert recovered.returncode == 0, recovered
        await asyncio.to_thread(
            stage.wait, lambda: stage.weights() == {"paris": {"hello-v002": 10_000}}, "v2"
        )
        assert stage.hosts() == hosts, "nothing was made and nothing destroyed"
        await released(stage, "v3")
        assert stage.weights() == {"paris": {"hello-v003": 10_000}}


async def released(stage: Stage, version: str) -> None:
    await asyncio.to_thread(stage.release, version, size=1, warm="0s")
    assert (await outcome(stage))[1] == "succeeded", stage.logs()
