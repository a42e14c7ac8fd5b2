"""Counts which share of real requests reaches the newer of two groups, and by how much it is off."""

import math

from repave_agent.balancers.haproxy.balancer import HaproxyBalancer
from repave_agent.core.ports import Frontend, Route, Structure
from repave_protos.protocol.values import FULL_WEIGHT_BP, ApplicationName, GroupName, Split
from tests.fakes.agent.haproxy_rig import HaproxyRig, backend
from tests.fakes.many_requests import ask_all
from tests.support.ports import free_port

SHARES_BP = (1, 50, 500, 2_500, 5_000, 10_000)
SHOP = ApplicationName("shop")
BLUE, GREEN = GroupName("shop-v001"), GroupName("shop-v002")


class Shop:
    """One application on a real HAProxy; blue and green answer with their names, blue has the traffic."""

    def __init__(self, rig: HaproxyRig, split: Split) -> None:
        self.rig = rig
        self.split = split
        self.port = free_port()
        self.structure = Structure()
        self.balancer: HaproxyBalancer = rig.balancer()

    async def open(self) -> "Shop":
        await self.balancer.start()
        blue, green = await self.rig.web("blue"), await self.rig.web("green")
        await self.arrange(Structure((), (backend(BLUE, blue.port), backend(GREEN, green.port))))
        await self.give(0)
        return self

    async def arrange(self, structure: Structure) -> None:
        """Its own way in is added."""
        self.structure = Structure((Frontend(SHOP, self.port, self.split),), structure.backends)
        await self.balancer.arrange(self.structure)

    async def give(self, share_bp: int, testers: GroupName | None = None, second: GroupName = GREEN) -> None:
        await self.balancer.route((Route(SHOP, BLUE, second, share_bp, testers),))

    async def sides(self, headers: list[str]) -> list[str]:
        """Who answers each of these requests, "blue" or "green"."""
        return await ask_all(self.port, headers)


def sigmas_off(got: int, asked: int, share_bp: int) -> float:
    """By how many standard deviations of a fair draw `got` of `asked` is off; inf where none may be."""
    share = share_bp / FULL_WEIGHT_BP
    off = abs(got - asked * share)
    deviation = math.sqrt(asked * share * (1 - share))
    if deviation == 0.0:
        return math.inf if off else 0.0
    return off / deviation


def chance(got: int, asked: int, share_bp: int) -> float:
    """How likely a fair draw is at least as far from its share, on either side. Exact, also where few are
    expected: 3 of 3,000 at 1 basis point are 4 standard deviations off, and not rare."""
    share = share_bp / FULL_WEIGHT_BP
    if share in (0.0, 1.0):
        return float(got == asked * share)
    farther = range(got, asked + 1) if got >= asked * share else range(got + 1)
    return min(1.0, 2 * math.fsum(_chance_of(count, asked, share) for count in farther))


def _chance_of(count: int, asked: int, share: float) -> float:
    ways = math.lgamma(asked + 1) - math.lgamma(count + 1) - math.lgamma(asked - count + 1)
    return math.exp(ways + count * math.log(share) + (asked - count) * math.log(1 - share))
