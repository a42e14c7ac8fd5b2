"""What settings say of the OpenStack provider."""

from pydantic import Field

from repave_agent.clients.openstack import CloudOptions
from repave_agent.settings import Pairs, Words


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
