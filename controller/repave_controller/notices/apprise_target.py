"""Tells people by apprise: in Slack, in Teams, by mail, by PagerDuty, or by a plain webhook.

Apprise runs in a process of its own (sending.py), which is ended when it takes too long.
"""

import asyncio
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from repave_controller.core.domain.application import Event
from repave_controller.core.domain.audience import (
    Hearer,
    ends_incident,
    is_of,
    is_of_incident,
    may_begin_incident,
)
from repave_controller.notices.http_target import PATIENCE
from repave_controller.notices.ports import Notice, NotTaken
from repave_controller.notices.progress import Failure
from repave_controller.notices.sending import SCHEMES
from repave_controller.wording.messages import message_of

SEND_SECONDS = 30.0
ADDRESS_BYTES_MAX = 16 * 1024
ANSWER_BYTES_MAX = 64 * 1024
SENDING = (sys.executable, "-m", "repave_controller.notices.sending")

INCIDENTS_AT = ("PagerDuty",)
"""Where what went wrong stands open until it is said to be over."""

Hearers = Callable[[str], Sequence[Hearer]]
"""Whom the spec of an application names."""


@dataclass(frozen=True, slots=True)
class AppriseTarget:
    """Implements ports.Target. `address` is a file with the target's address as apprise has it, read each
    time. `on`: of which occasions it is told of the applications that `applications` match; `hearers` may
    ask for more. `url`: where people reach the controller."""

    name: str
    address: Path
    on: Sequence[str]
    applications: Sequence[str]
    hearers: Hearers = field(repr=False)
    allow: str = ""
    authority: Path | None = None
    url: str = ""
    command: Sequence[str] = field(default=SENDING, repr=False)
    may_be_named: bool = True

    @property
    def kind(self) -> str:
        try:
            return SCHEMES.get(urlsplit(self._read()).scheme.lower(), "apprise")
        except (OSError, ValueError):
            return "apprise"

    @property
    def place(self) -> str:
        """The file: nearly all of the address is secret."""
        return str(self.address)

    def wants(self, event: Event) -> bool:
        asked = [each.on for each in self.hearers(event.application) if each.to == self.name]
        if any(fnmatchcase(event.application, each) for each in self.applications):
            asked.append(tuple(self.on))
        if any(is_of(event.kind, each) for each in asked):
            return True
        return any(map(may_begin_incident, asked)) and ends_incident(event.kind) and self.kind in INCIDENTS_AT

    async def send(self, notice: Notice, now: float) -> None:
        try:
            address = self._read()
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise NotTaken(Failure(f"its address {self.address} can't be used: {why}")) from None
        message = message_of(notice.event, self.url)
        asked: dict[str, str | bool] = {
            "address": address,
            "title": message.title,
            "body": message.body,
            "level": message.level,
            "id": incident_id(notice),
            "ends": ends_incident(notice.event.kind),
            "allow": self.allow,
        }
        if failure := _failure(await self._ask(asked)):
            raise NotTaken(failure)

    def _read(self) -> str:
        """Raises OSError, ValueError."""
        with self.address.open("rb") as opened:
            text = opened.read(ADDRESS_BYTES_MAX).decode().strip()
        scheme = urlsplit(text).scheme.lower()
        if not text or "\n" in text:
            raise ValueError("one line is expected, such as slack://... or mailtos://...")
        if scheme not in SCHEMES:
            raise ValueError(
                f"{scheme or 'its start'} is none of {', '.join(f'{each}://' for each in SCHEMES)}"
            )
        return text

    async def _ask(self, asked: dict[str, str | bool]) -> dict[str, Any]:
        """Raises NotTaken where there is no answer in time."""
        process = await asyncio.create_subprocess_exec(
            *self.command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=self._environment(),
        )
        try:
            async with asyncio.timeout(SEND_SECONDS):
                said, _ = await process.communicate(json.dumps(asked).encode())
        except TimeoutError:
            raise NotTaken(Failure(f"no answer within {SEND_SECONDS:g} s")) from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        try:
            answer = json.loads(said[:ANSWER_BYTES_MAX])
        except ValueError:
            raise NotTaken(Failure(f"apprise ended with {process.returncode}, and said nothing")) from None
        return dict(answer)

    def _environment(self) -> dict[str, str]:
        """Nothing of the controller's own: no proxy, no passwords of a .netrc."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "PYTHONPATH") if name in os.environ}
        kept |= {"NETRC": os.devnull, "HOME": "/nonexistent"}
        if self.authority is not None:
            kept |= {"REQUESTS_CA_BUNDLE": str(self.authority), "SSL_CERT_FILE": str(self.authority)}
        return kept


def incident_id(notice: Notice) -> str:
    """All that goes wrong with an application's rollouts is one incident until it is over."""
    application = notice.event.application
    if application and is_of_incident(notice.event.kind):
        return f"{notice.installation}-{application}-rollout"
    return notice.id


def _failure(answer: dict[str, Any]) -> Failure | None:
    error, status = str(answer["error"]), int(answer["status"])
    if not error:
        return None
    is_refused = 300 <= status < 500 and status not in PATIENCE
    wait = str(answer["retry_after"])
    patience = float(wait) if wait.isascii() and wait.isdecimal() and len(wait) < 8 else 0.0
    return Failure(error, is_refused, patience)
