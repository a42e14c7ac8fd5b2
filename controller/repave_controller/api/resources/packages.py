"""Packages as they are pushed, listed and fetched."""

import asyncio

from aiohttp import web

from repave_controller.api.answers import models, views
from repave_controller.api.answers.queries import PageQuery
from repave_controller.api.web.callers import principal_of
from repave_controller.api.web.openapi import GZIP, Route
from repave_controller.api.web.paging import items, page
from repave_controller.api.web.problems import Problem
from repave_controller.api.web.requests import body_of, parts_of, query_of
from repave_controller.api.web.responses import answer
from repave_controller.core.domain.application import ReleaseOrder
from repave_controller.core.ports import Store
from repave_controller.fleet.packages import ImageDirectory
from repave_controller.fleet.sessions import Sessions
from repave_controller.operations.artifacts import Artifacts, Fetch, Wanted
from repave_controller.operations.reach import Reach
from repave_controller.runtime.scheduler import unknown_image
from repave_controller.security.principals import Kind, Permission
from repave_controller.security.provenance import Provenance
from repave_controller.security.signed import check_regions, sealed
from repave_controller.spec.loader import load
from repave_controller.spec.spec import remote_artifact
from repave_protos.package.signing import Signer, Signing
from repave_protos.protocol.capabilities import DIRECTLY
from repave_protos.protocol.values import ApplicationName, Digest, RegionName

PROGRESS_SECONDS = 2.0
_ONE = "applications/{application}"


def not_of_region(region: str, digest: Digest) -> Problem:
    """Of a package that an agent asks for, whether it is stored or not."""
    return Problem(403, "package-of-another-region", f"nothing in {region} is to be made of package {digest}")


def led_to(where: str) -> web.Response:
    """An agent that can be led goes to the store itself."""
    return web.Response(status=307, headers={"Location": where, "Cache-Control": "no-store"})


FETCH_REFUSES = ("404 unknown-image", "package-of-another-region", "image-storage")
ARTIFACT_REFUSES = (
    "spec",
    "artifact-bucket",
    "artifact-changed",
    "artifact-credential",
    "artifact-denied",
    "artifact-not-found",
    "artifact-private",
    "artifact-redirect",
    "artifact-tls",
    "artifact-too-large",
    "artifact-too-slow",
    "artifact-unreachable",
    "signature",
    "too-many-fetches",
    "image",
    "image-storage",
)


