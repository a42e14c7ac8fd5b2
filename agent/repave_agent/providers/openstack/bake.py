"""Bakes a package into an image of Glance: a server of the base image fetches and checks it, is stopped, and
its disk becomes an image that says what it was made from. Hosts of that package then need not fetch it.

Servers under way have a tag of their own, so that no listing of hosts shows them; what an agent left that was
killed goes when the next one starts.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

from repave_agent.clients.faults import GoneError, LostError
from repave_agent.clients.openstack.api import Api
from repave_agent.core.ports import Clock, ProviderError, RefusedError, TransientError
from repave_agent.packages.server import Depot
from repave_agent.providers.cloud.first_boot import BAKED, NOT_BAKED, bake_data
from repave_agent.providers.openstack.lookup import Found, server_of
from repave_agent.providers.openstack.options import OpenstackOptions
from repave_agent.providers.openstack.spread import HINTS
from repave_protos.protocol.queries import BakedImage, BakeOrder
from repave_protos.protocol.values import Digest, short_digest

log = structlog.get_logger()

LOOK_SECONDS = 2.0
BUILD_SECONDS = 1200.0
UNPACK_SECONDS = 1200.0
STOP_SECONDS = 300.0
IMAGE_SECONDS = 3600.0
CONSOLE_LINES = 100
KNOWN_SECONDS = 60.0
"""So long it is remembered whether there is an image of a package."""
NOT_UNPACKED = "the server's console does not say that it is unpacked"
IS_BAKED = {"repave_baked": "1"}


class Oven:
    """One for a provider. `tag` names what is this region's; an image is the whole project's."""

    def __init__(
        self, api: Api, options: OpenstackOptions, depot: Depot, tag: Callable[[], str], clock: Clock
    ) -> None:
        self._clock = clock
        self._api, self._options, self._depot, self._tag = api, options, depot, tag
        self._known: dict[tuple[Digest, str], tuple[float, str]] = {}  # of a package on a base
        self._asking = asyncio.Lock()
        self._under_way: set[str] = set()

    # -------------------------------------------------------------------------------------------- images

    async def images(self, found: Found) -> list[BakedImage]:
        """Newest first. Only those of our own project: who can share an image could run theirs as ours."""
        wanted = {**IS_BAKED, "status": "active", "owner": self._api.project_id}
        listed = await self._api.list_all("image", "/images", "images", **wanted)
        images = [_baked(each, found) for each in listed]
        return sorted(images, key=lambda each: (each.made_at, each.image), reverse=True)

    async def image_for(self, digest: Digest, found: Found) -> str:
        """The id of the newest one with this package and the present base; "" when there is none. Launches
        that ask at the same time share one answer."""
        async with self._asking:
            asked_at, image = self._known.get((digest, found.image), (0.0, ""))
            if not asked_at or self._clock.monotonic() - asked_at > KNOWN_SECONDS:
                images = await self.images(found)
                image = next((each.image for each in images if each.digest == digest and each.is_current), "")
                self._known[digest, found.image] = (self._clock.monotonic(), image)
            return image

    # -------------------------------------------------------------------------------------------- baking

    async def bake(
        self, order: BakeOrder, package: Path, found: Found, report: Callable[[str], None]
    ) -> BakedImage:
        """Raises ProviderError; then there is neither server nor image."""
        report("a server is made")
        server = await self._server(order, package, found)
        self._under_way.add(server)
        try:
            report("the server boots")
            await self._wait_for_status(server, "ACTIVE", BUILD_SECONDS)
            report("the package is unpacked and checked on the server")
            await self._wait_until_unpacked(server, order)
            report("the server is stopped")
            await self._act(server, {"os-stop": None})
            await self._wait_for_status(server, "SHUTOFF", STOP_SECONDS)
            report("its disk becomes an image")
            return await self._image(server, order, found)
        finally:
            report("the server is removed")
            await asyncio.shield(self._delete_server(server))
            self._under_way.discard(server)

    async def tidy(self) -> None:
        """Removes servers and half-made images that an agent left which was killed; if not now, then when the
        next one starts. Images that are whole stay: they are what was ordered."""
        try:
            for image in await self._half_made():
                log.warning("bake.left", image=image["id"], name=image["name"])
                await self._delete_image(str(image["id"]))
            for server in await self._servers():
                if server["id"] not in self._under_way:
                    log.warning("bake.left", server=server["id"], name=server["name"])
                    await self._delete_server(str(server["id"]))
        except ProviderError as error:
            log.warning("bake.not_tidied", because=str(error))

    async def _server(self, order: BakeOrder, package: Path, found: Found) -> str:
        url = self._depot.offer(order.digest, package)
        script = bake_data(order.digest, url, order.check, self._options.prepare)
        server = server_of(self._options, found, script, {"repave_bake": order.digest})
        server |= {"name": f"repave-bake-{short_digest(order.digest)}", "tags": [self._bake_tag()]}
        try:
            hints = {HINTS: dict(found.hints)} if found.hints else {}
            made = await self._api.call("compute", "POST", "/servers", {"server": server, **hints})
        except LostError:
            await self.tidy()
            raise
        return str(made["server"]["id"])

    def _bake_tag(self) -> str:
        return f"{self._tag()}-bake"

    async def _servers(self) -> list[dict[str, Any]]:
        return await self._api.list_all("compute", "/servers/detail", "servers", tags=self._bake_tag())

    async def _half_made(self) -> list[dict[str, Any]]:
        """Our images, by their tag, that no bake of this agent waits for."""
        known: list[dict[str, Any]] = []
        for status in ("queued", "saving", "uploading", "importing"):
            wanted = {**IS_BAKED, "repave_bake_tag": self._bake_tag(), "status": status}
            known += await self._api.list_all("image", "/images", "images", **wanted)
        return [each for each in known if each["id"] not in self._under_way]

    async def _wait_for_status(self, server: str, status: str, seconds: float) -> None:
        async def is_there() -> bool:
            found = (await self._api.call("compute", "GET", f"/servers/{server}"))["server"]
            if found["status"] == "ERROR":
                fault = (found.get("fault") or {}).get("message") or "no reason was given"
                raise TransientError(f"the server became ERROR: {fault}")
            return bool(found["status"] == status)

        await self._wait_until(is_there, seconds, f"the server is not {status}")

    async def _wait_until_unpacked(self, server: str, order: BakeOrder) -> None:
        async def is_unpacked() -> bool:
            answer = await self._act(server, {"os-getConsoleOutput": {"length": CONSOLE_LINES}})
            lines = str(answer.get("output") or "").splitlines()
            if any(NOT_BAKED in line for line in lines):
                raise RefusedError(f"it could not be baked; the end of the console:\n{_end(lines)}")
            return any(f"{BAKED} {order.digest}" in line for line in lines)

        await self._wait_until(is_unpacked, UNPACK_SECONDS, NOT_UNPACKED)

    async def _act(self, server: str, action: dict[str, Any]) -> dict[str, Any]:
        return await self._api.call("compute", "POST", f"/servers/{server}/action", action)

    async def _image(self, server: str, order: BakeOrder, found: Found) -> BakedImage:
        properties = {
            **IS_BAKED,
            "repave_digest": order.digest,
            "repave_base_image": found.image,
            "repave_baked_by": order.by,
            "repave_bake_tag": self._bake_tag(),
        }
        body = {"createImage": {"name": order.name, "metadata": properties}}
        try:
            image = str((await self._act(server, body))["image_id"])
        except LostError:
            await self.tidy()
            raise
        self._under_way.add(image)
        try:
            return await self._wait_until_active(image, found)
        except BaseException:
            await asyncio.shield(self._delete_image(image))
            raise
        finally:
            self._under_way.discard(image)
            self._known.pop((order.digest, found.image), None)

    async def _wait_until_active(self, image: str, found: Found) -> BakedImage:
        made: list[dict[str, Any]] = []

        async def is_active() -> bool:
            known = await self._api.call("image", "GET", f"/images/{image}")
            if known["status"] in ("killed", "deleted", "pending_delete", "deactivated"):
                raise TransientError(f"the image became {known['status']}")
            made[:] = [known]
            return bool(known["status"] == "active")

        await self._wait_until(is_active, IMAGE_SECONDS, "the image is not active")
        return _baked(made[0], found)

    async def _delete_image(self, image: str) -> None:
        try:
            await self._api.call("image", "DELETE", f"/images/{image}")
        except ProviderError as error:
            log.warning("image.left", image=image, because=str(error))

    async def _delete_server(self, server: str) -> None:
        """One that can't be removed goes when the agent starts again."""
        try:
            await self._api.call("compute", "DELETE", f"/servers/{server}")
        except GoneError:
            return
        except ProviderError as error:
            log.warning("bake.server_left", server=server, because=str(error))
            return

        async def is_gone() -> bool:
            return all(each["id"] != server for each in await self._servers())

        await self._wait_until(is_gone, STOP_SECONDS, "the server is still there")

    async def _wait_until(self, is_so: Callable[[], Awaitable[bool]], seconds: float, otherwise: str) -> None:
        """A cloud that does not answer for a while is asked again. Raises TransientError."""
        deadline = self._clock.monotonic() + seconds
        while self._clock.monotonic() < deadline:
            try:
                if await is_so():
                    return
            except LostError as lost:
                log.info("bake.waits", because=str(lost))
            await self._clock.sleep(LOOK_SECONDS)
        raise TransientError(f"{otherwise} after {seconds:g} s")


def _baked(image: dict[str, Any], found: Found) -> BakedImage:
    return BakedImage(
        image=str(image["id"]),
        name=str(image["name"]),
        digest=Digest(image["repave_digest"]),
        base=str(image["repave_base_image"]),
        by=str(image.get("repave_baked_by", "")),
        made_at=datetime.fromisoformat(image["created_at"].replace("Z", "+00:00")).timestamp(),
        is_current=image["repave_base_image"] == found.image,
    )


def _end(lines: list[str]) -> str:
    return "\n".join(lines[-20:])
