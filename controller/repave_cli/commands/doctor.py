"""Examines this machine and the controller and says what to fix: doctor. Also version and completion."""

import shutil
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from repave_cli.render.output import show, show_whole
from repave_cli.transport.errors import CliError
from repave_cli.transport.exit_codes import DONE, ERROR
from repave_cli.transport.terminal import Terminal

CLOCK_DIFFERENCE_MAX_SECONDS = 5.0
PYTHON_MIN = (3, 11)
SHELLS = ("bash", "zsh", "tcsh", "fish", "powershell")


def register(commands: Any) -> None:
    commands.add_parser("doctor", help="Check this machine, the controller and its regions").set_defaults(
        run=run_doctor
    )
    commands.add_parser("version", help="Client and controller versions").set_defaults(run=run_version)
    completion = commands.add_parser("completion", help="Print shell completion: repave completion bash")
    completion.add_argument("shell", choices=SHELLS)
    completion.set_defaults(run=run_completion)


def run_doctor(terminal: Terminal) -> int:
    found, disk = _controller(terminal)
    checks = [python_check(sys.version_info[:3]), *_programs(), *found]
    if terminal.is_for_people:
        for line in check_lines(checks):
            terminal.out(line)
    else:
        show(terminal, {"items": checks, "disk": disk}, ())
    return ERROR if any(check["state"] == "fail" for check in checks) else DONE


def check_lines(checks: Sequence[dict[str, Any]]) -> list[str]:
    """State, name and finding, aligned; what to do about it after an arrow."""
    width = max(len(check["name"]) for check in checks)
    lines = [f"{check['state']:<4}  {check['name']:<{width}}  {check['text']}" for check in checks]
    return [
        f"{line}  -> {check['remedy']}" if check["remedy"] else line
        for line, check in zip(lines, checks, strict=True)
    ]


def _check(name: str, state: str, text: str, remedy: str = "") -> dict[str, Any]:
    return {"name": name, "state": state, "text": text, "remedy": remedy}


def python_check(version: tuple[int, ...]) -> dict[str, Any]:
    found, needed = (".".join(str(part) for part in each) for each in (version, PYTHON_MIN))
    if version >= PYTHON_MIN:
        return _check("python", "ok", found)
    return _check("python", "fail", f"{found} is too old", f"run repave with Python {needed} or newer")


def _programs() -> list[dict[str, Any]]:
    checks = []
    for program, package, use in (
        ("haproxy", "haproxy", "balancing"),
        ("bwrap", "bubblewrap", "hosts with a read-only root"),
    ):
        path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
        if path:
            checks.append(_check(program, "ok", path))
        else:
            text = f"not installed; needed only where an agent runs, for {use}"
            checks.append(_check(program, "warn", text, f"where an agent runs: apt install {package}"))
    return checks


def _controller(terminal: Terminal) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """What it finds, and what takes its disk."""
    asked_at = time.time()
    try:
        answer = terminal.client.get("doctor")
    except CliError as error:
        remedy = "if it is elsewhere: --url, REPAVE_URL or repave context use"
        return [_check("controller", "fail", error.text, remedy)], None
    found = _check("controller", "ok", f"{answer['version']} at {terminal.client.url}")
    # It read its clock somewhere between question and answer: in the middle the error is smallest.
    clocks = clocks_check(answer["now"], (asked_at + time.time()) / 2)
    return [found, clocks, *answer["items"]], answer.get("disk")


def clocks_check(controllers: str, here: float) -> dict[str, Any]:
    """Compares the controller's time (ISO 8601) with this machine's (seconds of the epoch)."""
    difference = abs(datetime.fromisoformat(controllers).timestamp() - here)
    text = f"this machine and the controller differ by {difference:.1f} s"
    if difference <= CLOCK_DIFFERENCE_MAX_SECONDS:
        return _check("clocks", "ok", text)
    return _check("clocks", "warn", text, "start an NTP client on both")


def run_version(terminal: Terminal) -> int:
    from importlib.metadata import version  # slow to import

    found: dict[str, Any] = {"name": version("repave"), "controller": None, "url": None}
    trouble = ""
    try:
        found["url"] = terminal.client.url
        found["controller"] = terminal.client.get("doctor")["version"]
    except CliError as error:
        trouble = error.text
    if terminal.is_for_people:
        terminal.out(f"repave {found['name']}")
        if not trouble:
            terminal.out(f"controller {found['controller']} at {found['url']}")
    else:
        show_whole(terminal, {"version": found.pop("name"), **found} if terminal.format != "name" else found)
    if trouble:
        terminal.say(trouble)
    return DONE


def run_completion(terminal: Terminal) -> int:
    import shtab  # slow to import, and only this command needs it

    shell = terminal.arguments.shell
    script = shtab.complete(terminal.arguments.root, shell=shell)
    if terminal.is_for_people:
        terminal.out(script)
    else:
        show_whole(terminal, {"name": shell, "script": script})
    return DONE
