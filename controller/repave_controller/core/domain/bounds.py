"""How large an application may be. More is refused when it is asked for, with these numbers."""

from collections.abc import Iterable

REGIONS_MAX = 5_000
SIZE_MAX = 10_000
"""Hosts of a group in one region."""
HOSTS_MAX = 100_000
"""Of a group in all its regions together."""


def excess(sizes: Iterable[int]) -> str:
    """Why a group can't be as large in all its regions together, or ""."""
    hosts = sum(sizes)
    if hosts <= HOSTS_MAX:
        return ""
    return f"{hosts:,} hosts in all regions together, at most {HOSTS_MAX:,}: share them between applications"
