"""Disks of servers as volumes of Cinder (`openstack.volume_size`), which Nova makes and deletes with them.

Where Cinder was away at a server's end its volume stays. Those that are known to have been a server's go
later, and after a restart of the agent those that have its mark.
"""

import contextlib
from collections.abc import Sequence
from typing import Any

import structlog

from repave_agent.clients.faults import GoneError
from repave_agent.clients.openstack.api import Api
from repave_agent.core.ports import ProviderError, RefusedError

log = structlog.get_logger()

SERVICE = "block-storage"
OWNER = "repave_owner"
"""In a volume's metadata: the tag of all that is ours."""
ENDED = ("available", "error", "error_deleting")
"""What no server has, and what can be deleted."""


def disk_from(image: str, size_gb: int, kind: str) -> dict[str, Any]:
    """What a creation says for its server to boot from a volume of its own."""
    disk: dict[str, Any] = {
        "boot_index": 0,
        "uuid": image,
        "source_type": "image",
        "destination_type": "volume",
        "volume_size": size_gb,
        "delete_on_termination": True,
    }
    if kind:
        disk["volume_type"] = kind
    return {"imageRef": "", "block_device_mapping_v2": [disk]}


class Volumes:
    """Of one region."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._owed: set[str] = set()  # whose server was deleted

    async def mark(self, volumes: Sequence[str], owner: str) -> None:
        """For the next agent to find them. One that can't be marked is known until this agent ends."""
        for each in volumes:
            try:
                body = {"metadata": {OWNER: owner}}
                await self._api.call(SERVICE, "POST", f"/volumes/{each}/metadata", body)
            except ProviderError as error:
                log.warning("volume.not_marked", volume=each, because=str(error))

    def owe(self, volumes: Sequence[str]) -> None:
        """Their server was deleted."""
        self._owed.update(volumes)

    async def sweep(self, owner: str) -> None:
        """Removes those that outlived their server. Raises ProviderError."""
        marked = await self._api.list_all(
            SERVICE, "/volumes/detail", "volumes", metadata=f"{{'{OWNER}': '{owner}'}}"
        )
        there = {str(each["id"]): each for each in marked if each.get("metadata", {}).get(OWNER) == owner}
        for each in self._owed - there.keys():
            try:
                there[each] = (await self._api.call(SERVICE, "GET", f"/volumes/{each}"))["volume"]
            except GoneError:
                self._owed.discard(each)
        for volume, known in there.items():
            if known["status"] in ENDED and not known.get("attachments"):
                log.warning("volume.left", volume=volume)
                await self._delete(volume)

    async def short_of(self, hosts: int, size_gb: int) -> list[str]:
        """What the project's quota lacks for so many more. Raises ProviderError."""
        limits = (await self._api.call(SERVICE, "GET", "/limits"))["limits"]["absolute"]
        lacks = []
        for name, most, used, more in (
            ("volumes", "maxTotalVolumes", "totalVolumesUsed", hosts),
            ("GiB of volumes", "maxTotalVolumeGigabytes", "totalGigabytesUsed", hosts * size_gb),
        ):
            if limits[most] >= 0 and limits[used] + more > limits[most]:
                lacks.append(f"{name}: {limits[used]} of {limits[most]} are used, {more} more are needed")
        return lacks

    async def _delete(self, volume: str) -> None:
        """Nova may be deleting it at this moment."""
        with contextlib.suppress(GoneError, RefusedError):
            await self._api.call(SERVICE, "DELETE", f"/volumes/{volume}")
