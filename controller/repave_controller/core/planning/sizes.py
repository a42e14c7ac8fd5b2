"""Foretells what other numbers of hosts would do. Pure."""

from dataclasses import dataclass

from repave_controller.core.commands.steering import SizeChange, check_sizes, resized
from repave_controller.core.domain.application import Application
from repave_controller.core.domain.reasons import Reason, Refused
from repave_protos.protocol.values import ApplicationName, RegionName


@dataclass(frozen=True, slots=True)
class SizePlan:
    application: ApplicationName
    changes: tuple[SizeChange, ...] = ()
    problems: tuple[Reason, ...] = ()


def plan_sizes(application: Application, sizes: tuple[tuple[RegionName, int], ...]) -> SizePlan:
    """As `repave scale` would decide it now."""
    try:
        check_sizes(application, sizes)
        _, changes = resized(application, sizes)
    except Refused as refused:
        return SizePlan(application.name, problems=(refused.reason,))
    return SizePlan(application.name, changes)
