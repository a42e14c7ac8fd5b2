"""What people read of the bounds within which the number of a region's hosts is chosen."""

from repave_controller.core.domain.scaling import Scaling

EACH = {"requests": " requests a second for each", "queue": " in flight for each"}


def bounds_text(scaling: Scaling) -> str:
    """`2 to 20 hosts, 50 requests a second for each`"""
    bounds = f"{scaling.least} to {scaling.most} hosts"
    if not scaling.is_automatic:
        return f"{bounds}, as repave scale says"
    if scaling.by == "metric":
        mean = "on average" if scaling.is_average else "for each"
        return f"{bounds}, {scaling.target:g} of {scaling.source}'s metric {mean}"
    return f"{bounds}, {scaling.target:g}{EACH[scaling.by]}"
