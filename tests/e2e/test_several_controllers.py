"""Three controllers on one PostgreSQL, on real processes: what people see when one of them goes."""

import asyncio
from pathlib import Path

import pytest

from tests.support.several import SeveralStage
from tests.support.stage import kept

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


async def test_a_release_goes_on_when_the_controller_that_decides_for_it_is_killed_or_frozen(
    directory: Path, database_url: str
) -> None:
    with kept(SeveralStage(directory, database=database_url)) as stage:
        await asyncio.to_thread(stage.release, "v1")
        assert await outcome(stage) == (1, "succeeded")

        killed = stage.owner()
        stage.turn_to(stage.another(killed))
        await begun(stage, "v2")
        stage.kill(killed)
        assert await outcome(stage) == (2, "succeeded")

        frozen = stage.owner()
        stage.turn_to(stage.another(frozen))
        await begun(stage, "v3")
        stage.freeze(frozen)
        assert await outcome(stage) == (3, "succeeded")
        stage.thaw(frozen)
        assert stage.weights() == {region: {"hello-v003": 10_000} for region in stage.regions}


async def begun(stage: SeveralStage, version: str) -> None:
    await asyncio.to_thread(stage.release, version)
    group = version.replace("v", "v00")
    await asyncio.to_thread(
        stage.wait, lambda: any(group in each for hosts in stage.hosts().values() for each in hosts), "a host"
    )


async def outcome(stage: SeveralStage) -> tuple[object, object]:
    ended = await asyncio.to_thread(stage.ended)
    return ended["number"], ended["phase"]
