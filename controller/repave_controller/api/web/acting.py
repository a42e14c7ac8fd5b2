"""Lets parts of the controller ask its own API, in the name of a principal of theirs: at the controller that
decides, with its rules, and with rows in the audit log."""

import json
import uuid
from typing import Any

import structlog

from repave_controller.api.web.access import Guarded
from repave_controller.api.web.relay import KEY, STAYS, Command, Relay
from repave_controller.core.domain.instants import Instant
from repave_controller.core.ports import StoreError
from repave_controller.operations.releasing import Deed
from repave_controller.security.audit import Entry
from repave_protos.protocol.values import ApplicationName

log = structlog.get_logger()


class Acting:
    """Implements operations.releasing.Act."""

    def __init__(self, relay: Relay, guarded: Guarded | None) -> None:
        self._relay, self._guarded = relay, guarded

    async def __call__(self, deed: Deed) -> tuple[int, dict[str, Any]]:
        method = "GET" if deed.body is None else "POST"
        headers = {"Content-Type": "application/json", KEY: deed.key or str(uuid.uuid4())}
        body = json.dumps(deed.body).encode() if deed.body is not None else b""
        command = Command(method, f"/v1/{deed.path}", headers, deed.principal, "", body)
        is_command = method == "POST" and deed.path.startswith(f"applications/{deed.application}/")
        is_written = is_command and self._guarded is not None
        asked = await self._write(deed) if is_written else 0
        owner_decides = is_command and not deed.path.endswith(STAYING)
        outcome = await self._relay.act(command, ApplicationName(deed.application) if owner_decides else None)
        reply = outcome.reply
        if is_written:
            told = outcome.told
            word = "done" if reply.status < 400 else "refused" if reply.status < 500 else "failed"
            try:
                await self._write(
                    deed, outcome=word, status=reply.status, of=asked, reason=told.reason, facts=told.facts
                )
            except StoreError as error:  # what was asked stands there, without its end
                log.error("audit.end_not_saved", of=asked, status=reply.status, error=str(error))
        found = json.loads(reply.body or b"{}")
        return reply.status, found if isinstance(found, dict) else {}

    async def _write(self, deed: Deed, **end: Any) -> int:
        assert self._guarded is not None, "asked only where there is a log"
        principal = deed.principal
        entry = Entry(
            at=Instant(0.0),
            who=principal.name,
            kind=str(principal.kind),
            credential="",
            address="",
            action=f"POST {deed.path}"[:300],
            application=deed.application,
            **end,
        )
        return await self._guarded.audit.add(entry)


STAYING = tuple(each.rpartition("}")[2] for each in STAYS)
"""The ends of what every controller does by itself."""
