"""Which providers and balancers there are: those that ship with repave, and those that other packages bring.

Another package declares a ProviderKind or BalancerKind and names it in its entry points:

    [project.entry-points."repave.providers"]
    mycloud = "mycloud.repave:PROVIDER"

To ship one: its folder, and a line here.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any, TypeVar

from repave_agent.balancers import aws_alb, azure_lb, gcp_lb, haproxy, haproxy_runtime, none, octavia
from repave_agent.kinds import BalancerKind, Command, ProviderKind
from repave_agent.providers import aws, azure, gcp, local, openstack, ssh_pool
from repave_agent.settings import AgentSettings, settings_with
from repave_protos.protocol.capabilities import KIND_NAME

PROVIDERS: tuple[ProviderKind[Any], ...] = (
    local.PROVIDER,
    ssh_pool.PROVIDER,
    openstack.PROVIDER,
    gcp.PROVIDER,
    azure.PROVIDER,
    aws.PROVIDER,
)
BALANCERS: tuple[BalancerKind[Any], ...] = (
    haproxy.BALANCER,
    haproxy_runtime.BALANCER,
    octavia.BALANCER,
    aws_alb.BALANCER,
    azure_lb.BALANCER,
    gcp_lb.BALANCER,
    none.BALANCER,
)
PROVIDER_GROUP, BALANCER_GROUP = "repave.providers", "repave.balancers"

Kind = TypeVar("Kind", bound=ProviderKind[Any] | BalancerKind[Any])


class RegistryError(Exception):
    """Another package's provider or balancer can't be used. The text names both."""


@dataclass(frozen=True, slots=True)
class Registry:
    """Kinds by their names."""

    providers: Mapping[str, ProviderKind[Any]]
    balancers: Mapping[str, BalancerKind[Any]]

    def settings_model(self) -> type[AgentSettings]:
        """The agent's settings with a section for each kind."""
        return settings_with(
            {name: kind.options for name, kind in self.providers.items()},
            {name: kind.options for name, kind in self.balancers.items()},
        )

    def provider(self, settings: AgentSettings) -> ProviderKind[Any]:
        return self.providers[settings.provider]

    def balancer(self, settings: AgentSettings) -> BalancerKind[Any]:
        return self.balancers[settings.balancer]

    def commands(self) -> Mapping[str, tuple[ProviderKind[Any] | BalancerKind[Any], Command[Any]]]:
        """Each with the kind that has it."""
        kinds: list[ProviderKind[Any] | BalancerKind[Any]] = [
            *self.providers.values(),
            *self.balancers.values(),
        ]
        return {name: (kind, command) for kind in kinds for name, command in kind.commands.items()}


def installed() -> Registry:
    """All kinds of this Python environment. Raises RegistryError."""
    others = metadata.entry_points().select  # once: it reads a file of every package
    providers = _by_name(PROVIDERS, _from_others(others, PROVIDER_GROUP, ProviderKind))
    balancers = _by_name(BALANCERS, _from_others(others, BALANCER_GROUP, BalancerKind))
    for name in (*providers, *balancers):
        if KIND_NAME.fullmatch(name) is None or name in AgentSettings.model_fields:
            raise RegistryError(f"{name!r} can't name a section of the settings: it is taken or not a-z0-9_")
    for name in providers.keys() & balancers.keys():
        raise RegistryError(f"{name} names both a provider and a balancer: each needs its own section")
    return Registry(providers, balancers)


def _from_others(
    others: Callable[..., Iterable[metadata.EntryPoint]], group: str, kind: type[Kind]
) -> Iterator[Kind]:
    for entry in others(group=group):
        try:
            found = entry.load()
        except Exception as error:  # whatever another package's import raises
            raise RegistryError(f"{group}: {entry.name} ({entry.value}) can't be loaded: {error}") from error
        if not isinstance(found, kind):
            raise RegistryError(f"{group}: {entry.name} ({entry.value}) is no {kind.__name__}")
        yield found


def _by_name(shipped: Iterable[Kind], others: Iterable[Kind]) -> dict[str, Kind]:
    found: dict[str, Kind] = {}
    for kind in (*shipped, *others):
        if kind.name in found:
            raise RegistryError(f"{kind.name} is registered twice")
        found[kind.name] = kind
    return found
