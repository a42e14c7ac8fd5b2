"""Sums up a region for the controller: one report for each application. Pure."""

from collections import Counter

from repave_agent.observation import Observation
from repave_agent.reconcile import has_given_up
from repave_protos.values import (
    ApplicationName,
    ApplicationReport,
    DesiredGroup,
    DesiredState,
    GroupName,
    GroupReport,
    HostPhase,
)


def reports(
    observation: Observation, troubles: dict[GroupName, str], refusals: dict[ApplicationName, str]
) -> dict[ApplicationName, ApplicationReport]:
    """What is sent up: counts by phase and what the balancer acknowledged, under the accepted epoch."""
    result = {}
    for state in observation.desired:
        groups = tuple(_group(group, state, observation, troubles) for group in state.groups)
        refusal = refusals.get(state.application, "")
        result[state.application] = ApplicationReport(state.application, state.epoch, groups, refusal)
    return result


def _group(
    group: DesiredGroup, state: DesiredState, observation: Observation, troubles: dict[GroupName, str]
) -> GroupReport:
    phases = Counter(host.phase for host in observation.hosts_of(group.name))
    fact = observation.group(group.name)
    route = observation.balancer.route(state.application)
    backend = observation.balancer.backend(group.name)
    return GroupReport(
        group=group.name,
        launching=phases[HostPhase.LAUNCHING],
        starting=phases[HostPhase.STARTING],
        healthy=phases[HostPhase.HEALTHY],
        verified=phases[HostPhase.VERIFIED],
        unhealthy=phases[HostPhase.UNHEALTHY],
        failed=phases[HostPhase.FAILED],
        destroying=phases[HostPhase.DESTROYING],
        balancer_up=backend.servers_up if backend else 0,
        weight_bp=route.weight_bp(group.name) if route else 0,
        # Only of interest while a group is being drained; it changes at every look.
        in_flight=backend.in_flight if backend and group.count == 0 else 0,
        launched_total=fact.launched_total,
        destroyed_total=fact.destroyed_total,
        has_given_up=group.count > 0 and has_given_up(group, observation),
        trouble=troubles.get(group.name, ""),
    )
