"""Follows a rollout: a live tree where a person looks on, one line for each change everywhere else."""

import json
import signal
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from typing import Any

from repave_cli.render.progress import (
    Some,
    awaited,
    group_line,
    job_awaited,
    person_awaited,
    rollout_line,
    serving_text,
    wave_state,
)
from repave_cli.render.remains import tell_failed_hosts
from repave_cli.transport.errors import CliError
from repave_cli.transport.exit_codes import (
    DETACHED,
    DONE,
    ENDS,
    HELD,
    REFUSED,
    ROLLED_BACK,
    TERMINATED,
    TIMED_OUT,
    WAITS,
)
from repave_cli.transport.streaming import lasting, summed
from repave_cli.transport.terminal import Terminal
from repave_client.places import quoted

BECAUSE_SHOWN_MAX = 3


SUCCEEDED = frozenset({"succeeded"})
FAILED_PHASES = frozenset({"rolled-back", "held"})
UNDONE = frozenset({"rolled-back", "aborted"})


def follow(terminal: Terminal, app: str, number: int, wanted: frozenset[str] = SUCCEEDED) -> int:
    """Until rollout `number` (0: the present one) ends, or waits for a person where that is asked for; the
    exit code tells how: 0 in one of the `wanted` phases. Ctrl-C only leaves."""
    timeout = terminal.arguments.timeout
    deadline = None if timeout is None else time.monotonic() + timeout
    ended = None
    try:
        with (
            on_termination(),
            closing(_watched(terminal, app, deadline, was_accepted=number > 0)) as snapshots,
        ):
            for status in snapshots:
                number = number or _number(status)
                if _is_over(status, number):
                    ended = status
                    break
                if _number(status) == number and (job := job_awaited(status)):
                    terminal.say(f"HELD: {job}")
                    return HELD
                if _leaves_at_gate(terminal) and person_awaited(status):
                    terminal.say(f"waits for a person: {person_awaited(status)}")
                    return DONE if terminal.arguments.gate_ok else WAITS
    except KeyboardInterrupt:
        terminal.say(f"\nleft; the rollout goes on. Come back with: repave watch {app}")
        return DETACHED
    except Terminated as ended:
        raise CliError(
            f"ended by {ended}; the rollout of {app} goes on: repave watch {app} follows it, and "
            f"repave abort {app} ends it",
            TERMINATED,
        ) from ended
    if ended is not None:
        return _finish(terminal, ended, _rollout(terminal, ended, number), wanted)
    raise CliError(f"not done after {timeout:g} s; the rollout goes on: repave watch {app}", TIMED_OUT)


class Terminated(BaseException):
    """A signal has ended this command: of a CI whose job was cancelled."""


