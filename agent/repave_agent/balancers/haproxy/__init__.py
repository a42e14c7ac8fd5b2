"""The balancer that the agent runs: what it is called, takes and can do."""

from repave_agent.kinds import BalancerKind, OwnedBalancer, Site
from repave_protos.daemon.settings import Settings
from repave_protos.protocol.capabilities import BalancerAbilities

ABILITIES = BalancerAbilities(share_step_bp=1)


class HaproxyOptions(Settings):
    """`traffic_address` is where clients connect."""

    program: str = "haproxy"
    traffic_address: str = "127.0.0.1"
    redispatch: bool = True


def _build(options: HaproxyOptions, site: Site) -> OwnedBalancer:
    from repave_agent.balancers.haproxy.balancer import HaproxyBalancer  # only where it is used

    return HaproxyBalancer(
        site.settings.state / "haproxy",
        clock=site.clock,
        traffic_address=options.traffic_address,
        program=options.program,
        redispatch=options.redispatch,
    )


BALANCER = BalancerKind("haproxy", HaproxyOptions, _build, lambda _: ABILITIES)
