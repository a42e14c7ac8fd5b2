"""What can go wrong with a call."""

from collections.abc import Mapping
from typing import Any


class RepaveError(Exception):
    """The base of all of them."""


class Unreachable(RepaveError):
    """No controller answers, or the connection broke. A write may have been done: repeat it with its key."""


class NotAController(RepaveError):
    """What answers is no controller of repave, its address is none, or its certificate does not count."""


class NeverBegun(RepaveError):
    """There is no such rollout, and none will come: its release waits in the queue under no number yet, was
    dropped from there, or its history is no longer kept."""


class Problem(RepaveError):
    """The controller has refused, or failed (RFC 9457). Programs go by `rule`, people by `detail`."""

    def __init__(self, status: int, content: Mapping[str, Any]) -> None:
        super().__init__(str(content.get("detail") or f"the controller answered {status}"))
        self.status = status
        self.content = dict(content)
        """The whole answer."""

    @property
    def rule(self) -> str:
        """The kind of the problem, such as rollout-running; "" of one that is none of repave's."""
        return str(self.content.get("rule", ""))

    @property
    def detail(self) -> str:
        return str(self)

    @property
    def problems(self) -> list[dict[str, Any]]:
        """Each place that is wrong, of a spec or a body."""
        return list(self.content.get("problems") or ())

    @property
    def facts(self) -> dict[str, Any]:
        """What the detail is made of."""
        return dict(self.content.get("facts") or {})

    @property
    def remedy(self) -> str:
        """What a person could do about it; "" where nothing is known."""
        return str((self.content.get("remedy") or {}).get("text", ""))
