"""Refuses what must not reach a balancer: what could be read as syntax, or could send requests nowhere."""

import ipaddress
import re
from collections.abc import Callable, Collection
from typing import TypeVar

from repave_agent.core.health_request import request_fault
from repave_agent.core.ports import (
    Backend,
    BalancerError,
    Frontend,
    Route,
    Server,
    Structure,
    UnfitError,
)
from repave_protos.protocol.fronts import (
    PortConflict,
    TrafficFront,
    ability_in_words,
    conflict,
    front_faults,
    needs,
    ports_of,
)
from repave_protos.protocol.values import FULL_WEIGHT_BP, ApplicationName, Probe, split_contradictions

Part = TypeVar("Part")

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,127}")


def check_structure(structure: Structure, takes: Collection[str] = ()) -> None:
    """Raises UnfitError for what must not reach a configuration: nothing in it may be read as syntax.
    `takes`: the abilities of the balancer that fronts may need."""
    _check_unique("application", [frontend.application for frontend in structure.frontends])
    _check_unique("server group", [backend.group for backend in structure.backends])
    frontends = {each.application: _fault(_check_frontend, each) for each in structure.frontends}
    frontends |= _late_for_their_port(structure.frontends)
    frontends |= {each.application: fault for each in structure.frontends if (fault := _lack(each, takes))}
    backends = {each.group: _fault(_check_backend, each) for each in structure.backends}
    unfit_frontends = {name: why for name, why in frontends.items() if why}
    unfit_backends = {name: why for name, why in backends.items() if why}
    if unfit_frontends or unfit_backends:
        raise UnfitError(unfit_frontends, unfit_backends)


def frontend_fault(frontend: Frontend, present: tuple[Frontend, ...], takes: Collection[str] = ()) -> str:
    """Why it can't join those that are present, as far as these say; "" when it can. `takes`: as above."""
    others = tuple(each for each in present if each.application != frontend.application)
    late = _late_for_their_port((*others, frontend))
    own = _fault(_check_frontend, frontend) or _lack(frontend, takes)
    return own or late.get(frontend.application, "")


def _lack(frontend: Frontend, takes: Collection[str]) -> str:
    lacking = [ability_in_words(ability) for ability in needs(frontend.fronts) if ability not in takes]
    return f"{frontend.application}: this balancer has no {' and no '.join(lacking)}" if lacking else ""


def _fault(check: Callable[[Part], None], part: Part) -> str:
    try:
        check(part)
    except BalancerError as error:
        return str(error)
    return ""


def _late_for_their_port(frontends: tuple[Frontend, ...]) -> dict[ApplicationName, str]:
    """Of several that want one port and can't share it, all but the first."""
    there: dict[int, list[tuple[ApplicationName, TrafficFront]]] = {}
    late = {}
    for frontend in frontends:
        known = [(front, port) for front in frontend.all_fronts for port in ports_of(front)]
        for front, port in known:
            for owner, other in there.get(port, ()):
                if found := conflict(front, other):
                    late[frontend.application] = _late(frontend, owner, found)
        if frontend.application not in late:
            for front, port in known:
                there.setdefault(port, []).append((frontend.application, front))
    return late


def _late(frontend: Frontend, owner: ApplicationName, found: PortConflict) -> str:
    text = f"{frontend.application}: port {found.port} is that of {owner}: "
    if found.is_plain:
        return f"{text}give one of them another traffic.port"
    return f"{text}{found.why}"


def _check_frontend(frontend: Frontend) -> None:
    check_name("application", frontend.application)
    _check_port(frontend.application, frontend.port)
    wrong = split_contradictions(frontend.split) + front_faults(frontend.fronts)
    if frontend.fronts and frontend.fronts[0].port != frontend.port:
        wrong.append(
            f"its first front has port {frontend.fronts[0].port}, and clients come to {frontend.port}"
        )
    if wrong:
        raise BalancerError(f"{frontend.application}: {'; '.join(wrong)}")


def _check_backend(backend: Backend) -> None:
    check_name("server group", backend.group)
    _check_unique(f"host of {backend.group}", [server.host for server in backend.servers])
    _check_probe(backend.group, backend.probe)
    for server in backend.servers:
        _check_server(server)


def check_routes(routes: tuple[Route, ...], structure: Structure) -> None:
    """Raises BalancerError when a route could send requests nowhere."""
    _check_unique("route of application", [route.application for route in routes])
    for route in routes:
        check_name("application", route.application)
        if not 0 <= route.second_bp <= FULL_WEIGHT_BP or (route.second is None and route.second_bp):
            raise BalancerError(
                f"{route.application}: {route.second_bp} basis points for {route.second or 'no second group'}"
                f" make no split: give a second group 0 to {FULL_WEIGHT_BP}"
            )
        if route.second == route.first:
            raise BalancerError(f"{route.application}: {route.first} is both sides of the split")
        _check_baseline(route)
        frontend = structure.frontend(route.application)
        if route.testers is not None and (frontend is None or not frontend.split.tester_by):
            raise BalancerError(
                f"{route.application}: nothing says who is a tester for {route.testers}: arrange the frontend"
                " with a testers' mark first"
            )
        for group in route.groups:
            if structure.backend(group) is None:
                raise BalancerError(
                    f"{route.application} cannot be routed to {group}: the balancer has no such backend;"
                    " arrange it first"
                )


def _check_baseline(route: Route) -> None:
    """Raises BalancerError unless the baseline, if there is one, is a third group with a share of its own."""
    if route.baseline is None and not route.baseline_bp:
        return
    if route.baseline is None or route.second is None or route.baseline in (route.first, route.second):
        raise BalancerError(f"{route.application}: {route.baseline} can't be a baseline beside two groups")
    if route.baseline_bp < 0 or route.second_bp + route.baseline_bp > FULL_WEIGHT_BP:
        shares = f"{route.second_bp} and {route.baseline_bp} basis points"
        raise BalancerError(f"{route.application}: {shares} are more than there are")


def check_name(what: str, name: str) -> None:
    """Raises BalancerError unless `name` is one that needs no quoting anywhere."""
    if not _NAME.fullmatch(name):
        raise BalancerError(
            f"{what} {name!r}: a name is made of a-z, 0-9, '.' and '-', at most 128 characters"
        )


def check_address(what: str, address: str) -> None:
    """Raises BalancerError unless `address` is a literal IP address."""
    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise BalancerError(f"{what}: {address!r} is not an IP address") from None


def _check_server(server: Server) -> None:
    check_name("host", server.host)
    check_address(f"host {server.host}", server.address)
    _check_port(server.host, server.port)


def _check_port(of: str, port: int) -> None:
    if not 1 <= port <= 65535:
        raise BalancerError(f"{of}: port {port} is not between 1 and 65535")


def _check_probe(group: str, probe: Probe) -> None:
    if probe.kind == "http" and (fault := request_fault(probe)):
        raise BalancerError(f"{group}: {fault}")
    if probe.kind == "http" and not 100 <= probe.expect_status <= 599:
        raise BalancerError(f"{group}: {probe.expect_status} is no HTTP status to expect")
    if min(probe.interval_seconds, probe.timeout_seconds) < 0.001 or probe.timeout_seconds > 3600:
        raise BalancerError(f"{group}: the probe's interval and timeout must be between 1 ms and one hour")
    if not (1 <= probe.healthy_after <= 1000 and 1 <= probe.unhealthy_after <= 1000):
        raise BalancerError(f"{group}: healthy_after and unhealthy_after must be between 1 and 1000")


def _check_unique(what: str, names: list[str]) -> None:
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise BalancerError(f"{what} {twice} appears twice")
