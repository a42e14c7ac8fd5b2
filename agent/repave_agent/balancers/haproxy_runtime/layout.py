"""Where groups and routes live in an operator's HAProxy: what all layouts share, and the one with slots.

A layout is pure: it reads what one HAProxy runs with, and says what is missing or which commands make it as
wanted. With slots a group has a backend for itself and a route is one entry of the map, which names slots.
`weights.py` is the layout without a map.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from repave_agent.balancers.haproxy.config import map_of, routes_of
from repave_agent.balancers.haproxy.socket import ServerState
from repave_agent.balancers.haproxy_runtime.snippet import (
    BASELINES_KEY,
    OWNER_KEY,
    PORT_KEY,
    SLOT,
    SPLIT_KEY,
    way_text,
)
from repave_agent.balancers.haproxy_runtime.socket import SideState
from repave_agent.core.ports import Backend, Frontend, Route, Server, Structure, UnfitError
from repave_protos.daemon.endpoint import endpoint
from repave_protos.protocol.values import ApplicationName, GroupName

PASTE = "paste what `repave-agent balancer snippet` prints, and reload"


@dataclass(frozen=True, slots=True)
class Wanted:
    """All that HAProxy shall have, as it is on disk. `slots`: group to backend; `pids`: side to process."""

    owner: str
    structure: Structure = field(default_factory=Structure)
    routes: tuple[Route, ...] = ()
    slots: dict[str, str] = field(default_factory=dict)
    pids: dict[str, int] = field(default_factory=dict)

    def servers(self) -> Iterator[tuple[str, Server]]:
        """Each with the backend that it belongs to."""
        for backend in self.structure.backends:
            for server in backend.servers:
                yield self.slots[backend.group], server

    @property
    def words(self) -> dict[str, str]:
        """What servers need beside their address, by backend."""
        grpc = (each for each in self.structure.backends if any(f.protocol == "grpc" for f in each.fronts))
        return {self.slots[each.group]: " proto h2" for each in grpc}

    def servers_of(self, group: GroupName | None) -> tuple[Server, ...]:
        backend = self.structure.backend(group) if group is not None else None
        return backend.servers if backend is not None else ()


class Layout(Protocol):
    """One way to keep groups and routes in HAProxy."""

    first_weight: str
    """What a server that joins is told of its weight; "" where weights mean nothing."""
    falls_back: bool
    """Whether a route's spare answers while the group that a request is for has no server up."""
    counts: bool
    """Whether each group has a backend, whose requests HAProxy counts, for itself."""

    def is_ours(self, backend: str) -> bool:
        """Whether the servers of this backend are repave's."""

    def owner(self, state: SideState) -> str | None:
        """Which agent has marked it as its own."""

    def mark(self, owner: str, state: SideState) -> list[str]:
        """Commands after which `owner` owns it."""

    def unmark(self, owner: str, state: SideState) -> list[str]:
        """Commands after which it has no owner, where that was `owner`."""

    def lacks(self, state: SideState) -> list[str]:
        """What the configuration must have, and has not."""

    def refuses(self, frontend: Frontend, state: SideState) -> str:
        """Why the configuration can't let in this application's clients, to be followed by what there is and
        what to do; "" when it can."""

    def fronts(self, state: SideState) -> tuple[Frontend, ...]:
        """Those that the configuration has; a port of 0 is not known."""

    def takes_baselines(self, state: SideState) -> bool:
        """Whether a route's baseline can have its share."""

    def assigned(self, structure: Structure, wanted: Wanted, states: Sequence[SideState]) -> dict[str, str]:
        """Group to backend; those that have one keep it. Raises UnfitError when there are too few."""

    def steer(self, wanted: Wanted, state: SideState) -> list[str]:
        """Commands after which the traffic is split as wanted. Those that get more come first."""

    def entries(self, wanted: Wanted) -> dict[str, str]:
        """The map's routes."""

    def weights(self, wanted: Wanted) -> dict[tuple[str, str], int]:
        """Of the servers, by backend and host, where weights mean something."""

    def routes(self, wanted: Wanted, state: SideState) -> tuple[Route, ...]:
        """Read back."""

    def in_flight(self, group: GroupName, wanted: Wanted, state: SideState) -> int: ...