class Packages:
    """One for an API."""

    def __init__(
        self,
        images: ImageDirectory,
        store: Store,
        sessions: Sessions,
        signing: Signing = Signing(),  # noqa: B008  # frozen
        provenance: Provenance | None = None,
        artifacts: Artifacts | None = None,
        reach: Reach | None = None,
    ) -> None:
        self._images, self._store, self._sessions, self._signing = images, store, sessions, signing
        self._provenance = provenance if provenance is not None else Provenance(store)
        self._artifacts = artifacts
        self._reach = reach if reach is not None else Reach(dict, self._provenance)

    def let_bake(self, region: RegionName, digest: Digest) -> None:
        self._reach.let_bake(region, digest)

    async def check_reach(self, request: web.Request, application: ApplicationName, digest: Digest) -> None:
        """The application may be made of it. Raises Refused, as if the package were not stored."""
        if not await self._reach.may_release(principal_of(request), application, digest):
            raise unknown_image(digest)

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                "POST",
                "images",
                self.push_image,
                models.ImageItem,
                status=201,
                refuses=("image", "image-storage"),
            ),
            Route("GET", "images", self.list_images, models.Items[models.ImageItem], query=PageQuery),
            Route("GET", "images/{digest}", self.image, None, also=(307,), media=GZIP, refuses=FETCH_REFUSES),
            Route(
                "HEAD", "images/{digest}", self.image, None, also=(307,), media=GZIP, refuses=FETCH_REFUSES
            ),
            Route(
                "POST",
                f"{_ONE}/artifacts",
                self.fetch,
                models.ArtifactAnswer,
                models.ArtifactRequest,
                also=(202,),
                refuses=ARTIFACT_REFUSES,
            ),
            Route(
                "GET",
                f"{_ONE}/artifacts/{{artifact}}",
                self.fetched,
                models.ArtifactAnswer,
                also=(202,),
                refuses=("unknown-artifact", *ARTIFACT_REFUSES),
            ),
        )

    async def sealed(
        self, order: ReleaseOrder, application: ApplicationName, signature: str, *, is_stored: bool = False
    ) -> tuple[ReleaseOrder, Signer | None]:
        """The order with the signature of its package, and who made it, where settings ask for one.
        Unless it has to be stored, only what is there is looked at. Raises Refused."""
        package = await self._images.bring(order.digest, is_certain=is_stored)
        if package is None and is_stored and self._signing.keys_for(application):
            raise unknown_image(order.digest)
        known = await self._provenance.of(order.digest)
        signatures = (signature,) if signature else tuple(filter(None, (known.signature, known.offered)))
        order, key = await asyncio.to_thread(sealed, order, application, signatures, package, self._signing)
        check_regions(application, order, self._capabilities())
        if key is not None and package is not None:
            await self._provenance.keep_signature(order.digest, order.template.signature)
        return order, key

    def _capabilities(self) -> dict[RegionName, tuple[str, ...]]:
        return {name: each.hello.capabilities for name, each in self._sessions.views().items()}

    async def fetch(self, request: web.Request) -> web.Response:
        """Fetch the package that the spec names, or join a fetch under way; 202: ask on for the id."""
        asked = await body_of(request, models.ArtifactRequest)
        spec, _ = await asyncio.to_thread(load, asked.spec, asked.filename)
        application = spec.application
        if application != request.match_info["application"]:
            text = f"the spec is of {application}, the address of {request.match_info['application']}"
            raise Problem(422, "spec", text)
        place = remote_artifact(spec, asked.version, asked.digest)
        assert self._artifacts is not None
        wanted = Wanted(
            application,
            asked.version,
            place.uri,
            place.digest,
            place.signature,
            is_signed=bool(self._signing.keys_for(application)),
        )
        return await self._progress(self._artifacts.begin(wanted, principal_of(request).name))

    async def fetched(self, request: web.Request) -> web.Response:
        """How far a fetch is; waits a moment for it to be stored."""
        assert self._artifacts is not None
        found = self._artifacts.find(request.match_info["application"], request.match_info["artifact"])
        if found is None:
            raise Problem(404, "unknown-artifact", "nothing of that id is being fetched; ask for it again")
        return await self._progress(found)

    async def _progress(self, fetch: Fetch) -> web.Response:
        await asyncio.wait({fetch.task}, timeout=PROGRESS_SECONDS)
        brought = fetch.task.result() if fetch.task.done() else None
        return answer(
            models.ArtifactAnswer(
                id=fetch.wanted.id,
                uri=fetch.wanted.uri,
                is_stored=brought is not None,
                is_new=brought is not None and brought.is_new,
                received_bytes=fetch.told.received_bytes,
                total_bytes=fetch.told.total_bytes,
                digest=brought.digest if brought is not None else "",
                has_signature=brought is not None and brought.has_signature,
            ),
            status=200 if brought is not None else 202,
        )

    async def close(self, _: web.Application) -> None:
        """Ends what is being fetched."""
        if self._artifacts is not None:
            await self._artifacts.close()

    async def push_image(self, request: web.Request) -> web.Response:
        """Store a package: a `.tar.gz`, named by its SHA-256. Sending it again changes nothing."""
        name = request.headers.get("X-Repave-Name", "")
        expected = request.headers.get("X-Repave-Digest", "")
        image = await self._images.receive(parts_of(request), name, Digest(expected) if expected else None)
        await self._store.add_image(image)
        if principal_of(request).kind is Kind.TOKEN:
            await self._provenance.add_holder(image.digest, principal_of(request).name)
        return answer(views.image_item(image), status=201)

    async def list_images(self, request: web.Request) -> web.Response:
        """The packages that are stored, oldest first."""
        principal = principal_of(request)
        stored = await self._store.images()
        seen = [each for each in stored if await self._reach.may(principal, Permission.READ, each.digest)]
        shown, following = page(
            seen, query_of(request, PageQuery), lambda each: (each.pushed_at, each.digest)
        )
        return items(request, map(views.image_item, shown), following)

    async def image(self, request: web.Request) -> web.StreamResponse:
        """The package itself."""
        digest, principal = Digest(request.match_info["digest"]), principal_of(request)
        is_allowed = await self._reach.may(principal, Permission.FETCH, digest)
        if not is_allowed and principal.kind is Kind.AGENT:
            raise not_of_region(principal.region, digest)
        where = await self._direct(digest) if is_allowed and DIRECTLY in request.headers else ""
        if where:
            return led_to(where)
        path = await self._images.bring(digest) if is_allowed else None
        if path is None:
            raise Problem(404, "unknown-image", f"no package {digest} is stored here")
        return web.FileResponse(path, headers={"Content-Type": "application/gzip"})

    async def _direct(self, digest: Digest) -> str:
        return await self._artifacts.direct(digest) if self._artifacts is not None else ""
