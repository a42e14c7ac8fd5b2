"""Short ways to say what a region wants and observes, for the tests of the agent's core."""

from collections.abc import Iterable
from dataclasses import replace

from repave_agent.core.observation import EMPTY_VIEW, GroupFact, HostFact, Observation
from repave_agent.core.ports import Backend, BackendView, BalancerView, Frontend, Route, Server, Structure
from repave_protos.protocol.values import (
    ApplicationName,
    DesiredGroup,
    DesiredState,
    Digest,
    Epoch,
    GroupName,
    HostName,
    HostPhase,
    Probe,
)
from tests.fakes.templates import a_template, changed

SHOP, TILL = ApplicationName("shop"), ApplicationName("till")
BLUE, GREEN = GroupName("shop-v001"), GroupName("shop-v002")
PORT = 8000
PROBE = Probe("http", 8080)
PROVEN = GroupFact(is_proven=True)
SERVED = GroupFact(is_proven=True, was_routed=True)


def a_group(name: GroupName = BLUE, **changes: object) -> DesiredGroup:
    group = DesiredGroup(
        name=name,
        digest=Digest("d" * 64),
        count=2,
        weight_bp=0,
        template=a_template(probe=PROBE),
    )
    return changed(group, changes)


def a_state(*groups: DesiredGroup, rev: int = 1, port: int = PORT) -> DesiredState:
    return DesiredState(SHOP, Epoch(1, 1, rev), port, groups)


def some_hosts(
    count: int, phase: HostPhase = HostPhase.VERIFIED, group: GroupName = BLUE, first: int = 1
) -> tuple[HostFact, ...]:
    """Hosts `first`, `first` + 1, ... of the group, each a second older than the next one."""
    return tuple(a_host(number, phase, group) for number in range(first, first + count))


def a_host(number: int, phase: HostPhase = HostPhase.VERIFIED, group: GroupName = BLUE) -> HostFact:
    name = HostName(f"{group}-{number}")
    return HostFact(name, group, SHOP, phase, f"127.9.0.{number}", 8080, launched_at=float(number))


def a_backend(hosts: Iterable[HostFact], *enabled: int) -> Backend:
    """All of them behind the balancer; those with these numbers enabled, every one if none is named."""
    members = tuple(hosts)
    names = {f"{host.group}-{number}" for host in members for number in enabled}
    servers = (
        Server(host.name, host.address, host.port, not enabled or host.name in names) for host in members
    )
    return Backend(members[0].group, tuple(servers), PROBE)


def all_disabled(backend: Backend) -> Backend:
    return replace(backend, servers=tuple(replace(server, is_enabled=False) for server in backend.servers))


def a_view(
    *backends: Backend, to: Route | GroupName | None = None, in_flight: int = 0, up: int | None = None
) -> BalancerView:
    """A running balancer with one frontend; `up` servers of each backend, by default those enabled."""
    route = Route(SHOP, to) if isinstance(to, str) else to
    views = (
        BackendView(
            backend.group,
            sum(server.is_enabled for server in backend.servers) if up is None else up,
            in_flight,
        )
        for backend in backends
    )
    frontends = (Frontend(SHOP, PORT),) if backends else ()
    routes = () if route is None else (route,)
    return BalancerView(True, Structure(frontends, backends), routes, tuple(views), old_workers=0)


def seen(
    state: DesiredState | tuple[DesiredState, ...],
    hosts: Iterable[HostFact] = (),
    balancer: BalancerView | None = None,
    now: float = 100.0,
    *,
    is_busy: bool = False,
    **facts: GroupFact,
) -> Observation:
    """`blue=` and `green=` are the facts of those groups."""
    names = {"blue": BLUE, "green": GREEN}
    return Observation(
        now=now,
        desired=state if isinstance(state, tuple) else (state,),
        hosts=tuple(hosts),
        groups={names[key]: fact for key, fact in facts.items()},
        balancer=balancer if balancer is not None else replace(EMPTY_VIEW, is_running=True),
        is_balancer_busy=is_busy,
    )
