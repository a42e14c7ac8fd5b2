"""The API as commands ask it: what goes wrong is a CliError with its exit code, and what people are to read
comes with its hidden characters escaped; what programs read is exact."""

import http.client
import json
from collections.abc import Callable, Generator, Mapping
from typing import Any

from repave_cli.transport.credentials import Credentials
from repave_cli.transport.errors import CliError, UnreachableError
from repave_cli.transport.exit_codes import DENIED, ERROR, REFUSED, USAGE
from repave_client.connection import TIMEOUT_SECONDS, Connection
from repave_client.errors import NotAController
from repave_client.places import Place, with_query
from repave_protos.daemon.printable import printable

OF_LINES = ("log_tail",)
"""Fields whose text has lines; in all others a newline would forge a row."""
EXIT_CODES = {
    400: USAGE,
    401: DENIED,
    403: DENIED,
    404: USAGE,
    409: REFUSED,
    412: REFUSED,
    413: USAGE,
    422: USAGE,
}


class Client(Connection):
    """Raises CliError with the controller's answer, or UnreachableError."""

    _lost = UnreachableError

    def __init__(
        self,
        url: str,
        timeout_seconds: float = TIMEOUT_SECONDS,
        is_for_people: bool = False,
        credentials: Credentials = Credentials(),  # noqa: B008  # frozen
    ) -> None:
        """`url` may be several. Raises CliError where a token would be sent in plaintext."""
        try:
            super().__init__(
                url,
                token=credentials.token,
                authority=credentials.authority,
                timeout_seconds=timeout_seconds,
            )
        except NotAController as error:
            raise CliError(str(error), USAGE) from error
        self._printed: Callable[[Any], Any] = _printable if is_for_people else lambda answer: answer

    def get_lines(self, path: str, field: str, **query: Any) -> str:
        """A text of many lines, to be shown: they stay lines."""
        answer = self._ask("GET", with_query(path, query), is_exact=True)
        return printable(answer[field], keeps="\n\t")

    def post(
        self,
        path: str,
        body: Mapping[str, object],
        key: str = "",
        *,
        generation: str = "",
        is_exact: bool = False,
    ) -> Any:
        """`is_exact`: for this program, not to be shown."""
        if not is_exact:
            return super().post(path, body, key, generation=generation)
        content, headers = json.dumps(body).encode(), {"Content-Type": "application/json"}
        return self._ask("POST", path, content, headers, is_exact=True)

    def pages_of(
        self, path: str, by: str, limit: int, start: object = None, **query: Any
    ) -> Generator[Any, None, None]:
        """The pages of a list; all in one, where the controller is of a version that has no pages."""
        pages = self.pages(path, limit, by=by, start=start, **query)
        try:
            yield next(pages)
        except CliError as error:
            if not error.is_unknown_query("limit"):
                raise
            yield self.get(path, **query)
            return
        yield from pages

    def _connect(self, place: Place, timeout_seconds: float) -> http.client.HTTPConnection:
        try:
            return super()._connect(place, timeout_seconds)
        except NotAController as error:  # the authority is none
            raise CliError(str(error), USAGE) from error

    def _shown(self, answer: Any) -> Any:
        return self._printed(answer)

    def _unreachable(self, text: str) -> Exception:
        is_away = text.startswith("cannot reach")
        return UnreachableError(f"{text}; is it running? start one with: repave dev" if is_away else text)

    def _not_a_controller(self, text: str) -> Exception:
        if "is not to be trusted" in text:
            text = f"{text}; if it has an authority of its own: repave login --ca FILE, or --pin"
        return CliError(text)

    def _refusal(self, status: int, content: bytes) -> Exception:
        if not content and EXIT_CODES.get(status) == DENIED:
            return CliError("you are not logged in, or may not do this: see repave whoami", DENIED)
        return _error(status, content)


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
