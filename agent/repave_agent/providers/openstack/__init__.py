"""The provider whose hosts are servers of an OpenStack project: what it is called and takes."""

from pydantic import Field

from repave_agent.clients.openstack import CloudOptions
from repave_agent.kinds import OwnedProvider, ProviderKind, Site
from repave_agent.settings import Pairs, Words
from repave_protos.protocol.capabilities import ProviderAbilities


class OpenstackOptions(CloudOptions):
    """`image` is of every host whose spec names none."""

    flavor: str = ""
    image: str = ""
    image_hash: str = ""
    network: str = ""
    security_groups: Words = ()
    availability_zones: Words = ()
    key_name: str = ""
    metadata: Pairs = Field(default_factory=dict)
    prepare: str = ""
    spreads: bool = True
    config_drive: bool = True


def _build(options: OpenstackOptions, site: Site) -> OwnedProvider:
    # Only where a cloud is used: aiohttp takes a tenth of a second to import.
    from repave_agent.clients.openstack.api import Api
    from repave_agent.clients.openstack.login import load_cloud
    from repave_agent.packages.server import Depot
    from repave_agent.providers.openstack.provider import OpenstackProvider

    packages = site.settings.packages
    depot = Depot(site.settings.state, packages.listen, packages.url)
    api = Api(load_cloud(options.cloud), site.clock)
    return OpenstackProvider(site.region, site.installation, api, options, depot, site.clock)


PROVIDER = ProviderKind(
    "openstack",
    OpenstackOptions,
    _build,
    abilities=ProviderAbilities(takes_machine_images=True, runs_commands=False),
)
