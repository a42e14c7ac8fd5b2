"""How a host ended and where it listens, in words that fit a row."""

import os
import socket
from pathlib import Path

import pytest

from repave_agent.providers.epitaph import epitaph
from repave_agent.providers.listening import listeners_in, told

TRACEBACK = """Traceback (most recent call last):
  File "/app/app.py", line 1, in <module>
    import flask
ModuleNotFoundError: No module named 'flask'

"""


@pytest.mark.parametrize(
    ("seconds", "tail", "text"),
    [
        (0.31, "", "exited with code 1 after 0.3 s; its log is empty"),
        (None, " \n\n", "exited with code 1; its log is empty"),
        (600.0, "bye\n", "exited with code 1 after 10 min; its log ends: bye"),
        (
            2.0,
            TRACEBACK,
            "exited with code 1 after 2.0 s; its log ends: Traceback (most recent call last): | "
            'File "/app/app.py", line 1, in <module> | import flask | '
            "ModuleNotFoundError: No module named 'flask'",
        ),
    ],
)
def test_an_end_is_told_in_one_line(seconds: float | None, tail: str, text: str) -> None:
    assert epitaph("exited with code 1", seconds, tail) == text


def test_of_a_long_line_the_end_is_told() -> None:
    assert epitaph("ended", None, "x" * 900 + "y").endswith("x" * 399 + "y")


TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1 0 100 0 0 10 0
   1: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12 1 0 100 0 0 10 0
   2: 0100007F:1F91 0100007F:0050 01 00000000:00000000 00:00000000 00000000     0        0 13 1 0 100 0 0 10 0
   0: 00000000000000000000000001000000:1F40 0:0 0A 00000000:00000000 00:00000000 0 0 0 14 1 0
   0: 0000000000000000FFFF00000100007F:1F41 0:0 0A 00000000:00000000 00:00000000 0 0 0 15 1 0
   nonsense
"""


def test_where_processes_listen_is_read_from_the_kernel_s_tables() -> None:
    assert listeners_in(TABLE.splitlines(), {11, 12, 13, 99}) == ("0.0.0.0:80", "127.0.0.1:8080")
    assert set(listeners_in(TABLE.splitlines(), {14, 15})) == {"[::1]:8000", "127.0.0.1:8001"}
    assert told(()) == ", and its processes listen on no port"
    assert told(("a:1", "b:2", "c:3", "d:4")) == ", but on a:1, b:2, c:3 and 1 more"


def test_our_own_socket_is_found_in_the_real_table() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        inode = os.fstat(server.fileno()).st_ino
        lines = Path("/proc/net/tcp").read_text().splitlines()
        assert listeners_in(lines, {inode}) == (f"127.0.0.1:{server.getsockname()[1]}",)
