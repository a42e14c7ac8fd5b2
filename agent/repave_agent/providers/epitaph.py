"""How a host ended, in one line: by what, how soon, and what its log says in the end."""

LOG_CHARACTERS_MAX = 400


def epitaph(how: str, after_seconds: float | None, log_tail: str) -> str:
    """`how`: "exited with code 1"; `after_seconds`: since its command was started, None when not known."""
    soon = "" if after_seconds is None else f" after {_span(after_seconds)}"
    said = one_line(log_tail)
    if not said:
        return f"{how}{soon}; its log is empty"
    return f"{how}{soon}; its log ends: {said[-LOG_CHARACTERS_MAX:]}"


def one_line(text: str) -> str:
    """Lines with bars between, as a row of a table has room for it; no blank ones, no indentation."""
    lines = (" ".join(line.split()) for line in text.splitlines())
    return " | ".join(line for line in lines if line)


def _span(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
