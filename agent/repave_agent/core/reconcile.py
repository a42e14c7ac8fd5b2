"""Decides what the agent does next: the difference between what is wanted and what there is, as actions.

Pure and level-triggered: the same observation gives the same actions, and an action that was lost or done
twice does no harm. What the balancer shall look like is chosen in `traffic.py`.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from repave_agent.core import orphans
from repave_agent.core.observation import HostFact, Limits, Observation, judged_once
from repave_agent.core.ports import Route, Structure
from repave_agent.core.traffic import (
    Held,
    Share,
    Shares,
    enabled,
    is_awaited,
    is_replaced,
    is_routed,
    keepers,
    may_detach,
    needs_drain,
    shares_of,
    wanted_routes,
    wanted_structure,
)
from repave_agent.core.worn import worn_instants
from repave_protos.protocol.values import (
    ApplicationName,
    DesiredGroup,
    DesiredState,
    GroupName,
    HostName,
    HostPhase,
)

FAILURES_ENDURED = 5
"""Hosts of a group that may fail before it is given up, or one of five hosts where these are more."""
SETBACKS_REPORTED = 3
"""So many in a row are more than an accident."""
ALIVE = (HostPhase.LAUNCHING, HostPhase.STARTING, HostPhase.HEALTHY, HostPhase.VERIFIED)


@dataclass(frozen=True, slots=True)
class Launch:
    """Make `count` fresh hosts of the group."""

    group: DesiredGroup
    state: DesiredState
    count: int


@dataclass(frozen=True, slots=True)
class Destroy:
    """End this host and leave nothing of it."""

    host: HostName
    group: GroupName
    why: str


@dataclass(frozen=True, slots=True)
class Arrange:
    """Make the balancer's structure be this."""

    structure: Structure


@dataclass(frozen=True, slots=True)
class Steer:
    """Make the traffic split be this."""

    routes: tuple[Route, ...]


@dataclass(frozen=True, slots=True)
class BeginDrain:
    """Note that the retiring group is out of traffic: its requests in flight have until the drain's end."""

    group: GroupName


Action = Launch | Destroy | Arrange | Steer | BeginDrain


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now, what is held back and why, when to look again at the latest, and when the provider must
    be asked for its hosts anew. `resting`: applications of which nothing is awaited, and when that changes by
    the passing of time alone."""

    actions: tuple[Action, ...]
    held: tuple[Held, ...]
    wake_at: float | None
    list_at: float | None = None
    waits: tuple[tuple[GroupName, str], ...] = ()  # groups whose launches are put off, and why
    shares: Shares = field(default_factory=dict)  # of all applications
    resting: Mapping[ApplicationName, float] = field(default_factory=dict)

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to do, now or later."""
        return not self.actions and self.wake_at is None and self.list_at is None


def reconcile(observation: Observation, limits: Limits, shares: Shares | None = None) -> Plan:
    """The actions that bring the region nearer to what is desired. Applications that are not observed are at
    rest: nothing is to be done of them but that the balancer keeps their `shares`."""
    shares = {**(shares or {}), **shares_of(observation)}
    actions: list[Action] = []
    under_way = sum(host.phase is HostPhase.LAUNCHING for host in observation.hosts)
    room = min(limits.launches_in_flight - under_way, _room_of_minute(observation, limits))
    for state in observation.desired:
        for group in state.groups:
            launch = _launch(group, state, observation, room)
            if launch is not None:
                actions.append(launch)
                room -= launch.count
    routes, held = wanted_routes(observation, shares)
    if not observation.is_balancer_busy:
        # While it is being changed its view is old: a host may be put into traffic just now.
        actions += _drains(observation)
        actions += _destroys(observation, limits)
        actions += _balances(routes, held, wanted_structure(observation, shares), observation)
    list_at = orphans.list_at(observation, limits)
    waits = tuple(_waits(observation, limits))
    wake_at = _wake_at(observation, limits)
    return Plan(tuple(actions), held, wake_at, list_at, waits, shares, _resting(observation, shares))


