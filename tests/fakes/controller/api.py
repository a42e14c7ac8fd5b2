"""A controller's API with canned answers on loopback, for what the real one can't be made to say at will."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

BROKEN = None  # as an answer: the connection is closed without a word


class FakeApi:
    """`answers[(method, path)]` are given in turn, the last one for good; a path is without /v1/ and query.

    A list as an answer is a stream of its items, BROKEN a connection that breaks, a pair a status and what
    comes with it; bytes come as they are. What has none is a 404; of a POST, 501.
    """

    def __init__(self) -> None:
        self.url = ""
        self.answers: dict[tuple[str, str], list[Any]] = {}
        self.requests: list[tuple[str, str]] = []
        self.bodies: list[Any] = []  # of what was posted to be looked at

    def next_answer(self, method: str, path: str) -> tuple[int, Any]:
        self.requests.append((method, path))
        waiting = self.answers.get((method, path))
        if waiting is None:
            return 404, {"detail": f"no answer to {method} {path}", "rule": "unknown", "problems": []}
        answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        return answer if isinstance(answer, tuple) else (200, answer)


def _handler(api: FakeApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer("GET")

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if ("POST", self._asked()) not in api.answers:
                self.send_error(501)
                return
            api.bodies.append(body)
            self._answer("POST")

        def _asked(self) -> str:
            return self.path.removeprefix("/v1/").split("?")[0]

        def _answer(self, method: str) -> None:
            status, answer = api.next_answer(method, self._asked())
            if answer is not BROKEN:
                self._send(status, _encode(answer))

        def _send(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def _encode(answer: list[Mapping[str, Any]] | Mapping[str, Any] | bytes) -> bytes:
    if isinstance(answer, bytes):
        return answer
    if isinstance(answer, list):
        lines = (f"id: {number}\ndata: {json.dumps(item)}\n\n" for number, item in enumerate(answer, start=1))
        return "".join(lines).encode()
    return json.dumps(answer).encode()


@contextmanager
def fake_api() -> Iterator[FakeApi]:
    """Serves until the block is left."""
    api = FakeApi()
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(api)) as server:
        api.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="fake api")
        thread.start()
        try:
            yield api
        finally:
            server.shutdown()
            thread.join()
