"""What only a region's provider knows or does, asked of its agent: the machines of its pool, room for more
hosts, images baked of packages."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any

from aiohttp import web

from repave_controller.api.answers.models import SignedRequest
from repave_controller.api.answers.queries import BakedQuery, RegionQuery, RoomQuery
from repave_controller.api.answers.regional_models import (
    BakedAnswer,
    BakedItem,
    BakeItem,
    BakeRequest,
    DoneAnswer,
    MachineItem,
    PoolAnswer,
    RoomAnswer,
)
from repave_controller.api.resources.packages import Packages
from repave_controller.api.web.openapi import Repeats, Route
from repave_controller.api.web.problems import Problem
from repave_controller.api.web.requests import body_of, query_of
from repave_controller.api.web.responses import answer
from repave_controller.core.domain.application import Application, ReleaseOrder
from repave_controller.core.domain.reasons import Reason, Refusal, Refused, Rule, reason_of
from repave_controller.core.planning.plan import Plan
from repave_controller.core.rollout.room import kept_in, ways_to_room
from repave_controller.core.rules.guards import Guard
from repave_controller.fleet.packages import ImageDirectory
from repave_controller.fleet.questions import AgentRefused, AnswerContent, RegionUnreachable
from repave_controller.fleet.sessions import Sessions
from repave_protos.protocol.capabilities import knows_ways_in
from repave_protos.protocol.queries import (
    BakeOrder,
    Bakes,
    ChangeMachine,
    Done,
    FindRoom,
    FindWayIn,
    ListBakes,
    ListMachines,
    Machine,
    Machines,
    PoolVerb,
    Question,
    Room,
    WayIn,
)
from repave_protos.protocol.values import ApplicationName, Digest, HostTemplate, RegionName

ROOM_SECONDS = 3.0
"""So long a plan waits for a region's word on its quotas."""
WAY_IN_SECONDS = 3.0
"""So long a plan or a release waits for a region's word on where clients come in."""
POOLED = "ssh_pool"
VERBS: tuple[PoolVerb, ...] = ("quarantine", "return", "release")
SAID: dict[PoolVerb, str] = {
    "quarantine": "Give no more hosts to a machine of a pool.",
    "return": "Take a machine of a pool back into use.",
    "release": "Forget the host that a machine of a pool is said to have, once a person has looked.",
}
POOL_REFUSES = ("provider", "region")


