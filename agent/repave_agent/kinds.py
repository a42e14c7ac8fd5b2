"""What a provider or a balancer declares of itself, in the `__init__.py` of its own folder.

The registry finds the declarations, the settings get a section for each, and the agent builds the two that
its settings name. A declaration imports no client: `build` and the commands do, when they run.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from repave_agent.core.certificates import CertificateKeeper, NoCertificates
from repave_agent.core.ports import Balancer, Clock, Provider
from repave_agent.runtime.tenancy import Tenancy
from repave_agent.settings import AgentSettings
from repave_protos.daemon.settings import Settings
from repave_protos.protocol.capabilities import BalancerAbilities, ProviderAbilities
from repave_protos.protocol.values import GivenHost, RegionName

Options = TypeVar("Options", bound=Settings)


class OwnedProvider(Provider, Protocol):
    """A provider as a process owns it."""

    async def start(self) -> str:
        """Prepares what every host needs and checks that the settings can work; returns in a few words how
        hosts are kept apart, for the log. Repeatable. Raises ProviderError with all that is wrong."""


class OwnedBalancer(Balancer, Protocol):
    """A balancer as a process owns it."""

    async def end(self) -> None:
        """Removes all that this region has put there; nothing is served any more. For regions that are
        given up, demos and tests."""


@dataclass(frozen=True, slots=True)
class Site:
    """What an agent hands to what it builds. `installation` is "" until the agent has met its controller."""

    settings: AgentSettings
    clock: Clock
    installation: Callable[[], str] = lambda: ""
    tenancy: Tenancy = field(default_factory=Tenancy)
    certificates: CertificateKeeper = field(default_factory=NoCertificates)

    @property
    def region(self) -> RegionName:
        return RegionName(self.settings.region)


@dataclass(frozen=True, slots=True)
class CommandLine:
    """What follows `repave-agent COMMAND`. `output`: text or json."""

    words: tuple[str, ...]
    reason: str
    output: str


@dataclass(frozen=True, slots=True)
class Command(Generic[Options]):
    """A command of `repave-agent` that only this kind has. `otherwise`: why other kinds have none.

    `run` returns what is printed; it raises CommandError, ProviderError, BalancerError or OSError.
    """

    usage: str
    otherwise: str
    run: Callable[[Options, Site, CommandLine], str]
    works_unset: tuple[str, ...] = ()  # its first words that need no settings: they come before a set-up


class CommandError(Exception):
    """The command can't be done. The text says why and what can."""


FindFleet = Callable[[Options, Site, str], Awaitable[Sequence[GivenHost]]]
"""The hosts of a fleet that is there already, by its name; a port of 0: that of the spec. Raises
ProviderError, BalancerError, OSError."""


@dataclass(frozen=True, slots=True)
class ProviderKind(Generic[Options]):
    """`build` starts nothing."""

    name: str
    options: type[Options]
    build: Callable[[Options, Site], OwnedProvider]
    commands: Mapping[str, Command[Options]] = field(default_factory=dict)
    abilities: ProviderAbilities = field(default_factory=ProviderAbilities)
    fleets: Mapping[str, FindFleet[Options]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BalancerKind(Generic[Options]):
    """`build` starts nothing. `abilities` may depend on the options, as where there is no map."""

    name: str
    options: type[Options]
    build: Callable[[Options, Site], OwnedBalancer]
    abilities: Callable[[Options], BalancerAbilities]
    commands: Mapping[str, Command[Options]] = field(default_factory=dict)
    fleets: Mapping[str, FindFleet[Options]] = field(default_factory=dict)
