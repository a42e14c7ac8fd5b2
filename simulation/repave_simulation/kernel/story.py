"""What happened in a run, line by line, and how often each fault met each step of a release."""

import hashlib
from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Broken:
    """A promise that was broken. 0 stands for mistakes that no number names: a crash, a dead end."""

    promise: int
    text: str
    at: float

    def __str__(self) -> str:
        return f"promise {self.promise} at {self.at:.3f} s: {self.text}"


@dataclass(slots=True)
class Story:
    """The trace of one run. `broken` is the first promise that was broken: the run ends with it."""

    broken: Broken | None = None
    lines: list[str] = field(default_factory=list)
    met: Counter[tuple[str, str]] = field(default_factory=Counter)  # (fault, step)
    reached: Counter[str] = field(default_factory=Counter)  # "the agent refused an older epoch", ...

    def tell(self, now: float, who: str, text: str) -> None:
        self.lines.append(f"{now:9.3f} {who}: {text}")

    def digest(self) -> str:
        """The same for two runs exactly when each of their lines is the same."""
        return hashlib.sha256("\n".join(self.lines).encode()).hexdigest()
