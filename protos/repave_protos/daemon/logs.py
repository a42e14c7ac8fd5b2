"""How both kinds of process write their logs: events with fields, as JSON lines or for a terminal.

A fault that repeats is written once a minute, with how often it came meanwhile.
"""

import asyncio
import logging
import sys
from collections.abc import Callable
from typing import Any, Literal

import structlog

from repave_protos.daemon.printable import printable
from repave_protos.daemon.settings import Settings

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
REPEATED_SECONDS = 60.0
REMEMBERED_MAX = 1000
FAULTS = ("warning", "error", "critical")
OF_LINES = ("exception", "stack")
"""Fields that have lines."""

log = structlog.get_logger()


class LogSettings(Settings):
    """How a daemon writes its log. `auto`: text on a terminal, else JSON."""

    format: Literal["auto", "json", "text"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"

    def is_json(self, *, is_terminal: bool) -> bool:
        return self.format == "json" or (self.format == "auto" and not is_terminal)


def configure_logs(settings: LogSettings, clock: Callable[[], float]) -> None:
    """To standard error; times are ISO 8601 in UTC. `clock` counts seconds. What is bound to the context,
    such as the id of the cause (`causes.py`), is in every line."""
    is_json = settings.is_json(is_terminal=sys.stderr.isatty())
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if is_json else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            Repeats(clock),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            *([] if is_json else [_printable_values]),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[settings.level]),
        logger_factory=lambda *_: structlog.WriteLogger(sys.stderr),
    )


class Repeats:
    """Drops a warning or an error that was written with the same fields less than a minute ago."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._written: dict[str, tuple[float, int]] = {}  # when, and how often it was dropped since

    def __call__(
        self, _: structlog.typing.WrappedLogger, level: str, fields: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        if level not in FAULTS:
            return fields
        fault, now = repr(sorted(fields.items(), key=lambda field: field[0])), self._clock()
        at, dropped = self._written.pop(fault, (now - REPEATED_SECONDS, 0))
        is_due = now - at >= REPEATED_SECONDS
        self._written[fault] = (now, 0) if is_due else (at, dropped + 1)
        if len(self._written) > REMEMBERED_MAX:
            del self._written[next(iter(self._written))]
        if not is_due:
            raise structlog.DropEvent
        return {**fields, "repeated": dropped} if dropped else fields


def log_faults_of(loop: asyncio.AbstractEventLoop) -> None:
    """What no task of ours could catch, a connection that can't be accepted, say, goes to the log too."""

    def report(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        fault = context.get("exception")
        is_ours = isinstance(fault, Exception) and not isinstance(fault, OSError)
        log.error(
            "loop.fault",
            text=context.get("message", ""),
            error=str(fault or ""),
            **({"exc_info": fault} if is_ours else {}),
        )

    loop.set_exception_handler(report)


def _printable_values(
    _: structlog.typing.WrappedLogger, __: str, fields: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    return {name: _printable(name, each) for name, each in fields.items()}


def _printable(name: str, value: object) -> object:
    """A traceback's lines are set in, so that none of them, which may quote others, looks like an event.
    What is no text is shown by its repr, which escapes."""
    if not isinstance(value, str):
        return value
    if name not in OF_LINES:
        return printable(value)
    return "\n".join(f"    {printable(line)}" for line in value.splitlines())
