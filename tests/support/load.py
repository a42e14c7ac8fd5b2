"""An honest load generator: so many requests a second over keep-alive and closing connections, each recorded.

    python -m tests.support.load --url http://127.0.0.1:8000/ --rate 1000 --keepalive 8 --closing 8 --out FILE

runs until --seconds have passed or SIGTERM, writes a line of JSON per request to FILE and a summary to
standard output. In process: `load = Load(url, rate=500); await load.start(); result = await load.stop()`.
Times are time.monotonic(), which all processes of a machine share. It never tries a request again: whatever
is not an answer with a status below 400 is a failure. A keep-alive connection that the server ends politely
(with `Connection: close` in an answer, or while nothing is asked) is opened anew.
"""

import argparse
import asyncio
import errno
import json
import os
import signal
import socket
import sys
import time
from collections import deque
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.load_result import LoadResult, Recording

TICK_SECONDS, SLOW_TICK_SECONDS = 0.002, 0.02
TICKS_PER_SWEEP = 50  # for requests that take too long
VERSION_BYTES_MAX = 32
BEHIND_SECONDS_MAX = 1.0  # what could not be sent for so long, for want of a free connection, is given up
CLOSE = "Connection: close\r\n"


class Load:
    """Open loop: requests are begun at `rate` a second whatever the answers do, turn about on keep-alive
    connections and on new ones, at most `keepalive` and `closing` at once."""

    def __init__(
        self,
        url: str,
        rate: float,
        keepalive: int = 8,
        closing: int = 8,
        timeout_seconds: float = 10.0,
    ) -> None:
        parts = urlsplit(url)
        assert parts.scheme == "http", f"{url}: only plain http is spoken"
        assert parts.hostname, f"{url}: names no host"
        found = socket.getaddrinfo(parts.hostname, parts.port or 80, type=socket.SOCK_STREAM)
        self.family, self.address = found[0][0], found[0][4]
        self._recording = Recording()
        self.timeout_seconds = timeout_seconds
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._head = f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        self._rate = rate
        self._tick_seconds = min(max(TICK_SECONDS, 0.1 / rate), SLOW_TICK_SECONDS)
        self._lanes = [Lane(self, self._text(False), is_closing=False) for _ in range(keepalive)]
        self._lanes += [Lane(self, self._text(True), is_closing=True) for _ in range(closing)]
        self._free = (deque(self._lanes[:keepalive]), deque(self._lanes[keepalive:]))
        self._turn = 0
        self._given_up = 0
        self._started_at, self._begun, self._ticks = 0.0, 0, 0
        self._ticking: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        self._started_at, self._begun = time.monotonic(), 0
        self._tick()

    async def stop(self) -> LoadResult:
        """Asks one last time, so that what serves now is heard whatever the rate; lets all requests end, and
        tells what came of them."""
        assert self._ticking is not None, "the load was not started"
        self._ticking.cancel()
        self._begin(1)
        while any(lane.is_busy for lane in self._lanes):
            self._end_overdue()
            await asyncio.sleep(TICK_SECONDS)
        for lane in self._lanes:
            lane.close()
        return self.so_far()

    def so_far(self) -> LoadResult:
        return LoadResult(tuple(self._recording), self._given_up)

    @property
    def answers(self) -> int:
        """How many requests have ended, well or badly."""
        return len(self._recording)

    def record(self, lane: "Lane", status: int, text: str) -> None:
        """A lane's request has ended: notes it, and the lane is free again."""
        self._recording.add(lane.begun, time.monotonic(), status, text)
        self._free[lane.is_closing].append(lane)

    def _text(self, is_closing: bool) -> bytes:
        return f"{self._head}{CLOSE * is_closing}\r\n".encode()

    def _tick(self) -> None:
        due = int((time.monotonic() - self._started_at) * self._rate) - self._begun
        sent = self._begin(due)
        excess = max(0, due - sent - int(self._rate * BEHIND_SECONDS_MAX))
        self._given_up += excess
        self._begun += sent + excess
        if self._ticks % TICKS_PER_SWEEP == 0:
            self._end_overdue()
        self._ticks += 1
        self._ticking = asyncio.get_running_loop().call_later(self._tick_seconds, self._tick)

    def _begin(self, due: int) -> int:
        for sent in range(due):
            self._turn = 1 - self._turn
            free = self._free[self._turn] or self._free[1 - self._turn]
            if not free:
                return sent
            free.popleft().begin()
        return max(due, 0)

    def _end_overdue(self) -> None:
        late = time.monotonic() - self.timeout_seconds
        for lane in self._lanes:
            if lane.is_busy and lane.begun < late:
                lane.fail("timeout")


