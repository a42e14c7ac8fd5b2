"""Bodies and answers about what only a region's provider knows: machines of pools, images baked there."""

from datetime import datetime

from pydantic import Field

from repave_controller.api.answers.answer import Answer
from repave_controller.api.answers.models import Items, SignedRequest
from repave_controller.core.domain.bounds import REGIONS_MAX


class BakeRequest(SignedRequest):
    """Make an image of a package in these regions."""

    digest: str = Field(min_length=64, max_length=64, description="Of a package that is stored.")
    name: str = Field(min_length=1, max_length=200, description="How the image is called.")
    regions: list[str] = Field(max_length=REGIONS_MAX)
    check: list[str] = Field([], max_length=100, description="Run in the package before; must end with 0.")


class MachineItem(Answer):
    """One machine of a region's pool."""

    region: str
    name: str
    address: str = Field(description="Empty: it is not in the inventory any more.")
    state: str = Field(description="dirty, fresh, leased, quarantined or unknown.")
    host: str = Field(description="The host that it is leased for.")
    since: datetime | None = Field(description="None: nothing ever happened to it.")
    reason: str


class PoolAnswer(Items[MachineItem]):
    """Machines of all pools, and the regions that could not be asked."""

    asked: list[str] = Field(description="The regions that have answered.")
    unreachable: dict[str, str] = Field(description="Region to reason.")


class RoomAnswer(Answer):
    """What a region's provider says of its room."""

    region: str
    hosts: int
    lack: str = Field(description="Why so many more don't fit; empty: they do, as far as can be known.")


class DoneAnswer(Answer):
    """What was done."""

    text: str


class BakedItem(Answer):
    """One image in which a package is unpacked already."""

    region: str
    image: str = Field(description="As the cloud calls it.")
    name: str
    digest: str
    base: str = Field(description="The image that it was made from.")
    by: str
    made_at: datetime
    is_current: bool = Field(description="False: hosts have another base image now, and it is not used.")


class BakeItem(Answer):
    """One that is under way, or has failed: then `error` says why."""

    region: str
    digest: str
    name: str
    step: str
    since: datetime
    image: str
    error: str


class BakedAnswer(Items[BakedItem]):
    """Images of all regions, what is under way, and the regions that could not be asked."""

    bakes: list[BakeItem]
    asked: list[str] = Field(description="The regions that have answered.")
    unreachable: dict[str, str] = Field(description="Region to reason.")
