"""The balancer that is Google's Application Load Balancer: what it is called, takes and can do."""

from typing import Annotated

from pydantic import Field

from repave_agent.clients.gcp import GoogleOptions
from repave_agent.kinds import BalancerKind, OwnedBalancer, Site
from repave_protos.daemon.settings import Settings
from repave_protos.protocol.capabilities import BalancerAbilities

ABILITIES = BalancerAbilities(
    share_step_bp=10,
    supports_sticky_split=False,
    switches_at_once=False,
    has_tunnel_timeout=False,
    can_be_taken_over=True,
    fronts=("http", "several", "to"),
)
"""A switch is one change, and then takes its time to reach all of Google's proxies."""


class GcpLbOptions(Settings):
    """Project, credentials and pace are those of [gcp]. `region`: of the address; empty: a global one.
    `network`, `subnetwork`: as in [gcp] when empty."""

    address: str = ""
    region: str = ""
    network: str = ""
    subnetwork: str = ""
    drain_seconds: Annotated[int, Field(ge=0, le=3600)] = 300
    traffic_address: str = ""


def _build(options: GcpLbOptions, site: Site) -> OwnedBalancer:
    # Only where it is used: aiohttp takes a tenth of a second to import.
    from repave_agent.balancers.by_front import BalancerByFront
    from repave_agent.balancers.cloud.balancer import CloudBalancer
    from repave_agent.balancers.gcp_lb.load_balancer import GcpLoadBalancer
    from repave_agent.clients.gcp.account import Account

    google = site.settings.section("gcp", GoogleOptions)
    balancer = CloudBalancer(
        site.settings.state / "gcp_lb",
        GcpLoadBalancer(
            Account(google, site.clock, check=site.tenancy.check),
            options.address,
            clock=site.clock,
            region=options.region,
            network=options.network or google.network,
            subnetwork=options.subnetwork or google.subnetwork,
            drain_seconds=options.drain_seconds,
        ),
        site.region,
        clock=site.clock,
        traffic_address=options.traffic_address,
        has_lease=lambda: site.tenancy.has_lease,
        takes=ABILITIES.fronts,
    )
    return BalancerByFront(balancer)


BALANCER = BalancerKind("gcp_lb", GcpLbOptions, _build, lambda _: ABILITIES)
