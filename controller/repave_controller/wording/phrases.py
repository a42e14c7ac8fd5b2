"""How names, numbers, shares and persons are said to people."""

from collections.abc import Callable, Mapping, Sequence

REGIONS_TOLD_MAX = 8
NAMES_SHOWN_MAX = 10

Template = str | Callable[..., str]
"""The text of a kind: with the facts by their names and the commands that would help by their places."""


def listed(regions: Sequence[str]) -> str:
    """`oslo, paris` or, where there are many, `oslo, paris, ... (40 regions)`."""
    if len(regions) <= REGIONS_TOLD_MAX:
        return ", ".join(regions)
    return f"{', '.join(regions[:3])}, ... ({len(regions)} regions)"


def some(names: Sequence[str]) -> str:
    """The first ten, and how many more there are."""
    rest = f" and {len(names) - NAMES_SHOWN_MAX} more" if len(names) > NAMES_SHOWN_MAX else ""
    return ", ".join(names[:NAMES_SHOWN_MAX]) + rest


def counted(number: int, noun: str) -> str:
    """`1 host`, `2 hosts`"""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def percent(share_bp: int) -> str:
    """Basis points: 500 -> `5 %`"""
    return f"{share_bp / 100:g} %"


def length(seconds: float) -> str:
    """`50 s`, `7.3 min`, `2.5 h`, `3 d`"""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.2g} {unit}"
    return f"{seconds:.0f} s"


OUTCOMES: Mapping[str, str] = {
    "pass": "passed",
    "marginal": "marginal",
    "fail": "failed",
    "inconclusive": "inconclusive",
    "error": "without an answer",
}
"""Of a look at a new group."""


def outcomes(said: Sequence[str]) -> str:
    """`2 passed, 1 inconclusive`"""
    counts = {outcome: list(said).count(outcome) for outcome in OUTCOMES}
    return ", ".join(f"{count} {OUTCOMES[outcome]}" for outcome, count in counts.items() if count)


def with_reason(text: str, reason: str | None) -> str:
    """`paused by ann: lunch`"""
    return f"{text}: {reason}" if reason else text


def who(by: str, reason: str | None = None) -> str:
    """`ann: lunch`"""
    return with_reason(by or "an operator", reason)


def approver(role: str) -> str:
    """The person that has to say yes."""
    return f"a person with the role {role}" if role else "a person"


WAYS: Mapping[str, str] = {
    "abort": "ends it",
    "pause": "stops it where it is",
    "promote": "goes past it",
    "resume": "lets it go on",
    "retry": "tries again",
    "rollback": "goes back",
    "watch": "follows it",
    "why": "says what it waits for",
}
"""What a command does for a rollout that stands in the way, by its first word."""


MOMENTS: Mapping[str, str] = {
    "before": "before the release",
    "after": "after the release",
    "on_rollback": "after the way back",
}
_SETTLED = (("again", "runs it once more"), ("done", "takes it as done"), ("failed", "takes it as failed"))


def job_of(job: str, moment: str, attempt: int = 1) -> str:
    """`job migrate before the release, attempt 2`"""
    which = f", attempt {attempt}," if attempt > 1 else ""
    return f"job {job} {MOMENTS.get(moment, moment)}{which}"


def settling(commands: Sequence[str]) -> str:
    """What each way to settle an attempt means."""
    meanings = zip(commands, (meaning for _, meaning in _SETTLED), strict=False)
    return ", ".join(f"{command} {meaning}" for command, meaning in meanings)


def ways(commands: Sequence[str]) -> str:
    """`; repave retry web tries the step again, repave rollback web goes back`; "" without any."""
    said = ", ".join(f"{command} {WAYS[command.split()[1]]}" for command in commands)
    return f"; {said}" if said else ""
