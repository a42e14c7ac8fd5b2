"""What every test finds and leaves behind, and in which order they run."""

import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

from repave_protos.package.archive import pack
from tests.support import postgresql
from tests.support.preloaded import PRELOADED
from tests.support.stage import Stage

settings.register_profile("repave", deadline=None)  # a busy machine fails no property
settings.load_profile("repave")

gc.disable()  # until all is collected: most of what is loaded and found stays

LONGEST_FIRST = ("simulation", "e2e")
"""Folders whose files run first, so that no worker is left with a long one at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: _turn(item.path))
    if os.environ.get("REPAVE_TEST_RIGS") != "1":
        for each in items:
            if each.get_closest_marker("rig"):
                each.add_marker(pytest.mark.skip("slow: run by make test-rigs"))


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def _turn(path: Path) -> int:
    room = path.relative_to(Path(__file__).parent).parts[0]
    return LONGEST_FIRST.index(room) if room in LONGEST_FIRST else len(LONGEST_FIRST)


@pytest.fixture(autouse=True, scope="session")
def interrupts_are_heard() -> None:
    """Shells start what runs in the background deaf to SIGINT, and what that starts would be deaf as well."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """A process's main configures the logs of the whole process, also when a test runs it in this one."""
    yield
    structlog.reset_defaults()


@pytest.fixture(autouse=True, scope="session")
def preloaded() -> Iterator[None]:
    """Stages of tests fork their controllers and agents."""
    Stage.preloaded = PRELOADED
    yield
    Stage.preloaded = None
    PRELOADED.close()


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[postgresql.Server]:
    """One for all tests of this process. A test that kills or fills it takes `postgresql.server` instead."""
    if postgresql.binaries() is None:
        pytest.skip("PostgreSQL is not installed: make tools")
    with postgresql.server() as server:
        yield server


@pytest.fixture(scope="session")
def _empty_databases() -> list[str]:
    return []


@pytest.fixture
def database_url(postgresql_server: postgresql.Server, _empty_databases: list[str]) -> Iterator[str]:
    """Of an empty database of the test's own."""
    url = _empty_databases.pop() if _empty_databases else postgresql_server.fresh()
    yield url
    postgresql_server.empty(url)
    _empty_databases.append(url)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package with one file, page.html."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "page.html").write_text("shop")
    pack(tmp_path / "shop", tmp_path / "shop.tar.gz")
    return tmp_path / "shop.tar.gz"
