"""The provider whose hosts are servers of an OpenStack project: what it is called and takes."""

from repave_agent.kinds import OwnedProvider, ProviderKind, Site
from repave_agent.providers.openstack.options import OpenstackOptions
from repave_protos.protocol.capabilities import ProviderAbilities


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
)