class Regional:
    """One for an API."""

    def __init__(self, sessions: Sessions, images: ImageDirectory, packages: Packages) -> None:
        self._sessions, self._images, self._packages = sessions, images, packages

    def routes(self) -> tuple[Route, ...]:
        one = "regions/{region}/pool/{machine}"
        return (
            Route(
                "GET",
                "pool",
                self.pool,
                PoolAnswer,
                query=RegionQuery,
                refuses=("provider", "region"),
            ),
            Route(
                "GET",
                "regions/{region}/room",
                self.room_for,
                RoomAnswer,
                query=RoomQuery,
                refuses=("provider", "region"),
            ),
            *(
                Route(
                    "POST",
                    f"{one}/{verb}",
                    self._change(verb),
                    DoneAnswer,
                    SignedRequest,
                    summary=SAID[verb],
                    refuses=POOL_REFUSES,
                )
                for verb in VERBS
            ),
            Route(
                "POST",
                "regions/{region}/pool/return",
                self._change("return"),
                DoneAnswer,
                SignedRequest,
                summary="Take all machines of a pool that are in quarantine back into use.",
                refuses=POOL_REFUSES,
            ),
            Route(
                "GET",
                "baked-images",
                self.images,
                BakedAnswer,
                query=BakedQuery,
                refuses=("provider", "region"),
            ),
            Route(
                "POST",
                "baked-images",
                self.bake,
                BakedAnswer,
                BakeRequest,
                status=202,
                repeats=Repeats.ONCE,
                refuses=("image", "provider", "region", "regions"),
            ),
        )

    # ------------------------------------------------------------------------------------------------ pool

    async def pool(self, request: web.Request) -> web.Response:
        """The machines of pools, asked of their regions; those without a pool are left out, unless named."""
        only = query_of(request, RegionQuery).region
        views = self._sessions.views()
        regions = [name for name, view in views.items() if view.hello.provider == POOLED]
        asked = [RegionName(only)] if only else regions
        found, unreachable = await self._all(asked, ListMachines(), Machines)
        items = [_machine(region, each) for region, answer in found.items() for each in answer.machines]
        return answer(PoolAnswer(items=items, asked=list(found), unreachable=unreachable))

    def _change(self, verb: PoolVerb) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def change(request: web.Request) -> web.Response:
            asked = await body_of(request, SignedRequest)
            reason = ", ".join(filter(None, (asked.reason or "by hand", asked.by)))
            machine = request.match_info.get("machine", "")  # "": all of them
            done = await self._one(self._region(request), ChangeMachine(verb, machine, reason), Done)
            return answer(DoneAnswer(text=done.text))

        return change

    # ------------------------------------------------------------------------------------------------ room

    async def room_for(self, request: web.Request) -> web.Response:
        """Whether so many more hosts could be had there now, as its provider says."""
        hosts, region = query_of(request, RoomQuery).hosts, self._region(request)
        room = await self._one(region, FindRoom(hosts), Room)
        return answer(RoomAnswer(region=region, hosts=hosts, lack=room.lack))

    async def room(self, foretold: Plan, application: Application, order: ReleaseOrder) -> tuple[Guard, ...]:
        """Regions where the hosts of the plan don't fit now; none is waited for long."""
        return tuple(
            _given_way(application, order, each) if each.refuses else each
            for each in await self._rooms({each.name: each.extra for each in foretold.regions}, order)
        )

    async def lacks(self, extra: Mapping[RegionName, int], order: ReleaseOrder) -> dict[RegionName, Reason]:
        """The regions that say that so many more hosts of the order don't fit now, or can't be made there at
        all."""
        found = await self._rooms(extra, order)
        return {_region_of(each): each.reason for each in found if each.refuses}

    async def _rooms(self, extra: Mapping[RegionName, int], order: ReleaseOrder) -> list[Guard]:
        views = self._sessions.views()
        questions: dict[RegionName, Question] = {}
        for region, hosts in extra.items():
            template = order.template_in(region)
            if _is_here(views.get(region)) and (hosts or _is_choosy(template)):
                questions[region] = FindRoom(
                    hosts, template.machine_sizes, template.machine_image, template.is_spot
                )
        rooms = await self._sessions.ask_all(questions, Room, ROOM_SECONDS)
        found = (_lack(region, extra[region], room) for region, room in rooms.items())
        return [guard for guard in found if guard is not None]

    # ----------------------------------------------------------------------------------------- ways in

    async def check_ways_in(self, application: ApplicationName, order: ReleaseOrder) -> None:
        """Clients can come in at the order's port, as far as its regions say. Raises Refused with what the
        first one lacks."""
        if order.template.is_worker:
            return
        views = self._sessions.views()
        question = FindWayIn(application, order.frontend_port, order.split, order.template.fronts)
        asked = [name for name, _ in order.sizes if _can_say_ways_in(views.get(name))]
        found = await self._sessions.ask_all(dict.fromkeys(asked, question), WayIn, WAY_IN_SECONDS)
        # One that can't say is believed.
        lacking = {name: each for name, each in found.items() if isinstance(each, WayIn) and each.lack}
        if not lacking:
            return
        first = next(iter(lacking.values()))
        raise Refused(
            Refusal.NO_WAY_IN,
            regions=tuple(lacking),
            lack=first.lack,
            port=order.frontend_port,
            fronts=tuple(f"{each.application}:{each.port or '?'}" for each in first.fronts),
        )

    # -------------------------------------------------------------------------------------------- images

    async def images(self, request: web.Request) -> web.Response:
        """The machine images that were baked of packages, asked of their regions."""
        named = [RegionName(name) for name in query_of(request, BakedQuery).region.split(",") if name]
        return answer(await self._baked(named or list(self._sessions.views())))

    async def bake(self, request: web.Request) -> web.Response:
        """Bake a machine image of a package, in some regions or all."""
        asked = await body_of(request, BakeRequest)
        if await self._images.bring(Digest(asked.digest)) is None:
            raise Problem(422, "image", f"no package {asked.digest} is stored: repave image push stores one")
        if not asked.regions:
            raise Problem(422, "regions", "name the regions in which it shall be baked")
        regions = [self._known(RegionName(name)) for name in asked.regions]
        order = BakeOrder(Digest(asked.digest), asked.name, tuple(asked.check), asked.by)
        for region in regions:
            self._packages.let_bake(region, order.digest)
            await self._one(region, order, Bakes)
        return answer(await self._baked(regions), status=202)

    async def _baked(self, regions: Iterable[RegionName]) -> BakedAnswer:
        found, unreachable = await self._all(regions, ListBakes(), Bakes)
        images, bakes = list[BakedItem](), list[BakeItem]()
        for region, each in found.items():
            images += [BakedItem(region=region, **asdict(image)) for image in each.images]
            bakes += [BakeItem(region=region, **asdict(bake)) for bake in each.bakes]
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

    async def _one(self, region: RegionName, question: Question, kind: type[AnswerContent]) -> AnswerContent:
        try:
            return await self._sessions.ask(region, question, kind)
        except AgentRefused as refused:
            raise Problem(409, "provider", f"{region}: {refused}") from refused
        except RegionUnreachable as error:
            raise Problem(503, "region", str(error)) from error

    async def _all(
        self, regions: Iterable[RegionName], question: Question, kind: type[AnswerContent]
    ) -> tuple[dict[RegionName, AnswerContent], dict[str, str]]:
        """Answers by region, and why others gave none."""
        answers = await self._sessions.ask_all(dict.fromkeys(map(self._known, regions), question), kind)
        found: dict[RegionName, AnswerContent] = {}
        unreachable: dict[str, str] = {}
        for region, said in sorted(answers.items()):
            if isinstance(said, RegionUnreachable):
                unreachable[region] = str(said)
            else:
                found[region] = said
        return found, unreachable


