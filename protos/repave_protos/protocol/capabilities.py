"""What an agent says in Hello that its balancer can do: written by the agent, read by the controller."""

_PRECISION = "traffic_precision"
_ALIKE = "split=request"


def said_precision(precision_bp: int) -> str:
    """Every share it can give is a multiple of `precision_bp`: 1 for any, 10,000 for all or nothing."""
    assert 1 <= precision_bp <= 10_000
    return f"{_PRECISION}={precision_bp}bp"


def traffic_precision_bp(capabilities: tuple[str, ...]) -> int | None:
    """What said_precision said; None of an agent that says nothing, or nothing that can be meant."""
    for word in capabilities:
        name, _, value = word.partition("=")
        number = value.removesuffix("bp")
        if name == _PRECISION and number.isascii() and number.isdecimal() and len(number) <= 5:
            return int(number) if 1 <= int(number) <= 10_000 else None
    return None


def said_split(tells_users_apart: bool) -> tuple[str, ...]:
    """Only what a balancer can't do is said: agents before this could."""
    return () if tells_users_apart else (_ALIKE,)


def tells_users_apart(capabilities: tuple[str, ...]) -> bool:
    """Whether requests can be split by a cookie or header, as far as is known."""
    return _ALIKE not in capabilities


def nearest_shares(weight_bp: int, precision_bp: int) -> tuple[int, int]:
    """The shares below and above `weight_bp` that such a balancer can give; equal where it is exact.

    500 with a precision of 200: (400, 600).
    """
    below = weight_bp - weight_bp % precision_bp
    return below, below if below == weight_bp else min(10_000, below + precision_bp)
