"""Each front of an application as an application of its own, and back. Pure.

For balancers on which an application has one port and a group one pool. The main front keeps the names that
there are; `admin` of shop is called `shop.admin`, and its pool of shop-v012 is `shop.admin-v012`. No
application has a dot in its name.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from repave_agent.core.ports import Backend, Frontend, Route, Server, Structure
from repave_protos.protocol.fronts import TrafficFront
from repave_protos.protocol.values import BY_REQUEST, ApplicationName, GroupName

DOT = "."


def owner_of(name: ApplicationName) -> tuple[ApplicationName, str]:
    """The application, and which of its further fronts it is: ("shop", "admin"); ("shop", "") for shop."""
    application, _, front = name.partition(DOT)
    return ApplicationName(application), front


def owner_of_group(group: GroupName) -> tuple[GroupName, str]:
    """The same of a group: ("shop-v012", "admin")."""
    name, version, number = group.rpartition("-v")
    application, _, front = name.partition(DOT)
    return GroupName(f"{application}{version}{number}"), front


def is_main(name: str) -> bool:
    """Of an application, a group or a route's application."""
    return DOT not in name


def at_front(group: GroupName, front: str) -> GroupName:
    """What the group is called at a further front: shop.admin-v012."""
    name, version, number = group.rpartition("-v")
    return GroupName(f"{name}{DOT}{front}{version}{number}")


# ---------------------------------------------------------------------------------------------- apart


def apart(structure: Structure) -> Structure:
    """With one front for each application, and one for each group."""
    return Structure(
        tuple(part for each in structure.frontends for part in frontends_apart(each)),
        tuple(part for each in structure.backends for part in backends_apart(each)),
    )


def frontends_apart(frontend: Frontend) -> tuple[Frontend, ...]:
    """The main front's first."""
    if not frontend.fronts:
        return (frontend,)
    main, *further = frontend.fronts
    names = (frontend.application, *(f"{frontend.application}{DOT}{front.name}" for front in further))
    return tuple(
        Frontend(
            ApplicationName(name),
            front.port,
            BY_REQUEST if front.is_tcp else frontend.split,
            frontend.client_seconds,
            (front,),
        )
        for name, front in zip(names, (main, *further), strict=True)
    )


def backends_apart(backend: Backend) -> tuple[Backend, ...]:
    """The main front's first."""
    if not backend.fronts:
        return (backend,)
    main, *further = backend.fronts
    names = (backend.group, *(at_front(backend.group, front.name) for front in further))
    return tuple(_pool(name, backend, front) for name, front in zip(names, (main, *further), strict=True))


def _pool(name: GroupName, backend: Backend, front: TrafficFront) -> Backend:
    """At another port than the probe's the balancer looks whether it answers; the probe is the agent's."""
    servers = tuple(replace(each, port=front.to or each.port) for each in backend.servers)
    probe = backend.probe
    if front.to not in (0, probe.port):
        probe = replace(probe, kind="tcp", port=front.to, headers=(), host="")
    return Backend(name, servers, probe, backend.timeouts, (front,))


def routes_apart(routes: Iterable[Route], there: Structure) -> tuple[Route, ...]:
    """Those of all fronts that are there (by their own names). A group that lacks a front gets none of its
    requests, as long as the other one has it."""
    further: defaultdict[ApplicationName, list[Frontend]] = defaultdict(list)
    for frontend in there.frontends:
        application, front = owner_of(frontend.application)
        if front:
            further[application].append(frontend)
    made = []
    for route in routes:
        made.append(route)
        parts = (_route_at(route, frontend, there) for frontend in further[route.application])
        made += [part for part in parts if part is not None]
    return tuple(made)


