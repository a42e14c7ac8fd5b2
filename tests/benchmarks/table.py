"""One line of the benchmark: what was measured, beside what, and whether it is what we aim for."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """`goal` is a bound from above unless `is_at_least`; None where there is nothing to aim for."""

    what: str
    measured: float
    unit: str
    beside: str = ""  # the floor, or the spread
    goal: float | None = None
    is_at_least: bool = False

    @property
    def is_met(self) -> bool | None:
        if self.goal is None:
            return None
        return self.measured >= self.goal if self.is_at_least else self.measured <= self.goal

    def __str__(self) -> str:
        aim = ""
        if self.goal is not None:
            bound = ">=" if self.is_at_least else "<="
            aim = f"{bound} {self.goal:g} {self.unit}: {'met' if self.is_met else 'MISSED'}"
        return f"{self.what:<58} {self.measured:>10,.2f} {self.unit:<9} {aim:<24} {self.beside}".rstrip()
