"""The provider whose hosts are instances of AWS: what it is called and takes."""

from repave_agent.kinds import OwnedProvider, ProviderKind, Site
from repave_agent.providers.aws.options import AwsOptions
from repave_protos.protocol.capabilities import ProviderAbilities


def _build(options: AwsOptions, site: Site) -> OwnedProvider:
    # Only where it is used: Amazon's library takes half a second to import, and is an extra.
    from repave_agent.clients.aws.service import Ec2, ServiceQuotas
    from repave_agent.packages.server import Depot
    from repave_agent.providers.aws.provider import AwsProvider

    packages = site.settings.packages
    depot = Depot(site.settings.state, packages.listen, packages.url)
    ec2 = Ec2(options, check=site.tenancy.check)
    quotas, images = ServiceQuotas(options), site.settings.images
    return AwsProvider(site.region, site.installation, options, depot, site.clock, ec2, quotas, images)


PROVIDER = ProviderKind(
    "aws",
    AwsOptions,
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
