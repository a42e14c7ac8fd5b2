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

    @property
    def is_unknown_route(self) -> bool:
        """The controller is of a version that has no such thing to ask for."""
        return self.problem is not None and self.problem.get("rule") == "not-found"

    def is_unknown_query(self, name: str) -> bool:
        """The same of a part of a query."""
        rule, detail = (self.problem or {}).get("rule"), str((self.problem or {}).get("detail"))
        return rule == "bad-request" and detail.startswith(f"{name}: ")


class UnreachableError(CliError):
    """The controller does not answer, or the connection broke."""
