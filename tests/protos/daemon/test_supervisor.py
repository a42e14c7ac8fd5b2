"""A daemon's words to the systemd that started it, on a real socket."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from repave_protos.daemon.supervisor import ALIVE, READY, supervisor_of


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(5)
        yield listening


def test_what_is_told_arrives(heard: socket.socket) -> None:
    supervisor_of({"NOTIFY_SOCKET": heard.getsockname()}).tell(READY)
    assert heard.recv(100) == b"READY=1"


def test_a_socket_without_a_file_is_told_too() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0repave-test-{os.getpid()}")
        listening.settimeout(5)
        supervisor_of({"NOTIFY_SOCKET": f"@repave-test-{os.getpid()}"}).tell(READY)
        assert listening.recv(100) == b"READY=1"


async def test_a_loop_that_turns_says_so(heard: socket.socket) -> None:
    supervisor = supervisor_of({"NOTIFY_SOCKET": heard.getsockname(), "WATCHDOG_USEC": "30000"})
    assert supervisor.patience_seconds == 0.03
    turning = asyncio.create_task(supervisor.keep_alive())
    for _ in range(3):
        assert await asyncio.to_thread(heard.recv, 100) == ALIVE.encode()
    turning.cancel()


async def test_no_watchdog_is_no_work(heard: socket.socket) -> None:
    await asyncio.wait_for(supervisor_of({"NOTIFY_SOCKET": heard.getsockname()}).keep_alive(), 5)


def test_children_can_not_speak_for_the_daemon() -> None:
    environment = {"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "PATH": "/bin"}
    assert supervisor_of(environment).patience_seconds == 0.0, "it is another process that is watched"
    assert environment == {"PATH": "/bin"}


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": "/nowhere/notify"}])
def test_a_supervisor_that_is_not_there_is_no_error(environment: dict[str, str]) -> None:
    supervisor_of(environment).tell(READY)
