"""The keys of a person who watches a rollout at a terminal: p pauses or resumes, P approves, a aborts.

What moves traffic or ends something is asked first. `Keys` decides, from a key and what is shown, what is
to be done; `Keyboard` reads the keys and does it, beside the stream that the screen follows.
"""

import os
import select
import signal
import sys
import termios
import threading
import tty
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from repave_cli.transport.errors import CliError
from repave_cli.transport.identity import who
from repave_cli.transport.terminal import Terminal
from repave_client.places import quoted

HELP = "p pause or resume   P approve   a abort   q leave (the rollout goes on)   ? hide"
HINT = "? keys"
LOOK_SECONDS = 0.2
STILL = {"paused": "resume", "held": "retry"}


@dataclass(frozen=True, slots=True)
class Ask:
    """One command for the controller. `role`: in which it is approved, where there are no accounts."""

    verb: str
    body: dict[str, object] = field(default_factory=dict)
    role: str = ""


@dataclass(slots=True)
class Keys:
    """What was pressed so far. `said`: beneath the rollout."""

    said: str = HINT
    _next: Ask | None = None  # once it is agreed to

    def press(self, key: str, status: dict[str, Any] | None) -> Ask | None:
        """What is to be done now."""
        agreed, self._next = self._next, None
        if agreed is not None:
            self.said = f"{agreed.verb}: asked for" if key == "y" else f"{agreed.verb}: left as it is"
            return agreed if key == "y" else None
        rollout = status["current_rollout"] if status is not None else None
        if key == "?":
            self.said = HINT if self.said == HELP else HELP
        elif key not in ("p", "P", "a"):
            return None
        elif status is None or rollout is None or rollout["ended_at"]:
            self.said = "no rollout is running"
        elif key == "p":
            return self._turn(rollout["phase"])
        elif key == "P":
            self._promote(status)
        else:
            self._abort(rollout)
        return None

    def _turn(self, phase: str) -> Ask | None:
        if phase == "undoing":
            self.said = "it is going back already"
            return None
        verb = STILL.get(phase, "pause")
        self.said = f"{verb}: asked for"
        return Ask(verb)

    def _promote(self, status: dict[str, Any]) -> None:
        gates = status["gates"]
        if not gates:
            self.said = "it waits for no approval now"
            return
        names = list(dict.fromkeys(each["gate"] for each in gates))
        role = ",".join(dict.fromkeys(each["role"] for each in gates if each["role"]))
        self._next = Ask("promote", {"gates": names}, role)
        self.said = f"approve {', '.join(names)}?  y: yes, any other key: no"

    def _abort(self, rollout: dict[str, Any]) -> None:
        if rollout["phase"] == "undoing":
            self.said = "it is going back already"
            return
        self._next = Ask("abort")
        back = f": the traffic goes back to {rollout['origin']}" if rollout["origin"] else ""
        self.said = f"abort {rollout['group']}{back}?  y: yes, any other key: no"


class Keyboard:
    """Reads keys one by one while it is open, and gives the terminal back as it was. `changed`: draw anew."""

    def __init__(self, terminal: Terminal, app: str) -> None:
        self.keys = Keys()
        self.changed: Callable[[], object] = lambda: None
        self.status: dict[str, Any] | None = None
        self._terminal, self._app = Terminal(terminal.arguments), app  # a connection of its own
        self._is_over = threading.Event()
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._before: list[Any] | None = None

    def __enter__(self) -> "Keyboard":
        self._before = termios.tcgetattr(sys.stdin)
        tty.setcbreak(sys.stdin, termios.TCSANOW)
        self._reading.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._reading.join()
        if self._before is not None:
            termios.tcsetattr(sys.stdin, termios.TCSANOW, self._before)

    def _read(self) -> None:
        while not self._is_over.is_set():
            if not select.select([sys.stdin], [], [], LOOK_SECONDS)[0]:
                continue
            pressed = os.read(sys.stdin.fileno(), 64).decode(errors="replace")
            if not pressed:
                return  # the terminal is gone
            if pressed.startswith("\x1b"):
                continue  # an arrow, or another key that is a sequence
            for key in pressed:
                self._press(key)

    def _press(self, key: str) -> None:
        if key == "q":
            os.kill(os.getpid(), signal.SIGINT)  # as Ctrl-C
            return
        asked = self.keys.press(key, self.status)
        self.changed()
        if asked is not None:
            self.keys.said = self._done(asked)
            self.changed()

    def _done(self, asked: Ask) -> str:
        client, body = self._terminal.client, {**asked.body, "reason": "", "by": who()}
        try:
            if asked.role and client.get("whoami")["kind"] == "local":
                body["role"] = asked.role
            client.post(f"applications/{quoted(self._app)}/{asked.verb}", body, "")
        except CliError as error:
            return f"{asked.verb}: {error.text}"
        return HINT


def has_keyboard() -> bool:
    """A person can press keys: not where input comes from elsewhere, or the job is in the background."""
    if sys.stdin is None or sys.stdin.closed or not sys.stdin.isatty():
        return False
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except OSError:  # the terminal has no jobs
        return True
