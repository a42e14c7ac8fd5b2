"""The provider whose hosts are virtual machines of Azure: what it is called and takes."""

from repave_agent.kinds import OwnedProvider, ProviderKind, Site
from repave_agent.providers.azure.options import AzureMachineOptions
from repave_protos.protocol.capabilities import ProviderAbilities


def _build(options: AzureMachineOptions, site: Site) -> OwnedProvider:
    # Only where it is used: aiohttp takes a tenth of a second to import.
    from repave_agent.packages.server import Depot
    from repave_agent.providers.azure.provider import AzureProvider

    packages = site.settings.packages
    depot = Depot(site.settings.state, packages.listen, packages.url)
    return AzureProvider(
        site.region,
        site.installation,
        options,
        depot,
        site.clock,
        check=site.tenancy.check,
        kept=site.settings.images,
    )


PROVIDER = ProviderKind(
    "azure",
    AzureMachineOptions,
    _build,
    abilities=ProviderAbilities(
        takes_machine_images=True,
        runs_commands=False,
        takes_secrets=False,
        can_be_taken_over=True,
        takes_sizes=True,
        takes_spot=True,
    ),
)
