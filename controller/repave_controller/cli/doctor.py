"""Examines this machine and the controller and says what to fix: doctor. Also version and completion."""

import shutil
import sys
import time
from typing import Any

from repave_controller.cli.output import Column, column, show
from repave_controller.cli.terminal import DONE, ERROR, CliError, Terminal

CLOCK_DIFFERENCE_MAX_SECONDS = 5.0
SHELLS = ("bash", "zsh", "tcsh", "fish", "powershell")
COLUMNS = (
    Column("", lambda item: item["state"]),
    column("CHECK", "name"),
    Column("FOUND", lambda item: item["text"]),
    Column("DO", lambda item: item["remedy"]),
)


def register(commands: Any) -> None:
    commands.add_parser("doctor", help="Check this machine, the controller and its regions").set_defaults(
        run=run_doctor
    )
    commands.add_parser("version", help="Client and controller versions").set_defaults(run=run_version)
    completion = commands.add_parser("completion", help="Print shell completion: repave completion bash")
    completion.add_argument("shell", choices=SHELLS)
    completion.set_defaults(run=run_completion)


def run_doctor(terminal: Terminal) -> int:
    checks = [_python(), *_programs(), *_controller(terminal)]
    show(terminal, {"items": checks}, COLUMNS)
    return ERROR if any(check["state"] == "fail" for check in checks) else DONE


def _check(name: str, state: str, text: str, remedy: str = "") -> dict[str, Any]:
    return {"name": name, "state": state, "text": text, "remedy": remedy}


def _python() -> dict[str, Any]:
    return _check("python", "ok", sys.version.split()[0])


def _programs() -> list[dict[str, Any]]:
    """Only machines that run an agent need these."""
    checks = []
    for program, package, use in (
        ("haproxy", "haproxy", "balancing on this machine"),
        ("bwrap", "bubblewrap", "hosts with a read-only root on this machine"),
    ):
        path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
        if path:
            checks.append(_check(program, "ok", path))
        else:
            remedy = f"where an agent shall run: apt install {package}"
            checks.append(_check(program, "warn", f"not installed; needed for {use}", remedy))
    return checks


def _controller(terminal: Terminal) -> list[dict[str, Any]]:
    try:
        answer = terminal.client.get("doctor")
    except CliError as error:
        return [_check("controller", "fail", error.text, "start one: repave dev, or repave-controller")]
    from datetime import datetime

    difference = abs(datetime.fromisoformat(answer["now"]).timestamp() - time.time())
    is_close = difference <= CLOCK_DIFFERENCE_MAX_SECONDS
    clocks = _check(
        "clocks",
        "ok" if is_close else "warn",
        f"this machine and the controller differ by {difference:.1f} s",
        "" if is_close else "start an NTP client on both",
    )
    found = _check("controller", "ok", f"{answer['version']} at {terminal.client.url}")
    return [found, clocks, *answer["items"]]


def run_version(terminal: Terminal) -> int:
    from importlib.metadata import version

    terminal.out(f"repave {version('repave')}")
    try:
        terminal.out(f"controller {terminal.client.get('doctor')['version']} at {terminal.client.url}")
    except CliError as error:
        terminal.say(error.text)
    return DONE


def run_completion(terminal: Terminal) -> int:
    import shtab

    from repave_controller.cli.main import make_parser

    terminal.out(shtab.complete(make_parser(), shell=terminal.arguments.shell))
    return DONE
