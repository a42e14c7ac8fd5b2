"""What settings say of the OpenStack provider."""

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from repave_agent.clients.openstack import CloudOptions
from repave_agent.settings import Pairs, Sizes, Words, pairs_of

Hints = Annotated[dict[str, str | tuple[str, ...]], BeforeValidator(pairs_of)]


class OpenstackOptions(CloudOptions):
    """`flavor` and `image` are of hosts whose spec names none. `sizes`: words that specs may use for flavors,
    and `flavor` too. `network` is short for one of `networks`: a server has
    an interface in each, in their order, and is reached in the first. `ports`: of them each server borrows
    one. `volume_size` in GiB; 0: the flavor's own disk."""

    flavor: str = ""
    sizes: Sizes = Field(default_factory=dict)
    image: str = ""
    image_hash: str = ""
    network: str = ""
    networks: Words = ()
    ports: Words = ()
    floating_ip_pool: str = ""
    security_groups: Words = ()
    availability_zones: Words = ()
    hints: Hints = Field(default_factory=dict)
    key_name: str = ""
    metadata: Pairs = Field(default_factory=dict)
    volume_size: Annotated[int, Field(ge=0, le=65_536)] = 0
    volume_type: str = ""
    cloud_init: Path | None = None
    prepare: str = ""
    spreads: bool = True
    config_drive: bool = True

    @model_validator(mode="after")
    def _agrees(self) -> "OpenstackOptions":
        if self.network and self.networks:
            raise ValueError("name the network in openstack.networks only, the primary one first")
        if self.volume_type and not self.volume_size:
            raise ValueError("openstack.volume_type needs openstack.volume_size, in GiB")
        return self

    @property
    def usual_flavors(self) -> tuple[str, ...]:
        """Of hosts whose spec names none, the best first."""
        return self.sizes.get(self.flavor, (self.flavor,))

    @property
    def all_networks(self) -> tuple[str, ...]:
        """The primary one first."""
        return self.networks or ((self.network,) if self.network else ())
