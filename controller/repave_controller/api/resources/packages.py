"""Packages as they are pushed, listed and fetched."""

from aiohttp import web

from repave_controller.api.answers import models, views
from repave_controller.api.web.openapi import Route
from repave_controller.api.web.problems import Problem
from repave_controller.api.web.requests import parts_of
from repave_controller.api.web.responses import answer, items
from repave_controller.core.ports import Store
from repave_controller.fleet.packages import ImageDirectory
from repave_protos.protocol.values import Digest


class Packages:
    """One for an API."""

    def __init__(self, images: ImageDirectory, store: Store) -> None:
        self._images, self._store = images, store

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("POST", "images", self.push_image, models.ImageItem),
            Route("GET", "images", self.list_images, models.Items[models.ImageItem]),
            Route("GET", "images/{digest}", self.image, None),
            Route("HEAD", "images/{digest}", self.image, None),
        )

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
