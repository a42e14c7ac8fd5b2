"""The balancer that is an Application Load Balancer of AWS: what it is called, takes and can do."""

from repave_agent.clients.aws import AmazonOptions
from repave_agent.kinds import BalancerKind, OwnedBalancer, Site
from repave_agent.settings import Words
from repave_protos.daemon.settings import Settings
from repave_protos.protocol.capabilities import BalancerAbilities

ABILITIES = BalancerAbilities(
    share_step_bp=10,
    supports_sticky_split=False,
    takes_timeouts=False,
    can_be_taken_over=True,
    fronts=("http", "several", "to"),
)


class AlbOptions(Settings):
    """The account and its region are those of [aws]. `load_balancer`: a name or an ARN. `listeners`: ARNs of
    the operator's own, in which rules may be made."""

    load_balancer: str = ""
    listeners: Words = ()
    traffic_address: str = ""


def _build(options: AlbOptions, site: Site) -> OwnedBalancer:
    # Only where it is used: Amazon's library takes half a second to import, and is an extra.
    from repave_agent.balancers.aws_alb.load_balancer import AlbLoadBalancer
    from repave_agent.balancers.by_front import BalancerByFront
    from repave_agent.balancers.cloud.balancer import CloudBalancer
    from repave_agent.clients.aws.service import Elbv2

    elbv2 = Elbv2(site.settings.section("aws", AmazonOptions), check=site.tenancy.check)
    return BalancerByFront(
        CloudBalancer(
            site.settings.state / "aws_alb",
            AlbLoadBalancer(elbv2, options.load_balancer, site.region, options.listeners, clock=site.clock),
            site.region,
            clock=site.clock,
            traffic_address=options.traffic_address,
            has_lease=lambda: site.tenancy.has_lease,
            takes=ABILITIES.fronts,
        )
    )


BALANCER = BalancerKind("aws_alb", AlbOptions, _build, lambda _: ABILITIES)
