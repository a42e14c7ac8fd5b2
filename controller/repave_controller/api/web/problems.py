"""Errors of the API, as RFC 9457 problems: what is wrong, which rule says so, where, and how to go on."""

import json
import math
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import structlog
from aiohttp import web

from repave_controller.api.answers.reasons import facts_of, remedy_item
from repave_controller.api.web.kinds import status_of
from repave_controller.core.domain.reasons import Reason, Refused
from repave_controller.core.ports import StoreError
from repave_controller.fleet.packages import ImageError, ImageStorageError
from repave_controller.fleet.questions import BadQuestion
from repave_controller.peers.ports import NotOwner
from repave_controller.spec.loader import SpecError
from repave_controller.spec.spec import OrderError
from repave_controller.wording.render import text_of

log = structlog.get_logger()

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Problem(Exception):
    """An answer that says no. `detail` is for people, `rule` and the `facts` and `remedies` of `reason` for
    programs."""

    def __init__(
        self,
        status: int,
        rule: str,
        detail: str,
        problems: Sequence[Mapping[str, Any]] = (),
        reason: Reason | None = None,
        retry_seconds: float = 0.0,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.rule = rule
        self.detail = detail
        self.problems = tuple(problems)
        self.reason = reason
        self.retry_seconds = retry_seconds

    def response(self) -> web.Response:
        remedy = remedy_item(self.reason) if self.reason is not None else None
        body = {
            "type": f"urn:repave:problem:{self.rule}",
            "title": self.rule.replace("-", " "),
            "status": self.status,
            "detail": self.detail,
            "rule": self.rule,
            "problems": list(self.problems),
            "facts": facts_of(self.reason) if self.reason is not None else {},
            "remedy": remedy.model_dump() if remedy is not None else None,
        }
        headers = {"WWW-Authenticate": "Bearer"} if self.status == 401 else {}
        if self.retry_seconds:
            headers["Retry-After"] = str(math.ceil(self.retry_seconds))
        return web.Response(
            status=self.status,
            text=json.dumps(body),
            content_type="application/problem+json",
            headers=headers,
        )


def refusal_of(error: Problem | Refused | StoreError) -> Problem:
    """A command that was refused, or could not be saved, as its caller is told of it."""
    match error:
        case Refused():
            return Problem(status_of(error.rule), error.rule, text_of(error.reason), reason=error.reason)
        case StoreError():
            return Problem(503, "store", str(error))
        case Problem():
            return error


@web.middleware
async def as_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every refusal becomes a problem; an unforeseen error is logged and says nothing of our insides."""
    try:
        return await handler(request)
    except (Problem, Refused, StoreError) as error:
        return refusal_of(error).response()
    except SpecError as error:
        return _of_spec(error).response()
    except OrderError as error:
        where = {"field": error.field, "message": error.text}
        return Problem(422, "spec", str(error), [where]).response()
    except ImageStorageError as error:
        return Problem(507 if error.is_full else 503, "image-storage", str(error)).response()
    except ImageError as error:
        return Problem(422, "image", str(error)).response()
    except BadQuestion as error:
        return Problem(400, "bad-request", str(error)).response()
    except NotOwner as error:  # it should have been passed on
        return Problem(503, "no-owner", f"{error}: ask again", retry_seconds=1.0).response()
    except web.HTTPException as error:
        rule = error.reason.lower().replace(" ", "-")
        response = Problem(error.status, rule, error.text or error.reason).response()
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response
    except web.RequestPayloadError:
        text = "the body can't be read: it was cut off, or is not packed as its Content-Encoding says"
        return Problem(400, "bad-request", text).response()
    except ConnectionResetError:
        raise
    except Exception:  # the root of a request: one failing must not end the controller
        log.exception("request.failed", path=request.path)
        return Problem(500, "bug", "the controller failed at this; its log says why").response()


HOST = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")
LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")


@web.middleware
async def no_strangers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Without log-ins, a web page in an operator's browser could send commands: requests must come under a
    loopback name, without a foreign Origin, and commands as JSON, which no plain form can send.
    Browsers always say a Host; without one aiohttp would ask DNS for the name of this machine."""
    _check_host(request)
    if "Host" in request.headers and request.url.host not in LOOPBACK_NAMES:
        raise Problem(403, "foreign-host", "this controller is reached as 127.0.0.1 or localhost only")
    _check_origin(request)
    return await handler(request)


@web.middleware
async def no_foreign_pages(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The same where requests carry tokens, which no web page of others has: any name of ours will do."""
    _check_host(request)
    _check_origin(request)
    return await handler(request)


def _check_host(request: web.Request) -> None:
    if request.headers.get("Host") is not None and not _is_address(request):
        raise Problem(400, "bad-host", "Host: expected this controller's address, such as 127.0.0.1:7400")


def _check_origin(request: web.Request) -> None:
    origin = request.headers.get("Origin")
    if origin is not None and origin != f"{request.scheme}://{request.headers.get('Host')}":
        raise Problem(403, "foreign-origin", "web pages of other origins may not use this API")


def _is_address(request: web.Request) -> bool:
    if HOST.fullmatch(request.headers["Host"]) is None:
        return False
    try:
        return bool(request.url.host)
    except ValueError:  # a port above 65535, an address between brackets that is none
        return False


def problem_of(status: int, too_long: str = "") -> web.Response:
    """An error that comes before there is a request for the application. `too_long`: which part of it was."""
    if too_long == "address":
        text = "the address has more than 8,000 bytes; put what is long into the body"
        return Problem(414, "uri-too-long", text).response()
    if too_long:
        return Problem(431, "headers-too-long", "a header is too long, or there are too many").response()
    if status == 400:
        text = "the request is no HTTP/1.1, or a header of it is too long"
        return Problem(400, "not-http", text).response()
    return Problem(500, "bug", "the controller failed at this; its log says why").response()


def _of_spec(error: SpecError) -> Problem:
    places = [
        {
            "file": each.file,
            "line": each.line,
            "column": each.column,
            "field": each.field,
            "message": each.message,
            "fix": each.fix,
        }
        for each in error.problems
    ]
    return Problem(422, "spec", str(error), places)
