"""The balancer `haproxy_runtime`: an HAProxy that is an operator's own, or an active pair of them, worked on
through their runtime sockets only. Their configuration has slots and a map for it: runtime_snippet.py.

A group gets a slot; its servers are added there; a route is an entry of the map, so a switch is one command.
What is wanted is on disk first. A reload by the operator loses all of it, which shows in the process id: then
it is applied again. A pair is one balancer: what not all of them have taken has not happened.
"""

import asyncio
import json
import secrets
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import structlog

from repave_agent.balancers.haproxy_config import map_of, routes_of, structure_from
from repave_agent.balancers.haproxy_socket import ServerState
from repave_agent.balancers.runtime_snippet import OWNER_KEY, SLOT, SPLIT_KEY, split_text
from repave_agent.balancers.runtime_socket import RuntimeSocket, SideState
from repave_agent.ports import BackendView, BalancerError, BalancerView, Route, Server, Structure
from repave_protos.values import ApplicationName, GroupName, Split

log = structlog.get_logger()

BUSY_SECONDS = 3.0
"""For so long a server that leaves may still have requests; longer ones are an error, tried again later."""
LOOK_SECONDS = 0.05
CHECKS = "check inter 1s fastinter 250ms downinter 250ms"
"""Whether a server takes connections; whether it is healthy is the agent's to find out."""

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Wanted:
    """All that HAProxy shall have, as it is on disk. `slots`: group to slot. `pids`: side to process id."""

    owner: str
    structure: Structure = field(default_factory=Structure)
    routes: tuple[Route, ...] = ()
    slots: dict[str, str] = field(default_factory=dict)
    pids: dict[str, int] = field(default_factory=dict)