def _lack(region: RegionName, hosts: int, room: Room | RegionUnreachable) -> Guard | None:
    if isinstance(room, RegionUnreachable):
        return Guard(False, reason_of(Rule.ROOM_UNKNOWN, hosts=hosts, region=region, error=str(room)))
    if room.misfit:
        return Guard(True, reason_of(Rule.MISFIT, region=region, why=room.misfit))
    return Guard(True, reason_of(Rule.ROOM, region=region, hosts=hosts, why=room.lack)) if room.lack else None


def _region_of(guard: Guard) -> RegionName:
    return RegionName(str(dict(guard.reason.facts)["region"]))


def _given_way(application: Application, order: ReleaseOrder, guard: Guard) -> Guard:
    """The same with the commands that would help; none refuses where kept groups give way."""
    if guard.reason.kind is not Rule.ROOM:
        return guard
    region = _region_of(guard)
    kept = tuple(group.name for group in kept_in(application, region))
    if order.policy.gives_way and kept:
        return Guard(False, reason_of(Rule.ROOM_GIVEN, region=region, groups=kept))
    return replace(guard, reason=replace(guard.reason, remedies=ways_to_room(application, [region])))


def _machine(region: RegionName, machine: Machine) -> MachineItem:
    return MachineItem(region=region, **{**asdict(machine), "since": machine.since or None})


def _is_here(view: Any) -> bool:
    return view is not None and bool(view.is_connected)


def _is_choosy(template: HostTemplate) -> bool:
    """Whether its machines may be ones that the region does not have."""
    return bool(template.machine_sizes or template.machine_image)


def _can_say_ways_in(view: Any) -> bool:
    return _is_here(view) and knows_ways_in(view.hello.capabilities)
