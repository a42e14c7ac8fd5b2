"""A stage for each test, in a short directory (a socket's path has 107 bytes), with nothing left behind."""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.rigs import reachable, until_ready, why_no_openstack
from tests.support.stage import Stage, staged


@pytest.fixture
def directory() -> Iterator[Path]:
    """For a stage that the test sets up itself."""
    if shutil.which("haproxy") is None and not Path("/usr/sbin/haproxy").exists():
        pytest.skip("haproxy is not installed: apt install haproxy")
    directory = Path(tempfile.mkdtemp(prefix="rp"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def stage(request: pytest.FixtureRequest, directory: Path) -> Iterator[Stage]:
    with staged(directory, **getattr(request, "param", {})) as started:
        yield started


@pytest.fixture(scope="module")
def rig() -> Iterator[None]:
    """A real OpenStack, whose servers are reachable."""
    if reason := why_no_openstack():
        pytest.skip(reason)
    asyncio.run(until_ready())
    with reachable():
        yield