class SlotLayout:
    """Implements Layout with a map."""

    first_weight = ""
    falls_back, counts = True, True

    def __init__(self, map_path: str) -> None:
        self._map = map_path

    def is_ours(self, backend: str) -> bool:
        return backend.startswith(SLOT)

    def owner(self, state: SideState) -> str | None:
        return state.worker.entries.get(OWNER_KEY)

    def mark(self, owner: str, state: SideState) -> list[str]:
        return self._set({OWNER_KEY: owner}, state)

    def unmark(self, owner: str, state: SideState) -> list[str]:
        return [f"del map {self._map} {OWNER_KEY}"] if self.owner(state) == owner else []

    def lacks(self, state: SideState) -> list[str]:
        slots = [name for name, mode in state.worker.modes.items() if self.is_ours(name) and mode == "http"]
        return [f"{len(slots)} backends are called {SLOT}N; two are the least: {PASTE}"] * (len(slots) < 2)

    def refuses(self, frontend: Frontend, state: SideState) -> str:
        name, entries = frontend.application, state.worker.entries
        has, wanted = entries.get(f"{SPLIT_KEY}{name}"), way_text(frontend)
        if has is None:
            return f"{name} has no frontend for port {frontend.port}"
        if has != wanted:
            return f"{name} is set up for {has}, the spec asks for {wanted}"
        port = entries.get(f"{PORT_KEY}{name}", str(frontend.port))
        if port != str(frontend.port):
            return f"{name} comes in at port {port}, the spec asks for {frontend.port}"
        return ""

    def fronts(self, state: SideState) -> tuple[Frontend, ...]:
        entries = state.worker.entries
        names = sorted(key.removeprefix(SPLIT_KEY) for key in entries if key.startswith(SPLIT_KEY))
        ports = {name: entries.get(f"{PORT_KEY}{name}", "") for name in names}
        return tuple(
            Frontend(ApplicationName(name), int(port) if port.isdecimal() else 0)
            for name, port in ports.items()
        )

    def takes_baselines(self, state: SideState) -> bool:
        """The frontends of a snippet from before there were baselines split in two."""
        return BASELINES_KEY in state.worker.entries

    def assigned(self, structure: Structure, wanted: Wanted, states: Sequence[SideState]) -> dict[str, str]:
        kept = {str(group): slot for group, slot in wanted.slots.items()}
        leaving = {each.group for state in states for each in state.worker.servers}
        taken, given, full = {*kept.values(), *leaving}, dict[str, str](), dict[GroupName, str]()
        for mode in ("http", "tcp"):
            known = self._slots(mode, states)
            free = sorted(known - taken, key=lambda name: (len(name), name))
            asked = [each for each in structure.backends if each.group not in kept and mode_of(each) == mode]
            given |= zip((str(each.group) for each in asked), free, strict=False)
            for each in asked[len(free) :]:
                which, how = (" of tcp", " with mode tcp") if mode == "tcp" else ("", "")
                more = f"add more backends {SLOT}N{how} and reload"
                full[each.group] = f"{each.group}: all {len(known)} slots{which} are taken: {more}"
        if full:
            raise UnfitError(backends=full)
        return {str(each.group): kept.get(each.group) or given[each.group] for each in structure.backends}

    def _slots(self, mode: str, states: Sequence[SideState]) -> set[str]:
        """Those that every side has."""
        return set.intersection(
            *(
                {name for name, has in state.worker.modes.items() if has == mode and self.is_ours(name)}
                for state in states
            )
        )

    def steer(self, wanted: Wanted, state: SideState) -> list[str]:
        entries = self.entries(wanted)
        gone = {key for key in state.worker.entries if not key.startswith("_")} - entries.keys()
        return self._set(entries, state) + [f"del map {self._map} {key}" for key in sorted(gone)]

    def routes(self, wanted: Wanted, state: SideState) -> tuple[Route, ...]:
        groups = {slot: GroupName(group) for group, slot in wanted.slots.items()}
        entries = {key: value for key, value in state.worker.entries.items() if not key.startswith("_")}
        return tuple(
            _renamed(each, groups)
            for each in routes_of(entries)
            if all(slot in groups for slot in each.groups)
        )

    def in_flight(self, group: GroupName, wanted: Wanted, state: SideState) -> int:
        return state.worker.in_flight.get(wanted.slots[group], 0)

    def entries(self, wanted: Wanted) -> dict[str, str]:
        """With slots in place of groups."""
        slots = {group: GroupName(slot) for group, slot in wanted.slots.items()}
        return {
            str(key): text for key, text in map_of(_renamed(each, slots) for each in wanted.routes).items()
        }

    def weights(self, wanted: Wanted) -> dict[tuple[str, str], int]:
        return {}

    def _set(self, entries: dict[str, str], state: SideState) -> list[str]:
        before = state.worker.entries
        return [
            f"{'set' if key in before else 'add'} map {self._map} {key} {value}"
            for key, value in entries.items()
            if before.get(key) != value
        ]


