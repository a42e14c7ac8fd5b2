"""The layout for an operator's HAProxy without a map: all groups of an application are servers of one
backend, and a route is their weights.

It is not exact: HAProxy gives requests to servers in turn by whole numbers up to 256, so a share is that of
the servers which are up. And it is not one command: those that get more come first, so that no request is
left without a server, and for some milliseconds both have traffic.
"""

from collections.abc import Sequence

from repave_agent.balancers.haproxy_runtime.layout import PASTE, Wanted
from repave_agent.balancers.haproxy_runtime.snippet import OWNER_MARK, POOL, is_tcp
from repave_agent.balancers.haproxy_runtime.socket import SideState
from repave_agent.balancers.shares import application_of, weights_of
from repave_agent.core.ports import Frontend, Route, Structure, UnfitError
from repave_protos.protocol.values import BY_REQUEST, ApplicationName, GroupName

NOWHERE = "127.0.0.1:1"
"""The owner's mark is a server that is never enabled."""


class WeightLayout:
    """Implements Layout without a map."""

    first_weight = " weight 0"
    falls_back, counts = False, False

    def is_ours(self, backend: str) -> bool:
        return backend.startswith(POOL)

    def owner(self, state: SideState) -> str | None:
        marks = (each.host for each in state.worker.servers if self.is_ours(each.group))
        return next((mark.removeprefix(OWNER_MARK) for mark in marks if mark.startswith(OWNER_MARK)), None)

    def mark(self, owner: str, state: SideState) -> list[str]:
        if self.owner(state) == owner:
            return []
        first = min(name for name in state.worker.in_flight if self.is_ours(name))
        return [f"add server {first}/{OWNER_MARK}{owner} {NOWHERE}"]

    def unmark(self, owner: str, state: SideState) -> list[str]:
        marks = [each for each in state.worker.servers if each.host == f"{OWNER_MARK}{owner}"]
        return [f"del server {each.group}/{each.host}" for each in marks]

    def lacks(self, state: SideState) -> list[str]:
        if any(self.is_ours(name) for name in state.worker.in_flight):
            return []
        return [f"no backend is called {POOL}APPLICATION: {PASTE}"]

    def refuses(self, frontend: Frontend, state: SideState) -> str:
        name = frontend.application
        if frontend.split != BY_REQUEST:
            return f"{name}: by weights alone there is no split by cookie or header, and no testers"
        has, wanted = state.worker.modes.get(f"{POOL}{name}"), "tcp" if is_tcp(frontend) else "http"
        if has is None:
            return f"{name} has no backend {POOL}{name}, so no frontend for port {frontend.port}"
        return "" if has == wanted else f"backend {POOL}{name} has mode {has}, and the spec asks for {wanted}"

    def fronts(self, state: SideState) -> tuple[Frontend, ...]:
        names = sorted(name.removeprefix(POOL) for name in state.worker.in_flight if self.is_ours(name))
        return tuple(Frontend(ApplicationName(name), 0) for name in names)

    def takes_baselines(self, state: SideState) -> bool:
        return False

    def assigned(self, structure: Structure, wanted: Wanted, states: Sequence[SideState]) -> dict[str, str]:
        """Frontends were looked at before; a group that keeps its place may have lost its frontend."""
        slots = {str(each.group): f"{POOL}{application_of(each.group)}" for each in structure.backends}
        lacking = {
            GroupName(group): f"{group}: there is no backend {pool}: {PASTE}"
            for group, pool in slots.items()
            if group not in wanted.slots and not all(pool in state.worker.in_flight for state in states)
        }
        if lacking:
            raise UnfitError(backends=lacking)
        return slots

    def steer(self, wanted: Wanted, state: SideState) -> list[str]:
        enabled = (each for each in state.worker.servers if each.is_enabled)
        present = {(each.group, each.host): each.weight for each in enabled}  # others join with 0
        rising: list[str] = []
        falling: list[str] = []
        for (pool, host), weight in self.weights(wanted).items():
            before = present.get((pool, host), 0)
            command = f"set server {pool}/{host} weight {weight}"
            if weight != before:
                (rising if weight > before else falling).append(command)
        return rising + falling

    def entries(self, wanted: Wanted) -> dict[str, str]:
        return {}

    def weights(self, wanted: Wanted) -> dict[tuple[str, str], int]:
        """Of every server that is enabled; those that no route reaches have 0."""
        given = {
            (f"{POOL}{route.application}", host): weight
            for route in wanted.routes
            for host, weight in weights_of(route, wanted.structure).items()
        }
        return {
            (pool, str(server.host)): given.get((pool, server.host), 0)
            for pool, server in wanted.servers()
            if server.is_enabled
        }

    def routes(self, wanted: Wanted, state: SideState) -> tuple[Route, ...]:
        """Those whose weights are all as they should be: weights alone do not say what was requested."""
        present = {(each.group, each.host): each.weight for each in state.worker.servers}
        expected = self.weights(wanted)

        def is_given(route: Route) -> bool:
            pool = f"{POOL}{route.application}"
            ours = {key: weight for key, weight in expected.items() if key[0] == pool}
            return any(ours.values()) and all(present.get(key) == weight for key, weight in ours.items())

        return tuple(route for route in wanted.routes if is_given(route))

    def in_flight(self, group: GroupName, wanted: Wanted, state: SideState) -> int:
        hosts = {str(server.host) for server in wanted.servers_of(group)}
        pool = wanted.slots[group]
        return sum(
            each.in_flight for each in state.worker.servers if each.group == pool and each.host in hosts
        )
