"""Which provider and which balancer a region works with, made from its settings.

Each is imported only where it is used: an agent on a small machine does not load another cloud's client.
"""

from collections.abc import Callable
from typing import Protocol

from repave_agent.ports import Balancer, Provider
from repave_agent.settings import AgentSettings
from repave_protos.values import RegionName


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
    from repave_agent.providers.local import LocalProvider

    return LocalProvider(
        settings.state,
        region=RegionName(settings.region),
        installation=installation,
        address_range=settings.local.addresses,
        isolation=settings.local.isolation,
        stop_grace_seconds=settings.local.stop_grace_seconds,
    )


def fitted_balancer(settings: AgentSettings) -> FittedBalancer:
    """Starts nothing."""
    from repave_agent.balancers.haproxy import HaproxyBalancer

    return HaproxyBalancer(
        settings.state / "haproxy",
        traffic_address=settings.haproxy.traffic_address,
        program=settings.haproxy.program,
        redispatch=settings.haproxy.redispatch,
    )
