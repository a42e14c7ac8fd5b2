"""What every test leaves behind: the logs as they were."""

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """A process's main configures the logs of the whole process, also when a test runs it in this one."""
    yield
    structlog.reset_defaults()
