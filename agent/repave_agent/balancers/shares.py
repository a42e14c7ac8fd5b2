"""Which whole weights give two groups of servers their shares. Pure.

For balancers that take turns among a backend's servers by weights up to 256, as HAProxy and Octavia do.
"""

from collections.abc import Mapping, Sequence
from functools import cache

from repave_agent.core.ports import Route, Server, Structure
from repave_protos.protocol.values import FULL_WEIGHT_BP, ApplicationName, GroupName, HostName

WEIGHT_MAX = 256
TOTALS_TRIED_MAX = 128
"""With so many to choose from, there is one for which a share of whole percents comes out even."""


def weights_of(route: Route, structure: Structure) -> Mapping[HostName, int]:
    """Of every enabled server of the two groups that share the traffic."""
    sides = [_enabled(structure, route, 0), _enabled(structure, route, 1)]
    totals = shared(len(sides[0]), len(sides[1]), route.second_bp)
    return {
        host: weight
        for hosts, total in zip(sides, totals, strict=True)
        for host, weight in zip(hosts, spread(total, len(hosts)), strict=True)
    }


def _enabled(structure: Structure, route: Route, side: int) -> list[HostName]:
    group = (route.first, route.second)[side]
    backend = structure.backend(group) if group is not None else None
    servers: Sequence[Server] = backend.servers if backend is not None else ()
    return [server.host for server in servers if server.is_enabled]


def spread(total: int, servers: int) -> list[int]:
    """7 over 3 servers: [3, 2, 2]."""
    if not servers:
        return []
    each, more = divmod(total, servers)
    return [each + (place < more) for place in range(servers)]


def application_of(group: GroupName) -> ApplicationName:
    """Whose groups share with it: shop-v012 is one of shop, as the controller calls them."""
    return ApplicationName(group.rpartition("-v")[0])


@cache
def shared(first: int, second: int, second_bp: int) -> tuple[int, int]:
    """Weights of two groups with so many servers, all together: the second's part of their sum is as near to
    its share as it can be. Exact for whole percents.

    1 and 1 server, 500: (247, 13), since 13 / 260 is 5 %. 3 and 1 servers, 2500: (768, 256).
    """
    if not second_bp or not second:
        return WEIGHT_MAX * first, 0
    if second_bp == FULL_WEIGHT_BP or not first:
        return 0, WEIGHT_MAX * second
    if second_bp > FULL_WEIGHT_BP // 2:
        of_second, of_first = shared(second, first, FULL_WEIGHT_BP - second_bp)
        return of_first, of_second
    rest_bp = FULL_WEIGHT_BP - second_bp
    most = min(WEIGHT_MAX * first, WEIGHT_MAX * second * rest_bp // second_bp)

    def total(greater: int) -> tuple[int, int]:
        return greater, max(1, round(greater * second_bp / rest_bp))

    def miss(totals: tuple[int, int]) -> float:
        return abs(totals[1] * FULL_WEIGHT_BP / sum(totals) - second_bp)

    return min((total(most - less) for less in range(min(most, TOTALS_TRIED_MAX))), key=miss)
