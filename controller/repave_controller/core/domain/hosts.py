"""How many hosts a share comes to. The one place that rounds: what is enough, ready, a floor or a surge.

Always up, and once: 90 % of 8 hosts are 8. Rounded twice, or one number up and the other down, a group could
be ready and yet below its floor.
"""

from functools import lru_cache
from math import ceil

from repave_protos.protocol.values import FULL_WEIGHT_BP

KNOWN_MAX = 4096
"""Answers that are kept: a step asks for the same few of each region again and again."""
EXACT = 1e-9
"""What is left of a whole number of hosts by floating-point arithmetic."""


def hosts_left(size: int, percent: float) -> int:
    """What is left of `size` hosts when others take `100 - percent` of their places: never more together."""
    return size - hosts_of(size, 100 - percent)


@lru_cache(maxsize=KNOWN_MAX)
def hosts_of(size: int, percent: float, weight_bp: int = FULL_WEIGHT_BP) -> int:
    """`percent` of `size` hosts, or of those that `weight_bp` of the traffic takes: 5 % of 8 hosts are 1.

    A share of the traffic is known to one basis point only, which therefore takes no host: 4 hosts, 66.67 %
    of the traffic and 75 % of the hosts for it are 2.0001 hosts, and 2.
    """
    share = size * percent / 100
    slack = EXACT if weight_bp == FULL_WEIGHT_BP else max(EXACT, share / FULL_WEIGHT_BP)
    return max(0, ceil(share * weight_bp / FULL_WEIGHT_BP - slack))
