"""Asks an HTTP API as a plain client would, and keeps the whole answer."""

import http.client
import json
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

TIMEOUT_SECONDS = 20.0


@dataclass(frozen=True)
class Answered:
    """`json` raises ValueError when the answer is none."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)


@dataclass(frozen=True)
class Asking:
    """`url` is that of the controller; paths are those below /v1, or whole ones that begin with /."""

    url: str

    def get(self, path: str, **headers: str) -> Answered:
        return self.ask("GET", path, None, headers)

    def post(self, path: str, body: object, **headers: str) -> Answered:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.ask("POST", path, content, {"Content-Type": "application/json", **headers})

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answered:
        connection = self._connect()
        try:
            connection.request(method, _whole(path), body, dict(headers or {}))
            response = connection.getresponse()
            return Answered(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    @contextmanager
    def stream(self, path: str, **headers: str) -> Iterator[Iterator[tuple[int, Any]]]:
        """Server-sent events as (id, data) for as long as the block lasts."""
        connection = self._connect()
        try:
            connection.request("GET", _whole(path), headers=headers)
            yield _events(connection.getresponse())
        finally:
            connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        parts = urllib.parse.urlsplit(self.url)
        return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_SECONDS)


def _whole(path: str) -> str:
    return path if path.startswith("/") else f"/v1/{path}"


def _events(response: http.client.HTTPResponse) -> Iterator[tuple[int, Any]]:
    assert response.status == 200, response.read()
    number = 0
    for line in response:
        if line.startswith(b"id: "):
            number = int(line[4:]) if line[4:].strip().isdigit() else 0  # of live it is no number
        elif line.startswith(b"data: "):
            yield number, json.loads(line[6:])
