"""A stage for each test, in a short directory (a socket's path has 107 bytes), with nothing left behind."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stage import Stage, staged


@pytest.fixture
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    if shutil.which("haproxy") is None and not Path("/usr/sbin/haproxy").exists():
        pytest.skip("haproxy is not installed: apt install haproxy")
    options = getattr(request, "param", {})
    directory = Path(tempfile.mkdtemp(prefix="rp"))
    try:
        with staged(directory, **options) as started:
            yield started
    finally:
        shutil.rmtree(directory, ignore_errors=True)
