"""What only a region's provider knows or does, asked of its agent: the machines of its pool, room for more
hosts, images baked of packages."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from repave_controller.api.answers.models import SignedRequest
from repave_controller.api.answers.regional_models import (
    BakedAnswer,
    BakedItem,
    BakeItem,
    BakeRequest,
    DoneAnswer,
    MachineItem,
    PoolAnswer,
)
from repave_controller.api.web.openapi import Route
from repave_controller.api.web.problems import Problem
from repave_controller.api.web.requests import body_of
from repave_controller.core.planning.plan import Preview, RegionPreview
from repave_controller.core.rules.guards import Guard
from repave_controller.fleet.packages import ImageDirectory
from repave_controller.fleet.sessions import AgentRefused, RegionUnreachable, Sessions
from repave_protos.protocol.values import Digest, RegionName

ROOM_SECONDS = 3.0
"""So long a plan waits for a region's word on its quotas."""
POOLED = "ssh_pool"
Told = TypeVar("Told")
VERBS = ("quarantine", "return", "release")


class Regional:
    """One for an API."""

    def __init__(self, sessions: Sessions, images: ImageDirectory) -> None:
        self._sessions, self._images = sessions, images

    def routes(self) -> tuple[Route, ...]:
        one = "regions/{region}/pool/{machine}"
        return (
            Route("GET", "pool", self.pool, PoolAnswer),
            *(
                Route(
                    "POST",
                    f"{one}/{verb}",
                    self._change(verb),
                    DoneAnswer,
                    SignedRequest,
                )
                for verb in VERBS
            ),
            Route("GET", "baked-images", self.images, BakedAnswer),
            Route("POST", "baked-images", self.bake, BakedAnswer, BakeRequest),
        )

    # ------------------------------------------------------------------------------------------------ pool

    async def pool(self, request: web.Request) -> web.Response:
        """Regions without a pool are left out, unless one is named."""
        only = request.query.get("region", "")
        views = self._sessions.views()
        regions = [name for name, view in views.items() if view.hello.provider == POOLED]
        asked = [RegionName(only)] if only else regions
        found, unreachable = await self._all(asked, _machines, "pool", "", "list")
        items = [item for items in found.values() for item in items]
        return _answer(PoolAnswer(items=items, asked=list(found), unreachable=unreachable))

    def _change(self, verb: str) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def change(request: web.Request) -> web.Response:
            asked = await body_of(request, SignedRequest)
            reason = ", ".join(filter(None, (asked.reason or "by hand", asked.by)))
            machine = request.match_info["machine"]
            text = await self._one(self._region(request), "pool", reason, verb, machine)
            return _answer(DoneAnswer(text=str(text)))

        return change

    # ------------------------------------------------------------------------------------------------ room

    async def room(self, foretold: Preview) -> tuple[Guard, ...]:
        """Regions where the hosts of the plan don't fit now; none is waited for long."""
        views = self._sessions.views()
        asked = [each for each in foretold.regions if each.extra and _is_here(views.get(each.name))]
        found = await asyncio.gather(*(self._lack(each) for each in asked))
        return tuple(guard for guard in found if guard is not None)

    async def _lack(self, region: RegionPreview) -> Guard | None:
        more = "1 more host" if region.extra == 1 else f"{region.extra} more hosts"
        try:
            why = await self._sessions.told(
                region.name, "room", str(region.extra), timeout_seconds=ROOM_SECONDS
            )
        except (RegionUnreachable, AgentRefused) as error:
            unknown = f"{region.name}: whether there is room for {more} is not known: {error}"
            return Guard("room", False, unknown)
        if not why:
            return None
        text = f"{region.name} needs {more} at its peak, and has no room: {why}"
        return Guard("room", True, text, "raise the quota, add machines, or end groups that are kept")

    # -------------------------------------------------------------------------------------------- images

    async def images(self, request: web.Request) -> web.Response:
        named = [RegionName(name) for name in request.query.get("region", "").split(",") if name]
        return _answer(await self._baked(named or list(self._sessions.views())))

    async def bake(self, request: web.Request) -> web.Response:
        asked = await body_of(request, BakeRequest)
        if self._images.path(Digest(asked.digest)) is None:
            raise Problem(422, "image", f"no package {asked.digest} is stored: repave image push stores one")
        if not asked.regions:
            raise Problem(422, "regions", "name the regions in which it shall be baked")
        regions = [self._known(RegionName(name)) for name in asked.regions]
        for region in regions:
            await self._one(region, "bake", asked.digest, asked.name, asked.by, *asked.check)
        return _answer(await self._baked(regions), status=202)

    async def _baked(self, regions: Iterable[RegionName]) -> BakedAnswer:
        found, unreachable = await self._all(regions, _images, "images")
        images = [image for images, _ in found.values() for image in images]
        bakes = [bake for _, bakes in found.values() for bake in bakes]
        return BakedAnswer(items=images, bakes=bakes, asked=list(found), unreachable=unreachable)

    # ------------------------------------------------------------------------------------------------ asking

    def _region(self, request: web.Request) -> RegionName:
        return self._known(RegionName(request.match_info["region"]))

    def _known(self, region: RegionName) -> RegionName:
        known = self._sessions.views()
        if region not in known:
            raise Problem(
                404, "region", f"no region {region}; there are: {', '.join(sorted(known)) or 'none'}"
            )
        return region

    async def _one(self, region: RegionName, *words: str) -> Any:
        try:
            return await self._sessions.told(region, *words)
        except AgentRefused as refused:
            raise Problem(409, "provider", f"{region}: {refused}") from refused
        except RegionUnreachable as error:
            raise Problem(503, "region", str(error)) from error

    async def _all(
        self, regions: Iterable[RegionName], read: Callable[[RegionName, Any], Told], *words: str
    ) -> tuple[dict[RegionName, Told], dict[str, str]]:
        """Answers by region, and why others gave none."""
        names = sorted(self._known(region) for region in regions)
        answers = await asyncio.gather(*(self._read(name, read, words) for name in names))
        found = {name: told for name, (told, _) in zip(names, answers, strict=True) if told is not None}
        return found, {str(name): why for name, (_, why) in zip(names, answers, strict=True) if why}

    async def _read(
        self, region: RegionName, read: Callable[[RegionName, Any], Told], words: Sequence[str]
    ) -> tuple[Told | None, str]:
        try:
            return read(region, await self._sessions.told(region, *words)), ""
        except (RegionUnreachable, AgentRefused) as error:
            return None, str(error)
        except (ValidationError, KeyError, TypeError, ValueError):
            return None, f"the agent of {region} answered what nobody understands: is it of another version?"


def _machines(region: RegionName, rows: Any) -> list[MachineItem]:
    return [
        MachineItem(region=region, name=row.pop("machine"), since=row.pop("since") or None, **row)
        for row in map(dict, rows)
    ]


def _images(region: RegionName, told: Any) -> tuple[list[BakedItem], list[BakeItem]]:
    images = [BakedItem(region=region, **image) for image in told["images"]]
    return images, [BakeItem(region=region, **bake) for bake in told["bakes"]]


def _is_here(view: Any) -> bool:
    return view is not None and bool(view.is_connected)


def _answer(model: BaseModel, status: int = 200) -> web.Response:
    return web.Response(text=model.model_dump_json(), status=status, content_type="application/json")
