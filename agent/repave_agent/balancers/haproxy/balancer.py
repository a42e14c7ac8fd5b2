"""The balancer `haproxy`: two HAProxys on one address, each with a process tree, files and checks of its own.

The kernel gives each new connection to one of them (SO_REUSEPORT), and all to the other while one is down. A
change is done when both have it, and what they do not agree on has not happened. One that is dead is left
out: it finds on disk what it missed.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import structlog

from repave_agent.balancers.checks import check_routes, check_structure, frontend_fault
from repave_agent.balancers.haproxy.fallback import added_up
from repave_agent.balancers.haproxy.host import known_ports, taken_ports
from repave_agent.balancers.haproxy.instance import HaproxyDeadError, HaproxyInstance, Remembered
from repave_agent.balancers.haproxy.listeners import shown_certificates
from repave_agent.balancers.haproxy.options import HaproxyOptions
from repave_agent.balancers.haproxy.process import HaproxyProcess
from repave_agent.balancers.haproxy.reading import Readings
from repave_agent.balancers.haproxy.side import HaproxySide
from repave_agent.balancers.haproxy.traffic import added_up as counted_by
from repave_agent.core.certificates import CertificateKeeper, NoCertificates, wanted_of
from repave_agent.core.ports import (
    BackendView,
    BalancerError,
    BalancerView,
    Clock,
    Closed,
    Frontend,
    Route,
    Structure,
    UnfitError,
    WayIn,
)
from repave_protos.protocol.certificate_places import CERTIFICATE_KINDS
from repave_protos.protocol.fronts import ABILITIES
from repave_protos.protocol.values import ApplicationName, GroupName, HostName

TAKES = frozenset(ABILITIES) | {f"certificate_{kind}" for kind in CERTIFICATE_KINDS}
"""What fronts may need of it. Which certificates there are is the agent's to say."""
log = structlog.get_logger()

Result = TypeVar("Result")


