"""Foretells what a release would do, from the same order and the same rules that carry it out. Pure."""

from dataclasses import dataclass, replace

from repave_controller.commands import request_release
from repave_controller.model import (
    Application,
    GroupNumber,
    GroupState,
    Instant,
    Refused,
    ReleaseOrder,
    Scale,
    ServerGroup,
    Soak,
    Step,
    Verify,
    Weight,
)
from repave_controller.naming import format_group
from repave_protos.values import ApplicationName, GroupName, RegionName, fingerprint


@dataclass(frozen=True, slots=True)
class RegionPreview:
    """Hosts of one region. `peak` counts all groups at the moment when most hosts run."""

    name: RegionName
    creates: int
    keeps_warm: int
    destroys: int
    peak: int
    floor: int


@dataclass(frozen=True, slots=True)
class Preview:
    """All that is known beforehand. `id` changes with the order and with the application."""

    id: str
    application: ApplicationName
    group: GroupName
    origin: GroupName | None
    steps: tuple[Step, ...]
    regions: tuple[RegionPreview, ...]
    keeps: tuple[GroupName, ...]
    destroys: tuple[GroupName, ...]
    at_least_seconds: float
    problems: tuple[str, ...]


def preview(application: Application, order: ReleaseOrder) -> Preview:
    """What releasing `order` now would do, when nothing fails."""
    origin = application.group(application.serving)
    keeps, destroys = _old_groups(application, order)
    soak = sum(step.seconds for step in order.steps if isinstance(step, Soak))
    return Preview(
        id=plan_id(application, order),
        application=application.name,
        group=format_group(application.cluster, application.next_number),
        origin=origin.name if origin else None,
        steps=order.steps,
        regions=tuple(
            _region(region, size, application, order, keeps, destroys) for region, size in order.sizes
        ),
        keeps=tuple(group.name for group in keeps),
        destroys=tuple(group.name for group in destroys),
        at_least_seconds=order.min_healthy_seconds + soak,
        problems=_problems(application, order),
    )


def plan_id(application: Application, order: ReleaseOrder) -> str:
    """Short id of what is asked and what it would act on; who asks, and why, does not matter."""
    asked = replace(order, by="", reason="", key="", spec_text="")
    running = application.running
    acted_on = (
        application.next_number,
        application.serving,
        tuple((group.name, group.state) for group in application.groups),
        (running.number, running.phase) if running else None,
        len(application.queue),
    )
    return fingerprint((asked, acted_on))[:8].upper()


def unborn(name: ApplicationName, cluster: str) -> Application:
    """An application that was never released."""
    return Application(name, cluster, GroupNumber(1))


def describe(step: Step) -> str:
    """One line for people."""
    match step:
        case Scale(percent=percent):
            return f"scale: {percent} % of the new hosts in every region, beside the old ones"
        case Verify():
            return "verify: every host healthy for long enough and up behind the balancer"
        case Weight(weight_bp=weight_bp):
            return f"weight: {weight_bp / 100:g} % of the traffic to the new group, all regions together"
        case Soak(seconds=seconds):
            return f"soak: watch it for {seconds:g} s; any failure flips back by itself"


def _old_groups(application: Application, order: ReleaseOrder) -> tuple[list[ServerGroup], list[ServerGroup]]:
    """Those that stay warm once the release has succeeded, and those that it lets go; newest first."""
    warm = [group for group in application.groups if group.state is GroupState.WARM]
    warm.sort(key=lambda group: (group.left_traffic_at or 0.0, group.number), reverse=True)
    serving = application.group(application.serving)
    old = [serving, *warm] if serving is not None else warm
    kept = order.policy.keep_groups if order.policy.keep_seconds > 0 else order.policy.retain
    return old[:kept], old[kept:]


def _region(
    region: RegionName,
    size: int,
    application: Application,
    order: ReleaseOrder,
    keeps: list[ServerGroup],
    destroys: list[ServerGroup],
) -> RegionPreview:
    return RegionPreview(
        name=region,
        creates=size,
        keeps_warm=sum(group.size(region) for group in keeps),
        destroys=sum(group.size(region) for group in destroys),
        peak=size + sum(group.size(region) for group in application.groups),
        floor=order.policy.floor(size),
    )


def _problems(application: Application, order: ReleaseOrder) -> tuple[str, ...]:
    try:
        request_release(application, order, queue=False, now=Instant(0))
    except Refused as refused:
        return (refused.text,)
    return ()
