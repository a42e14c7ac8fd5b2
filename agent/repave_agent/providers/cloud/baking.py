"""What a cloud must do for images to be baked on it, and a bake as the cloud keeps it.

What repave makes of that, one image for each order and nothing left behind, is oven.py's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol, Self

from repave_agent.providers.cloud.machine import PREFIX, owner_of
from repave_protos.protocol.values import Digest, RegionName, short_digest

BAKED_LABEL = "repave-baked"
"""The tag or label that has `home_of`: by which a cloud lists the images of an installation."""
VALUE_LENGTH_MAX = 256
"""Of a tag, on the strictest cloud."""


@dataclass(frozen=True, slots=True)
class BakeMarks:
    """What is written on a machine that is baked, and on its image. `at`: when it was ordered, in whole
    seconds of Unix time, which tells one bake of a package from the next."""

    installation: str
    region: RegionName
    digest: Digest
    base: str
    name: str
    by: str
    at: int

    @classmethod
    def read(cls, written: Mapping[str, str]) -> Self:
        """Raises KeyError, ValueError where there are no or other marks."""
        return cls(
            written[f"{PREFIX}installation"],
            RegionName(written[f"{PREFIX}region"]),
            Digest(written[f"{PREFIX}digest"]),
            written[f"{PREFIX}base_image"],
            written[f"{PREFIX}image_name"],
            written.get(f"{PREFIX}baked_by", ""),
            int(written[f"{PREFIX}baked_at"]),
        )

    def written(self) -> dict[str, str]:
        """By which `read` finds them again."""
        return {
            f"{PREFIX}installation": self.installation,
            f"{PREFIX}region": self.region,
            f"{PREFIX}digest": self.digest,
            f"{PREFIX}base_image": fitted(self.base),
            f"{PREFIX}image_name": fitted(self.name),
            f"{PREFIX}baked_by": fitted(self.by),
            f"{PREFIX}baked_at": str(self.at),
        }

    @property
    def machine(self) -> str:
        """What the machine is called."""
        return f"repave-bake-{short_digest(self.digest)}-{self.at}"


def fitted(value: str) -> str:
    """Its end, which tells one image from the next, where a tag has no room for all of it."""
    return value[-VALUE_LENGTH_MAX:]


def bake_owner_of(installation: str, region: RegionName) -> str:
    """One mark for all that is baked by one region, other than that of its hosts."""
    return f"{owner_of(installation, region)}-bake"


def home_of(installation: str) -> str:
    """One mark for the images of an installation: each of its regions may start hosts from them."""
    return owner_of(installation, RegionName(""))


class Stage(Enum):
    """Of a machine that is baked. One that is GONE may still be listed for a while."""

    BOOTING = auto()
    RUNNING = auto()
    STOPPED = auto()
    BROKEN = auto()
    GONE = auto()


@dataclass(frozen=True, slots=True)
class BakingMachine:
    """A machine that is baked. `said`: how it broke, as what follows "the machine": "is ERROR: no disk"."""

    id: str
    digest: Digest
    at: int
    stage: Stage
    said: str = ""


class ImageState(Enum):
    """How far an image is."""

    MAKING = auto()
    WHOLE = auto()
    BROKEN = auto()


@dataclass(frozen=True, slots=True)
class CloudImage:
    """An image. `is_ours`: this region baked it. `made_at`: Unix time."""

    id: str
    marks: BakeMarks
    state: ImageState
    is_ours: bool
    made_at: float
    said: str = ""


class BakingCloud(Protocol):
    """Machines that are baked by one region, and the images of its installation. What is listed may lag."""

    noun: str  # what the cloud calls a machine

    async def make(self, marks: BakeMarks, script: str) -> str:
        """Asks for a machine of the base image that runs `script` at its first boot; returns its id. Raises
        ProviderError; LostError where it may have been made all the same."""

    async def machines(self) -> list[BakingMachine]:
        """All of this region."""

    async def console(self, machine: str, lines: int) -> str:
        """The end of what it printed; "" where there is nothing."""

    async def stop(self, machine: str) -> None:
        """Asks for it to stop, so that its disk is whole. Asking again does no harm."""

    async def take(self, machine: str, marks: BakeMarks) -> str:
        """Asks for an image of the disk of a machine that is stopped; returns its id. Raises as `make`."""

    async def delete_machine(self, machine: str) -> None:
        """Asks for its end and that of its disk. One that is gone is fine."""

    async def images(self) -> list[CloudImage]:
        """All of the installation, those that are half made included."""

    async def delete_image(self, image: str) -> None:
        """With all that the cloud keeps for it. One that is gone is fine."""

    async def sweep(self) -> None:
        """Removes what images that are gone have left."""