class Lane:
    """One request at a time, on a connection that is kept or on a new one each time. Plain sockets and the
    loop's readers, by descriptor: less than half the cost of transports."""

    def __init__(self, load: Load, text: bytes, is_closing: bool) -> None:
        self.is_closing = is_closing
        self.is_busy = False
        self.begun = 0.0
        self._is_opening = False
        self._load = load
        self._text = text
        self._loop = asyncio.get_running_loop()
        self._connection: socket.socket | None = None
        self._answer = b""

    def begin(self) -> None:
        self.is_busy, self._answer, self.begun = True, b"", time.monotonic()
        if self._connection is not None and not _is_idle(self._connection):
            self.close()
        if self._connection is None:
            self._open()
        else:
            self._send(self._connection)

    def fail(self, kind: str) -> None:
        self.close()
        self._end(0, kind)

    def close(self) -> None:
        if self._connection is not None:
            self._loop.remove_reader(self._connection.fileno())
            if self._is_opening:
                self._loop.remove_writer(self._connection.fileno())
                self._is_opening = False
            self._connection.close()
            self._connection = None

    def _open(self) -> None:
        self._connection = connection = socket.socket(self._load.family, socket.SOCK_STREAM)
        connection.setblocking(False)
        outcome = connection.connect_ex(self._load.address)
        if outcome in (0, errno.EINPROGRESS):
            self._send(connection)
            if self._connection is connection:
                self._loop.add_reader(connection.fileno(), self._readable)
        else:
            self.fail(f"no connection: {os.strerror(outcome)}")

    def _send(self, connection: socket.socket) -> None:
        """A connection on loopback is there at once; on another it is waited for."""
        try:
            connection.send(self._text)
        except BlockingIOError:
            self._is_opening = True
            self._loop.add_writer(connection.fileno(), self._writable)
        except OSError as error:
            self.fail(f"not sent: {error.strerror}")

    def _writable(self) -> None:
        assert self._connection is not None
        self._is_opening = False
        self._loop.remove_writer(self._connection.fileno())
        self._send(self._connection)

    def _readable(self) -> None:
        assert self._connection is not None
        try:
            part = self._connection.recv(65536)
        except BlockingIOError:
            return
        except OSError as error:
            self._ended(error.strerror or "error")
            return
        if not part:
            self._ended("closed")
        elif self.is_busy:
            self._answer = self._answer + part if self._answer else part
            self._take(is_ended=False)

    def _ended(self, how: str) -> None:
        """Fine while nothing is asked, and where an answer is delimited by it."""
        self.close()
        if self.is_busy and self._answer:
            self._take(is_ended=True)
        if self.is_busy:
            self.fail(f"{how} in the middle of an answer" if self._answer else f"{how} without an answer")

    def _take(self, is_ended: bool) -> None:
        """Ends the request when the whole answer is there."""
        answer = self._answer
        body_start = answer.find(b"\r\n\r\n") + 4
        head = answer[:body_start].lower()
        if body_start < 4 or not _is_whole(head, answer, body_start, is_ended):
            return
        if self.is_closing or b"\r\nconnection: close" in head:
            self.close()
        status = int(head[9:12]) if head[9:12].isdigit() else 0
        if 100 <= status < 400:
            line = answer[body_start : body_start + VERSION_BYTES_MAX].split(b"\n", 1)[0]
            self._end(status, line.strip().decode(errors="replace"))
        else:
            self._end(status, f"status {status}")

    def _end(self, status: int, text: str) -> None:
        self.is_busy = False
        self._load.record(self, status, text)


def _is_idle(connection: socket.socket) -> bool:
    """Whether it can take a request: like any careful client, looks for the server's end first."""
    try:
        connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def _is_whole(head: bytes, answer: bytes, body_start: int, is_ended: bool) -> bool:
    """Whether the answer's body has come completely; `head` is in lower case."""
    start = head.find(b"\r\ncontent-length:")
    if start >= 0:
        length = int(head[start + 17 : head.index(b"\r\n", start + 17)])
        return len(answer) >= body_start + length
    if b"\r\ntransfer-encoding: chunked" in head:
        return answer.endswith(b"\r\n0\r\n\r\n") or answer[body_start:] == b"0\r\n\r\n"
    return is_ended or head[9:12] in (b"204", b"304")


# --------------------------------------------------------------------------------------------- as a program


async def _main(wanted: argparse.Namespace) -> LoadResult:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    load = Load(wanted.url, wanted.rate, wanted.keepalive, wanted.closing)
    await load.start()
    if wanted.out:
        wanted.out.touch()  # it has begun
    try:
        await asyncio.wait_for(ended.wait(), wanted.seconds)
    except TimeoutError:
        pass
    return await load.stop()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.support.load", description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--rate", type=float, default=1000.0, help="requests a second")
    parser.add_argument("--keepalive", type=int, default=8, help="connections that are kept")
    parser.add_argument(
        "--closing", type=int, default=8, help="connections at once that serve one request each"
    )
    parser.add_argument("--seconds", type=float, help="how long; without it until SIGTERM")
    parser.add_argument("--out", type=Path, help="where each request is written as a line of JSON")
    wanted = parser.parse_args()
    result = asyncio.run(_main(wanted))
    if wanted.out:
        result.write(wanted.out)
    json.dump(result.summary(), sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
