"""Three real controllers on one real PostgreSQL are killed, stopped and cut off: each region is a register
nevertheless, and no command that was acknowledged is lost."""

from pathlib import Path

import pytest

from tests.support.history import lost_or_doubled, violations
from tests.support.postgresql import needs_postgresql
from tests.support.sharing import lived, rollouts_in

pytestmark = needs_postgresql


async def check(folder: Path, url: str, seconds: float, seed: int) -> int:
    """Returns how many rollouts there were."""
    world = await lived(folder, url, seconds, seed)
    told = f"after {', '.join(world.struck)}"
    assert violations(world.writes, world.reads) == [], told
    assert violations(world.served, world.reads) == [], told
    assert lost_or_doubled(world.asked, await rollouts_in(url)) == [], told
    return len(world.served)


@pytest.mark.timeout(600)
async def test_each_region_is_a_register_whatever_happens_to_controllers(
    database_url: str, tmp_path: Path
) -> None:
    assert await check(tmp_path, database_url, 4.0, seed=1) > 0


@pytest.mark.rig
@pytest.mark.timeout(1200)
async def test_each_region_is_a_register_for_ten_minutes(database_url: str, tmp_path: Path) -> None:
    assert await check(tmp_path, database_url, 600.0, seed=2) > 100
