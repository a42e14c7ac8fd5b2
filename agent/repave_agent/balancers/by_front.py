"""Several fronts of an application on a balancer that has one port for each: every front has a pool of its
own there, and all of them move together.

Nothing is remembered that the balancer does not tell. A route counts as given once all fronts have it: a move
that failed at one of them shows as not made, and is made again, which costs the others nothing. A group has
as many hosts as the front that has the fewest. What clients see of a front is the balancer's operator's.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import Protocol

from repave_agent.balancers.apart import (
    apart,
    backends_apart,
    frontends_apart,
    is_main,
    owner_of,
    owner_of_group,
    routes_apart,
    routes_together,
    together,
)
from repave_agent.balancers.checks import check_structure, frontend_fault
from repave_agent.balancers.haproxy.traffic import added_up
from repave_agent.core.ports import (
    BackendView,
    Balancer,
    BalancerView,
    Closed,
    FallenBack,
    Frontend,
    Route,
    Structure,
    UnfitError,
    WayIn,
)
from repave_protos.protocol.values import ApplicationName, GroupName


class OneFront(Balancer, Protocol):
    """A balancer on which an application has one port."""

    takes: Collection[str]
    """What that front may need of it, by the words of fronts.py."""

    async def troubles(self) -> list[str]: ...

    async def end(self) -> None: ...


class BalancerByFront:
    """Implements ports.Balancer over one with one front for each application."""

    def __init__(self, inner: OneFront) -> None:
        self.inner, self.name = inner, inner.name
        self._asked: tuple[Structure, ...] = ()  # the last first, and the last that was had
        self._there: Structure | None = None  # of `inner`, and its routes, as far as they are known
        self._given: tuple[Route, ...] = ()
        self._turn = asyncio.Lock()  # a look that began before a change says nothing of what is there now

    @property
    def traffic_address(self) -> str:
        return self.inner.traffic_address

    async def start(self) -> None:
        await self.inner.start()

    async def troubles(self) -> list[str]:
        return await self.inner.troubles()

    def on_change(self, callback: Callable[[], None]) -> None:
        self.inner.on_change(callback)

    async def close(self) -> None:
        await self.inner.close()

    async def end(self) -> None:
        await self.inner.end()

    # ------------------------------------------------------------------------------------------ changing

    async def arrange(self, structure: Structure) -> None:
        """A front that goes loses its route first; one that comes is given its application's after it."""
        check_structure(structure, self.inner.takes)
        async with self._turn:
            await self._arrange(structure)

    async def _arrange(self, structure: Structure) -> None:
        wanted, (_, given) = apart(structure), await self._known()
        self._asked = (structure, *self._asked[-1:])
        kept = tuple(route for route in given if is_main(route.application) or _has(wanted, route))
        if kept != given:
            await self._route(kept)
        self._there = None
        try:
            await self.inner.arrange(wanted)
        except UnfitError as error:
            raise _of_applications(error) from error
        self._asked, self._there, self._given = (structure,), wanted, kept
        routed = {route.application for route in kept}
        mains = [route for route in kept if is_main(route.application)]
        new = [each for each in routes_apart(mains, wanted) if each.application not in routed]
        if new:
            await self._route((*kept, *new))

    async def route(self, routes: tuple[Route, ...]) -> None:
        async with self._turn:
            there, _ = await self._known()
            await self._route(routes_apart(routes, there))

    async def _route(self, routes: tuple[Route, ...]) -> None:
        there, self._there = self._there, None  # what came of it is not known until it is done
        await self.inner.route(routes)
        self._there, self._given = there, routes

    async def _known(self) -> tuple[Structure, tuple[Route, ...]]:
        if self._there is None:
            await self._look()
        assert self._there is not None
        return self._there, self._given

    async def _look(self) -> BalancerView:
        view = await self.inner.observe()
        self._there, self._given = view.structure, view.routes
        return view

    # ------------------------------------------------------------------------------------------- looking

    async def way_in(self, frontend: Frontend) -> WayIn:
        known = self._asked[0].frontends if self._asked else ()
        fault = frontend_fault(frontend, known, self.inner.takes)
        if fault:
            return WayIn(fault)
        found = [await self.inner.way_in(part) for part in frontends_apart(frontend)]
        return WayIn(next((each.lack for each in found if each.lack), ""), found[0].fronts)

    async def observe(self) -> BalancerView:
        async with self._turn:
            view = await self._look()
        structure = together(view.structure, self._asked)
        return replace(
            view,
            structure=structure,
            routes=routes_together(view.routes, view.structure),
            backends=tuple(self._group(each, view) for each in view.backends if is_main(each.group)),
            fallen_back=_fallen_back(view.fallen_back),
            closed=_closed(view.closed),
        )

    def _group(self, main: BackendView, view: BalancerView) -> BackendView:
        """Of all fronts that the group has or shall have."""
        wanted = (each.backend(main.group) for each in self._asked[:1])
        names = {part.group for backend in wanted if backend is not None for part in backends_apart(backend)}
        names |= {each.group for each in view.backends if owner_of_group(each.group)[0] == main.group} | {
            main.group
        }
        if len(names) == 1:
            return main
        parts = [view.backend(name) for name in sorted(names)]
        there = [part for part in parts if part is not None]
        counted = [part.counted for part in there if part.counted is not None]
        return replace(
            main,
            servers_up=min(part.servers_up if part is not None else 0 for part in parts),
            in_flight=sum(part.in_flight for part in there),
            is_exact=all(part.is_exact for part in there),
            counted=added_up(counted) if counted else None,
        )


def _has(structure: Structure, route: Route) -> bool:
    """Whether it can be given there."""
    has_all = all(structure.backend(group) is not None for group in route.groups)
    return has_all and structure.frontend(route.application) is not None


def _of_applications(error: UnfitError) -> UnfitError:
    """What is wrong with any front is wrong with its application."""
    frontends: dict[ApplicationName, str] = {}
    for name, why in error.frontends.items():
        application, front = owner_of(name)
        frontends.setdefault(application, f"front {front}: {why}" if front else why)
    backends: dict[GroupName, str] = {}
    for group, why in error.backends.items():
        whole, front = owner_of_group(group)
        backends.setdefault(whole, f"front {front}: {why}" if front else why)
    return UnfitError(frontends, backends)


def _fallen_back(told: Iterable[FallenBack]) -> tuple[FallenBack, ...]:
    requests: defaultdict[FallenBack, int] = defaultdict(int)
    for each in told:
        which = replace(
            each,
            application=owner_of(each.application)[0],
            group=owner_of_group(each.group)[0],
            spare=owner_of_group(each.spare)[0],
            requests=0,
        )
        requests[which] += each.requests
    return tuple(replace(which, requests=count) for which, count in requests.items())


def _closed(told: Iterable[Closed]) -> tuple[Closed, ...]:
    connections: defaultdict[GroupName, int] = defaultdict(int)
    for each in told:
        connections[owner_of_group(each.group)[0]] += each.connections
    return tuple(Closed(group, count) for group, count in connections.items())
