"""The provider whose hosts are instances of AWS: what it is called and takes."""

from collections.abc import Sequence

from repave_agent.kinds import OwnedProvider, ProviderKind, Site
from repave_agent.providers.aws.options import AwsOptions
from repave_protos.protocol.capabilities import ProviderAbilities
from repave_protos.protocol.values import GivenHost


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


async def _asg(options: AwsOptions, site: Site, name: str) -> Sequence[GivenHost]:
    from repave_agent.clients.aws.fleets import instances_of
    from repave_agent.clients.aws.service import AutoScaling, Ec2

    scaling, ec2 = AutoScaling(options), Ec2(options)
    try:
        return await instances_of(scaling, ec2, name)
    finally:
        await scaling.close()
        await ec2.close()


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
    fleets={"asg": _asg},
)
