"""A balancer in memory: what it was told is what it shows. The machine outlives its balancers, like HAProxy
outlives the agent; tests kill it, edit it, and give it requests.
"""

import random
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from repave_agent.balancers.checks import check_structure
from repave_agent.core.ports import (
    BackendView,
    BalancerError,
    BalancerView,
    Counted,
    Frontend,
    Route,
    Structure,
    UnfitError,
    WayIn,
)
from repave_protos.protocol.values import ApplicationName, GroupName, HostName, Split


@dataclass
class FakeMachine:
    """What runs. `down` are hosts that it sees down; `trouble` is why it refuses everything."""

    structure: Structure = field(default_factory=Structure)
    routes: tuple[Route, ...] = ()
    down: set[HostName] = field(default_factory=set)
    in_flight: Counter[GroupName] = field(default_factory=Counter)
    counted: dict[GroupName, Counted] = field(default_factory=dict)
    trouble: str = ""
    taken_ports: set[int] = field(default_factory=set)  # by other programs
    owner: str = ""
    is_running: bool = False
    callbacks: list[Callable[[], None]] = field(default_factory=list)

    def served_by(self, application: ApplicationName, headers: Mapping[str, str]) -> GroupName | None:
        """Who answers a request of the application; None while nobody does."""
        route = next((each for each in self.routes if each.application == application), None)
        frontend = self.structure.frontend(application)
        if route is None or frontend is None:
            return None
        group = self._chosen(route, frontend.split, headers)
        before = self.counted.get(group, Counted())
        self.counted[group] = Counted(before.requests + 1, before.errors, 0.01)
        return group

    def _chosen(self, route: Route, split: Split, headers: Mapping[str, str]) -> GroupName:
        is_tester = bool(split.tester_by) and (
            _mark(split.tester_by, split.tester_name, headers) == split.tester_value
        )
        if is_tester and route.testers is not None:
            return route.testers
        roll = _roll(split, headers, route.second)
        if route.baseline is not None and roll >= 10_000 - route.baseline_bp:
            return route.baseline
        is_second = roll < route.second_bp
        return route.second if is_second and route.second is not None else route.first

    def die(self) -> None:
        self.is_running = False
        self.in_flight.clear()
        for callback in self.callbacks:
            callback()


class FakeBalancer:
    """Implements ports.Balancer."""

    name = "fake"

    def __init__(
        self,
        machine: FakeMachine | None = None,
        traffic_address: str = "127.0.0.1",
        owner: str = "agent",
        takes: Collection[str] = (),
    ) -> None:
        self.machine = machine or FakeMachine()
        self._owner, self.takes = owner, takes
        self.traffic_address = traffic_address
        self._restarts = 0

    async def start(self) -> None:
        self._refuse_in_trouble()
        if self.machine.owner not in ("", self._owner):
            raise BalancerError(f"it belongs to another agent, {self.machine.owner}")
        self.machine.owner = self._owner
        self.machine.is_running = True

    async def arrange(self, structure: Structure) -> None:
        self._refuse_in_trouble()
        check_structure(structure, self.takes)
        self._refuse_taken_ports(structure)
        for route in self.machine.routes:
            _refuse_unknown(route, structure)
        self.machine.structure = structure

    async def route(self, routes: tuple[Route, ...]) -> None:
        self._refuse_in_trouble()
        for route in routes:
            _refuse_unknown(route, self.machine.structure)
            _refuse_unknown_testers(route, self.machine.structure)
        self.machine.routes = routes

    async def observe(self) -> BalancerView:
        if not self.machine.is_running:
            if self.machine.trouble:
                return BalancerView(False, Structure(), (), (), 0, self._restarts)
            self.machine.is_running = True
            self._restarts += 1
        machine = self.machine
        backends = self._backends()
        return BalancerView(
            True, machine.structure, machine.routes, backends, 0, self._restarts, takes_baselines=True
        )

    def on_change(self, callback: Callable[[], None]) -> None:
        self.machine.callbacks.append(callback)

    async def close(self) -> None:
        self.machine.callbacks.clear()

    async def troubles(self) -> list[str]:
        return [self.machine.trouble] if self.machine.trouble else []

    async def end(self) -> None:
        self.machine.structure, self.machine.routes, self.machine.owner = Structure(), (), ""

    def _backends(self) -> tuple[BackendView, ...]:
        down, in_flight = self.machine.down, self.machine.in_flight
        return tuple(
            BackendView(
                backend.group,
                servers_up=sum(server.is_enabled and server.host not in down for server in backend.servers),
                in_flight=in_flight[backend.group],
                counted=self.machine.counted.get(backend.group, Counted()),
            )
            for backend in self.machine.structure.backends
        )

    async def way_in(self, frontend: Frontend) -> WayIn:
        try:
            self._refuse_taken_ports(Structure((frontend,)))
            check_structure(Structure((frontend,)), self.takes)
        except UnfitError as error:
            return WayIn(str(error))
        return WayIn()

    def _refuse_taken_ports(self, structure: Structure) -> None:
        present = self.machine.structure.frontends
        newcomers = [each for each in structure.frontends if each not in present]
        taken = [each for each in newcomers if each.port in self.machine.taken_ports]
        if taken:
            raise UnfitError({each.application: f"port {each.port} is taken" for each in taken})

    def _refuse_in_trouble(self) -> None:
        if self.machine.trouble:
            raise BalancerError(self.machine.trouble)


def _refuse_unknown(route: Route, structure: Structure) -> None:
    for group in route.groups:
        if structure.backend(group) is None:
            raise BalancerError(f"{route.application} is routed to {group}, which is not arranged")


def _refuse_unknown_testers(route: Route, structure: Structure) -> None:
    frontend = structure.frontend(route.application)
    if route.testers is not None and (frontend is None or not frontend.split.tester_by):
        raise BalancerError(f"{route.application}: nothing says who is a tester for {route.testers}")


def _roll(split: Split, headers: Mapping[str, str], second: GroupName | None) -> int:
    mark = _mark(split.by, split.name, headers)
    return zlib.crc32(f"{mark}|{second}".encode()) % 10_000 if mark else random.randrange(10_000)


def _mark(by: str, name: str, headers: Mapping[str, str]) -> str:
    if by == "header":
        return headers.get(name, "")
    pairs = (pair.strip().partition("=") for pair in headers.get("Cookie", "").split(";"))
    return next((value for found, _, value in pairs if by == "cookie" and found == name), "")
