"""A balancer in memory: what it was told is what it shows. The machine outlives its balancers, like HAProxy
outlives the agent; tests kill it, edit it, and give it requests.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from repave_agent.ports import BackendView, BalancerError, BalancerView, Route, Structure
from repave_protos.values import GroupName, HostName


@dataclass
class FakeMachine:
    """What runs. `down` are hosts that it sees down; `trouble` is why it refuses everything."""

    structure: Structure = field(default_factory=Structure)
    routes: tuple[Route, ...] = ()
    down: set[HostName] = field(default_factory=set)
    in_flight: Counter[GroupName] = field(default_factory=Counter)
    trouble: str = ""
    is_running: bool = False
    callbacks: list[Callable[[], None]] = field(default_factory=list)

    def die(self) -> None:
        self.is_running = False
        self.in_flight.clear()
        for callback in self.callbacks:
            callback()


class FakeBalancer:
    """Implements ports.Balancer."""

    name = "fake"

    def __init__(self, machine: FakeMachine | None = None, traffic_address: str = "127.0.0.1") -> None:
        self.machine = machine or FakeMachine()
        self.traffic_address = traffic_address
        self._restarts = 0

    async def start(self) -> None:
        self._refuse_in_trouble()
        self.machine.is_running = True

    async def arrange(self, structure: Structure) -> None:
        self._refuse_in_trouble()
        for route in self.machine.routes:
            _refuse_unknown(route, structure)
        self.machine.structure = structure

    async def route(self, routes: tuple[Route, ...]) -> None:
        self._refuse_in_trouble()
        for route in routes:
            _refuse_unknown(route, self.machine.structure)
        self.machine.routes = routes

    async def observe(self) -> BalancerView:
        if not self.machine.is_running:
            if self.machine.trouble:
                return BalancerView(False, Structure(), (), (), 0, self._restarts)
            self.machine.is_running = True
            self._restarts += 1
        machine = self.machine
        return BalancerView(True, machine.structure, machine.routes, self._backends(), 0, self._restarts)

    def on_change(self, callback: Callable[[], None]) -> None:
        self.machine.callbacks.append(callback)

    async def close(self) -> None:
        self.machine.callbacks.clear()

    def _backends(self) -> tuple[BackendView, ...]:
        down, in_flight = self.machine.down, self.machine.in_flight
        return tuple(
            BackendView(
                backend.group,
                servers_up=sum(server.is_enabled and server.host not in down for server in backend.servers),
                in_flight=in_flight[backend.group],
            )
            for backend in self.machine.structure.backends
        )

    def _refuse_in_trouble(self) -> None:
        if self.machine.trouble:
            raise BalancerError(self.machine.trouble)


def _refuse_unknown(route: Route, structure: Structure) -> None:
    for group in (route.first, route.second):
        if group is not None and structure.backend(group) is None:
            raise BalancerError(f"{route.application} is routed to {group}, which is not arranged")