class HaproxyBalancer:
    """HAProxy as a `Balancer`: one map entry per application splits its requests in basis points.

    `directory` is this balancer's alone and keeps its files; HAProxy outlives the agent, and the next one
    with the same directory adopts it.
    """

    name = "haproxy"

    def __init__(
        self,
        directory: Path,
        options: HaproxyOptions,
        *,
        clock: Clock,
        certificates: CertificateKeeper | None = None,
    ) -> None:
        self.traffic_address = options.traffic_address
        first, second = directory, directory / "2"
        pairs = [(first, None)] if options.processes == 1 else [(first, second), (second, first)]
        readings = Readings()
        kept = self._certificates = certificates or NoCertificates()
        self._sides = [
            HaproxySide(HaproxyInstance(own, other, options, clock.monotonic, readings, kept), self._one_died)
            for own, other in pairs
        ]
        self._surplus = None if len(pairs) > 1 else HaproxyProcess(second, options.program, clock.monotonic)
        self._structure = Structure()
        self._callbacks: list[Callable[[], None]] = []
        self._turn = asyncio.Lock()

    async def start(self) -> None:
        await self._in_turn(self._start())

    async def arrange(self, structure: Structure) -> None:
        await self._certificates.fetch(wanted_of(structure.frontends))
        await self._in_turn(self._arrange(structure))

    async def way_in(self, frontend: Frontend) -> WayIn:
        present = self._structure.frontends
        if fault := frontend_fault(frontend, present, TAKES):
            return WayIn(fault)
        if fault := await self._certificates.lacks(wanted_of([frontend])):
            return WayIn(fault)
        taken = taken_ports((frontend,), self.traffic_address, known_ports(present))
        return WayIn("".join(taken.values()))

    async def route(self, routes: tuple[Route, ...]) -> None:
        await self._in_turn(self._route(routes))

    async def show_certificates(self) -> None:
        """Implements ports.ShowsCertificates."""
        await self._in_turn(self._show_certificates())

    async def observe(self) -> BalancerView:
        return await self._in_turn(self._observe())

    def on_change(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    def _one_died(self) -> None:
        for callback in self._callbacks:
            callback()

    async def troubles(self) -> list[str]:
        """HAProxys that do not run: one is no trouble for requests as long as the other does."""
        silent = [why for side in self._sides if (why := side.instance.why_silent)]
        if not silent:
            return []
        goes_on = "It is started again every few seconds"
        if len(silent) == len(self._sides):
            return [f"balancer: no HAProxy runs here, and no client is served: {silent[0]}. {goes_on}"]
        return [f"balancer: one of two HAProxys does not run, the other serves alone: {silent[0]}. {goes_on}"]

    async def close(self) -> None:
        for side in self._sides:
            await side.close()

    async def end(self) -> None:
        """Closes and ends HAProxy itself, at once; nothing is served any more. For demos and tests."""
        await self.close()
        for side in self._sides:
            await asyncio.to_thread(side.instance.process.end)
        await asyncio.to_thread(self._end_surplus)

    async def _in_turn(self, work: Coroutine[Any, Any, Result]) -> Result:
        """One change or look after the other; each is finished even when its caller is cancelled."""

        async def alone() -> Result:
            async with self._turn:
                return await work

        return await asyncio.shield(asyncio.create_task(alone(), name="haproxy-turn"))

    # ------------------------------------------------------------------------------------- in turn

    async def _start(self) -> None:
        """What runs, else what was written first, is what all shall be: a crash may have come in between."""
        looks = [await side.do(side.instance.look) for side in self._sides]
        found = [remembered for _, remembered in sorted(looks, key=lambda look: not look[0])]
        wanted = next((each for each in found if each.structure is not None), found[0])
        self._structure = wanted.structure or Structure()
        if wanted.structure is not None and not any(is_running for is_running, _ in looks):
            self._structure = self._without_taken_ports()
            wanted = replace(wanted, structure=self._structure)
        await self._certificates.provide(wanted_of(self._structure.frontends))
        await self._everywhere(lambda side: side.do(side.instance.start, wanted))
        self._certificates.arranged()
        await asyncio.to_thread(self._end_surplus)

    async def _arrange(self, structure: Structure) -> None:
        check_structure(structure, TAKES)
        arranged = (side.instance.structure for side in self._sides)
        known = {port for each in arranged for port in known_ports(each.frontends)}
        if taken := taken_ports(structure.frontends, self.traffic_address, known):
            raise UnfitError(taken)
        if lacks := await self._certificates.provide(wanted_of(structure.frontends)):
            raise UnfitError(lacks)
        for side in self._sides:  # before it is what is wanted: routes are checked against that
            side.instance.refuse_loss_of_routed(structure)
        former, self._structure = self._structure, structure
        try:
            await self._everywhere(lambda side: side.do(side.instance.arrange, structure))
        except UnfitError:
            self._structure = former
            raise
        self._certificates.arranged()

    async def _show_certificates(self) -> None:
        if files := shown_certificates(self._structure):
            await self._everywhere(lambda side: side.do(side.instance.show_certificates, files))

    def _without_taken_ports(self) -> Structure:
        """What other programs have taken while no HAProxy ran must not keep clients from the others."""
        taken = taken_ports(self._structure.frontends, self.traffic_address)
        for application, why in taken.items():
            log.error("balancer.port_taken", application=application, because=why)
        kept = (each for each in self._structure.frontends if each.application not in taken)
        return replace(self._structure, frontends=tuple(kept))

    async def _route(self, routes: tuple[Route, ...]) -> None:
        """One decides while the other passes requests on to it, so that a switch is one step."""
        check_routes(routes, self._structure)
        *passing, deciding = await self._everywhere(lambda side: side.do(side.instance.mend))
        former = deciding.instance.routes
        changed = [route.application for route in former if route not in routes]
        for side in passing:
            await self._defer(side, changed)
        try:
            await deciding.do(deciding.instance.route, routes)
        except BalancerError:
            for side in passing:
                await side.do(side.instance.route, former)
            raise
        await self._everywhere(lambda side: side.do(side.instance.route, routes))

    async def _defer(self, side: HaproxySide, applications: list[ApplicationName]) -> None:
        """Without it requests still follow a route, but for a moment not all the same one."""
        try:
            await side.do(side.instance.defer, applications)
        except BalancerError as error:
            log.warning("balancer.not_deferred", because=str(error))

    async def _observe(self) -> BalancerView:
        views = await self._views()
        if not any(view.is_running for view in views) and await self._is_revived():
            views = await self._views()
        restarts = sum(view.restarts for view in views)
        running = [view for view in views if view.is_running]
        if not running:
            return BalancerView(False, Structure(), (), (), 0, restarts)
        lagging = (view.structure for view in running if view.structure != self._structure)
        structure = next(lagging, self._structure)
        return BalancerView(
            is_running=True,
            structure=structure,
            routes=tuple(each for each in running[0].routes if all(each in view.routes for view in running)),
            backends=tuple(_backend_view(backend.group, running) for backend in structure.backends),
            old_workers=sum(view.old_workers for view in running),
            restarts=restarts,
            falls_back=True,
            takes_baselines=True,
            takes_hosts=all(view.takes_hosts for view in running),
            fallen_back=added_up(each for view in running for each in view.fallen_back),
            closed=_closed(running),
        )

    async def _views(self) -> list[BalancerView]:
        return await asyncio.gather(*(side.do(side.instance.observe) for side in self._sides))

    async def _is_revived(self) -> bool:
        """Whether it runs without those whose ports were taken while none of them ran."""
        kept = self._without_taken_ports()
        if kept == self._structure:
            return False
        self._structure, wanted = kept, Remembered(kept, self._sides[0].instance.routes)
        try:
            await self._everywhere(lambda side: side.do(side.instance.start, wanted))
        except BalancerError as error:
            log.error("balancer.dead", because=str(error))
            return False
        return True

    async def _everywhere(self, work: Callable[[HaproxySide], Awaitable[object]]) -> list[HaproxySide]:
        """Returns those that live. Raises BalancerError when one of them did not do it, or none lives."""
        outcomes = await asyncio.gather(*map(work, self._sides), return_exceptions=True)
        failures = [each for each in outcomes if isinstance(each, BaseException)]
        dead = [each for each in failures if isinstance(each, HaproxyDeadError)]
        for failure in failures:
            if failure not in dead or len(dead) == len(self._sides):
                raise failure
        for failure in dead:
            log.error("balancer.side_dead", because=str(failure))
        return [
            side
            for side, outcome in zip(self._sides, outcomes, strict=True)
            if not isinstance(outcome, BaseException)
        ]

    def _end_surplus(self) -> None:
        """One that runs from when there were two, once the first serves alone."""
        if self._surplus is not None:
            self._surplus.end()


def _closed(views: list[BalancerView]) -> tuple[Closed, ...]:
    total: Counter[GroupName] = Counter()
    for each in (each for view in views for each in view.closed):
        total[each.group] += each.connections
    return tuple(Closed(group, connections) for group, connections in total.items())


def _backend_view(group: GroupName, views: list[BalancerView]) -> BackendView:
    """The fewest that any of them sees up, all that is in flight anywhere, and what all say of a host."""
    of_group = [view.backend(group) or BackendView(group, 0, 0) for view in views]
    of_others = [dict(each.failing) for each in of_group[1:]]
    return BackendView(
        group,
        servers_up=min(each.servers_up for each in of_group),
        in_flight=sum(each.in_flight for each in of_group),
        passing=frozenset[HostName].intersection(*(each.passing for each in of_group)),
        failing=tuple(
            (host, why) for host, why in of_group[0].failing if all(host in failing for failing in of_others)
        ),
        counted=counted_by(each.counted for each in of_group if each.counted is not None),
    )
