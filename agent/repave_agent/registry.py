"""Which provider and which balancer a region works with, made from its settings.

Each is imported only where it is used: an agent on a small machine does not load another cloud's client.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from repave_agent.core.ports import Balancer, Provider, RefusedError
from repave_agent.settings import AgentSettings
from repave_protos.protocol.values import RegionName

if TYPE_CHECKING:
    from repave_agent.balancers.haproxy_runtime.balancer import RuntimeBalancer


class FittedProvider(Provider, Protocol):
    """A provider as a process owns it."""

    async def start(self) -> str:
        """Makes ready what every host needs, and looks whether the settings can work; returns in a few words
        how hosts are kept apart, for the log. Repeatable. Raises ProviderError with all that is wrong."""


class FittedBalancer(Balancer, Protocol):
    """A balancer as a process owns it."""

    async def end(self) -> None:
        """Takes away all that this region has put there; nothing is served any more. For regions that are
        given up, demos and tests."""


def fitted_provider(settings: AgentSettings, installation: Callable[[], str]) -> FittedProvider:
    """`installation` says whose hosts they are, "" while that is not known. Starts nothing."""
    if settings.provider == "ssh_pool":
        return _ssh_pool(settings, installation)
    if settings.provider == "openstack":
        return _openstack(settings, installation)
    from repave_agent.providers.local.provider import LocalProvider

    return LocalProvider(
        settings.state,
        region=RegionName(settings.region),
        installation=installation,
        address_range=settings.local.addresses,
        isolation=settings.local.isolation,
        stop_grace_seconds=settings.local.stop_grace_seconds,
    )


def _ssh_pool(settings: AgentSettings, installation: Callable[[], str]) -> FittedProvider:
    from repave_agent.providers.ssh_pool.inventory import Inventory
    from repave_agent.providers.ssh_pool.leases import Leases
    from repave_agent.providers.ssh_pool.machines import Access, Machines
    from repave_agent.providers.ssh_pool.provider import SshPoolProvider
    from repave_agent.providers.ssh_pool.reset import Reset

    pool = settings.ssh_pool
    access = Access(
        pool.user, pool.key, pool.port, pool.known_hosts, pool.host_keys == "first-use", root=pool.root
    )
    machines = Machines(Inventory(pool.inventory), access, Leases(settings.state / "pool"))
    reset = Reset(
        pool.reset.command, pool.reset.remote, pool.reset.proof, pool.reset.marker, pool.reset.seconds
    )
    return SshPoolProvider(
        RegionName(settings.region),
        installation,
        machines,
        reset,
        parallel=pool.parallel,
        unreachable_seconds=pool.unreachable_seconds,
        stop_grace_seconds=pool.stop_grace_seconds,
    )


def _openstack(settings: AgentSettings, installation: Callable[[], str]) -> FittedProvider:
    from repave_agent.clients.openstack.api import Api
    from repave_agent.clients.openstack.login import load_cloud
    from repave_agent.packages.server import Depot
    from repave_agent.providers.openstack.provider import OpenstackProvider
    from repave_agent.providers.openstack.shape import Shape

    wanted = settings.openstack
    shape = Shape(**wanted.model_dump(exclude={"cloud"}))
    depot = Depot(settings.state, settings.packages.listen, settings.packages.url)
    api = Api(load_cloud(wanted.cloud))
    return OpenstackProvider(RegionName(settings.region), installation, api, shape, depot)


def fitted_balancer(settings: AgentSettings) -> FittedBalancer:
    """Starts nothing."""
    if settings.balancer == "haproxy_runtime":
        return operators_haproxy(settings)
    if settings.balancer == "octavia":
        return _octavia(settings)
    from repave_agent.balancers.haproxy.balancer import HaproxyBalancer

    return HaproxyBalancer(
        settings.state / "haproxy",
        traffic_address=settings.haproxy.traffic_address,
        program=settings.haproxy.program,
        redispatch=settings.haproxy.redispatch,
    )


def _octavia(settings: AgentSettings) -> FittedBalancer:
    from repave_agent.balancers.octavia.balancer import OctaviaBalancer
    from repave_agent.clients.openstack.api import Api
    from repave_agent.clients.openstack.login import load_cloud

    chosen = settings.octavia
    return OctaviaBalancer(
        settings.state / "octavia",
        Api(load_cloud(chosen.cloud or settings.openstack.cloud)),
        chosen.load_balancer,
        settings.region,
        subnet=chosen.subnet,
        traffic_address=chosen.traffic_address,
    )


def operators_haproxy(settings: AgentSettings) -> "RuntimeBalancer":
    """Raises RefusedError when no socket is named."""
    from repave_agent.balancers.haproxy_runtime.balancer import RuntimeBalancer
    from repave_agent.balancers.haproxy_runtime.transport import Keys

    chosen = settings.haproxy_runtime
    if not chosen.sockets:
        raise RefusedError("haproxy_runtime.sockets: name HAProxy's runtime socket: a path, or host:port")
    return RuntimeBalancer(
        settings.state / "haproxy-runtime",
        chosen.sockets,
        chosen.map,
        chosen.traffic_address,
        settings.region,
        Keys(chosen.key, chosen.known_hosts),
    )
