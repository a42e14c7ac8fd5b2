"""Whether clients of every front are served: checked on the balancer as it is, when its structure changes.

Knows nothing of how an agent chooses fronts: groups with traffic either answer at one, or do not.
"""

from repave_agent.core.ports import Frontend, Structure
from repave_protos.protocol.values import ApplicationName, GroupName
from repave_simulation.world.place import Balancer, Place

PROMISE = 14


def check_fronts(place: Place, structure: Structure) -> None:
    """What is about to be arranged, while the split stays."""
    balancer = place.balancer
    for frontend in structure.frontends:
        application = frontend.application
        before, after = _further(balancer.structure.frontend(application)), _further(frontend)
        for front in before - after:
            for group in _having(balancer, balancer.structure, application, front):
                _broken(place, f"front {front} of {application} is closed, and {group} serves it")
        for front in after - before:
            having = _having(balancer, structure, application, front)
            for group in _sharing(balancer, application) - having:
                _broken(place, f"front {front} of {application} opens, and {group} serves without it")
        if balancer.structure.frontend(application) is None and not _has_hosts(structure, frontend):
            _broken(place, f"{application} is opened to clients, and has no hosts")


def _further(frontend: Frontend | None) -> set[str]:
    return {front.name for front in frontend.fronts[1:]} if frontend is not None else set()


def _sharing(balancer: Balancer, application: ApplicationName) -> set[GroupName]:
    """Groups to which requests are sent."""
    route = balancer.route(application)
    return {name for name in route.groups if route.weight_bp(name)} if route is not None else set()


def _having(
    balancer: Balancer, structure: Structure, application: ApplicationName, front: str
) -> set[GroupName]:
    """Of those, the ones that answer at the front."""
    backends = map(structure.backend, _sharing(balancer, application))
    return {each.group for each in backends if each and front in {own.name for own in each.fronts[1:]}}


def _has_hosts(structure: Structure, frontend: Frontend) -> bool:
    return any(
        each.servers for each in structure.backends if each.group.rpartition("-")[0] == frontend.application
    )


def _broken(place: Place, text: str) -> None:
    place.world.broken(PROMISE, f"{place.region}: {text}")
