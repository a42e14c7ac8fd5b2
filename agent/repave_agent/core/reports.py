"""Sums up a region for the controller: one report for each application. Pure."""

from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType

from repave_agent.core.observation import Observation
from repave_agent.core.ports import BackendView, Route
from repave_agent.core.reconcile import Plan, has_given_up
from repave_agent.core.traffic import left_out_since, why_left_out
from repave_agent.core.worn import is_aged, is_outdated, listed, next_due_at, oldest_at, present, wear_of
from repave_protos.protocol.values import (
    ZERO_EPOCH,
    ApplicationName,
    ApplicationReport,
    DesiredGroup,
    DesiredState,
    GroupName,
    GroupReport,
    HostPhase,
    JobReport,
    RecordReport,
    Worn,
)

SHUT_OUT_SECONDS = 10.0
BALANCER_DEAD = "the balancer does not run and can't be started: the agent's log says why"


def reports(
    observation: Observation,
    troubles: dict[GroupName, str],
    refusals: dict[ApplicationName, str],
    records: Mapping[ApplicationName, RecordReport] = MappingProxyType({}),
    jobs: Callable[[ApplicationName], tuple[JobReport, ...]] = lambda _: (),
) -> dict[ApplicationName, ApplicationReport]:
    """What is sent up: counts by phase and what the balancer acknowledged, under the accepted epoch."""
    result = {}
    for state in observation.desired:
        groups = tuple(_group(group, state, observation, troubles) for group in state.groups)
        refusal = refusals.get(state.application, "")
        record = records.get(state.application)
        result[state.application] = ApplicationReport(
            state.application, state.epoch, groups, refusal, record, jobs(state.application)
        )
    for application in sorted(refusals.keys() - observation.claims.accepted):
        result[application] = ApplicationReport(application, ZERO_EPOCH, refusal=refusals[application])
    return result


def ends_a_step(before: ApplicationReport | None, after: ApplicationReport) -> bool:
    """Whether a step may be done by it, or have failed: the controller decides as soon as it knows."""
    if before is None or after is before:
        return False
    if after.refusal and after.refusal != before.refusal:
        return True
    if after.jobs != before.jobs:
        return True
    known = {group.group: group for group in before.groups}
    return any(_is_turned(known[group.group], group) for group in after.groups if group.group in known)


def _is_turned(before: GroupReport, after: GroupReport) -> bool:
    is_made = not after.launching and bool(before.launching)
    has_given_up = after.has_given_up and not before.has_given_up
    has_moved = after.weight_bp != before.weight_bp
    return is_made or has_given_up or has_moved or (_is_whole(after) and not _is_whole(before))


def _is_whole(group: GroupReport) -> bool:
    """All its hosts are verified, and up behind the balancer."""
    under_way = group.launching + group.starting + group.healthy
    return not under_way and 0 < group.verified <= group.balancer_up


def with_troubles(
    observation: Observation,
    plan: Plan,
    troubles: dict[GroupName, str],
    outside: tuple[str, ...],
    of_balancer: str = "",
) -> dict[GroupName, str]:
    """The trouble of each group: what withholds its traffic or its launches, its own trouble, and that of the
    provider (`outside`), which concerns them all, and of the balancer, which concerns no worker."""
    held, in_traffic = plan.held, (of_balancer, *outside)
    if not observation.balancer.is_running:
        held, in_traffic = (), (BALANCER_DEAD, *in_traffic)
    lines = {
        group.name: [*(outside if state.is_worker else in_traffic), why_left_out(group, state, observation)]
        for state in observation.desired
        for group in state.groups
    }
    for each in held:
        for group in each.groups:
            lines[group].insert(0, each.why)
    for name, why in plan.waits:
        lines[name].append(why)
    for name, texts in lines.items():
        if name in troubles:
            texts.append(troubles[name])
    return {name: "; ".join(dict.fromkeys(filter(None, texts))) for name, texts in lines.items()}


def worn_hosts(group: DesiredGroup, observation: Observation) -> list[Worn]:
    """Those that are there, or that are being replaced; sorted by name."""
    hosts, fact = observation.hosts_of(group.name), observation.group(group.name)
    there = {host.name for host in present(hosts)} | set(group.replace)
    found = (wear_of(host, group, fact, observation.now) for host in hosts if host.name in there)
    return sorted((worn for worn in found if worn is not None), key=lambda worn: worn.host)


def _left(group: DesiredGroup, route: Route | None, backend: BackendView | None) -> int:
    """Connections of a group that gets no new requests. Those of others change at every look."""
    if backend is None or (route is not None and route.reaches(group.name)):
        return 0
    return backend.in_flight if backend.is_exact or group.count == 0 else 0


def _is_shut_out(group: DesiredGroup, state: DesiredState, observation: Observation) -> bool:
    """Whether the balancer refuses it, again and again: no waiting helps a group that has not served yet."""
    since = left_out_since(group, state, observation)
    is_long = since is not None and observation.now - since >= SHUT_OUT_SECONDS
    return is_long and not group.is_proven


def _group(
    group: DesiredGroup, state: DesiredState, observation: Observation, troubles: dict[GroupName, str]
) -> GroupReport:
    phases = Counter(host.phase for host in observation.hosts_of(group.name))
    fact = observation.group(group.name)
    route = observation.balancer.route(state.application)
    backend = observation.balancer.backend(group.name)
    up = backend.servers_up if backend else 0
    weight_bp = route.weight_bp(group.name) if route else 0
    if group.template.is_worker:  # no balancer has to agree: who is verified works, as soon as it is accepted
        up, weight_bp = phases[HostPhase.VERIFIED], group.weight_bp
    hosts, now = present(observation.hosts_of(group.name)), observation.now
    is_kept = group.count > 0
    return GroupReport(
        group=group.name,
        launching=phases[HostPhase.LAUNCHING],
        starting=phases[HostPhase.STARTING],
        healthy=phases[HostPhase.HEALTHY],
        verified=phases[HostPhase.VERIFIED],
        unhealthy=phases[HostPhase.UNHEALTHY],
        failed=phases[HostPhase.FAILED],
        destroying=phases[HostPhase.DESTROYING],
        balancer_up=up,
        weight_bp=weight_bp,
        in_flight=_left(group, route, backend),
        launched_total=fact.launched_total,
        destroyed_total=fact.destroyed_total,
        has_given_up=is_kept
        and (has_given_up(group, observation) or _is_shut_out(group, state, observation)),
        trouble=troubles.get(group.name, ""),
        worn=listed(worn_hosts(group, observation), group) if is_kept else (),
        aged=sum(is_aged(host, group, now) for host in hosts),
        drifted=sum(bool(host.drift) for host in hosts),
        outdated=sum(is_outdated(host.name, fact) for host in hosts),
        oldest_at=oldest_at(hosts),
        due_at=next_due_at(hosts, group, now) if is_kept else 0.0,
    )
