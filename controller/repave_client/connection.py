"""Asks a controller, or the next one of several that share a store, by http.client alone.

What is asked is a path below /v1; what comes is JSON. `client.py` has names and types for both.
"""

import http.client
import json
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import IO, Any

from repave_client.errors import NotAController, Problem, Unreachable
from repave_client.places import DEFAULT_URL, Place, place_of, urls_in, with_query

TIMEOUT_SECONDS = 30.0
STREAM_TIMEOUT_SECONDS = 45.0  # the controller says something every 15 s
LEAST_WAIT_SECONDS = 0.01
RECONNECTS_MAX = 60
RECONNECT_SECONDS = 1.0
NEXT_SECONDS = 0.1
"""Before the next one of several controllers is asked."""
KEY = "Idempotency-Key"
Body = bytes | IO[bytes] | None


class Connection:
    """One connection for each request. Raises Problem, Unreachable, NotAController."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        token: str = "",
        authority: str = "",
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        """`url` may be several, with commas or spaces between, of controllers that share a store.
        `authority`: the certificate (PEM) that theirs are checked with, if not the machine's. Raises
        NotAController where a token would be sent in plaintext."""
        self._places = tuple(place_of(each, has_token=bool(token)) for each in urls_in(url) or [url])
        self._at = 0
        self._authority = authority
        self._signed = {"Authorization": f"Bearer {token}"} if token else {}
        self._timeout_seconds = timeout_seconds

    @property
    def url(self) -> str:
        """Of the controller that is asked now."""
        return self._places[self._at].url

    @property
    def controllers(self) -> int:
        return len(self._places)

    # ------------------------------------------------------------------------------------------- asked for

    def get(self, path: str, **query: Any) -> Any:
        """What is at a path below /v1."""
        return self._ask("GET", with_query(path, query))

    def post(self, path: str, body: Mapping[str, object], key: str = "", *, generation: str = "") -> Any:
        """`key`: sent again with it, a command is done once. `generation`: of the application as it was seen;
        Problem `moved` if it has changed since."""
        headers = {"Content-Type": "application/json"}
        headers |= {KEY: key} if key else {}
        headers |= {"If-Match": f'"{generation}"'} if generation else {}
        return self._ask("POST", path, json.dumps(body).encode(), headers)

    def exists(self, path: str) -> bool:
        """Raises Problem where one may not know."""
        connection, response = self._request(self._timeout_seconds, "HEAD", path)
        connection.close()
        if response.status in (401, 403):
            raise self._refusal(response.status, b"")
        return response.status == 200

    def upload(self, path: str, file: Path, name: str) -> Any:
        """Sends a file as it is read."""
        headers = {
            "Content-Type": "application/gzip",
            "Content-Length": str(file.stat().st_size),
            "X-Repave-Name": name.encode("ascii", "replace").decode(),
        }
        with file.open("rb") as content:
            return self._ask("POST", path, content, headers)

    def pages(
        self, path: str, limit: int, *, by: str = "cursor", start: object = None, **query: Any
    ) -> Generator[Any, None, None]:
        """Answers until there are no more. `by`: what the next one is asked for with."""
        after = start
        while True:
            page = self.get(path, limit=limit, **query, **{by: after})
            yield page
            after = page.get("next")
            if not after:
                return

    def stream(
        self,
        path: str,
        deadline: float | None = None,
        last_event: str = "",
        body: Mapping[str, object] | None = None,
        **query: Any,
    ) -> Generator[tuple[str, Any], None, None]:
        """Server-sent events: (id, data). Ends when the controller ends it, or at `deadline` (monotonic).
        With `body` it is posted, which changes nothing."""
        headers = {"Last-Event-ID": last_event} if last_event else {}
        method, content = "GET", None
        if body is not None:
            method, content = "POST", json.dumps(body).encode()
            headers |= {"Content-Type": "application/json"}
        connection, response = self._request(
            STREAM_TIMEOUT_SECONDS, method, with_query(path, query), content, headers, is_safe=True
        )
        try:
            if response.status >= 400:
                raise self._refusal(response.status, response.read())
            number = ""
            while line := _next_line(connection, response, deadline):
                if line.startswith(b"id: "):
                    number = line[4:].decode("ascii", "replace").strip()
                elif line.startswith(b"data: "):
                    yield number, self._shown(self._read(line[6:]))
        except (OSError, http.client.HTTPException) as error:
            if deadline is None or time.monotonic() < deadline:
                text = f"the connection to {self.url} broke: {error}"
                self._go_on()
                raise self._unreachable(text) from error
        finally:
            connection.close()

    def follow(
        self,
        path: str,
        *,
        deadline: float | None = None,
        was_there: bool = False,
        resumes: bool = False,
        last_event: str = "",
        said: Callable[[str], None] = lambda _: None,
        body: Callable[[], Mapping[str, object] | None] = lambda: None,
        **query: Any,
    ) -> Generator[Any, None, None]:
        """What a stream gives, opened again when it breaks, at the next controller if there are several.

        With `resumes` it goes on after the last event that came, or by what `body` says then: each comes
        once. Ends at `deadline` (monotonic). Raises Unreachable: at once if the controller was never there,
        else when it stays away; `said` is told of the first failure.
        """
        failures = 0
        while deadline is None or time.monotonic() < deadline:
            try:
                last = last_event if resumes else ""
                for number, item in self.stream(path, deadline, last, body(), **query):
                    failures, was_there, last_event = 0, True, number
                    yield item
            except self._lost as error:
                failures += 1
                if not was_there or failures > RECONNECTS_MAX:
                    raise
                if failures == 1:
                    said(str(error))
            time.sleep(_pause_seconds(deadline, self.controllers > max(1, failures)))

    # ------------------------------------------------------------------------ what a subclass says its way

    _lost: type[Exception] = Unreachable

    def _shown(self, answer: Any) -> Any:
        """An answer as it is given to who has asked."""
        return answer

    def _unreachable(self, text: str) -> Exception:
        return Unreachable(text)

    def _not_a_controller(self, text: str) -> Exception:
        return NotAController(text)

    def _refusal(self, status: int, content: bytes) -> Exception:
        try:
            problem = json.loads(content or b"{}")
        except (ValueError, RecursionError):
            problem = {"detail": f"the controller answered {status}: {content[:200]!r}"}
        return Problem(status, problem if isinstance(problem, dict) else {})

    # ------------------------------------------------------------------------------------------- the wire

    def _ask(
        self,
        method: str,
        path: str,
        body: Body = None,
        headers: Mapping[str, str] | None = None,
        *,
        is_exact: bool = False,
    ) -> Any:
        connection, response = self._request(self._timeout_seconds, method, path, body, headers)
        try:
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(f"the connection to {self.url} broke: {error!r}") from error
        finally:
            connection.close()
        if response.status >= 400:
            raise self._refusal(response.status, content)
        answer = self._read(content)
        return answer if is_exact else self._shown(answer)

    def _read(self, content: bytes) -> Any:
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as error:
            text = f"what answers at {self.url} is no controller: {content[:80]!r}"
            raise self._not_a_controller(text) from error

    def _connect(self, place: Place, timeout_seconds: float) -> http.client.HTTPConnection:
        if place.is_tls:
            from repave_client.trust import context_with  # ssl is slow to import

            context = context_with(self._authority)
            return http.client.HTTPSConnection(
                place.host, place.port, timeout=timeout_seconds, context=context
            )
        return http.client.HTTPConnection(place.host, place.port, timeout=timeout_seconds)

    def _request(
        self,
        timeout_seconds: float,
        method: str,
        path: str,
        body: Body = None,
        headers: Mapping[str, str] | None = None,
        *,
        is_safe: bool = False,
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """The answer of the first controller that gives one. The next one is not asked what the one before
        may have done, but where that does no harm. `is_safe`: a POST that changes nothing."""
        failures: list[str] = []
        while True:
            connection = self._connect(self._places[self._at], timeout_seconds)
            is_sent = False
            try:
                connection.connect()
                is_sent = True
                connection.request(method, f"/v1/{path}", body, headers={**self._signed, **(headers or {})})
                return connection, connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                failures.append(self._why(error))
                is_repeatable = is_safe or method != "POST" or KEY in (headers or {})
                self._go_on()
                if len(failures) >= self.controllers or (is_sent and not is_repeatable):
                    text = f"cannot reach the controller at {'; '.join(failures)}"
                    raise self._unreachable(text) from error

    def _go_on(self) -> None:
        """To the next controller."""
        self._at = (self._at + 1) % self.controllers

    def _why(self, error: OSError | http.client.HTTPException) -> str:
        """Raises NotAController where another controller is none."""
        if type(error).__name__ == "SSLCertVerificationError":
            told = getattr(error, "verify_message", "")
            text = f"the certificate of {self.url} is not to be trusted ({told})"
            raise self._not_a_controller(text) from error
        why = error.strerror.lower() if isinstance(error, OSError) and error.strerror else str(error)
        return f"{self.url}: {why}"


def _next_line(
    connection: http.client.HTTPConnection, response: http.client.HTTPResponse, deadline: float | None
) -> bytes:
    """Raises TimeoutError when nothing comes in time, not even a sign of life; ConnectionError where a line
    has no end."""
    if deadline is not None and connection.sock is not None:
        left = max(LEAST_WAIT_SECONDS, deadline - time.monotonic())
        connection.sock.settimeout(min(STREAM_TIMEOUT_SECONDS, left))
    line = response.readline()
    if line and not line.endswith(b"\n"):
        raise ConnectionResetError("it ended in the middle of a message")
    return line


def _pause_seconds(deadline: float | None, has_another: bool) -> float:
    """`has_another`: the next try is at a controller that has not been asked since."""
    pause = NEXT_SECONDS if has_another else RECONNECT_SECONDS
    left = pause if deadline is None else deadline - time.monotonic()
    return max(0.0, min(pause, left))