def _renamed(route: Route, names: dict[str, GroupName]) -> Route:
    return replace(
        route,
        application=ApplicationName(route.application),
        first=names[route.first],
        second=names[route.second] if route.second is not None else None,
        testers=names[route.testers] if route.testers is not None else None,
        spare=names[route.spare] if route.spare is not None else None,
        baseline=names[route.baseline] if route.baseline is not None else None,
    )


def mode_of(backend: Backend) -> str:
    return "tcp" if any(front.is_tcp for front in backend.fronts) else "http"


def placed(wanted: Wanted, layout: Layout, state: SideState) -> tuple[list[str], list[str], list[str]]:
    """What to say of servers: before traffic is split anew, after it, and the names of those to delete."""
    present = {(each.group, each.host): each for each in _ours(layout, state)}
    kept = {(backend, str(server.host)): server for backend, server in wanted.servers()}
    arriving, leaving, words = [], [], wanted.words
    for (backend, host), server in kept.items():
        name, known = f"{backend}/{host}", present.get((backend, host))
        if known is None:
            arriving += [
                f"add server {backend}/{host_at(server)}{words.get(backend, '')} "
                f"{CHECKS}{layout.first_weight}",
                f"enable health {name}",
            ]
        is_enabled = known is not None and known.is_enabled
        if server.is_enabled and not is_enabled:
            arriving += [f"set server {name} weight 0"] if layout.first_weight and known else []
            arriving.append(f"set server {name} state ready")
        elif is_enabled and not server.is_enabled:
            leaving.append(f"set server {name} state maint")
    gone = sorted(present.keys() - kept.keys())
    leaving += [f"set server {'/'.join(name)} state maint" for name in gone if present[name].is_enabled]
    return arriving, leaving, [f"{backend}/{host}" for backend, host in gone]


def lacking(wanted: Wanted, layout: Layout, state: SideState) -> tuple[list[str], list[str]]:
    """All that must be said to one HAProxy, and the servers to be deleted after it. Both are empty when it is
    as wanted."""
    arriving, leaving, gone = placed(wanted, layout, state)
    marks = layout.mark(wanted.owner, state)
    return [*marks, *arriving, *layout.steer(wanted, state), *leaving], gone


def host_at(server: Server) -> str:
    return f"{server.host} {endpoint(server.address, server.port)}"


def _ours(layout: Layout, state: SideState) -> Iterator[ServerState]:
    for each in state.worker.servers:
        if layout.is_ours(each.group) and not each.host.startswith("_"):
            yield each


CHECKS = "check inter 1s fastinter 250ms downinter 250ms"
"""Whether a server takes connections; whether it is healthy is the agent's to find out."""
