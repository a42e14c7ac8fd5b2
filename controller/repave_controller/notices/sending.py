"""`python -m repave_controller.notices.sending`: hands one message to apprise, and ends.

A process of its own: apprise waits for networks without asyncio, looks names up by itself, and would stay in
the controller for a few messages a day. What is asked comes as JSON on the standard input, since an address
is a secret; the answer is JSON on the standard output. Every name that apprise connects to is judged first,
no redirect is followed, and no proxy of the environment is used.
"""

import json
import logging
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from repave_controller.security.addresses import allowed_of, objection

SCHEMES = {
    "slack": "Slack",
    "workflow": "Teams",
    "workflows": "Teams",
    "mailto": "mail",
    "mailtos": "mail",
    "pagerduty": "PagerDuty",
    "json": "webhook",
    "jsons": "webhook",
}
"""What may be told, and has been tried; apprise knows more, some of which are programs of this machine."""
SECRET_LENGTH_MIN = 6


@dataclass(slots=True)
class Told:
    """What was seen on the way."""

    warnings: list[str] = field(default_factory=list)
    objections: list[str] = field(default_factory=list)
    status: int = 0
    retry_after: str = ""


def main() -> int:
    asked = json.load(sys.stdin)
    sys.stdout.write(json.dumps(send(asked)))
    return 0


def send(asked: dict[str, Any]) -> dict[str, Any]:
    """`asked` has address, title, body, level, allow, `id` of the incident that it is of, and whether it
    `ends` it. Gives `error` ("" once the target has it), `status` of HTTP if any, `retry_after`."""
    import apprise

    told = Told()
    address = str(asked["address"])
    asset = apprise.AppriseAsset(
        app_id="repave",
        app_desc="repave",
        http_redirects=False,
        image_url_mask="",
        image_url_logo="",
        image_path_mask="",
    )
    there = apprise.Apprise.instantiate(address, asset=asset, suppress_exceptions=True)
    if there is None or urlsplit(address).scheme.lower() not in SCHEMES:
        return _answer("apprise can't read its address", told)
    if not getattr(there, "dedup", "of no kind that has one"):
        setattr(there, "dedup", asked["id"])  # noqa: B010  # of PagerDuty's only
        if asked.get("ends"):
            setattr(there, "action", "resolve")  # noqa: B010  # the same
    hosts = (urlsplit(address).hostname, getattr(there, "smtp_host", ""))
    allowed = allowed_of(" ".join([asked["allow"], *filter(None, hosts)]))

    _judge_addresses(told, allowed)
    _watch_answers(told)
    _hear_warnings(told)
    target = apprise.Apprise(asset=asset)
    target.add(there)
    is_taken = bool(
        target.notify(
            title=asked["title"],
            body=asked["body"],
            notify_type=apprise.NotifyType(asked["level"]),
            body_format=apprise.NotifyFormat.TEXT,
        )
    )
    said = "; ".join([*told.objections, *told.warnings[-2:]]) or "it was not taken"
    return _answer("" if is_taken else without(said, secrets_of(address)), told)


def _answer(error: str, told: Told) -> dict[str, Any]:
    return {"error": error, "status": told.status, "retry_after": told.retry_after}


def _judge_addresses(told: Told, allowed: Any) -> None:
    """All ways of this process to other machines look names up here, addresses too."""
    look_up = socket.getaddrinfo

    def judged(host: Any, *more: Any, **named: Any) -> Any:
        found = look_up(host, *more, **named)
        name = host.decode() if isinstance(host, bytes) else str(host)
        for each in found:
            if why := objection(name, str(each[4][0]), allowed):
                told.objections.append(why)
                raise OSError(why)
        return found

    socket.getaddrinfo = judged


def _watch_answers(told: Told) -> None:
    import requests

    send_one = requests.Session.send

    def watched(self: Any, request: Any, **named: Any) -> Any:
        answer = send_one(self, request, **named)
        told.status, told.retry_after = answer.status_code, str(answer.headers.get("Retry-After", ""))
        return answer

    requests.Session.send = watched  # type: ignore[method-assign]  # there is no other way in


def _hear_warnings(told: Told) -> None:
    class Hearing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.warnings.append(" ".join(record.getMessage().split()))

    logger = logging.getLogger("apprise")
    logger.addHandler(Hearing(logging.WARNING))
    logger.propagate = False


def secrets_of(address: str) -> list[str]:
    """The words of an address that nobody but its target may read; the longest come first."""
    parts = urlsplit(address)
    words = {address, *parts.path.split("/"), parts.username or "", parts.password or ""}
    if parts.scheme not in ("json", "jsons", "mailto", "mailtos", "workflow", "workflows"):
        words.add(parts.hostname or "")  # the first part of a token
        words.add(parts.netloc.rpartition("@")[2])
    words |= {each.partition("=")[2] for each in parts.query.split("&")}
    words |= {unquote(each) for each in words}
    return sorted((each for each in words if len(each) >= SECRET_LENGTH_MIN), key=len, reverse=True)


def without(text: str, secrets: Sequence[str]) -> str:
    for each in secrets:
        text = text.replace(each, "...")
    return text


if __name__ == "__main__":
    sys.exit(main())
