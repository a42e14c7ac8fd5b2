"""The balancer `haproxy_runtime`: an HAProxy that is an operator's own, or an active pair of them, worked on
through their runtime sockets only. What their configuration must have for it: snippet.py; where
groups and routes live in it: layout.py, and weights.py where there is no map.

What is wanted is on disk first, and where the operator lets it in what HAProxy itself reads (kept.py). At
every look each side is compared with it, and told what it lacks: after a reload that kept nothing that is
everything, after a change that was taken half the other half, and servers that had to end requests go as soon
as they have. A pair is one balancer: what not all have taken has not happened.
"""

import asyncio
import json
import secrets
import socket
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import structlog

from repave_agent.balancers.checks import check_routes, check_structure, frontend_fault
from repave_agent.balancers.haproxy.config import structure_from
from repave_agent.balancers.haproxy.fallback import Tally, added_up
from repave_agent.balancers.haproxy.traffic import Traffic
from repave_agent.balancers.haproxy.traffic import added_up as counted_by
from repave_agent.balancers.haproxy.up import Key, placed, untouched, up, with_traffic
from repave_agent.balancers.haproxy_runtime.kept import KeptFiles
from repave_agent.balancers.haproxy_runtime.layout import PASTE, Layout, SlotLayout, Wanted, lacking
from repave_agent.balancers.haproxy_runtime.options import FRONTS, HaproxyRuntimeOptions
from repave_agent.balancers.haproxy_runtime.socket import RuntimeSocket, SideState
from repave_agent.balancers.haproxy_runtime.transport import Keys
from repave_agent.balancers.haproxy_runtime.weights import WeightLayout
from repave_agent.core.ports import (
    BackendView,
    BalancerAwaitedError,
    BalancerError,
    BalancerView,
    Frontend,
    RefusedError,
    Route,
    Structure,
    UnfitError,
    WayIn,
)
from repave_agent.kinds import Site
from repave_protos.daemon.endpoint import endpoint
from repave_protos.daemon.files import read_file
from repave_protos.protocol.values import GroupName

log = structlog.get_logger()

CONNECT_SECONDS_MAX = 1.0
DYNAMIC = ("roundrobin", "leastconn", "random")
"""Servers can be added to backends that balance so."""

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
States = list[tuple[RuntimeSocket, SideState]]


def build(options: HaproxyRuntimeOptions, site: Site) -> "RuntimeBalancer":
    """Raises RefusedError when no socket is named."""
    if not options.sockets:
        raise RefusedError("haproxy_runtime.sockets: name HAProxy's runtime socket: a path, or host:port")
    return RuntimeBalancer(
        site.settings.state / "haproxy-runtime",
        options.sockets,
        options.map,
        options.traffic_address,
        site.region,
        Keys(options.key, options.known_hosts),
        options.backends,
    )


