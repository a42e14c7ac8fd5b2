"""Images of Glance that are baked: servers with a tag of their own, so that no listing of hosts shows them,
and the images of their disks. An image is the whole project's; what repave makes of it is cloud/oven.py's.
"""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from repave_agent.clients.faults import GoneError
from repave_agent.clients.openstack.api import Api
from repave_agent.providers.cloud.baking import (
    BakeMarks,
    BakingMachine,
    CloudImage,
    ImageState,
    Stage,
    fitted,
)
from repave_agent.providers.openstack.lookup import server_of
from repave_agent.providers.openstack.names import Names
from repave_agent.providers.openstack.options import OpenstackOptions
from repave_agent.providers.openstack.spread import HINTS
from repave_protos.protocol.values import Digest, RegionName

IS_BAKED = {"repave_baked": "1"}
STAGES = {"BUILD": Stage.BOOTING, "ACTIVE": Stage.RUNNING, "SHUTOFF": Stage.STOPPED, "ERROR": Stage.BROKEN}
ENDED = ("killed", "deleted", "pending_delete", "deactivated")
"""Statuses in which an image is none, or not one any more."""


class Bakes:
    """Implements BakingCloud. `tag` names what is this region's."""

    noun = "server"

    def __init__(self, api: Api, options: OpenstackOptions, names: Names, tag: Callable[[], str]) -> None:
        self._api, self._options, self._names, self._tag = api, options, names, tag

    # -------------------------------------------------------------------------------------------- servers

    async def make(self, marks: BakeMarks, script: str) -> str:
        found = replace(self._names.known(), image=marks.base)
        written = {"repave_bake": marks.digest, "repave_baked_at": str(marks.at)}
        server = server_of(self._options, found, script, written)
        server |= {"name": marks.machine, "tags": [self._bake_tag()]}
        hints = {HINTS: dict(found.hints)} if found.hints else {}
        made = await self._api.call("compute", "POST", "/servers", {"server": server, **hints})
        return str(made["server"]["id"])

    async def machines(self) -> list[BakingMachine]:
        listed = await self._api.list_all("compute", "/servers/detail", "servers", tags=self._bake_tag())
        return [_machine(each) for each in listed]

    async def console(self, machine: str, lines: int) -> str:
        answer = await self._act(machine, {"os-getConsoleOutput": {"length": lines}})
        return str(answer.get("output") or "")

    async def stop(self, machine: str) -> None:
        await self._act(machine, {"os-stop": None})

    async def delete_machine(self, machine: str) -> None:
        with contextlib.suppress(GoneError):
            await self._api.call("compute", "DELETE", f"/servers/{machine}")

    # -------------------------------------------------------------------------------------------- images

    async def take(self, machine: str, marks: BakeMarks) -> str:
        properties = {
            **IS_BAKED,
            "repave_digest": marks.digest,
            "repave_image_name": marks.name,
            "repave_base_image": marks.base,
            "repave_baked_by": fitted(marks.by),
            "repave_baked_at": str(marks.at),
            "repave_bake_tag": self._bake_tag(),
        }
        body = {"createImage": {"name": marks.name, "metadata": properties}}
        return str((await self._act(machine, body))["image_id"])

    async def images(self) -> list[CloudImage]:
        """Only those of our own project: who can share an image could run theirs as ours."""
        wanted = {**IS_BAKED, "owner": self._api.project_id}
        listed = await self._api.list_all("image", "/images", "images", **wanted)
        return [image for each in listed if (image := self._image(each)) is not None]

    async def delete_image(self, image: str) -> None:
        with contextlib.suppress(GoneError):
            await self._api.call("image", "DELETE", f"/images/{image}")

    async def sweep(self) -> None:
        """An image leaves nothing."""

    def _image(self, image: dict[str, Any]) -> CloudImage | None:
        """None of a snapshot that others took of a host: it has the properties of the host's image by Nova,
        but not its name. Images of earlier versions do not say what they were called."""
        try:
            marks = BakeMarks(
                "",
                RegionName(""),
                Digest(image["repave_digest"]),
                str(image["repave_base_image"]),
                str(image["name"]),
                str(image.get("repave_baked_by", "")),
                int(image.get("repave_baked_at", 0)),
            )
        except (KeyError, ValueError):
            return None
        if image.get("repave_image_name", marks.name) != marks.name:
            return None
        status = str(image["status"])
        state = ImageState.BROKEN if status in ENDED else ImageState.MAKING
        return CloudImage(
            str(image["id"]),
            marks,
            ImageState.WHOLE if status == "active" else state,
            image.get("repave_bake_tag") == self._bake_tag(),
            datetime.fromisoformat(image["created_at"].replace("Z", "+00:00")).timestamp(),
            f"became {status}",
        )

    def _bake_tag(self) -> str:
        return f"{self._tag()}-bake"

    async def _act(self, server: str, action: dict[str, Any]) -> dict[str, Any]:
        return await self._api.call("compute", "POST", f"/servers/{server}/action", action)


def _machine(server: dict[str, Any]) -> BakingMachine:
    known = server.get("metadata") or {}
    fault = (server.get("fault") or {}).get("message") or "no reason was given"
    return BakingMachine(
        str(server["id"]),
        Digest(known.get("repave_bake", "")),
        int(known.get("repave_baked_at", 0)),
        STAGES.get(server["status"], Stage.BOOTING),
        f"became ERROR: {fault}" if server["status"] == "ERROR" else "",
    )