class RuntimeBalancer:
    """Implements ports.Balancer. `directory` is this balancer's alone."""

    name = "haproxy_runtime"
    traffic_precision_bp = 1

    def __init__(
        self, directory: Path, sockets: Sequence[str], map_path: str, traffic_address: str, region: str
    ) -> None:
        self.traffic_address = traffic_address
        self._file = directory / "runtime.json"
        self._sides = [RuntimeSocket(address, map_path) for address in sockets]
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="haproxy")  # one: the work is done in order
        self._restarts = 0
        directory.mkdir(parents=True, exist_ok=True)
        self._wanted = _read(self._file) or Wanted(f"{region}-{secrets.token_hex(6)}")

    # ----------------------------------------------------------------------------------------- the port

    async def start(self) -> None:
        await self._in_thread(self._start)

    async def arrange(self, structure: Structure) -> None:
        await self._in_thread(self._arrange, structure)

    async def route(self, routes: tuple[Route, ...]) -> None:
        await self._in_thread(self._route, routes)

    async def observe(self) -> BalancerView:
        return await self._in_thread(self._observe)

    def on_change(self, callback: Callable[[], None]) -> None:
        """HAProxy is not ours to watch; observe sees what became of it."""

    async def close(self) -> None:
        await asyncio.to_thread(self._thread.shutdown)

    async def end(self) -> None:
        """Takes away routes, servers and the mark of the owner."""
        await self._in_thread(self._end)
        await self.close()

    async def _in_thread(
        self, work: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs
    ) -> Result:
        """Once begun, work is finished even when its caller is cancelled."""
        future = asyncio.wrap_future(self._thread.submit(work, *arguments, **named))
        try:
            return await asyncio.shield(future)
        except OSError as error:
            raise BalancerError(f"HAProxy does not answer: {error}") from error

    # ------------------------------------------------------------------------------------------ the work

    def _start(self) -> None:
        if problems := self.check():
            raise BalancerError("; ".join(problems))
        self._save()
        for side in self._sides:
            side.set_entries({OWNER_KEY: self._wanted.owner}, set())
        self._mend(is_start=True)

    def _problems(self, side: RuntimeSocket) -> list[str]:
        """All that is wrong with one side."""
        try:
            state = side.state()
        except (OSError, BalancerError) as error:
            return [str(error) if isinstance(error, BalancerError) else f"{side}: {error.strerror or error}"]
        problems = []
        if state.version < (2, 5):
            problems.append(
                f"{side}: HAProxy {state.version[0]}.{state.version[1]} can't add servers; 2.5 can"
            )
        slots = [name for name in state.worker.in_flight if name.startswith(SLOT)]
        if len(slots) < 2:
            problems.append(f"{side}: {len(slots)} backends are called {SLOT}N; two are the least")
        return [*problems, *self._foreign(side, state)]

    def _foreign(self, side: RuntimeSocket, state: SideState) -> list[str]:
        owner = state.worker.entries.get(OWNER_KEY, self._wanted.owner)
        if owner == self._wanted.owner:
            return []
        return [f"{side}: it belongs to another agent, {owner}. If that one is gone: reload HAProxy"]

    def _arrange(self, structure: Structure) -> None:
        for backend in self._wanted.structure.backends:
            if structure.backend(backend.group) is None and self._is_routed(backend.group):
                raise BalancerError(f"{backend.group} takes traffic: it can't be removed")
        states = self._states()
        self._check_splits(structure, states)
        slots = self._assigned(structure, states)
        before = self._wanted
        self._wanted = replace(before, structure=structure, slots={**before.slots, **slots})
        self._save()
        for side, state in states:
            self._apply_servers(side, state)
        self._wanted = replace(self._wanted, slots=slots)
        self._note_pids(states)

    def _route(self, routes: tuple[Route, ...]) -> None:
        for route in routes:
            for group in route.groups:
                if self._wanted.structure.backend(group) is None:
                    raise BalancerError(
                        f"{route.application}: {group} is not arranged, so nothing is sent there"
                    )
            frontend = self._wanted.structure.frontend(route.application)
            if route.testers is not None and (frontend is None or not frontend.split.tester_by):
                raise BalancerError(f"{route.application}: nothing says who is a tester")
        states = self._states()
        self._wanted = replace(self._wanted, routes=routes)
        self._save()
        for side, state in states:
            self._apply_routes(side, state)

    def _observe(self) -> BalancerView:
        self._mend()
        states = self._states(is_some_enough=True)
        routes = [self._routes_of(state) for _, state in states]
        agreed = tuple(route for route in routes[0] if all(route in others for others in routes[1:]))
        backends = tuple(self._view(GroupName(group), states) for group in self._present_groups())
        return BalancerView(True, self._wanted.structure, agreed, backends, 0, self._restarts)

    def check(self) -> list[str]:
        """All that is wrong with HAProxy's configuration, for people. Changes nothing. Blocks."""
        return [problem for side in self._sides for problem in self._problems(side)]

    def _end(self) -> None:
        self._wanted = replace(self._wanted, structure=Structure(), routes=(), slots=self._wanted.slots)
        self._save()
        for side, state in self._states():
            self._apply_routes(side, state)
            self._apply_servers(side, state)
            side.set_entries({}, {OWNER_KEY})

    # ------------------------------------------------------------------------------------------ one side

    def _states(self, *, is_some_enough: bool = False) -> list[tuple[RuntimeSocket, SideState]]:
        """Every side as it is now. Raises BalancerError when one does not answer, or is somebody else's."""
        states, silent = [], []
        for side in self._sides:
            try:
                states.append((side, side.state()))
            except OSError as error:
                silent.append(f"{side} does not answer: {error.strerror or error}")
        if silent and not (is_some_enough and states):
            raise BalancerError("; ".join(silent))
        if foreign := [problem for side, state in states for problem in self._foreign(side, state)]:
            raise BalancerError("; ".join(foreign))
        return states

    def _mend(self, *, is_start: bool = False) -> None:
        """Applies everything again where HAProxy was reloaded, restarted or was away."""
        for side, state in self._states(is_some_enough=not is_start):
            known = self._wanted.pids.get(str(side))
            if known == state.pid and self._is_whole(state):
                continue
            if known is not None and known != state.pid:
                self._restarts += 1
                log.warning(
                    "balancer.lost", side=str(side), text="HAProxy was reloaded: all is applied again"
                )
            self._apply_servers(side, state)
            self._apply_routes(side, side.state())
            self._note_pids([(side, state)])

    def _is_whole(self, state: SideState) -> bool:
        wanted = {(slot, str(server.host)) for slot, server in self._wanted_servers()}
        present = {(each.group, each.host) for each in state.worker.servers if each.group.startswith(SLOT)}
        entries = self._entries()
        return wanted == present and entries.items() <= state.worker.entries.items()

    def _apply_servers(self, side: RuntimeSocket, state: SideState) -> None:
        servers = [each for each in state.worker.servers if each.group.startswith(SLOT)]
        present = {(each.group, each.host): each for each in servers}
        wanted = {(slot, str(server.host)): server for slot, server in self._wanted_servers()}
        leaving = sorted(present.keys() - wanted.keys())
        commands = [f"set server {slot}/{host} state maint" for slot, host in leaving]
        for (slot, host), server in wanted.items():
            commands += _placed(f"{slot}/{host}", server, present.get((slot, host)))
        side.command(commands)
        for slot, host in leaving:
            self._delete(side, f"{slot}/{host}")

    def _delete(self, side: RuntimeSocket, server: str) -> None:
        deadline = time.monotonic() + BUSY_SECONDS
        while refusal := side.refusal(f"del server {server}"):
            if time.monotonic() > deadline:
                raise BalancerError(f"{side}: {server} can't be removed: {refusal}")
            time.sleep(LOOK_SECONDS)

    def _apply_routes(self, side: RuntimeSocket, state: SideState) -> None:
        wanted = self._entries()
        gone = {key for key in state.worker.entries if not key.startswith("_")} - wanted.keys()
        side.set_entries({**wanted, OWNER_KEY: self._wanted.owner}, gone)

    # ------------------------------------------------------------------------------------------- slots

    def _assigned(
        self, structure: Structure, states: list[tuple[RuntimeSocket, SideState]]
    ) -> dict[str, str]:
        """Group to slot; those that have one keep it. Raises BalancerError when there are too few."""
        known = set.intersection(*(
            {name for name in state.worker.in_flight if name.startswith(SLOT)} for _, state in states
        ))  # fmt: skip
        taken = dict(self._wanted.slots)
        free = sorted(known - set(taken.values()), key=lambda name: (len(name), name))
        slots = {}
        for backend in structure.backends:
            if backend.group not in taken and not free:
                raise BalancerError(
                    f"{backend.group}: all {len(known)} slots are taken: add more backends {SLOT}N and reload"
                )
            slots[backend.group] = taken.get(backend.group) or free.pop(0)
        return {str(group): slot for group, slot in slots.items()}

    def _wanted_servers(self) -> list[tuple[str, Server]]:
        slots = self._wanted.slots
        backends = self._wanted.structure.backends
        return [(slots[each.group], server) for each in backends for server in each.servers]

    def _entries(self) -> dict[str, str]:
        """The map, with slots in place of groups."""
        slots = self._wanted.slots

        def slot(group: GroupName | None) -> GroupName | None:
            return None if group is None else GroupName(slots[group])

        moved = [
            replace(
                each,
                first=GroupName(slots[each.first]),
                second=slot(each.second),
                testers=slot(each.testers),
            )
            for each in self._wanted.routes
        ]
        return {str(key): value for key, value in map_of(moved).items()}

    def _routes_of(self, state: SideState) -> tuple[Route, ...]:
        groups = {slot: GroupName(group) for group, slot in self._wanted.slots.items()}
        entries = {key: value for key, value in state.worker.entries.items() if not key.startswith("_")}
        return tuple(
            Route(
                ApplicationName(each.application),
                groups[each.first],
                groups[each.second] if each.second else None,
                each.second_bp,
                groups[each.testers] if each.testers else None,
            )
            for each in routes_of(entries)
            if all(slot in groups for slot in each.groups)
        )

    def _present_groups(self) -> list[str]:
        return [backend.group for backend in self._wanted.structure.backends]

    def _view(self, group: GroupName, states: list[tuple[RuntimeSocket, SideState]]) -> BackendView:
        """The fewest that any side sees up, and all that is in flight anywhere."""
        slot = self._wanted.slots[group]
        up = min(
            sum(each.is_up for each in state.worker.servers if each.group == slot) for _, state in states
        )
        return BackendView(group, up, sum(state.worker.in_flight.get(slot, 0) for _, state in states))

    def _is_routed(self, group: GroupName) -> bool:
        return any(group in route.groups for route in self._wanted.routes)

    def _check_splits(self, structure: Structure, states: list[tuple[RuntimeSocket, SideState]]) -> None:
        """How requests are told apart is in the operator's configuration: it must be what is asked for."""
        for frontend in structure.frontends:
            key, wanted = f"{SPLIT_KEY}{frontend.application}", split_text(frontend.split)
            for side, state in states:
                has = state.worker.entries.get(key, split_text(Split()))
                if has != wanted:
                    raise BalancerError(
                        f"{side}: {frontend.application} is set up for {has}, the spec asks for {wanted}: "
                        "paste what `repave-agent balancer snippet` prints"
                    )

    def _note_pids(self, states: list[tuple[RuntimeSocket, SideState]]) -> None:
        pids = {**self._wanted.pids, **{str(side): state.pid for side, state in states}}
        self._wanted = replace(self._wanted, pids=pids)
        self._save()

    def _save(self) -> None:
        part = self._file.with_suffix(".part")
        part.write_text(json.dumps(asdict(self._wanted)))
        part.replace(self._file)


def _placed(name: str, server: Server, present: ServerState | None) -> list[str]:
    """Commands after which the server is there, and enabled or not."""
    commands = []
    if present is None:
        commands = [
            f"add server {name} {server.address}:{server.port} {CHECKS}",
            f"enable health {name}",
        ]
    if server.is_enabled != (present is not None and present.is_enabled):
        commands.append(f"set server {name} state {'ready' if server.is_enabled else 'maint'}")
    return commands


def _read(file: Path) -> Wanted | None:
    try:
        raw: dict[str, Any] = json.loads(file.read_text())
    except (FileNotFoundError, ValueError):
        return None
    routes = tuple(Route(**each) for each in raw["routes"])
    return Wanted(raw["owner"], structure_from(raw["structure"]), routes, raw["slots"], raw["pids"])
