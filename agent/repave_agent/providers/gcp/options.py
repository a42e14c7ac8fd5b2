"""What settings say of the Google Cloud provider."""

from typing import Annotated

from pydantic import Field

from repave_agent.clients.gcp import GoogleOptions
from repave_agent.settings import Pairs, Sizes, Words


class GcpOptions(GoogleOptions):
    """`machine_types`: the usual one, then those to take where it has no room; of hosts whose spec names
    none, as is `image`: NAME, PROJECT/NAME, PROJECT/family/NAME. `sizes`: words that specs may use for
    machine types. `network_tags`: by which firewalls know hosts. `service_account`: its e-mail; hosts have
    none without."""

    zones: Words = ()
    machine_types: Words = ()
    sizes: Sizes = Field(default_factory=dict)
    image: str = ""
    network_tags: Words = ()
    service_account: str = ""
    scopes: Words = ("https://www.googleapis.com/auth/cloud-platform",)
    disk_gb: Annotated[int, Field(ge=0, le=65_536)] = 0
    disk_type: str = ""
    public_address: bool = False
    labels: Pairs = Field(default_factory=dict)
    prepare: str = ""
