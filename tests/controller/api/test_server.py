"""What is sent to the API's port that is no request, or comes too slowly, or too often at once."""

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import pytest

from repave_controller.api.web import requests, server
from repave_controller.api.web.server import CONNECTIONS_MAX, Connections, connections_within
from tests.controller.api.conftest import Asked
from tests.fakes.controller.scheduler import ServedController, served


def connect(controller: ServedController) -> socket.socket:
    return socket.create_connection(("127.0.0.1", controller.port), timeout=20)


def raw(controller: ServedController, request: bytes) -> tuple[int, str, Any]:
    """Status, content type and body of the answer to bytes."""
    with closing(connect(controller)) as client:
        client.sendall(request)
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    return int(lines[0].split()[1]), headers["content-type"], json.loads(body)


HOSTS = (
    "127.0.0.1:abc",
    "127.0.0.1:99999",
    "[::1",
    "127.0.0.1:-1",
    "[",
    "a b",
    "127.0.0.1:80:80",
    "\x7f",
    "%",
    "",
)


@pytest.mark.parametrize("host", HOSTS)
def test_a_host_that_is_no_address_is_a_problem(controller: ServedController, host: str) -> None:
    status, kind, body = raw(
        controller, f"GET /v1/applications HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
    )
    assert status in (400, 403)
    assert kind.startswith("application/problem+json")
    assert body["status"] == status


