"""What the hosts of a server group are made of in a region that differs from the others. Pure."""

from dataclasses import dataclass
from typing import TypeVar

from repave_controller.core.domain.by_region import ByRegion
from repave_protos.protocol.copies import replace
from repave_protos.protocol.values import HostTemplate, RegionName

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Overlay:
    """Takes the place of what the template says; None: as there. `environment` is whole and sorted."""

    environment: tuple[tuple[str, str], ...] | None = None
    machine_image: str | None = None
    machine_sizes: tuple[str, ...] | None = None
    is_spot: bool | None = None

    def on(self, template: HostTemplate) -> HostTemplate:
        return replace(
            template,
            environment=_either(self.environment, template.environment),
            machine_image=_either(self.machine_image, template.machine_image),
            machine_sizes=_either(self.machine_sizes, template.machine_sizes),
            is_spot=_either(self.is_spot, template.is_spot),
        )


Overlays = ByRegion[tuple[RegionName, Overlay]]
NO_OVERLAYS: Overlays = ByRegion()
AS_THE_TEMPLATE = Overlay()


def overlay_in(overlays: Overlays, region: RegionName) -> Overlay:
    """What differs there."""
    found = overlays.find(region)
    return found[1] if found is not None else AS_THE_TEMPLATE


def template_in(template: HostTemplate, overlays: Overlays, region: RegionName) -> HostTemplate:
    """What hosts are made of there."""
    found = overlays.find(region)
    return found[1].on(template) if found is not None else template


def overlay_from(template: HostTemplate, other: HostTemplate) -> Overlay | None:
    """What makes `other` of `template`; None where they differ in more than that."""
    overlay = Overlay(
        environment=_changed(template.environment, other.environment),
        machine_image=_changed(template.machine_image, other.machine_image),
        machine_sizes=_changed(template.machine_sizes, other.machine_sizes),
        is_spot=_changed(template.is_spot, other.is_spot),
    )
    return overlay if overlay.on(template) == other else None


def _either(own: Value | None, general: Value) -> Value:
    return general if own is None else own


def _changed(before: Value, after: Value) -> Value | None:
    return None if after == before else after
