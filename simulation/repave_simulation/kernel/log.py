"""Keeps the log of thousands of simulated processes quiet, but for what should never be in it."""

from collections.abc import MutableMapping
from typing import Any, NoReturn

import structlog

MISTAKES = ("decision.failed", "agent.stream_failed", "session.failed", "probe.crashed")
"""What the code logs when it met something that it had not thought of."""


def listen(mistakes: list[str]) -> None:
    """From now on nothing is logged; mistakes are put into the list."""

    def take(_: object, level: str, event: MutableMapping[str, Any]) -> NoReturn:
        if event["event"] in MISTAKES:
            mistakes.append(f"{event['event']}: {event.get('exc_info') or event.get('error') or ''!r}")
        raise structlog.DropEvent

    structlog.configure(
        processors=[take],
        wrapper_class=structlog.make_filtering_bound_logger(40),
        cache_logger_on_first_use=False,
    )