@pytest.mark.parametrize(
    "request_",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /v1/apps HTTP/9.9\r\n\r\n",
        b"GET /v1/applications HTTP/1.1\r\nHost: 127.0.0.1\r\nbad header\r\n\r\n",
        b"GET http://[::1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"POST /v1/plan HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/plan HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_what_is_no_http_is_a_problem_too(controller: ServedController, request_: bytes) -> None:
    status, kind, body = raw(controller, request_)
    assert status in (400, 403, 404)
    assert kind.startswith("application/problem+json")
    assert body["detail"]


@pytest.mark.parametrize(
    ("request_", "status", "rule"),
    [
        (
            b"GET /v1/events?application=" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
            414,
            "uri-too-long",
        ),
        (b"GET /" + b"a" * 8_100 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, "uri-too-long"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", 431, "headers-too-long"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a" * 20_000 + b": x\r\n\r\n", 431, "headers-too-long"),
    ],
    ids=["query", "path", "value", "name"],
)
def test_what_is_too_long_is_told_from_what_is_no_http(
    controller: ServedController, request_: bytes, status: int, rule: str
) -> None:
    found, kind, body = raw(controller, request_)
    assert (found, kind.partition(";")[0], body["rule"]) == (status, "application/problem+json", rule)


@pytest.fixture
def crowded(tmp_path: Path) -> Iterator[ServedController]:
    with served(tmp_path, connections_max=8) as controller:
        yield controller


def test_silent_connections_keep_no_client_out(crowded: ServedController) -> None:
    with ExitStack() as stack:
        for _ in range(40):
            silent = stack.enter_context(closing(connect(crowded)))
            silent.sendall(b"GET /v1/applications HTTP/1.1\r\nHost: 127.0")
        assert Asked(crowded.url).get("applications").status == 200


def test_a_client_that_is_being_answered_is_not_closed_for_a_newcomer(crowded: ServedController) -> None:
    api = Asked(crowded.url)
    api.release()
    with api.stream("events/stream") as events, ExitStack() as stack:
        sequence, _ = next(events)
        for _ in range(40):
            stack.enter_context(closing(connect(crowded)))
        api.release("v2")
        assert next(events)[0] == sequence + 1


class Client:
    """A connection as the bounds see it."""

    def __init__(self, peer: str) -> None:
        self.peer, self.is_closed = peer, False

    def force_close(self) -> None:
        self.is_closed = True


def test_one_peer_from_elsewhere_takes_no_more_than_a_quarter() -> None:
    bounds = Connections(16)

    def admit(peer: str) -> Client:
        client = Client(peer)
        assert bounds.admit(client)  # type: ignore[arg-type]  # as far as it goes
        return client

    flood = [admit("10.0.0.66") for _ in range(40)]
    others = [admit(f"10.0.0.{number}") for number in range(4)]
    local = [admit("") for _ in range(8)]
    assert [client.is_closed for client in flood] == [True] * 36 + [False] * 4
    assert not any(client.is_closed for client in (*others, *local))
    for client in flood:
        bounds.forget(client)  # type: ignore[arg-type]
        bounds.forget(client)  # type: ignore[arg-type]
    again = [admit("10.0.0.66") for _ in range(4)]
    assert not any(client.is_closed for client in (*again, *others, *local))
    busy = Connections(4)
    working = Client("10.0.0.66")
    assert busy.admit(working)  # type: ignore[arg-type]
    busy._busy.add(working)  # type: ignore[arg-type]
    del busy._idle[working]  # type: ignore[arg-type]
    assert not busy.admit(Client("10.0.0.66"))  # type: ignore[arg-type]
    assert busy.admit(Client("10.0.0.67"))  # type: ignore[arg-type]
    assert not working.is_closed


def test_half_of_the_descriptors_are_left_to_the_agents() -> None:
    assert connections_within(1024) == 480
    assert connections_within(1_048_576) == CONNECTIONS_MAX
    assert connections_within(64) == 8


@pytest.mark.parametrize("path", ["plan", "images"])
def test_a_body_that_does_not_arrive_is_not_waited_for_long(
    controller: ServedController, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "BODY_SECONDS", 0.05)
    head = f"POST /v1/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
    kind = "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    status, _, body = raw(controller, (head + kind).encode())
    assert (status, body["rule"]) == (408, "slow-body")


def test_a_connection_that_says_nothing_is_closed(
    controller: ServedController, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "IDLE_SECONDS", 0.05)
    with closing(connect(controller)) as client:
        client.sendall(b"GET /v1/applications HTTP/1.1\r\nHost: 127.0")
        assert client.recv(1) == b""


def test_a_body_that_is_not_packed_as_it_says_leaves_no_traceback(
    controller: ServedController, caplog: pytest.LogCaptureFixture
) -> None:
    body = b"no gzip at all"
    head = (
        f"POST /v1/plan HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
    )
    kind = "Content-Type: application/json\r\nContent-Encoding: gzip\r\n\r\n"
    status, _, _ = raw(controller, (head + kind).encode() + body)
    assert status == 400
    assert caplog.records == []


HEAD = b"GET /v1/applications HTTP/1.1\r\nHost: 127.0.0.1\r\n"
POST = b"POST /v1/plan HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
ODD = {
    "100,000 headers": HEAD + b"".join(b"X-%d: 1\r\n" % number for number in range(100_000)) + b"\r\n",
    "two hosts": HEAD + b"Host: evil.example\r\n\r\n",
    "two lengths": POST + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nGET ",
    "an odd encoding": POST + b"Transfer-Encoding: xchunked\r\nContent-Length: 4\r\n\r\nGET ",
    "a chunk's head of 2 MB": POST
    + b"Transfer-Encoding: chunked\r\n\r\n2;"
    + b"a" * 2_000_000
    + b"\r\n{}\r\n0\r\n\r\n",
    "100,000 trailers": POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: 1\r\n" * 100_000 + b"\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a folded header": HEAD + b"X: a\r\n Y: b\r\n\r\n",
    "a bare CR": HEAD + b"X: a\rY: b\r\n\r\n",
}


@pytest.mark.parametrize("odd", ODD)
def test_what_could_smuggle_a_request_or_fill_memory_is_refused(
    controller: ServedController, odd: str
) -> None:
    with closing(connect(controller)) as client:
        with suppress(ConnectionError):  # it is not read to its end
            client.sendall(ODD[odd])
        try:
            answer = client.recv(12)
        except ConnectionError:
            return
    assert answer in (b"HTTP/1.0 400", b"HTTP/1.1 400")
    assert Asked(controller.url).get("applications").status == 200


def test_a_request_without_a_host_asks_no_name_server(
    controller: ServedController, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(name: str = "") -> str:
        raise AssertionError("the name of this machine was looked up")

    monkeypatch.setattr(socket, "getfqdn", asked)
    assert raw(controller, b"GET /v1/applications HTTP/1.0\r\n\r\n")[0] == 200
    foreign = b"GET /v1/applications HTTP/1.0\r\nOrigin: http://evil.example\r\n\r\n"
    assert raw(controller, foreign)[2]["rule"] == "foreign-origin"
