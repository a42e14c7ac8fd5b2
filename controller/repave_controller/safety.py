"""The promises to users, checked on every decision before it is saved, in production and in tests alike.

`check` gets what was decided before, the new decision and what was observed, and returns what is broken. The
numbers are those of the promises in ARCHITECTURE.md.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from repave_controller.model import Application, Decision, GroupState, Observed, ServerGroup
from repave_protos.values import DesiredState, GroupName, RegionName, contradictions


@dataclass(frozen=True, slots=True)
class Broken:
    """A promise that a decision would break."""

    promise: int
    text: str


def check(before: Application, decision: Decision, observed: Observed) -> list[Broken]:
    """Every promise that `decision` would break; empty when it may be saved and published."""
    after = decision.application
    broken: list[Broken] = []
    for region, state in after.desired:
        former = before.desired_in(region)
        broken += _check_state(after, region, former, state)
        broken += _check_capacity(after, region, state)
        broken += _check_weights(after, region, former, state, observed)
    broken += _check_published(decision)
    broken += _check_way_back(after)
    broken += _check_owners(before, after, observed)
    return broken


def _check_state(
    application: Application, region: RegionName, former: DesiredState | None, state: DesiredState
) -> Iterator[Broken]:
    for text in contradictions(state):
        yield Broken(7, f"{region}: {text}")
    for desired in state.groups:
        if _named(application, desired.name) is None:
            yield Broken(5, f"{region}: {desired.name} would run and nobody owns it")
    if former is None or former == state:
        return
    if state.epoch <= former.epoch:
        yield Broken(7, f"{region}: epoch {state.epoch} does not follow {former.epoch}")
    serving = application.group(application.serving)
    is_left = serving is None or serving.size(region) == 0
    if former.is_serving and not state.is_serving and (state.frontend_port or not is_left):
        yield Broken(7, f"{region}: nobody would serve")


def _check_published(decision: Decision) -> Iterator[Broken]:
    """Promise 7: a region hears exactly what is on disk."""
    for region, state in decision.desired:
        if decision.application.desired_in(region) != state:
            yield Broken(7, f"{region}: what would be published is not what would be saved")


def _named(application: Application, name: GroupName) -> ServerGroup | None:
    return next((group for group in application.groups if group.name == name), None)


def _check_capacity(application: Application, region: RegionName, state: DesiredState) -> Iterator[Broken]:
    """Promise 1: whoever has traffic is wanted at its full size."""
    for desired in state.groups:
        group = _named(application, desired.name)
        if group is not None and desired.weight_bp > 0 and desired.count < group.size(region):
            yield Broken(
                1, f"{region}: {group.name} serves with {desired.count} of {group.size(region)} hosts"
            )


def _check_weights(
    application: Application,
    region: RegionName,
    former: DesiredState | None,
    state: DesiredState,
    observed: Observed,
) -> Iterator[Broken]:
    """Promises 2 and 3: more traffic only for a group that has proved itself, in every region it has."""
    for desired in state.groups:
        old = former.group(desired.name) if former is not None else None
        if desired.weight_bp <= (old.weight_bp if old else 0):
            continue
        group = _named(application, desired.name)
        if group is None:
            continue
        if group.state is GroupState.RETIRING:
            yield Broken(3, f"{region}: {group.name} is retired and would get traffic")
        elif group.state is GroupState.NEW and not _is_verified(application, group, region, observed):
            yield Broken(2, f"{region}: {group.name} is not verified and would get traffic")


def _is_verified(
    application: Application, group: ServerGroup, region: RegionName, observed: Observed
) -> bool:
    view = observed.get(region)
    if view is None or view.report is None:
        return False
    return view.group(group.name).verified >= application.policy.needed(group.size(region))


def _check_way_back(application: Application) -> Iterator[Broken]:
    """Promise 4: until a rollout has ended its origin runs in full, ready for the switch back."""
    rollout = application.running
    if rollout is None or rollout.origin is None:
        return
    origin = application.group(rollout.origin)
    if origin is None or origin.state is GroupState.RETIRING:
        yield Broken(4, f"the group that rollout {rollout.number} would go back to is given up")
        return
    for region, size in origin.sizes:
        state = application.desired_in(region)
        wanted = state.group(origin.name) if state is not None else None
        have = wanted.count if wanted is not None else 0
        if have < size:
            yield Broken(4, f"{region}: the way back, {origin.name}, would keep {have} of {size} hosts")


def _check_owners(before: Application, after: Application, observed: Observed) -> Iterator[Broken]:
    """Promise 5: no group is forgotten while a region still reports hosts of it."""
    kept = {group.number for group in after.groups}
    for group in before.groups:
        if group.number in kept:
            continue
        for region, _ in group.sizes:
            view = observed.get(region)
            if view is not None and view.group(group.name).present > 0:
                yield Broken(5, f"{region}: {group.name} still has hosts and would be forgotten")
