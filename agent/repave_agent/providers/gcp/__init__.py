"""The provider whose hosts are instances of Google Cloud: what it is called and takes."""

from collections.abc import Sequence

from repave_agent.kinds import OwnedProvider, ProviderKind, Site
from repave_agent.providers.gcp.options import GcpOptions
from repave_protos.protocol.capabilities import ProviderAbilities
from repave_protos.protocol.values import GivenHost


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


async def _instance_group(options: GcpOptions, site: Site, name: str) -> Sequence[GivenHost]:
    from repave_agent.clients.gcp.account import Account
    from repave_agent.clients.gcp.fleets import instances_of

    account = Account(options, site.clock)
    try:
        await account.begin()
        return await instances_of(account.compute, name)
    finally:
        await account.compute.rest.close()


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
    fleets={"instance-group": _instance_group},
)
