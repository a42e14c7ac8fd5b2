"""Packages as they are pushed, listed and fetched."""

import asyncio

from aiohttp import web

from repave_controller.api.answers import models, views
from repave_controller.api.web.openapi import Route
from repave_controller.api.web.problems import Problem
from repave_controller.api.web.requests import parts_of
from repave_controller.api.web.responses import answer, items
from repave_controller.core.domain.application import ReleaseOrder
from repave_controller.core.ports import Store
from repave_controller.fleet.packages import ImageDirectory
from repave_controller.fleet.sessions import Sessions
from repave_controller.runtime.scheduler import unknown_image
from repave_controller.security.provenance import Provenance
from repave_controller.security.signed import check_regions, sealed
from repave_protos.package.signatures import PublicKey
from repave_protos.package.signing import Signing
from repave_protos.protocol.values import ApplicationName, Digest, RegionName


class Packages:
    """One for an API."""

    def __init__(self, images: ImageDirectory, store: Store, sessions: Sessions, signing: Signing) -> None:
        self._images, self._store, self._sessions, self._signing = images, store, sessions, signing
        self._provenance = Provenance(store)

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("POST", "images", self.push_image, models.ImageItem),
            Route("GET", "images", self.list_images, models.Items[models.ImageItem]),
            Route("GET", "images/{digest}", self.image, None),
            Route("HEAD", "images/{digest}", self.image, None),
        )

    async def sealed(
        self, order: ReleaseOrder, application: ApplicationName, signature: str, *, is_stored: bool = False
    ) -> tuple[ReleaseOrder, PublicKey | None]:
        """The order with the signature of its package, and the key that made it, where settings ask for one.
        Unless it has to be stored, only what is there is looked at. Raises Refused."""
        package = self._images.path(order.digest)
        if package is None and is_stored and self._signing.keys_for(application):
            raise unknown_image(order.digest)
        signature = signature or (await self._provenance.of(order.digest)).signature
        order, key = await asyncio.to_thread(sealed, order, application, signature, package, self._signing)
        check_regions(application, order, self._capabilities())
        if key is not None and package is not None:
            await self._provenance.keep_signature(order.digest, signature)
        return order, key

    def _capabilities(self) -> dict[RegionName, tuple[str, ...]]:
        return {name: each.hello.capabilities for name, each in self._sessions.views().items()}

    async def push_image(self, request: web.Request) -> web.Response:
        name = request.headers.get("X-Repave-Name", "")
        expected = request.headers.get("X-Repave-Digest", "")
        image = await self._images.receive(parts_of(request), name, Digest(expected) if expected else None)
        await self._store.add_image(image)
        return answer(views.image_item(image), status=201)

    async def list_images(self, _: web.Request) -> web.Response:
        return items(views.image_item(image) for image in await self._store.images())

    async def image(self, request: web.Request) -> web.StreamResponse:
        digest = Digest(request.match_info["digest"])
        path = self._images.path(digest)
        if path is None:
            raise Problem(404, "unknown-image", f"no package {digest} is stored here")
        return web.FileResponse(path, headers={"Content-Type": "application/gzip"})
