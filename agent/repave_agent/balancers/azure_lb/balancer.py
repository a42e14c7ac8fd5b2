"""The balancer `azure_lb`: balancers/cloud over a load balancer of Azure, which can only switch.

What it can't do is refused before anything is written down: a share of the traffic, servers of one group
at several ports.
"""

from repave_agent.balancers.azure_lb.model import Call, State, lack_of_backend, lack_of_route
from repave_agent.balancers.cloud.balancer import CloudBalancer
from repave_agent.core.ports import BalancerError, Route, Structure, UnfitError


class AzureBalancer(CloudBalancer[State, Call]):
    """Implements ports.Balancer."""

    async def arrange(self, structure: Structure) -> None:
        lacks = {each.group: lack_of_backend(each) for each in structure.backends}
        if unfit := {group: why for group, why in lacks.items() if why}:
            raise UnfitError({}, unfit)
        await super().arrange(structure)

    async def route(self, routes: tuple[Route, ...]) -> None:
        if lacks := [lack for route in routes if (lack := lack_of_route(route))]:
            raise BalancerError("; ".join(lacks))
        await super().route(routes)
