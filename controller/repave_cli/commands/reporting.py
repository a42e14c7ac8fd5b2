"""--summary and --junit: what a command came to, written into files however it ends."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from repave_cli.transport.errors import CliError
from repave_cli.transport.exit_codes import DONE, ERROR
from repave_cli.transport.terminal import Terminal
from repave_client.places import quoted


def add_reports(command: Any) -> None:
    command.add_argument(
        "--summary", type=Path, metavar="FILE", help="append what came of it as Markdown, for a CI's job page"
    )
    command.add_argument("--junit", type=Path, metavar="FILE", help="write its verdicts as JUnit's XML")
    command.set_defaults(accepted=None)


def reported(run: Callable[[Terminal], int]) -> Callable[[Terminal], int]:
    """The command, with its reports."""

    def whole(terminal: Terminal) -> int:
        try:
            code = run(terminal)
        except CliError as error:
            _write(terminal, error.exit_code, error.text)
            raise
        _write(terminal, code, "")
        return code

    return whole


def _write(terminal: Terminal, exit_code: int, text: str) -> None:
    """A report that can't be written changes nothing of how the release ended; it is said."""
    arguments = terminal.arguments
    if arguments.summary is None and arguments.junit is None:
        return
    from repave_cli.render.verdict import Verdict, junit_of, markdown_of  # only a CI asks for it

    accepted = arguments.accepted
    rollout = _rollout(terminal, accepted) if accepted is not None else None
    application = accepted["application"] if accepted is not None else getattr(arguments, "app", None) or ""
    is_queued = bool(accepted is not None and accepted["is_queued"] and exit_code == DONE)
    verdict = Verdict(arguments.command, exit_code, application, rollout, text, is_queued)
    for file, mode, content in (
        (arguments.summary, "a", markdown_of),
        (arguments.junit, "w", junit_of),
    ):
        if file is not None:
            try:
                with file.open(mode, encoding="utf-8") as report:
                    report.write(content(verdict))
            except OSError as error:
                raise CliError(f"{file}: {error.strerror}", exit_code or ERROR) from error


def _rollout(terminal: Terminal, accepted: dict[str, Any]) -> dict[str, Any] | None:
    """With its waves; None where it can't be had, or has yet to begin."""
    number = accepted["rollout"]
    path = f"applications/{quoted(accepted['application'])}/history"
    try:
        items = terminal.client.get(path, before=number + 1, limit=1)["items"]
    except CliError:
        return None
    return next((each for each in items if each["number"] == number), None)
