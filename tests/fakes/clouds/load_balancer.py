"""A load balancer of a cloud that is kept in memory: a call makes one whole part be as it is wanted."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from repave_agent.core.ports import BackendView, Frontend, ProviderError, Route, Structure
from repave_protos.protocol.values import GroupName


@dataclass(frozen=True, slots=True)
class FakeState:
    structure: Structure = field(default_factory=Structure)
    routes: tuple[Route, ...] = ()


@dataclass(frozen=True, slots=True)
class FakeCall:
    """`makes`: the structure, or the routes."""

    part: str
    makes: Structure | tuple[Route, ...]

    def __str__(self) -> str:
        return f"change of {self.part}"


@dataclass
class FakeLoadBalancer:
    """Implements LoadBalancer. `down`: groups whose hosts do not answer. `faults`: what the next calls raise,
    before they do anything, or after."""

    kind, vendor, named, address = "fake", "the fake cloud", "front", "192.0.2.1"
    sees_idle: bool = True
    state: FakeState = field(default_factory=FakeState)
    owner: str = ""
    down: set[GroupName] = field(default_factory=set)
    faults: list[ProviderError | None] = field(default_factory=list)
    is_deaf: bool = False  # takes calls, and does nothing
    calls: list[str] = field(default_factory=list)
    reads: int = 0

    async def find(self) -> None: ...

    async def owners(self) -> list[str]:
        return [self.owner] if self.owner else []

    async def own(self, owner: str) -> None:
        self.owner = owner

    async def disown(self) -> None:
        self.owner = ""

    def how_to_disown(self, owner: str) -> str:
        return f"forget {owner}"

    async def read(self) -> FakeState:
        self.reads += 1
        return self.state

    async def is_current(self, state: FakeState, *, settles: bool) -> bool:
        return False

    def is_empty(self, state: FakeState) -> bool:
        return state == FakeState()

    def wanted(self, structure: Structure, routes: tuple[Route, ...]) -> FakeState:
        return FakeState(structure, routes)

    def next_call(
        self, present: FakeState, wanted: FakeState, without: Collection[str], *, is_hurried: bool
    ) -> FakeCall | None:
        """Backends come before routes, and go after them."""
        both = {each.group: each for each in (*present.structure.backends, *wanted.structure.backends)}
        grown = replace(wanted.structure, backends=tuple(both.values()))
        steps = [
            FakeCall("shop/grown", grown),
            FakeCall("shop/routes", wanted.routes),
            FakeCall("shop", wanted.structure),
        ]
        needed = [present.structure != grown != wanted.structure, present.routes != wanted.routes]
        needed += [present.structure != wanted.structure and not is_hurried]
        chosen = (step for step, is_needed in zip(steps, needed, strict=True) if is_needed)
        return next((step for step in chosen if step.part not in without), None)

    async def perform(self, call: FakeCall) -> None:
        self.calls.append(call.part)
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None:
            raise fault
        if self.is_deaf:
            return
        if isinstance(call.makes, Structure):
            self.state = replace(self.state, structure=call.makes)
        else:
            self.state = replace(self.state, routes=call.makes)

    def after(self, present: FakeState, wanted: FakeState, call: FakeCall) -> FakeState | None:
        return None

    async def settle(self) -> None: ...

    def structure_in(self, state: FakeState, known: Structure) -> Structure:
        return state.structure

    def routes_in(
        self, state: FakeState, structure: Structure, known: tuple[Route, ...]
    ) -> tuple[Route, ...]:
        return state.routes

    async def backends(
        self, state: FakeState, structure: Structure, leaving: Collection[GroupName]
    ) -> tuple[BackendView, ...]:
        ups = {each.group: sum(server.is_enabled for server in each.servers) for each in structure.backends}
        return tuple(BackendView(name, 0 if name in self.down else up, 0) for name, up in ups.items())

    def misfit(self, frontend: Frontend) -> str:
        return ""

    async def taken(self, frontend: Frontend) -> str:
        return ""

    async def troubles(self) -> list[str]:
        return []

    async def close(self) -> None: ...
