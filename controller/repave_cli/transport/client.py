"""Talks to the controller's API by http.client alone, so that a command starts quickly.

What people are to read comes with its hidden characters escaped; what programs read is exact.
"""

import http.client
import json
import time
import urllib.parse
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from repave_cli.transport.credentials import Credentials, urls_in
from repave_cli.transport.errors import CliError, UnreachableError
from repave_cli.transport.exit_codes import DENIED, ERROR, REFUSED, USAGE
from repave_cli.transport.paths import with_query
from repave_protos.daemon.printable import printable

TIMEOUT_SECONDS = 30.0
STREAM_TIMEOUT_SECONDS = 45.0  # the controller says something every 15 s
OF_LINES = ("log_tail",)
"""Fields whose text has lines; in all others a newline would forge a row."""
LEAST_WAIT_SECONDS = 0.01
NO_ADDRESS = "{} is no address of a controller; write https://HOST:PORT"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
EXIT_CODES = {400: USAGE, 401: DENIED, 403: DENIED, 404: USAGE, 409: REFUSED, 413: USAGE, 422: USAGE}


class Place(NamedTuple):
    """Where a controller is."""

    url: str
    is_tls: bool
    host: str
    port: int


class Client:
    """One connection for each request. Raises CliError with the controller's answer, or UnreachableError."""

    def __init__(
        self,
        url: str,
        timeout_seconds: float = TIMEOUT_SECONDS,
        is_for_people: bool = False,
        credentials: Credentials = Credentials(),  # noqa: B008  # frozen
    ) -> None:
        """`url` may be several, with commas or spaces between, of controllers that share a store. Raises
        CliError where a token would be sent in plaintext."""
        self._places = tuple(_place_of(each, credentials) for each in urls_in(url) or [url])
        self._at = 0
        self._authority = credentials.authority
        self._signed = {"Authorization": f"Bearer {credentials.token}"} if credentials.token else {}
        self._timeout_seconds = timeout_seconds
        self._shown: Callable[[Any], Any] = _printable if is_for_people else lambda answer: answer

    @property
    def url(self) -> str:
        """Of the controller that is asked now."""
        return self._places[self._at].url

    @property
    def controllers(self) -> int:
        return len(self._places)

    def get(self, path: str, **query: object) -> Any:
        return self._ask("GET", with_query(path, query))

    def pages(
        self, path: str, by: str, limit: int, start: object = None, **query: object
    ) -> Generator[Any, None, None]:
        """Answers until there are no more; `by` is what the next one is asked for with. All in one, where the
        controller is of a version that has no pages."""
        after = start
        while True:
            try:
                page = self.get(path, limit=limit, **query, **{by: after})
            except CliError as error:
                if after is not start or not error.is_unknown_query("limit"):
                    raise
                page = self.get(path, **query)
            yield page
            after = page.get("next")
            if not after:
                return

    def post(self, path: str, body: Mapping[str, object], key: str = "", *, is_exact: bool = False) -> Any:
        """`is_exact`: for this program, not to be shown."""
        headers = {"Content-Type": "application/json"}
        if key:
            headers["Idempotency-Key"] = key
        return self._ask("POST", path, json.dumps(body).encode(), headers, is_exact=is_exact)

    def exists(self, path: str) -> bool:
        """Raises CliError where one may not know."""
        connection, response = self._request(self._timeout_seconds, "HEAD", path)
        try:
            status = response.status
            if EXIT_CODES.get(status) == DENIED:
                raise CliError("you are not logged in, or may not do this: see repave whoami", DENIED)
            return status == 200
        finally:
            connection.close()

    def upload(self, path: str, file: Path, name: str) -> Any:
        """Sends a file as it is read."""
        headers = {
            "Content-Type": "application/gzip",
            "Content-Length": str(file.stat().st_size),
            "X-Repave-Name": name.encode("ascii", "replace").decode(),
        }
        with file.open("rb") as content:
            return self._ask("POST", path, content, headers)

    def stream(
        self, path: str, deadline: float | None = None, **query: object
    ) -> Generator[tuple[int, Any], None, None]:
        """Server-sent events: (id, data). Ends when the controller ends it, or at `deadline` (monotonic)."""
        connection, response = self._request(STREAM_TIMEOUT_SECONDS, "GET", with_query(path, query))
        try:
            if response.status >= 400:
                raise _error(response.status, response.read())
            number = 0
            while line := _next_line(connection, response, deadline):
                if line.startswith(b"id: "):
                    number = int(self._read(line[4:]))
                elif line.startswith(b"data: "):
                    yield number, self._shown(self._read(line[6:]))
        except (OSError, http.client.HTTPException) as error:
            if deadline is None or time.monotonic() < deadline:
                text = f"the connection to {self.url} broke: {error}"
                self._go_on()
                raise UnreachableError(text) from error
        finally:
            connection.close()

    def _ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        is_exact: bool = False,
    ) -> Any:
        connection, response = self._request(self._timeout_seconds, method, path, body, headers)
        try:
            content = response.read()
        except http.client.HTTPException as error:
            raise UnreachableError(f"the connection to {self.url} broke: {error!r}") from error
        finally:
            connection.close()
        if response.status >= 400:
            raise _error(response.status, content)
        answer = self._read(content)
        return answer if is_exact else self._shown(answer)

    def _read(self, content: bytes) -> Any:
        """Raises CliError: another server answers there."""
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as error:
            raise CliError(f"what answers at {self.url} is no controller: {content[:80]!r}") from error

    def _connect(self, timeout_seconds: float) -> http.client.HTTPConnection:
        place = self._places[self._at]
        if place.is_tls:
            from repave_cli.transport.trust import context_with  # ssl is slow to import

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
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """The answer of the first controller that gives one. The next one is not asked what the one before
        may have done, but where that does no harm."""
        failures: list[str] = []
        while True:
            connection = self._connect(timeout_seconds)
            is_sent = False
            try:
                connection.connect()
                is_sent = True
                connection.request(method, f"/v1/{path}", body, headers={**self._signed, **(headers or {})})
                return connection, connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                failures.append(self._why(error))
                is_repeatable = method != "POST" or "Idempotency-Key" in (headers or {})
                self._go_on()
                if len(failures) >= self.controllers or (is_sent and not is_repeatable):
                    raise UnreachableError(
                        f"cannot reach the controller at {'; '.join(failures)}; is it running? start one "
                        "with: repave dev"
                    ) from error

    def _go_on(self) -> None:
        """To the next controller."""
        self._at = (self._at + 1) % self.controllers

    def _why(self, error: OSError | http.client.HTTPException) -> str:
        """Raises CliError where another controller is none."""
        if type(error).__name__ == "SSLCertVerificationError":
            raise CliError(
                f"the certificate of {self.url} is not to be trusted ({error.verify_message}); if it has "  # type: ignore[union-attr]
                "an authority of its own: repave login --ca FILE, or --pin"
            ) from error
        why = error.strerror.lower() if isinstance(error, OSError) and error.strerror else str(error)
        return f"{self.url}: {why}"