def _resting(observation: Observation, shares: Shares) -> dict[ApplicationName, float]:
    if observation.is_balancer_busy:
        return {}
    return {
        state.application: min(_later(_instants(state, observation), observation.now), default=math.inf)
        for state in observation.desired
        if is_at_rest(state, shares[state.application], observation)
    }


def is_at_rest(state: DesiredState, share: Share, observation: Observation) -> bool:
    """Whether nothing is awaited of the application: all its hosts are verified, as many as are wanted, and
    the balancer has all of it and sees all of it up. It need not be looked at until something changes."""
    if share.held or not observation.balancer.is_running or is_awaited(state, observation):
        return False
    if any(
        name in observation.left_out for name in (state.application, *(each.name for each in state.groups))
    ):
        return False
    return share.is_had(state, observation.balancer) and all(
        _is_group_at_rest(group, observation) for group in state.groups
    )


def _is_group_at_rest(group: DesiredGroup, observation: Observation) -> bool:
    hosts = observation.by_group.get(group.name, ())
    if any(host.phase is not HostPhase.VERIFIED for host in hosts):
        return False
    if group.count == 0:
        return not hosts
    return _missing(group, observation) <= 0 and not _replaced(group, observation)


def _balances(
    routes: tuple[Route, ...], held: tuple[Held, ...], structure: Structure, observation: Observation
) -> Iterator[Steer | Arrange]:
    if not observation.balancer.is_running:
        return
    if set(routes) != set(observation.balancer.routes) and not any(each.is_blind for each in held):
        yield Steer(routes)
    if structure != observation.balancer.structure:
        yield Arrange(structure)


# -------------------------------------------------------------------------------------------- launching


def _launch(group: DesiredGroup, state: DesiredState, observation: Observation, room: int) -> Launch | None:
    fact = observation.group(group.name)
    if group.count == 0 or observation.now < fact.retry_at or has_given_up(group, observation):
        return None
    missing = min(_missing(group, observation), room)
    return Launch(group, state, missing) if missing > 0 else None


def _missing(group: DesiredGroup, observation: Observation) -> int:
    """None of an adopted group: what is lost of it is told, and not replaced."""
    return 0 if group.is_adopted else group.count - _held_places(group, observation)


def _room_of_minute(observation: Observation, limits: Limits) -> int:
    return limits.launches_per_minute - len(_of_last_minute(observation))


def _of_last_minute(observation: Observation) -> list[float]:
    return [at for at in observation.launches_begun if at > observation.now - orphans.MINUTE_SECONDS]


def _waits(observation: Observation, limits: Limits) -> Iterator[tuple[GroupName, str]]:
    """Why groups that lack hosts get none now, and ones that shall end do not; not what is over in a moment,
    or changes at every look."""
    for state in observation.desired:
        for group in state.groups:
            if observation.hosts_of(group.name) and (why := _why_it_works_on(group, state, observation)):
                yield group.name, why
    is_full = _room_of_minute(observation, limits) <= 0
    for group in (group for state in observation.desired for group in state.groups if group.count > 0):
        fact = observation.group(group.name)
        if has_given_up(group, observation) or _missing(group, observation) <= 0:
            continue
        if observation.now < fact.retry_at and fact.setbacks >= SETBACKS_REPORTED:
            pause = fact.retry_at - fact.setback_at
            yield group.name, f"its hosts keep failing: the next one is launched {pause:.0f} s after the last"
        elif is_full:
            yield group.name, f"launches wait: {limits.launches_per_minute} were begun within a minute"