def _route_at(route: Route, frontend: Frontend, there: Structure) -> Route | None:
    _, front = owner_of(frontend.application)

    def named(group: GroupName | None) -> GroupName | None:
        name = at_front(group, front) if group is not None else None
        return name if name is not None and there.backend(name) is not None else None

    first, second, baseline = named(route.first), named(route.second), named(route.baseline)
    testers = named(route.testers) if frontend.split.tester_by else None
    if first is None or second is None:
        only = first or second
        return Route(frontend.application, only, testers=testers, spare=named(route.spare)) if only else None
    return replace(
        route,
        application=frontend.application,
        first=first,
        second=second,
        testers=testers,
        spare=named(route.spare),
        baseline=baseline,
        baseline_bp=route.baseline_bp if baseline is not None else 0,
    )


# ------------------------------------------------------------------------------------------- together


def together(there: Structure, asked: Sequence[Structure]) -> Structure:
    """What is there, with its fronts. `asked`: what was, the last first. An application or group that is as
    one of these asks is what that one says; of another as much as can be told. What a front lacks shows by
    the front being away: so the whole is not as wanted. A front that is left of what is asked for no more
    shows by its own name: it is still to go."""
    frontends: defaultdict[ApplicationName, list[Frontend]] = defaultdict(list)
    for frontend in sorted(there.frontends, key=lambda each: not is_main(each.application)):
        frontends[owner_of(frontend.application)[0]].append(frontend)
    backends: defaultdict[GroupName, list[Backend]] = defaultdict(list)
    for backend in sorted(there.backends, key=lambda each: not is_main(each.group)):
        backends[owner_of_group(backend.group)[0]].append(backend)
    whole_frontends = [
        _frontend(tuple(parts), [structure.frontend(name) for structure in asked])
        for name, parts in frontends.items()
        if is_main(parts[0].application)
    ]
    whole_backends = [
        _backend(tuple(parts), [structure.backend(group) for structure in asked])
        for group, parts in backends.items()
        if is_main(parts[0].group)
    ]
    left = Structure()
    for last in asked[:1]:
        names = [name for name, parts in frontends.items() if not is_main(parts[0].application)]
        groups = [group for group, parts in backends.items() if not is_main(parts[0].group)]
        left = Structure(
            tuple(part for name in names if last.frontend(name) is None for part in frontends[name]),
            tuple(part for group in groups if last.backend(group) is None for part in backends[group]),
        )
    return Structure((*whole_frontends, *left.frontends), (*whole_backends, *left.backends))


def _frontend(parts: tuple[Frontend, ...], asked: Iterable[Frontend | None]) -> Frontend:
    for known in asked:
        if known is not None and frontends_apart(known) == parts:
            return known
    main, *further = parts
    if not further:
        return main
    fronts = (_front(each, owner_of(each.application)[1]) for each in further)
    return replace(main, fronts=(main.all_fronts[0], *fronts))


def _front(frontend: Frontend, name: str) -> TrafficFront:
    return replace(frontend.all_fronts[0], name=name)


def _backend(parts: tuple[Backend, ...], asked: Iterable[Backend | None]) -> Backend:
    for known in asked:
        if known is not None and backends_apart(known) == parts:
            return known
    main, *further = parts
    if not further:
        return main
    enabled = {each.host for part in parts for each in part.servers if each.is_enabled}
    servers = tuple(replace(each, is_enabled=each.host in enabled) for each in main.servers)
    is_alike = [each for each in further if _places(each.servers) == _places(main.servers)]
    own = main.fronts or (TrafficFront("main", 0),)
    return replace(
        main, servers=servers, fronts=(*own, *(each.fronts[0] for each in is_alike if each.fronts))
    )


def _places(servers: tuple[Server, ...]) -> list[tuple[str, str, bool]]:
    return [(each.host, each.address, each.is_enabled) for each in servers]


def routes_together(given: Sequence[Route], there: Structure) -> tuple[Route, ...]:
    """Those that all fronts have."""
    present = set(given)
    mains = [route for route in given if is_main(route.application)]
    return tuple(route for route in mains if present.issuperset(routes_apart((route,), there)))
