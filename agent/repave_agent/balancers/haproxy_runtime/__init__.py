"""The balancer that is an operator's own HAProxy: what it is called, takes and can do."""

from collections.abc import Sequence

from repave_agent.balancers.haproxy_runtime.options import COMMAND_USAGE, FRONTS, HaproxyRuntimeOptions
from repave_agent.kinds import BalancerKind, Command, CommandLine, OwnedBalancer, Site
from repave_protos.protocol.capabilities import BalancerAbilities
from repave_protos.protocol.values import GivenHost

WITH_MAP = BalancerAbilities(
    share_step_bp=1,
    takes_timeouts=False,
    counts_requests=True,
    takes_baselines=True,
    fronts=FRONTS,
)
BY_WEIGHTS = BalancerAbilities(
    share_step_bp=100,
    supports_sticky_split=False,
    supports_testers=False,
    switches_at_once=False,
    takes_timeouts=False,
    fronts=FRONTS,
)


def _build(options: HaproxyRuntimeOptions, site: Site) -> OwnedBalancer:
    # Only where it is used.
    from repave_agent.balancers.by_front import BalancerByFront
    from repave_agent.balancers.haproxy_runtime.balancer import build

    return BalancerByFront(build(options, site))


def _command(options: HaproxyRuntimeOptions, site: Site, line: CommandLine) -> str:
    from repave_agent.balancers.haproxy_runtime.commands import balancer_command  # only for this command

    return balancer_command(options, site, line)


async def _fleet(options: HaproxyRuntimeOptions, site: Site, name: str) -> Sequence[GivenHost]:
    from repave_agent.balancers.haproxy_runtime.fleets import of_backend  # only when a fleet is adopted

    return await of_backend(options, site, name)


BALANCER = BalancerKind(
    "haproxy_runtime",
    HaproxyRuntimeOptions,
    _build,
    lambda options: WITH_MAP if options.map else BY_WEIGHTS,
    {
        "balancer": Command(
            COMMAND_USAGE,
            "only haproxy_runtime is an operator's own; set balancer to it",
            _command,
            works_unset=("snippet",),
        )
    },
    fleets={"haproxy": _fleet},
)
