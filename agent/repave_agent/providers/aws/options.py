"""What settings say of the AWS provider."""

from typing import Annotated

from pydantic import Field

from repave_agent.clients.aws import AmazonOptions
from repave_agent.settings import Pairs, Sizes, Words


class AwsOptions(AmazonOptions):
    """`subnets`: taken in turn, each is in one zone. `instance_types`: the usual one, then those to take
    where it has no room; of hosts whose spec names none, as is `image`, an AMI. `sizes`: words that specs may
    use for instance types. `instance_profile`: the rights of hosts; they have none without."""

    subnets: Words = ()
    instance_types: Words = ()
    sizes: Sizes = Field(default_factory=dict)
    image: str = ""
    security_groups: Words = ()
    instance_profile: str = ""
    key_name: str = ""
    disk_gb: Annotated[int, Field(ge=0, le=16_384)] = 0
    disk_type: str = ""
    public_address: bool = False
    tags: Pairs = Field(default_factory=dict)
    prepare: str = ""
