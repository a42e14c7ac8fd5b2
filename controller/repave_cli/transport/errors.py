"""How a command fails: main.py prints the error and exits with its code."""

from typing import Any

from repave_cli.transport.exit_codes import ERROR


class CliError(Exception):
    """The command ends with `exit_code`; the text says what is wrong and what to do. `problem` is the
    controller's answer (RFC 9457), if it gave one."""

    def __init__(self, text: str, exit_code: int = ERROR, problem: dict[str, Any] | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.exit_code = exit_code
        self.problem = problem


class UnreachableError(CliError):
    """The controller does not answer, or the connection broke."""
