"""A stage for each test, in a short directory (a socket's path has 107 bytes), with nothing left behind."""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.rigs import (
    CloudRig,
    a_net,
    cloud_rig,
    reachable,
    until_ready,
    why_no_cloud,
    why_no_openstack,
)
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


@pytest.fixture
def cloud(request: pytest.FixtureRequest, directory: Path) -> Iterator[tuple[str, CloudRig]]:
    """A stand-in by name, whose machines run and are reachable."""
    name = str(request.param)
    if reason := why_no_cloud(name):
        pytest.skip(reason)
    with a_net() as net:
        addresses = "172.31.0.0/16" if name == "aws" else f"10.{net}.0.0/16"
        with reachable(addresses), cloud_rig(name, directory / "rig", net) as rig:
            rig.reset(run_user_data=True, boot_seconds=0.2, operation_seconds=0.2)
            yield name, rig