def _place_of(url: str, credentials: Credentials) -> Place:
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError as error:  # brackets without an end, a port that is none
        raise CliError(NO_ADDRESS.format(url), USAGE) from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise CliError(NO_ADDRESS.format(url), USAGE)
    if credentials.token and parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise CliError(f"a token would go to {url} in plaintext; write https://", USAGE)
    is_tls = parts.scheme == "https"
    return Place(url.rstrip("/"), is_tls, parts.hostname, port or (443 if is_tls else 80))


def _printable(answer: Any, keeps: str = "") -> Any:
    """The same with every text in one line, but those of lines, and nothing that controls a terminal."""
    match answer:
        case str():
            return printable(answer, keeps)
        case list():
            return [_printable(each, keeps) for each in answer]
        case dict():
            return {
                printable(name): _printable(each, "\n\t" if name in OF_LINES else "")
                for name, each in answer.items()
            }
        case _:
            return answer


def _next_line(
    connection: http.client.HTTPConnection, response: http.client.HTTPResponse, deadline: float | None
) -> bytes:
    """Raises TimeoutError when nothing comes in time, not even a sign of life."""
    if deadline is not None and connection.sock is not None:
        left = max(LEAST_WAIT_SECONDS, deadline - time.monotonic())
        connection.sock.settimeout(min(STREAM_TIMEOUT_SECONDS, left))
    return response.readline()


def _error(status: int, content: bytes) -> CliError:
    try:
        problem = json.loads(content)
        text = _text_of(problem)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return CliError(f"the controller answered {status}: {content[:200]!r}")
    return CliError(text, EXIT_CODES.get(status, ERROR), problem)


def _text_of(problem: dict[str, Any]) -> str:
    """The detail, or a line for each place in a spec."""
    places = [each for each in problem.get("problems", []) if "line" in each]
    if not places:
        return str(problem["detail"])
    return "\n".join(map(_place, places))


def _place(each: dict[str, Any]) -> str:
    """As the loader says it of a file that is read here."""
    where = f"{each['file']}:{each['line']}:{each['column']}" if each["line"] else each["file"]
    field = f"{each['field']}: " if each["field"] else ""
    return f"{where}: {field}{each['message']}" + (f"; {each['fix']}" if each.get("fix") else "")
