"""A balancer that is a cloud's load balancer, there already, on which the agent makes what it needs.

What was wanted last is on disk before anything is done. Then, one change at a time: look at what is there,
choose the call that comes next, make it, look again. So it does not matter where the last attempt ended,
whose answer was lost, or who else changed something. What a look sees, which call comes next and how it is
made are the cloud's (load_balancer.py).
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic

import structlog

from repave_agent.balancers.checks import check_routes, check_structure, frontend_fault
from repave_agent.balancers.cloud.fallback import fallen
from repave_agent.balancers.cloud.load_balancer import LoadBalancer, OneCall, StaleError, State
from repave_agent.balancers.cloud.wanted import Wanted, read_wanted, write_wanted
from repave_agent.clients.faults import GoneError, LostError
from repave_agent.core.ports import (
    BackendView,
    BalancerAwaitedError,
    BalancerError,
    BalancerView,
    Clock,
    FallenBack,
    Frontend,
    OutOfCapacityError,
    ProviderError,
    RefusedError,
    Route,
    Structure,
    TransientError,
    UnfitError,
    WayIn,
)
from repave_protos.protocol.values import ApplicationName, GroupName

log = structlog.get_logger()

LOOK_SECONDS = 0.2
VIEW_SECONDS = 2.0
"""A view is that old at most; between, health and state cost no call."""
WHOLE_SECONDS = 30.0
"""After so long all is read again although nothing seems to have changed."""
REPEATS_MAX = 5
"""A call that is needed so often again does not do what it should."""


@dataclass(frozen=True, slots=True)
class Reading(Generic[State]):
    """All of the load balancer at one time."""

    state: State
    read_at: float


class CloudBalancer(Generic[State, OneCall]):
    """Implements ports.Balancer. `directory` is this balancer's alone."""

    def __init__(
        self,
        directory: Path,
        there: LoadBalancer[State, OneCall],
        region: str,
        *,
        clock: Clock,
        traffic_address: str = "",
        has_lease: Callable[[], bool] = lambda: False,
        takes: Collection[str] = (),
    ) -> None:
        """`traffic_address`: where clients connect, if it is not the load balancer's own. `has_lease`: what
        another agent of the region has left here may be taken over. `takes`: what a front may need."""
        self.name, self.traffic_address, self.takes = there.kind, traffic_address, takes
        self._there, self._region = there, region
        self._clock, self._has_lease = clock, has_lease
        self._file = directory / f"{there.kind}.json"
        self._queue = asyncio.Lock()
        self._restarts = 0
        self._reading: Reading[State] | None = None
        self._finish_at: float | None = None  # from when on what no request waits for is to be done
        self._view: tuple[float, BalancerView] | None = None
        self._fallen: Counter[FallenBack] = Counter()
        directory.mkdir(parents=True, exist_ok=True)
        self._wanted = read_wanted(self._file) or Wanted(f"{region}-{secrets.token_hex(6)}")

    # ------------------------------------------------------------------------------------------ the port

    async def start(self) -> None:
        async with self._queue:
            try:
                await self._find()
                if await self._take_over() or not self._wanted.is_known:
                    await self._adopt()
                await self._apply()
            except TransientError as error:
                raise BalancerAwaitedError(str(error)) from error
            except ProviderError as error:
                raise BalancerError(str(error)) from error

    async def troubles(self) -> list[str]:
        """Whether the cloud answers, and whether the load balancer is in order there."""
        try:
            return await self._there.troubles()
        except ProviderError as error:
            return [f"{self._there.vendor}: {error}"]

    async def arrange(self, structure: Structure) -> None:
        check_structure(structure, self.takes)
        check_routes(self._wanted.routes, structure)
        misfits = {each.application: self._there.misfit(each) for each in structure.frontends}
        if refused := {name: why for name, why in misfits.items() if why}:
            raise UnfitError(refused)
        await self._want(lambda known: replace(known, structure=structure, is_known=True))

    async def way_in(self, frontend: Frontend) -> WayIn:
        fault = frontend_fault(frontend, self._wanted.structure.frontends, self.takes)
        if lack := fault or self._there.misfit(frontend):
            return WayIn(lack)
        with _errors_told():
            await self._find()
            return WayIn(await self._there.taken(frontend))

    async def route(self, routes: tuple[Route, ...]) -> None:
        check_routes(routes, self._wanted.structure)
        reached = {group for route in routes for group in route.groups}

        def change(known: Wanted) -> Wanted:
            return replace(known, routes=routes, served=tuple(sorted({*known.served, *reached})))

        await self._want(change, is_hurried=True)

    async def observe(self) -> BalancerView:
        if self._view is not None and self._clock.monotonic() - self._view[0] < VIEW_SECONDS:
            return self._view[1]
        async with self._queue:
            with _errors_told():
                view = await self._look()
            self._view = self._clock.monotonic(), view
            return view

    def on_change(self, callback: Callable[[], None]) -> None:
        """Clouds do not tell; observe sees what became of it."""

    async def close(self) -> None:
        await self._there.close()

    async def end(self) -> None:
        """Takes away all that is repave's and the mark of the owner. The load balancer stays."""
        await self._want(lambda known: replace(known, structure=Structure(), routes=(), served=()))
        async with self._queue:
            with _errors_told():
                await self._check_ours()
                await self._there.disown()
        await self.close()

    # ------------------------------------------------------------------------------------------ the queue

    async def _want(self, change: Callable[[Wanted], Wanted], *, is_hurried: bool = False) -> None:
        """On disk first; then call after call until it is so. In a hurry, what no request waits for is left
        to the next look. `change` is of what is wanted when its turn comes: a look may have changed that."""
        async with self._queue:
            self._save(change(self._wanted).tidied())
            self._view = None
            with _errors_told():
                await self._find()
                await self._apply(is_hurried=is_hurried)

    async def _apply(self, *, is_hurried: bool = False) -> None:
        """Raises UnfitError for what the cloud refuses, once the rest is as wanted."""
        target = self._there.wanted(self._wanted.structure, self._wanted.in_effect)
        made: Counter[str] = Counter()
        refused: dict[str, str] = {}

        def next_after(state: State) -> OneCall | None:
            return self._there.next_call(state, target, refused.keys(), is_hurried=is_hurried)

        state = self._trusted() if is_hurried else None
        if state is None or next_after(state) is None:
            state = await self._present()
        while call := next_after(state):
            made[str(call)] += 1
            if made[str(call)] > REPEATS_MAX:
                raise BalancerError(
                    f"{self._there.vendor} took {call} {REPEATS_MAX} times, and it is not as it should be: "
                    f"look at {self._there.named} there"
                )
            after: State | None = None
            try:
                if await self._make_call(call) and is_hurried:
                    after = self._there.after(state, target, call)
            except (RefusedError, OutOfCapacityError) as error:
                if not call.part:
                    raise
                refused[call.part] = f"{call.part}: {error}"
            if after is not None:
                await self._there.settle()  # all is read at the next look
            state = after if after is not None else await self._present()
        self._finish_at = self._clock.monotonic() if is_hurried else None
        if refused:
            raise self._unfit(refused)

    def _unfit(self, refused: dict[str, str]) -> UnfitError:
        groups = {str(backend.group) for backend in self._wanted.structure.backends}
        return UnfitError(
            {
                ApplicationName(part.partition("/")[0]): why
                for part, why in refused.items()
                if part not in groups
            },
            {GroupName(part): why for part, why in refused.items() if part in groups},
        )

    async def _make_call(self, call: OneCall) -> bool:
        """Whether it was accepted. A call that was lost or came in between is seen by the next look, and made
        again if need be. Raises ProviderError."""
        self._reading = None
        try:
            await self._there.perform(call)
            log.info("balancer.changed", balancer=self.name, call=str(call))
            return True
        except (GoneError, LostError, StaleError) as error:
            log.warning("balancer.unclear", balancer=self.name, call=str(call), because=str(error))
            if isinstance(error, StaleError):
                await self._clock.sleep(LOOK_SECONDS)
        return False

    # ---------------------------------------------------------------------------------------- whose it is

    async def _find(self) -> None:
        await self._there.find()
        self.traffic_address = self.traffic_address or self._there.address

    async def _take_over(self) -> bool:
        """Whether it was that of another agent of the region, whose lease is over. From the moment of the
        mark on that agent is refused here. What this one wanted once counts no more."""
        strangers = await self._strangers()
        if not strangers or not all(map(self._is_of_region, strangers)) or not self._has_lease():
            return False
        self._reading = None
        self._save(Wanted(self._wanted.owner))
        await self._there.own(self._wanted.owner)
        return True

    def _is_of_region(self, owner: str) -> bool:
        return owner.rpartition("-")[0] == self._region

    async def _strangers(self) -> list[str]:
        return [each for each in await self._there.owners() if each != self._wanted.owner]

    async def _take_ownership(self) -> None:
        """Marks it as ours, unless it is another agent's."""
        if not await self._check_ours():
            await self._there.own(self._wanted.owner)
            await self._check_ours()

    async def _check_ours(self) -> bool:
        """Whether it is marked as ours. Raises BalancerError when it is another agent's."""
        owners = await self._there.owners()
        for owner in owners:
            if owner != self._wanted.owner:
                raise BalancerError(
                    f"load balancer {self._there.named} belongs to another agent, {owner}. If that one is "
                    f"gone: {self._there.how_to_disown(owner)}"
                )
        return bool(owners)

    # ------------------------------------------------------------------------------------------- looking

    def _trusted(self) -> State | None:
        """What was read last, if not long ago: enough to choose a first call by, which may be repeated."""
        known = self._reading
        is_fresh = known is not None and self._clock.monotonic() - known.read_at <= WHOLE_SECONDS
        return known.state if known is not None and is_fresh else None

    async def _present(self, *, settles: bool = True) -> State:
        """What was read last, unless it has changed since."""
        known = self._trusted()
        if known is not None and await self._there.is_current(known, settles=settles):
            return known
        return await self._read()

    async def _read(self) -> State:
        self._reading = None
        await self._take_ownership()
        state = await self._there.read()
        self._reading = Reading(state, self._clock.monotonic())
        return state

    async def _adopt(self) -> None:
        """An agent that has lost its disk goes on with what is there."""
        state = await self._read()
        structure = self._there.structure_in(state, Structure())
        routes = self._there.routes_in(state, structure, ())
        served = tuple(group for route in routes for group in route.groups)
        self._save(replace(self._wanted, structure=structure, routes=routes, served=served, is_known=True))

    async def _look(self) -> BalancerView:
        await self._find()
        state = await self._present(settles=False)
        if self._wanted.structure.frontends and self._there.is_empty(state):
            log.warning("balancer.lost", text="the load balancer was created again: all is applied again")
            self._restarts += 1
            await self._apply()
            state = await self._present()
        elif self._finish_at is not None and self._clock.monotonic() >= self._finish_at:
            await self._finish()
            state = await self._present()
        view = await self._view_of(state)
        if self._there.sees_idle and await self._fall_back(view.backends):
            view = await self._view_of(await self._present())
        return view

    async def _finish(self) -> None:
        """What stands in the way of it holds up no look, and is tried again."""
        try:
            await self._apply()
        except (BalancerError, ProviderError) as error:
            log.warning("balancer.unfinished", balancer=self.name, because=str(error))
            self._finish_at = self._clock.monotonic() + WHOLE_SECONDS

    async def _view_of(self, state: State) -> BalancerView:
        wanted, there = self._wanted, self._there
        structure = there.structure_in(state, wanted.structure)
        given = there.routes_in(state, structure, wanted.in_effect)
        routes = wanted.asked(given)
        reached = {group for route in (*routes, *given) for group in route.groups}
        leaving = [group for group in wanted.served if group not in reached and structure.backend(group)]
        backends = await there.backends(state, structure, leaving)
        told = tuple(replace(which, requests=times) for which, times in self._fallen.items())
        return BalancerView(
            True, structure, routes, backends, 0, self._restarts, falls_back=there.sees_idle, fallen_back=told
        )

    async def _fall_back(self, backends: tuple[BackendView, ...]) -> bool:
        """Whether routes had to be changed: a spare answers for a group, or need not any more."""
        before = self._wanted
        down = tuple(view.group for view in backends if view.servers_up == 0)
        self._wanted = replace(before, down=down)
        if self._wanted.in_effect == before.in_effect:
            return False
        known = {each for route in before.routes for each in fallen(route, before.down)}
        now = {each for route in before.routes for each in fallen(route, down)}
        self._fallen.update(now - known)
        log.warning("balancer.fell_back", down=down, before=before.down)
        self._save(self._wanted)
        self._finish_at = self._clock.monotonic()  # where it fails now, the next look tries again
        try:
            await self._apply(is_hurried=True)
        except (BalancerError, ProviderError) as error:
            log.warning("balancer.unfinished", balancer=self.name, because=str(error))
        return True

    def _save(self, wanted: Wanted) -> None:
        self._wanted = wanted
        write_wanted(self._file, wanted)


@contextmanager
def _errors_told() -> Iterator[None]:
    try:
        yield
    except ProviderError as error:
        raise BalancerError(str(error)) from error
