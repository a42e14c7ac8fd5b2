"""The provider whose hosts are servers of an OpenStack project: what it is called and takes."""

from collections.abc import Sequence

from repave_agent.kinds import OwnedProvider, ProviderKind, Site
from repave_agent.providers.openstack.options import OpenstackOptions
from repave_protos.protocol.capabilities import ProviderAbilities
from repave_protos.protocol.values import GivenHost


def _build(options: OpenstackOptions, site: Site) -> OwnedProvider:
    # Only where a cloud is used: aiohttp takes a tenth of a second to import.
    from repave_agent.clients.openstack.api import Api
    from repave_agent.clients.openstack.login import cloud_of
    from repave_agent.packages.server import Depot
    from repave_agent.providers.openstack.provider import OpenstackProvider

    packages = site.settings.packages
    depot = Depot(site.settings.state, packages.listen, packages.url)
    api = Api(cloud_of(options), site.clock, site.tenancy.check)
    images = site.settings.images
    return OpenstackProvider(site.region, site.installation, api, options, depot, site.clock, images)


async def _pool(options: OpenstackOptions, site: Site, name: str) -> Sequence[GivenHost]:
    from repave_agent.clients.openstack.api import Api
    from repave_agent.clients.openstack.fleets import members_of
    from repave_agent.clients.openstack.login import cloud_of

    api = Api(cloud_of(options), site.clock)
    try:
        return await members_of(api, name)
    finally:
        await api.close()


PROVIDER = ProviderKind(
    "openstack",
    OpenstackOptions,
    _build,
    abilities=ProviderAbilities(
        takes_machine_images=True,
        runs_commands=False,
        takes_secrets=False,
        can_be_taken_over=True,
        takes_sizes=True,
    ),
    fleets={"octavia": _pool},
)