@judged_once
def _held_places(group: DesiredGroup, observation: Observation) -> int:
    """Places of the group that need no fresh host. A host that is replaced holds none.

    Unhealthy hosts are replaced a tenth at a time: when a check turns bad for all of them, replacing the
    whole fleet at once would not help. 20 hosts, 8 unhealthy: 12 alive + 6 that wait = 18, 2 are launched.
    Once these are verified 2 of the 8 only finish their requests: 14 + (6 - 2) = 18, the next 2 are launched.
    """
    alive = _lasting(observation.hosts_of(group.name, *ALIVE), group)
    unhealthy = _lasting(observation.hosts_of(group.name, HostPhase.UNHEALTHY), group)
    waiting = len(unhealthy) - len(_lasting(_outlived(group, observation), group))
    replaced_at_once = max(1, group.count // 10)
    return len(alive) + max(0, waiting - replaced_at_once)


def _lasting(hosts: list[HostFact], group: DesiredGroup) -> list[HostFact]:
    return [host for host in hosts if not is_replaced(host, group)]


def has_given_up(group: DesiredGroup, observation: Observation) -> bool:
    """A group that has not proved itself is given up once too many of its hosts have failed; a proven one is
    healed for ever (with pauses that grow to minutes, also when its hosts only fail later)."""
    fact = observation.group(group.name)
    if fact.is_proven or group.is_proven:
        return False
    return bool(fact.refused) or fact.failures > _failures_endured(group)


def _failures_endured(group: DesiredGroup) -> int:
    """A group of one host is tried for about 17 s where each host ends at once, for the pauses double; one of
    10 hosts that all fail at once is given up at once."""
    if group.template.launch_failures is not None:
        return group.template.launch_failures
    return max(FAILURES_ENDURED, group.count // 5)


# ----------------------------------------------------------------------------------- draining, destroying


def _drains(observation: Observation) -> Iterator[BeginDrain]:
    for state in observation.desired:
        for group in state.groups:
            fact = observation.group(group.name)
            is_leaving = group.count == 0 and fact.drain_since is None and needs_drain(group, observation)
            if is_leaving and not is_routed(group, state, observation):
                yield BeginDrain(group.name)


def _destroys(observation: Observation, limits: Limits) -> list[Destroy]:
    """A host of a worker may take minutes to end, for it finishes its work: those of one such application
    hold up no other one."""
    destroying = Counter(each.application for each in observation.hosts if each.phase is HostPhase.DESTROYING)
    shared: list[Destroy] = []
    chosen: list[Destroy] = []
    for state in observation.desired:
        wanted = [end for group in state.groups for end in _ends(group, state, observation)]
        if state.is_worker:
            chosen += wanted[: max(0, limits.destroys_in_flight - destroying.pop(state.application, 0))]
        else:
            shared += wanted
    shared += [
        Destroy(host.name, host.group, "it is an orphan") for host in orphans.to_end(observation, limits)
    ]
    return chosen + shared[: max(0, limits.destroys_in_flight - destroying.total())]


def _ends(group: DesiredGroup, state: DesiredState, observation: Observation) -> Iterator[Destroy]:
    if group.count == 0:
        yield from _retired(group, state, observation)
        return
    is_kept = group.keeps_failed and has_given_up(group, observation)
    for host in observation.hosts_of(group.name, HostPhase.FAILED) if not is_kept else ():
        if _is_out_of_traffic(host, observation):
            yield Destroy(host.name, host.group, "it failed")
    needed = enabled(group, observation)
    for host in _replaced(group, observation):
        is_free = host.name not in needed and _is_out_of_traffic(host, observation)
        if is_free and _is_drained(host, group, observation):
            yield Destroy(host.name, host.group, "a fresh host has taken its place")


def _retired(group: DesiredGroup, state: DesiredState, observation: Observation) -> Iterator[Destroy]:
    is_behind = observation.balancer.structure.backend(group.name) is not None
    is_sure = observation.balancer.is_consistent or not observation.group(group.name).was_routed
    if group.keeps_failed or is_behind or not is_sure or not may_detach(group, state, observation):
        return
    works_on = _why_it_works_on(group, state, observation)
    for host in observation.hosts_of(group.name):
        is_needed = works_on and host.phase is HostPhase.VERIFIED
        if host.phase not in (HostPhase.DESTROYING, HostPhase.LAUNCHING) and not is_needed:
            yield Destroy(host.name, host.group, "its group is retired")


def _why_it_works_on(group: DesiredGroup, state: DesiredState, observation: Observation) -> str:
    """Why the retired group of a worker is not stopped yet: who shall work in its place can't. Requests, too,
    stay with a group while the other one is not up. "" when it can, and of any other application."""
    for other in state.groups if state.is_worker and group.count == 0 else ():
        able, needed = len(keepers(other, observation)), max(1, other.ready_count)
        if other.weight_bp > 0 and able < needed:
            return f"its hosts work on: {able} of {needed} hosts of {other.name} are verified"
    return ""


@judged_once
def _replaced(group: DesiredGroup, observation: Observation) -> list[HostFact]:
    """Verified hosts that are not kept, unhealthy ones whose places fresh ones have taken, and replaced ones
    that were never verified, once they are not needed to become so."""
    kept = keepers(group, observation)
    names = {host.name for host in kept}
    spare = [host for host in observation.hosts_of(group.name, HostPhase.VERIFIED) if host.name not in names]
    is_whole = len(_lasting(kept, group)) >= group.count
    young = observation.hosts_of(group.name, HostPhase.STARTING, HostPhase.HEALTHY) if is_whole else []
    return spare + [host for host in young if is_replaced(host, group)] + _outlived(group, observation)


@judged_once
def _outlived(group: DesiredGroup, observation: Observation) -> list[HostFact]:
    """20 hosts, 8 unhealthy, 2 launched for them and now verified: 14 + 8 - 20 = 2 unhealthy ones may go."""
    unhealthy = observation.hosts_of(group.name, HostPhase.UNHEALTHY)
    unhealthy.sort(key=lambda host: (not is_replaced(host, group), host.launched_at, host.name))
    places = group.count - len(keepers(group, observation))
    return unhealthy[: max(0, len(unhealthy) - places)]


def _is_drained(host: HostFact, group: DesiredGroup, observation: Observation) -> bool:
    """Whether the host has finished its requests, or its time to do so is over."""
    backend = observation.balancer.backend(group.name)
    if backend is None or backend.in_flight == 0:
        return True
    return host.idle_since is not None and observation.now >= host.idle_since + group.template.drain_seconds


def _is_out_of_traffic(host: HostFact, observation: Observation) -> bool:
    """Whether the balancer surely sends the host nothing; one that failed answers nothing anyway."""
    backend = observation.balancer.structure.backend(host.group)
    if backend is not None:
        return not any(server.host == host.name and server.is_enabled for server in backend.servers)
    was_routed = observation.group(host.group).was_routed
    return host.phase is HostPhase.FAILED or not was_routed or observation.balancer.is_consistent


# ----------------------------------------------------------------------------------------------- waking


def _wake_at(observation: Observation, limits: Limits) -> float | None:
    instants = [host.due_at for host in observation.hosts if host.due_at is not None]
    orphans_at = (orphans.list_at(observation, limits), orphans.room_at(observation, limits))
    instants += [instant for instant in orphans_at if instant is not None]
    if _room_of_minute(observation, limits) <= 0:
        instants.append(min(_of_last_minute(observation)) + orphans.MINUTE_SECONDS)
    for state in observation.desired:
        instants += _instants(state, observation)
    return min(_later(instants, observation.now), default=None)


def _instants(state: DesiredState, observation: Observation) -> Iterator[float]:
    """When something of the application is due that does not depend on a host's phase."""
    for group in state.groups:
        fact = observation.group(group.name)
        if fact.retry_at > observation.now:
            yield fact.retry_at
        if group.count == 0 and fact.drain_since is not None:
            yield fact.drain_since + group.template.drain_seconds
        elif group.count > 0:
            yield from worn_instants(observation.hosts_of(group.name), group)
            for host in _replaced(group, observation):
                if host.idle_since is not None:
                    yield host.idle_since + group.template.drain_seconds


def _later(instants: Iterable[float], now: float) -> Iterator[float]:
    return (instant for instant in instants if instant > now)
