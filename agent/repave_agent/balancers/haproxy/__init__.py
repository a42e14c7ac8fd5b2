"""The balancer that the agent runs: what it is called and can do."""

from repave_agent.balancers.haproxy.options import HaproxyOptions
from repave_agent.kinds import BalancerKind, OwnedBalancer, Site
from repave_protos.protocol.capabilities import BalancerAbilities
from repave_protos.protocol.fronts import ABILITIES as FRONT_ABILITIES

ABILITIES = BalancerAbilities(
    share_step_bp=1,
    tells_health=True,
    counts_requests=True,
    takes_baselines=True,
    fronts=tuple(FRONT_ABILITIES),
)


def _build(options: HaproxyOptions, site: Site) -> OwnedBalancer:
    from repave_agent.balancers.haproxy.balancer import HaproxyBalancer  # only where it is used

    return HaproxyBalancer(
        site.settings.state / "haproxy", options, clock=site.clock, certificates=site.certificates
    )


BALANCER = BalancerKind("haproxy", HaproxyOptions, _build, lambda _: ABILITIES)
