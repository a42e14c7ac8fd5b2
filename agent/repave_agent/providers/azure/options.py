"""What settings say of the Azure provider."""

from typing import Annotated

from pydantic import Field

from repave_agent.clients.azure import AzureOptions
from repave_agent.settings import Pairs, Sizes, Words


class AzureMachineOptions(AzureOptions):
    """`vm_sizes`: the usual one, then those to take where it has no room; of hosts whose spec names none,
    as is `image`: the id of an image or of a gallery's image version, or PUBLISHER:OFFER:SKU:VERSION.
    `sizes`: words that specs may use for sizes. `subnet`: NETWORK/SUBNET of the resource group, or an id.
    `identity`: the id of a user-assigned one, for hosts. `ssh_key`: a public key; without one there is no
    login. `gallery`: GALLERY/IMAGE of the resource group, or an id: the image definition that gets baked
    images."""

    location: str = ""
    zones: Words = ()
    vm_sizes: Words = ()
    sizes: Sizes = Field(default_factory=dict)
    image: str = ""
    subnet: str = ""
    security_group: str = ""
    identity: str = ""
    ssh_user: str = "repave"
    ssh_key: str = ""
    disk_gb: Annotated[int, Field(ge=0, le=32_767)] = 0
    disk_type: str = ""
    public_address: bool = False
    tags: Pairs = Field(default_factory=dict)
    prepare: str = ""
    gallery: str = ""
