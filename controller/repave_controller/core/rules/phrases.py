"""How lists of things are said to people."""

from collections.abc import Sequence

REGIONS_TOLD_MAX = 8


def listed(regions: Sequence[str]) -> str:
    """`oslo, paris` or, where there are many, `oslo, paris, ... (40 regions)`."""
    if len(regions) <= REGIONS_TOLD_MAX:
        return ", ".join(regions)
    return f"{', '.join(regions[:3])}, ... ({len(regions)} regions)"
