"""Applications of a list, as text that is made anew only where the application or a report of its hosts has
changed: a list of all is asked for every few seconds, and hardly any has changed since.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from repave_controller.api.answers import views
from repave_controller.core.domain.application import Application, GroupState, Observed
from repave_controller.fleet.regions import KnownRegion
from repave_protos.protocol.values import ApplicationName, ApplicationReport, RegionName


@dataclass(frozen=True, slots=True)
class Listed:
    """`of`: what it was made of; `reports`: those of the regions that serve, in the order of `regions`."""

    of: Application
    regions: tuple[RegionName, ...]
    reports: tuple[ApplicationReport | None, ...]
    text: str


class ApplicationItems:
    """One for an API. `made`: how many texts were made since it began."""

    def __init__(self) -> None:
        self._listed: dict[ApplicationName, Listed] = {}
        self.made = 0

    def text(
        self, application: Application, observed: Observed, regions: Mapping[RegionName, KnownRegion]
    ) -> str:
        """The JSON of views.application_item."""
        name = application.name
        known = self._listed.get(name)
        if known is not None and known.of is application and _is_unheard(known, name, regions):
            return known.text
        serving = _serving(application)
        text = views.application_item(application, observed).model_dump_json()
        reports = tuple(_report(name, regions.get(region)) for region in serving)
        self._listed[name] = Listed(application, serving, reports, text)
        self.made += 1
        return text

    def keep(self, names: Mapping[ApplicationName, object]) -> None:
        """Others are gone."""
        if len(self._listed) > len(names):
            self._listed = {name: each for name, each in self._listed.items() if name in names}


def _is_unheard(listed: Listed, name: ApplicationName, regions: Mapping[RegionName, KnownRegion]) -> bool:
    """Reports are values: a region that has something new to say of the application has another one."""
    for region, report in zip(listed.regions, listed.reports, strict=True):
        known = regions.get(region)
        if (known.observations.applications.get(name) if known is not None else None) is not report:
            return False
    return True


def _report(name: ApplicationName, region: KnownRegion | None) -> ApplicationReport | None:
    return region.observations.applications.get(name) if region is not None else None


def _serving(application: Application) -> tuple[RegionName, ...]:
    found = (
        part.region
        for group in application.groups
        for part in group.parts
        if part.state is GroupState.SERVING
    )
    return tuple(dict.fromkeys(found))
