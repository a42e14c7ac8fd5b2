"""The balancer that is a Standard Load Balancer of Azure: what it is called, takes and can do."""

from typing import Annotated

from pydantic import Field

from repave_agent.clients.azure import AzureOptions
from repave_agent.kinds import BalancerKind, OwnedBalancer, Site
from repave_protos.daemon.settings import Settings
from repave_protos.protocol.capabilities import BalancerAbilities
from repave_protos.protocol.values import FULL_WEIGHT_BP

ABILITIES = BalancerAbilities(
    share_step_bp=FULL_WEIGHT_BP,
    supports_sticky_split=False,
    supports_testers=False,
    switches_at_once=False,  # connections stay with the old group until they end
    takes_timeouts=False,
    has_tunnel_timeout=False,
    can_be_taken_over=True,
    fronts=("http", "grpc", "tcp", "several", "to"),
)


class AzureLbOptions(Settings):
    """Account, resource group and pace are those of [azure]. `frontend`: needed where it has several.
    `network`: that of the hosts; if empty, the one of the frontend's subnet."""

    load_balancer: str = ""
    frontend: str = ""
    network: str = ""
    idle_minutes: Annotated[int, Field(ge=4, le=100)] = 4
    traffic_address: str = ""


def _build(options: AzureLbOptions, site: Site) -> OwnedBalancer:
    # Only where it is used: aiohttp takes a tenth of a second to import.
    from repave_agent.balancers.azure_lb.balancer import AzureBalancer
    from repave_agent.balancers.azure_lb.load_balancer import AzureLoadBalancer
    from repave_agent.balancers.by_front import BalancerByFront
    from repave_agent.clients.azure.connection import connect

    resources = connect(site.settings.section("azure", AzureOptions), site.clock, check=site.tenancy.check)
    balancer = AzureBalancer(
        site.settings.state / "azure_lb",
        AzureLoadBalancer(
            resources,
            options.load_balancer,
            clock=site.clock,
            frontend=options.frontend,
            network=options.network,
            idle_minutes=options.idle_minutes,
        ),
        site.region,
        clock=site.clock,
        traffic_address=options.traffic_address,
        has_lease=lambda: site.tenancy.has_lease,
        takes=ABILITIES.fronts,
    )
    return BalancerByFront(balancer)


BALANCER = BalancerKind("azure_lb", AzureLbOptions, _build, lambda _: ABILITIES)
