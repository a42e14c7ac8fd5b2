"""Questions to hosts, each over a socket of its own: no task, no stream and no transport for any of them.

One epoll watches all their sockets, and the loop watches that; so one wake serves every host that has
answered by then. Only for numeric addresses: a name would have to be looked up first (`prober.py`). Which
answer is good is `answer.py`'s.
"""

import asyncio
import errno
import os
import select
import socket
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import assert_never

from repave_agent.core.health_request import request_bytes, request_fault
from repave_agent.core.host_health import PASSED, ProbeResult
from repave_agent.health.answer import Answer
from repave_protos.daemon.endpoint import endpoint
from repave_protos.protocol.values import Probe

RECEIVED_MAX = 65_536
"""Bytes taken at once."""
EVENTS_MAX = 256
_STREAM = socket.SOCK_STREAM | socket.SOCK_NONBLOCK
_EDGES = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET


def is_numeric(address: str) -> bool:
    try:
        ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Question:
    """What a host is asked again and again. `fault`: why it can't be."""

    probe: Probe
    address: str
    request: bytes = b""
    fault: str = ""


def question_of(probe: Probe, address: str) -> Question:
    """Over HTTP or TCP."""
    if probe.kind != "http":
        return Question(probe, address)
    fault = request_fault(probe)
    return Question(probe, address, b"" if fault else request_bytes(probe), fault)


class Exchange:
    """One question under way. `done` hears what came of it, once."""

    __slots__ = ("answer", "done", "is_over", "question", "socket", "timer", "unsent")

    def __init__(
        self, question: Question, connection: socket.socket, done: Callable[[ProbeResult], None]
    ) -> None:
        self.question, self.socket, self.done = question, connection, done
        self.answer = Answer(question.probe.expect_status)
        self.unsent = question.request
        self.is_over = False
        self.timer: asyncio.TimerHandle | None = None


class Exchanges:
    """All questions that are under way in one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._by_number: dict[int, Exchange] = {}  # of its socket
        loop.add_reader(self._epoll.fileno(), self._serve)

    def close(self) -> None:
        """Those under way are cancelled."""
        for exchange in tuple(self._by_number.values()):
            self.cancel(exchange)
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def begin(self, question: Question, done: Callable[[ProbeResult], None]) -> Exchange | None:
        """Asks. None when there is nothing to wait for: then `done` has heard already."""
        if question.fault:
            done(ProbeResult(False, question.fault))
            return None
        family = socket.AF_INET6 if ":" in question.address else socket.AF_INET
        try:
            connection = socket.socket(family, _STREAM)
        except OSError as error:
            done(failure(error, question.probe, question.address))
            return None
        try:
            failed = connection.connect_ex((question.address, question.probe.port))
            if failed not in (0, errno.EINPROGRESS):
                raise OSError(failed, os.strerror(failed))
        except OSError as error:
            connection.close()
            done(failure(error, question.probe, question.address))
            return None
        exchange = Exchange(question, connection, done)
        self._by_number[connection.fileno()] = exchange
        self._epoll.register(connection.fileno(), _EDGES)
        exchange.timer = self._loop.call_later(question.probe.timeout_seconds, self._time_out, exchange)
        return exchange

    def cancel(self, exchange: Exchange) -> None:
        """`done` hears nothing. Repeatable."""
        if not exchange.is_over:
            exchange.is_over = True
            if exchange.timer is not None:
                exchange.timer.cancel()
            del self._by_number[exchange.socket.fileno()]
            exchange.socket.close()

    def _end(self, exchange: Exchange, result: ProbeResult) -> None:
        self.cancel(exchange)
        exchange.done(result)

    # ---------------------------------------------------------------------------------- what happens to them

    def _serve(self) -> None:
        # Looked up first: a socket that is closed here gives its number to one that is begun here.
        happened = [(self._by_number.get(number), what) for number, what in self._epoll.poll(0, EVENTS_MAX)]
        for exchange, events in happened:
            if exchange is None or exchange.is_over:
                continue
            if exchange.unsent or exchange.question.probe.kind == "tcp":
                self._write(exchange)
            if not exchange.is_over and events & ~select.EPOLLOUT:
                self._read(exchange)

    def _write(self, exchange: Exchange) -> None:
        """The connection is there, or can't be had; or there is room for more of the request."""
        question = exchange.question
        if failed := exchange.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            error = OSError(failed, os.strerror(failed))
            self._end(exchange, failure(error, question.probe, question.address))
        elif question.probe.kind == "tcp":
            self._end(exchange, PASSED)
        else:
            try:
                exchange.unsent = exchange.unsent[exchange.socket.send(exchange.unsent) :]
            except BlockingIOError:
                return
            except OSError:
                exchange.unsent = b""  # what it has answered all the same tells more

    def _read(self, exchange: Exchange) -> None:
        answer = exchange.answer
        while not answer.is_over:
            try:
                received = exchange.socket.recv(RECEIVED_MAX)
            except BlockingIOError:
                return
            except OSError:
                answer.end("and reset the connection")
            else:
                if received:
                    answer.take(received)
                else:
                    answer.end()
        self._end(exchange, _result(exchange.question, answer))

    def _time_out(self, exchange: Exchange) -> None:
        question = exchange.question
        if exchange.answer.is_begun:
            exchange.answer.time_out(question.probe.timeout_seconds)
            self._end(exchange, _result(question, exchange.answer))
        else:
            self._end(exchange, too_late(question.probe, question.address))


def _result(question: Question, answer: Answer) -> ProbeResult:
    if not answer.fault:
        return PASSED
    body = f": {answer.excerpt}" if answer.excerpt else ""
    return ProbeResult(False, f"{asked(question.probe, question.address)} {answer.fault}", body)


def failure(error: OSError, probe: Probe, address: str) -> ProbeResult:
    """What it says of a host that it can't be reached."""
    if error.errno == errno.ECONNREFUSED:
        where = endpoint(address, probe.port)
        text = f"connection refused: nothing listens on {where} (the host's $HOST:$PORT)"
        return ProbeResult(False, text, is_refused=True)
    if error.errno == errno.ETIMEDOUT:
        return too_late(probe, address)
    return ProbeResult(False, f"{asked(probe, address)}: {error.strerror or error}")


def too_late(probe: Probe, address: str) -> ProbeResult:
    return ProbeResult(False, f"{asked(probe, address)}: no answer within {probe.timeout_seconds:g} s")


def asked(probe: Probe, address: str) -> str:
    """What was asked, for people."""
    match probe.kind:
        case "http":
            return f"GET http://{endpoint(address, probe.port)}{probe.path}"
        case "tcp":
            return f"connection to {endpoint(address, probe.port)}"
        case "command":
            return f"command {' '.join(probe.command)!r}"
        case _:
            assert_never(probe.kind)
