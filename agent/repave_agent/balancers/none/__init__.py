"""No balancer, for regions in which only workers run, which take no requests. What has clients is refused
there when it is planned."""

from repave_agent.kinds import BalancerKind, OwnedBalancer, Site
from repave_protos.daemon.settings import Settings
from repave_protos.protocol.capabilities import BalancerAbilities
from repave_protos.protocol.values import FULL_WEIGHT_BP

ABILITIES = BalancerAbilities(
    share_step_bp=FULL_WEIGHT_BP,
    supports_sticky_split=False,
    supports_testers=False,
    takes_timeouts=False,
    has_tunnel_timeout=False,
    can_be_taken_over=True,
)


class NoneOptions(Settings):
    """It takes none."""


def _build(options: NoneOptions, site: Site) -> OwnedBalancer:
    from repave_agent.balancers.none.balancer import NoBalancer  # only where it is used

    return NoBalancer()


BALANCER = BalancerKind("none", NoneOptions, _build, lambda _: ABILITIES)
