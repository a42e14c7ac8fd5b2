"""The provider whose hosts are instances of AWS: whether there is what the settings name, and addresses for
more.

How an instance is made and seen: instances.py; what all clouds have in common: providers/cloud.
"""

from collections.abc import Callable

from repave_agent.clients.aws.service import Ec2, ServiceQuotas
from repave_agent.core.ports import Clock, ProviderError, RefusedError
from repave_agent.packages.server import Depot
from repave_agent.providers.aws.bake import Bakes
from repave_agent.providers.aws.instances import Instances
from repave_agent.providers.aws.options import AwsOptions
from repave_agent.providers.aws.quotas import short_of
from repave_agent.providers.cloud.oven import Oven
from repave_agent.providers.cloud.provider import CloudProvider
from repave_agent.settings import ImagesSettings
from repave_protos.protocol.queries import FindRoom
from repave_protos.protocol.values import RegionName

NO_TYPE = "InvalidInstanceType"


class AwsProvider(CloudProvider):
    """Implements ports.Provider."""

    name = "aws"

    def __init__(
        self,
        region: RegionName,
        installation: Callable[[], str],
        options: AwsOptions,
        depot: Depot,
        clock: Clock,
        ec2: Ec2,
        quotas: ServiceQuotas,
        kept: ImagesSettings | None = None,
    ) -> None:
        self._options, self._ec2, self._quotas = options, ec2, quotas
        bakes = Bakes(region, installation, ec2, options)
        oven = Oven(bakes, depot, region, installation, clock, prepare=options.prepare, kept=kept)
        self._instances = Instances(region, installation, ec2, options, depot, oven)
        super().__init__(
            "instances of AWS", self._instances, oven, installation, depot, clock, self._instances
        )

    async def _begin(self) -> str:
        await self._look()
        return "instances of EC2"

    async def _base(self) -> str:
        await self._instances.image(self._options.image)
        return self._options.image

    async def _disconnect(self) -> None:
        await self._ec2.close()
        await self._quotas.close()

    async def _look(self) -> None:
        options = self._options
        names = {
            "aws.subnets": options.subnets,
            "aws.instance_types": options.instance_types,
            "aws.image": options.image,
        }
        wrong = [f"{name} is not set" for name, value in names.items() if not value]
        if not wrong:
            wrong = await self._named()
        if wrong:
            raise RefusedError("; ".join(wrong))

    async def _named(self) -> list[str]:
        """What is wrong with what each setting names."""
        options = self._options
        asked = [
            ("aws.subnets", "describe_subnets", {"SubnetIds": list(options.subnets)}),
            (
                "aws.instance_types",
                "describe_instance_types",
                {"InstanceTypes": list(options.instance_types)},
            ),
        ]
        if meant := self._instances.chart.meant():
            asked.append(("aws.sizes", "describe_instance_types", {"InstanceTypes": list(meant)}))
        if options.security_groups:
            groups = {"GroupIds": list(options.security_groups)}
            asked.append(("aws.security_groups", "describe_security_groups", groups))
        wrong = []
        for setting, call, named in asked:
            try:
                await self._ec2.call(call, **named)
            except RefusedError as error:
                wrong.append(f"{setting}: {error}")
        try:
            await self._instances.image(options.image)
        except RefusedError as error:
            wrong.append(f"aws.image: {error}")
        return wrong

    async def troubles(self) -> list[str]:
        """Whether the account can be asked, and still has what the settings name."""
        self._instances.forget_images()
        try:
            await self._look()
        except ProviderError as error:
            return [str(error)]
        self.begin_sweep()
        return []

    async def room(self, asked: FindRoom) -> str:
        """By the free addresses of the subnets, and by the account's quota of vCPUs here. Whether a zone has
        room only an order tells. Raises ProviderError where the quota can't be read."""
        await self.start()
        chart, hosts = self._instances.chart, asked.hosts
        await chart.check(asked.machine_sizes, self._has_type, "instance type")
        await self._check_image(asked.machine_image, self._instances.image)
        answer = await self._ec2.call("describe_subnets", SubnetIds=list(self._options.subnets))
        free = sum(int(each["AvailableIpAddressCount"]) for each in answer["Subnets"])
        if hosts > free:
            return f"addresses: {free} are free in the subnets, {hosts} more are needed"
        usual = chart.sizes(asked.machine_sizes)[0]
        return await short_of(self._ec2, self._quotas, usual, hosts, asked.is_spot)

    async def _has_type(self, name: str) -> bool:
        try:
            await self._ec2.call("describe_instance_types", InstanceTypes=[name])
        except RefusedError as error:
            if NO_TYPE in str(error):
                return False
            raise
        return True
