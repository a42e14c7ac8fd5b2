"""Orphaned hosts, asked of the regions for `repave orphans` and for doctor."""

import asyncio
from collections.abc import Iterable

from aiohttp import web

from repave_controller.api.answers import models, views
from repave_controller.api.answers.queries import RegionQuery
from repave_controller.api.resources.names import Names
from repave_controller.api.web.openapi import Route
from repave_controller.api.web.requests import query_of
from repave_controller.api.web.responses import answer
from repave_controller.fleet.questions import RegionUnreachable
from repave_controller.fleet.sessions import Sessions
from repave_protos.protocol.values import RegionName

OLD_SECONDS = 60.0
"""An orphan is ended sooner than this, unless something keeps it."""


class Orphans:
    """One for an API."""

    def __init__(self, sessions: Sessions, names: Names) -> None:
        self._sessions, self._names = sessions, names

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                "GET",
                "orphans",
                self.listed,
                models.OrphansAnswer,
                query=RegionQuery,
                refuses=("422 unknown-region",),
            ),
        )

    async def listed(self, request: web.Request) -> web.Response:
        """Hosts that no desired state names, and what becomes of them; asked of the regions."""
        only = query_of(request, RegionQuery).region
        self._names.check_region(only)
        asked = [RegionName(only)] if only else self._sessions.views()
        return answer(await orphans_of(self._sessions, asked))


async def orphans_of(sessions: Sessions, regions: Iterable[RegionName]) -> models.OrphansAnswer:
    """All regions are asked at once; one that does not answer is named with the reason."""
    asked = sorted(regions)
    answers = await asyncio.gather(*(_orphans_in(sessions, region) for region in asked))
    found = dict(zip(asked, answers, strict=True))
    return models.OrphansAnswer(
        items=[item for each in answers if isinstance(each, list) for item in each],
        asked=[region for region, each in found.items() if isinstance(each, list)],
        unreachable={region: each for region, each in found.items() if isinstance(each, str)},
    )


async def _orphans_in(sessions: Sessions, region: RegionName) -> list[models.OrphanItem] | str:
    try:
        return [views.orphan_item(host, region) for host in await sessions.orphans(region)]
    except RegionUnreachable as error:
        return str(error)


def orphans_check(found: models.OrphansAnswer) -> models.CheckItem:
    """Whether hosts have been orphans for longer than it takes to end them."""
    old = [item for item in found.items if item.unclaimed_seconds > OLD_SECONDS]
    if not old:
        text = f"none older than {OLD_SECONDS:.0f} s"
        return models.CheckItem(name="orphans", state="ok", text=text, remedy="")
    places = ", ".join(sorted({item.region for item in old}))
    hosts = "1 orphaned host is" if len(old) == 1 else f"{len(old)} orphaned hosts are"
    return models.CheckItem(
        name="orphans",
        state="warn",
        text=f"{hosts} still there after {OLD_SECONDS:.0f} s, in {places}",
        remedy="repave orphans says what keeps them",
    )
