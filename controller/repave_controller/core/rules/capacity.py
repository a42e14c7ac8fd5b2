"""Whether the hosts that two groups have in a region can serve their shares of the traffic. Pure.

The arithmetic of a rollout's promises and of the check of a spec alike: what one accepts the other keeps.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from repave_controller.core.domain.application import Policy
from repave_protos.protocol.values import FULL_WEIGHT_BP


@dataclass(frozen=True, slots=True)
class Serving:
    """A group with a share of a region's traffic, and the hosts that it has for it."""

    hosts: int
    size: int  # of the whole group there
    weight_bp: int


@dataclass(frozen=True, slots=True)
class Shortfall:
    """`hosts` where `needed` have to be. `of`: the index of the group that lacks them; None: all together."""

    of: int | None
    hosts: int
    needed: int
    rule: Literal["min_capacity", "min_hosts"]


def shortfalls(policy: Policy, groups: Sequence[Serving]) -> Iterator[Shortfall]:
    """Each group has the hosts that its share takes, and all of them together `min_hosts`."""
    for index, group in enumerate(groups):
        needed = max(1, policy.carrying(group.size, min(group.weight_bp, FULL_WEIGHT_BP)))
        if group.weight_bp > 0 and group.hosts < needed:
            yield Shortfall(index, group.hosts, needed, "min_capacity")
    serving = [group for group in groups if group.weight_bp > 0]
    hosts = sum(group.hosts for group in serving)
    needed = min(policy.min_hosts, *(group.size for group in serving)) if serving else 0
    if hosts < needed:
        yield Shortfall(None, hosts, needed, "min_hosts")