@contextmanager
def on_termination() -> Iterator[None]:
    """SIGTERM and SIGHUP raise Terminated, where this is the program's main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def raised(number: int, _: object) -> None:
        raise Terminated(signal.Signals(number).name)

    before = {each: signal.signal(each, raised) for each in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _leaves_at_gate(terminal: Terminal) -> bool:
    return bool(terminal.arguments.until_gate or terminal.arguments.gate_ok)


def _number(status: dict[str, Any]) -> int:
    rollout = status["current_rollout"]
    return int(rollout["number"]) if rollout is not None else 0


def _is_over(status: dict[str, Any], number: int) -> bool:
    """Also when a later rollout, a queued one, has begun already: snapshots may be left out."""
    rollout = status["current_rollout"]
    if rollout is None:
        return False
    if rollout["number"] < number:  # a queued one, which has yet to begin
        if rollout["phase"] in ENDS and not status["queue"]["items"]:
            raise CliError(f"the queued release has not begun; see repave events {status['name']}", REFUSED)
        return False
    return rollout["number"] > number or rollout["phase"] in ENDS


def _rollout(terminal: Terminal, status: dict[str, Any], number: int) -> dict[str, Any]:
    """Rollout `number`, which is over."""
    current: dict[str, Any] = status["current_rollout"]
    if current["number"] == number:
        return current
    return rollout_numbered(terminal, status["name"], number) or current


def newest_rollouts(
    terminal: Terminal, app: str, count: int, before: int | None = None
) -> list[dict[str, Any]]:
    """The newest first, without what each region did. Raises CliError."""
    path = f"applications/{quoted(app)}/history"
    page = next(terminal.client.pages_of(path, "before", count, start=before, brief="1"))
    return list(page["items"])


def rollout_numbered(terminal: Terminal, app: str, number: int) -> dict[str, Any] | None:
    """None where it is no longer kept."""
    found = newest_rollouts(terminal, app, 1, before=number + 1)
    return next((each for each in found if each["number"] == number), None)


def _watched(
    terminal: Terminal, app: str, deadline: float | None, was_accepted: bool
) -> Generator[dict[str, Any], None, None]:
    """Every snapshot, shown as it comes; ends at the deadline."""
    with _display(terminal, app) as show:
        path = f"applications/{quoted(app)}/stream"
        for status in lasting(
            terminal, path, deadline=deadline, was_there=was_accepted, summary=summed(terminal)
        ):
            show.show(status)
            yield status


def _display(terminal: Terminal, app: str) -> Any:
    """A screen where a person looks on, else lines."""
    if terminal.is_interactive and terminal.is_for_people:
        from repave_cli.commands.keys import Keyboard, has_keyboard
        from repave_cli.commands.live import LiveScreen  # only a person at a terminal sees it

        return LiveScreen(Keyboard(terminal, app) if has_keyboard() else None)
    return _Lines(terminal)


def _finish(
    terminal: Terminal, status: dict[str, Any], rollout: dict[str, Any], wanted: frozenset[str]
) -> int:
    """One clear line on how it ended."""
    code = DONE if rollout["phase"] in wanted else ENDS[rollout["phase"]]
    now = serving_text(status)
    ended = f"{rollout['group']} {rollout['phase']}: {rollout['outcome'].rstrip('.')}"
    if rollout["phase"] == "held" and not rollout["ended_at"]:
        held = (each["remedy"]["text"] for each in status["because"] if each["kind"] == "held")
        ways = next(held, f"repave why {status['name']}")
        terminal.say(f"HELD where it is: {rollout['outcome']}; a person must act: {ways}")
    elif rollout["phase"] == "held":
        terminal.say(f"HELD: {rollout['outcome']}; a person must act: repave why {status['name']}")
    elif code == ROLLED_BACK:
        terminal.say(f"NOT RELEASED: {ended}. {now}.")
    elif rollout["phase"] == "succeeded":
        terminal.say(f"done: {now}")
    else:
        terminal.say(f"done: {ended}. {now}.")
    if terminal.is_for_people and rollout["phase"] in FAILED_PHASES:
        tell_failed_hosts(terminal, status["name"], rollout["group"])
    return code


class _Lines:
    """One plain line for each thing that changed, or a whole snapshot a line with -o json and jsonl."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._shown: dict[str, str] = {}
        self._began = time.monotonic()

    def __enter__(self) -> "_Lines":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, status: dict[str, Any]) -> None:
        if not self._terminal.is_for_people:
            if self._terminal.format == "jsonl":
                self._terminal.out(json.dumps(status))
            return
        rollout = status["current_rollout"]
        if rollout:
            self._line("rollout", rollout_line(rollout))
            self._waves(rollout)
        for region in status["region_items"]:
            if not region["connected"]:
                self._line(region["name"], f"{region['name']}  its agent is away")
            for group in region["groups"]:
                key = f"{region['name']}/{group['name']}"
                self._line(key, f"{region['name']}  {group_line(group)}")
        for alike in status.get("alike", ()):
            for group in alike["groups"]:
                key = f"alike/{group['name']}/{group['state']}"
                self._line(key, f"{Some(alike['count'], alike['names'])}  {group_line(group)}")
        waits = awaited(status["because"])[:BECAUSE_SHOWN_MAX]
        self._line("because", "; ".join(f"{each.text}{each.way_on}" for each in waits))

    def _waves(self, rollout: dict[str, Any]) -> None:
        """What each wave does, where there are several."""
        count = len(rollout["waves"])
        for number in range(count) if count > 1 and not rollout["ended_at"] else ():
            key = f"wave {number + 1}"
            self._line(key, f"{key} of {count}: {wave_state(number, rollout)}")

    def _line(self, key: str, text: str) -> None:
        if text and self._shown.get(key) != text:
            self._shown[key] = text
            self._terminal.say(f"{time.monotonic() - self._began:6.1f} s  {text}")
