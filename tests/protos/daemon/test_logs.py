"""How faults reach the log: once a minute each, and never as anything that controls a terminal."""

import asyncio
import json
from collections.abc import Iterator

import pytest
import structlog

from repave_protos.daemon.logs import LogSettings, configure_logs, log_faults_of

NO_DESCRIPTORS = "socket.accept() out of system resource"


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Iterator[Clock]:
    yield Clock()
    structlog.reset_defaults()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_fault_that_repeats_is_written_once_a_minute(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logs(LogSettings(format="json"), clock)
    log = structlog.get_logger()
    for _ in range(1000):
        log.warning("api.connections_full", most=480)
    log.warning("api.connections_full", most=8)
    clock.now += 60.0
    log.warning("api.connections_full", most=480)
    written = [(each["most"], each.get("repeated")) for each in lines(capsys)]
    assert written == [(480, None), (8, None), (480, 999)]


def test_what_is_no_fault_is_always_written(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(LogSettings(format="json"), clock)
    for _ in range(3):
        structlog.get_logger().info("release.started")
    assert len(lines(capsys)) == 3


@pytest.mark.parametrize("settings", [LogSettings(format="json"), LogSettings(format="text")])
def test_a_value_cannot_control_the_terminal(
    settings: LogSettings, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logs(settings, clock)
    structlog.get_logger().info("host.said", text="\x1b]0;title\x07\nforged\u202e")
    written = capsys.readouterr().err
    assert written.count("\n") == 1
    assert not set(written) & {"\x1b", "\x07", "\u202e"}


@pytest.mark.parametrize("settings", [LogSettings(format="json"), LogSettings(format="text")])
def test_nor_can_an_error_that_quotes_it_nor_does_it_forge_an_event(
    settings: LogSettings, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logs(settings, clock)
    said = "\x1b[2J\n2026-01-01T00:00:00Z [info     ] audit  who=admin\u202e\r"
    try:
        raise ValueError(said)
    except ValueError as error:
        structlog.get_logger().exception("request.failed", several=[said], error=error)
    written = capsys.readouterr().err
    assert "ValueError" in written
    assert not set(written) & {"\x1b", "\r", "\u202e"}
    assert not [line for line in written.splitlines()[1:] if not line.startswith("    ")]


async def test_what_no_task_catches_is_logged_as_a_fault(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logs(LogSettings(format="json"), clock)
    loop = asyncio.get_running_loop()
    log_faults_of(loop)
    for _ in range(200):
        loop.call_exception_handler({"message": NO_DESCRIPTORS, "exception": OSError(24, "too many")})
    (line,) = lines(capsys)
    assert (line["event"], line["text"]) == ("loop.fault", NO_DESCRIPTORS)
