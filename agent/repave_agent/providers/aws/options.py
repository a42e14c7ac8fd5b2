"""What settings say of the AWS provider."""

from typing import Annotated

from pydantic import Field

from repave_agent.clients.aws import AmazonOptions
from repave_agent.settings import Pairs, Words


class AwsOptions(AmazonOptions):
    """`subnets`: taken in turn, each is in one zone. `instance_types`: the usual one, then those to take
    where it has no room. `image`: an AMI, of hosts whose spec names none. `instance_profile`: the rights
    of hosts; they have none without. `spot`: cheaper, and may end at any time."""

    subnets: Words = ()
    instance_types: Words = ()
    image: str = ""
    security_groups: Words = ()
    instance_profile: str = ""
    key_name: str = ""
    disk_gb: Annotated[int, Field(ge=0, le=16_384)] = 0
    disk_type: str = ""
    public_address: bool = False
    spot: bool = False
    tags: Pairs = Field(default_factory=dict)
    prepare: str = ""
