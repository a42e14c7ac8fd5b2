"""Asks one port very many times over a few connections: requests go out a hundred at a time, each of them a
whole request that is decided by itself, and the answers come back in the same order."""

import asyncio
import re
from collections.abc import Sequence
from functools import partial
from typing import cast

CONNECTIONS = 4
AHEAD_MAX = 100
_BODY = re.compile(rb"\r\n\r\n(\S+)\n")


async def ask_all(port: int, headers: Sequence[str], address: str = "127.0.0.1") -> list[str]:
    """The body of the answer to each request; `headers` has the header lines of each, without line ends.

    Raises ConnectionError when a connection is closed before its last answer.
    """
    shares = [headers[each::CONNECTIONS] for each in range(CONNECTIONS) if headers[each::CONNECTIONS]]
    loop = asyncio.get_running_loop()
    askers = [_Asker(share, loop.create_future()) for share in shares]
    for asker in askers:
        await loop.create_connection(partial(_same, asker), address, port)
    answers = [""] * len(headers)
    for number, answered in enumerate(await asyncio.gather(*(asker.done for asker in askers))):
        answers[number::CONNECTIONS] = answered
    return answers


def _same(asker: "_Asker") -> "_Asker":
    return asker


class _Asker(asyncio.Protocol):
    def __init__(self, headers: Sequence[str], done: asyncio.Future[list[str]]) -> None:
        self.done = done
        self._requests = [_request(each) for each in headers]
        self._asked = 0
        self._answers: list[str] = []
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._ask()

    def _ask(self) -> None:
        some = self._requests[self._asked : self._asked + AHEAD_MAX]
        self._asked += len(some)
        self._transport.write(b"".join(some))

    def data_received(self, some: bytes) -> None:
        self._received += some
        end = 0
        for match in _BODY.finditer(self._received):
            self._answers.append(match[1].decode())
            end = match.end()
        self._received = self._received[end:]
        if len(self._answers) < self._asked:
            return
        if self._asked < len(self._requests):
            self._ask()
        else:
            self.done.set_result(self._answers)
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            left = len(self._requests) - len(self._answers)
            self.done.set_exception(ConnectionError(f"closed with {left} answers missing: {error}"))


def _request(header: str) -> bytes:
    more = f"{header}\r\n" if header else ""
    return f"GET / HTTP/1.1\r\nHost: test\r\n{more}\r\n".encode()
