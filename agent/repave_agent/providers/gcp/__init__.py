"""The provider whose hosts are instances of Google Cloud: what it is called and takes."""

from repave_agent.kinds import OwnedProvider, ProviderKind, Site
from repave_agent.providers.gcp.options import GcpOptions
from repave_protos.protocol.capabilities import ProviderAbilities


def _build(options: GcpOptions, site: Site) -> OwnedProvider:
    # Only where it is used: aiohttp takes a tenth of a second to import.
    from repave_agent.packages.server import Depot
    from repave_agent.providers.gcp.provider import GcpProvider

    packages = site.settings.packages
    depot = Depot(site.settings.state, packages.listen, packages.url)
    return GcpProvider(
        site.region,
        site.installation,
        options,
        depot,
        site.clock,
        check=site.tenancy.check,
        kept=site.settings.images,
    )


PROVIDER = ProviderKind(
    "gcp",
    GcpOptions,
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
