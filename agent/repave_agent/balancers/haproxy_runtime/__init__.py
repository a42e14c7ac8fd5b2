"""The balancer that is an operator's own HAProxy: what it is called, takes and can do."""

from pathlib import Path
from typing import TYPE_CHECKING

from repave_agent.core.ports import RefusedError
from repave_agent.kinds import BalancerKind, Command, CommandLine, Site
from repave_agent.settings import Words
from repave_protos.daemon.settings import Settings
from repave_protos.protocol.capabilities import BalancerAbilities

if TYPE_CHECKING:
    from repave_agent.balancers.haproxy_runtime.balancer import RuntimeBalancer

WITH_MAP = BalancerAbilities(share_step_bp=1)
BY_WEIGHTS = BalancerAbilities(
    share_step_bp=100, supports_sticky_split=False, supports_testers=False, switches_at_once=False
)
COMMAND_USAGE = "snippet APP:PORT... | check"


class HaproxyRuntimeOptions(Settings):
    """`sockets`: paths, host:port, ssh://user@host/path. An empty `map`: there is none, and groups share by
    weights."""

    sockets: Words = ()
    map: str = "/etc/haproxy/repave.map"
    traffic_address: str = "127.0.0.1"
    key: Path = Path("/etc/repave/haproxy-key")
    known_hosts: Path = Path("/etc/repave/known_hosts")


def build(options: HaproxyRuntimeOptions, site: Site) -> "RuntimeBalancer":
    """Raises RefusedError when no socket is named."""
    from repave_agent.balancers.haproxy_runtime.balancer import RuntimeBalancer  # only where it is used
    from repave_agent.balancers.haproxy_runtime.transport import Keys

    if not options.sockets:
        raise RefusedError("haproxy_runtime.sockets: name HAProxy's runtime socket: a path, or host:port")
    return RuntimeBalancer(
        site.settings.state / "haproxy-runtime",
        options.sockets,
        options.map,
        options.traffic_address,
        site.region,
        Keys(options.key, options.known_hosts),
    )


def _command(options: HaproxyRuntimeOptions, site: Site, line: CommandLine) -> str:
    from repave_agent.balancers.haproxy_runtime.commands import balancer_command  # only for this command

    return balancer_command(options, site, line)


BALANCER = BalancerKind(
    "haproxy_runtime",
    HaproxyRuntimeOptions,
    build,
    lambda options: WITH_MAP if options.map else BY_WEIGHTS,
    {
        "balancer": Command(
            COMMAND_USAGE, "only haproxy_runtime is an operator's own; set balancer to it", _command
        )
    },
)
