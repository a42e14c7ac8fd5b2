"""What a cloud must do for its machines to be hosts, and a machine as the cloud lists it.

What repave makes of that, one machine for each name and none left behind, is lifecycle.py's.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Protocol, Self

from repave_agent.core.ports import HostSpec
from repave_protos.protocol.values import ApplicationName, Digest, GroupName, HostName, RegionName

PREFIX = "repave_"
OWNER = "repave-owner"
"""The tag or label that has `owner_of`: by which a cloud lists what is ours."""
NAME_LENGTH_MAX = 63


@dataclass(frozen=True, slots=True)
class Marks:
    """What is written on a machine for it to be known again: as tags, labels or metadata of its cloud."""

    installation: str
    region: RegionName
    application: ApplicationName
    group: GroupName
    host: HostName
    digest: Digest
    port: int

    @classmethod
    def of(cls, spec: HostSpec, installation: str, region: RegionName) -> Self:
        return cls(installation, region, spec.application, spec.group, spec.name, spec.digest, spec.port)

    @classmethod
    def read(cls, written: Mapping[str, str]) -> Self:
        """Raises KeyError, ValueError where a machine has no or other marks."""
        return cls(
            written[f"{PREFIX}installation"],
            RegionName(written[f"{PREFIX}region"]),
            ApplicationName(written[f"{PREFIX}application"]),
            GroupName(written[f"{PREFIX}group"]),
            HostName(written[f"{PREFIX}host"]),
            Digest(written[f"{PREFIX}digest"]),
            int(written[f"{PREFIX}port"]),
        )

    def written(self) -> dict[str, str]:
        """By which `read` finds them again."""
        return {
            f"{PREFIX}installation": self.installation,
            f"{PREFIX}region": self.region,
            f"{PREFIX}application": self.application,
            f"{PREFIX}group": self.group,
            f"{PREFIX}host": self.host,
            f"{PREFIX}digest": self.digest,
            f"{PREFIX}port": str(self.port),
        }


def owner_of(installation: str, region: RegionName) -> str:
    """One mark for all that is of one installation in one region, short enough for any cloud's tag."""
    return hashlib.sha256(f"{installation}/{region}".encode()).hexdigest()[:24]


def machine_name(owner: str, host: HostName) -> str:
    """Of a machine, where its cloud takes each name once: the host's name as far as clouds take it, and whose
    it is, so that two installations in one account never mean the same machine."""
    mark = hashlib.sha256(f"{owner}/{host}".encode()).hexdigest()[:8]
    plain = re.sub(r"[^a-z0-9-]+", "-", host.lower())
    plain = plain if plain[:1].isalpha() else f"h-{plain}"
    return f"{plain[: NAME_LENGTH_MAX - len(mark) - 1].rstrip('-')}-{mark}"


class State(Enum):
    """Of a machine. One that is LEAVING was deleted, and is no host any more."""

    BUILDING = auto()
    RUNNING = auto()
    ENDED = auto()
    LEAVING = auto()


@dataclass(frozen=True, slots=True)
class Machine:
    """`address` may be "" until it runs. `ended`: how, as what follows "the machine": "is ERROR: no disk";
    `is_full`: for lack of room. `volumes`: ids of its disks, where they may outlive it; `borrowed`: of what
    is given back after it. `is_spot`: its cloud may take it back at any time."""

    id: str
    marks: Marks
    state: State
    made_at: float  # seconds of Unix time
    address: str = ""
    ended: str = ""
    is_full: bool = False
    volumes: tuple[str, ...] = ()
    borrowed: str = ""
    is_spot: bool = False
    public_address: str = ""


class MachineCloud(Protocol):
    """The machines of one installation in one region of a cloud. Strangers are never listed."""

    noun: str  # what the cloud calls a machine

    @property
    def network(self) -> str:
        """Where machines have their addresses, as the settings call it."""

    async def create(self, spec: HostSpec, package: Path) -> str:
        """Asks for a machine that starts the host at its first boot; returns its id. Raises ProviderError;
        LostError where it may have been made all the same."""

    async def machines(self) -> list[Machine]:
        """All of them, those that are being deleted included, in one listing."""

    async def look(self, machine: str) -> None:
        """Raises GoneError where there is none with this id."""

    async def delete(self, machine: str) -> None:
        """Asks for its end. One that is gone is fine."""

    async def clear(self, machine: Machine) -> None:
        """Removes what the cloud has left of a machine that is gone."""

    async def tidy(self, group: GroupName, launching: Callable[[], Iterable[GroupName]]) -> None:
        """A machine of the group is gone, or was not made: what only its last one needs may go. Other
        groups of which machines are about to be made are `launching`."""

    async def accept(self, machine: Machine) -> None:
        """Gives a machine that runs what it can have only then. Repeatable. Raises ProviderError;
        RefusedError where it can't be a host."""

    async def console(self, machine: str, lines: int) -> str:
        """The end of what it printed; "" where there is nothing."""