class RuntimeBalancer:
    """Implements ports.Balancer. `directory` is this balancer's alone. Without a `map_path` groups share the
    traffic by the weights of their servers."""

    name = "haproxy_runtime"
    takes: Collection[str] = FRONTS
    """What the one front of an application may need."""

    def __init__(
        self,
        directory: Path,
        sockets: Sequence[str],
        map_path: str,
        traffic_address: str,
        region: str,
        keys: Keys | None = None,
        backends: str = "",
    ) -> None:
        self._layout: Layout = SlotLayout(map_path) if map_path else WeightLayout()
        self.kept = KeptFiles(backends, map_path, self._layout)
        self.traffic_address = traffic_address
        self._file = directory / "runtime.json"
        self._sides = [RuntimeSocket(address, map_path, keys) for address in sockets]
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="haproxy")  # one: the work is done in order
        # Of an HAProxy elsewhere, this machine's own loopback says nothing.
        is_here = all(each.startswith("/") for each in sockets)
        self._sees_clients_side = is_here or not ip_address(traffic_address).is_loopback
        self._restarts = 0
        self._up: dict[str, frozenset[Key]] = {}  # by side, at the last look
        self._fallen_back = {str(side): Tally() for side in self._sides}
        self._traffic = {str(side): Traffic() for side in self._sides}
        directory.mkdir(parents=True, exist_ok=True)
        self._wanted = _read(self._file) or Wanted(f"{region}-{secrets.token_hex(6)}")

    # ----------------------------------------------------------------------------------------- the port

    async def start(self) -> None:
        await self._in_thread(self._start)

    async def arrange(self, structure: Structure) -> None:
        await self._in_thread(self._arrange, structure)

    async def way_in(self, frontend: Frontend) -> WayIn:
        return await self._in_thread(self._way_in, frontend)

    async def route(self, routes: tuple[Route, ...]) -> None:
        await self._in_thread(self._route, routes)

    async def observe(self) -> BalancerView:
        return await self._in_thread(self._observe)

    def on_change(self, callback: Callable[[], None]) -> None:
        """HAProxy is not ours to watch; observe sees what became of it."""

    async def close(self) -> None:
        sides, self._sides = self._sides, []
        for side in sides:  # the second time there is none
            self._thread.submit(side.close)
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

    async def troubles(self) -> list[str]:
        """Of each side: one that does not answer is no trouble for requests as long as the other does."""
        problems = await self._in_thread(self.check)
        return [f"balancer {each}" for each in (*problems, self.kept.trouble) if each]

    def _start(self) -> None:
        for side in self._sides:
            try:
                side.state()
            except OSError as error:
                raise BalancerAwaitedError(f"{side} does not answer: {error.strerror or error}") from error
        if problems := self.check():
            raise BalancerError("; ".join(problems))
        self._save()
        states = self._states()
        known = with_traffic(self._wanted.structure, self._wanted.routes, self._wanted.slots)
        self._up = {str(side): known for side, _ in states}
        self._mend(states)

    def _arrange(self, structure: Structure) -> None:
        check_structure(structure, self.takes)
        check_routes(self._wanted.routes, structure)
        states = self._states()
        known = self._wanted.structure.frontends  # one that its operator took away says so in `ways_in`
        newcomers = (each for each in structure.frontends if each not in known)
        if shut := {each.application: why for each in newcomers if (why := self._why_shut(each, states))}:
            raise UnfitError(shut)
        slots = self._layout.assigned(structure, self._wanted, [state for _, state in states])
        self._want(replace(self._wanted, structure=structure, slots=slots), states)

    def _way_in(self, frontend: Frontend) -> WayIn:
        states = self._states()
        fronts = tuple(dict.fromkeys(each for _, state in states for each in self._layout.fronts(state)))
        fault = frontend_fault(frontend, self._wanted.structure.frontends, self.takes)
        return WayIn(fault or self._why_shut(frontend, states), fronts)

    def _why_shut(self, frontend: Frontend, states: States) -> str:
        """Why its clients can't come in; "" when they can on every side."""
        for side, state in states:
            if reason := self._layout.refuses(frontend, state):
                return f"{side}: {reason}{_fronts(self._layout.fronts(state))}: {PASTE}"
        if self._sees_clients_side and _is_shut(self.traffic_address, frontend.port):
            where = endpoint(self.traffic_address, frontend.port)
            return (
                f"{frontend.application}: no frontend listens at {where}, where its clients come in: bind it "
                f"there, or correct traffic.port: {PASTE}"
            )
        return ""

    def _route(self, routes: tuple[Route, ...]) -> None:
        check_routes(routes, self._wanted.structure)
        self._want(replace(self._wanted, routes=routes), self._states())

    def _observe(self) -> BalancerView:
        states = self._states(is_some_enough=True)
        self.kept.keep(self._wanted)
        if self._mend(states):
            states = self._states(is_some_enough=True)
        groups = {slot: group for group, slot in self._wanted.slots.items()}
        for side, state in states:
            self._up[str(side)] = up(state.worker.servers, self._up.get(str(side), frozenset()))
            self._fallen_back[str(side)].note(state.pid, state.worker.fallen_back, groups)
            self._traffic[str(side)].note({state.pid: state.worker.counted})
        routes = [self._layout.routes(self._wanted, state) for _, state in states]
        agreed = tuple(route for route in routes[0] if all(route in others for others in routes[1:]))
        backends = tuple(self._view(backend.group, states) for backend in self._wanted.structure.backends)
        return BalancerView(
            True,
            self._wanted.structure,
            agreed,
            backends,
            old_workers=0,
            restarts=self._restarts,
            falls_back=self._layout.falls_back,
            takes_baselines=all(self._layout.takes_baselines(state) for _, state in states),
            fallen_back=added_up(each for tally in self._fallen_back.values() for each in tally.told),
        )

    def _end(self) -> None:
        self._want(replace(self._wanted, structure=Structure(), routes=(), slots={}), self._states())
        for side, state in self._states():
            side.command(self._layout.unmark(self._wanted.owner, state))

    # ---------------------------------------------------------------------------------------- looking

    def check(self) -> list[str]:
        """All that is wrong with HAProxy's configuration, for people. Changes nothing. Blocks."""
        return [problem for side in self._sides for problem in self._problems(side)]

    def _problems(self, side: RuntimeSocket) -> list[str]:
        """All that is wrong with one side."""
        try:
            state, algorithms, level = side.state(), side.algorithms(), side.level()
        except BalancerError as error:
            return [str(error)]
        except OSError as error:
            return [f"{side}: {error.strerror or error}"]
        problems = [f"{side}: {problem}" for problem in self._layout.lacks(state)]
        if level != "admin":
            problems.append(
                f"{side}: the socket has level {level}: it needs `level admin` in HAProxy's configuration"
            )
        if state.version < (2, 5):
            version = ".".join(map(str, state.version))
            problems.append(f"{side}: HAProxy {version} can't add servers; 2.5 can")
        for backend, algorithm in algorithms.items():
            if self._layout.is_ours(backend) and algorithm not in DYNAMIC:
                problems.append(
                    f"{side}: {backend} has `balance {algorithm}`, which takes no servers at run time: write "
                    f"one of {', '.join(DYNAMIC)}"
                )
        return [*problems, *self._foreign(side, state)]

    def _foreign(self, side: RuntimeSocket, state: SideState) -> list[str]:
        owner = self._layout.owner(state)
        if owner in (None, self._wanted.owner):
            return []
        return [f"{side}: it belongs to another agent, {owner}. If that one is gone: reload HAProxy"]

    def _states(self, *, is_some_enough: bool = False) -> States:
        """Every side as it is now. Raises BalancerError when one does not answer, or is another agent's."""
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

    def _view(self, group: GroupName, states: States) -> BackendView:
        """The fewest that any side sees up, and all that is in flight anywhere."""
        hosts = {server.host for server in self._wanted.servers_of(group)}
        place = self._wanted.slots[group]
        servers_up = min(
            sum(group == place and host in hosts for group, host in self._up[str(side)]) for side, _ in states
        )
        in_flight = sum(self._layout.in_flight(group, self._wanted, state) for _, state in states)
        counted = counted_by(each.of(place) for each in self._traffic.values())
        return BackendView(group, servers_up, in_flight, counted=counted if self._layout.counts else None)

    # ---------------------------------------------------------------------------------------- changing

    def _want(self, wanted: Wanted, states: States) -> None:
        """On disk first, then on every side."""
        before, after = (placed(each.structure, each.slots) for each in (self._wanted, wanted))
        steady = untouched(before, after)
        self._up = {side: known & steady for side, known in self._up.items()}
        self._wanted = wanted
        self._save()
        self.kept.keep(wanted)
        for side, state in states:
            self._apply(side, state)

    def _mend(self, states: States) -> bool:
        """Applies what a side lacks. Returns whether one lacked something."""
        is_mended = False
        for side, state in states:
            known = self._wanted.pids.get(str(side))
            is_mended = self._apply(side, state) or is_mended
            if known not in (None, state.pid):
                self._restarts += 1
                log.warning(
                    "balancer.lost", side=str(side), text="HAProxy was reloaded: what it lacked was applied"
                )
        return is_mended

    def _apply(self, side: RuntimeSocket, state: SideState) -> bool:
        """Says all that this side lacks. Returns whether it lacked something. A server that has requests
        can't be deleted yet: it gets none any more, and is tried again at the next look."""
        commands, leaving = lacking(self._wanted, self._layout, state)
        side.command(commands)
        for server in leaving:
            if refusal := side.refusal(f"del server {server}"):
                log.debug("server.stays", side=str(side), server=server, because=refusal)
        if self._wanted.pids.get(str(side)) != state.pid:
            self._wanted = replace(self._wanted, pids={**self._wanted.pids, str(side): state.pid})
            self._save()
        return bool(commands or leaving)

    def _save(self) -> None:
        part = self._file.with_suffix(".part")
        part.write_text(json.dumps(asdict(self._wanted)))
        part.replace(self._file)


def _read(file: Path) -> Wanted | None:
    try:
        raw: dict[str, Any] = json.loads(read_file(file))
    except (FileNotFoundError, ValueError):
        return None
    routes = tuple(Route(**each) for each in raw["routes"])
    return Wanted(raw["owner"], structure_from(raw["structure"]), routes, raw["slots"], raw["pids"])


def _fronts(fronts: Sequence[Frontend]) -> str:
    """In brackets, for people."""
    listed = ", ".join(f"{each.application} at port {each.port or '?'}" for each in fronts)
    return f" (there are: {listed})" if listed else " (there is none)"


def _is_shut(address: str, port: int) -> bool:
    """Whether it is certain that no client can connect: only a refusal is."""
    try:
        socket.create_connection((address, port), CONNECT_SECONDS_MAX).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False
