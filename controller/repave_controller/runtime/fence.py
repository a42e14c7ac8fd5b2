"""Which regions may be sent anything, and whose reports count: those that are not ahead of the store.

A region is judged by its Hello, before the first word to it. It stays ahead until `judge_again` finds that
the store has caught up, which only an adoption brings about (operations/recovery.py).
"""

from collections.abc import Collection, Mapping

from repave_controller.core.domain.application import (
    Application,
    Because,
    Event,
    Instant,
    Observed,
    RegionView,
)
from repave_controller.core.domain.reasons import Refusal, Refused
from repave_controller.core.ports import Regions
from repave_controller.core.rules import divergence
from repave_controller.core.rules.divergence import Ahead
from repave_protos import __version__
from repave_protos.protocol.values import ApplicationName, Hello, RegionName

Applications = Mapping[ApplicationName, Application]


class Fence:
    """One for a controller; the scheduler asks it before each thing it sends and counts."""

    def __init__(self, regions: Regions) -> None:
        self._regions = regions
        self._hellos: dict[RegionName, Hello] = {}  # of those that are ahead
        self.ahead: dict[RegionName, tuple[Ahead, ...]] = {}

    def greet(self, hello: Hello, applications: Applications) -> list[Event]:
        """Judges the region anew; returns what there is to tell of it, each thing once."""
        former = self.ahead.pop(hello.region, ())
        self._hellos[hello.region] = hello
        self.judge_again(applications)
        found = self.ahead.get(hello.region, ())
        return [divergence.told(hello.region, each) for each in found if each not in former]

    def judge_again(self, applications: Applications) -> None:
        """By what the store holds now; a region that has caught up is forgotten."""
        for region, hello in list(self._hellos.items()):
            is_alike = hello.agent_version == __version__  # else values may look different
            found = divergence.judge(region, hello.applied, applications, compares_content=is_alike)
            self.ahead[region] = found
            if not found:
                del self.ahead[region], self._hellos[region]

    def open_regions(self) -> Collection[RegionName]:
        """Those that may be sent something now."""
        views = self._regions.views().items()
        return {name for name, each in views if each.is_connected and name not in self.ahead}

    def seen(self, application: ApplicationName) -> Observed:
        """What each region reported last, for people."""
        return {
            name: RegionView(
                region.is_connected and not region.is_starting,
                region.observations.applications.get(application),
                Instant(region.since),
                tuple(each.reason for each in self.ahead.get(name, ())),
            )
            for name, region in self._regions.views().items()
        }

    def observed(self, application: ApplicationName) -> Observed:
        """The same to decide by: reports of a region that is ahead speak of other decisions."""
        return {
            name: RegionView(view.is_connected, None, view.since, view.ahead) if view.ahead else view
            for name, view in self.seen(application).items()
        }

    def because(self, application: Application) -> list[Because]:
        """The regions of the application that are ahead."""
        seen = self.seen(application.name)
        return [
            divergence.because_ahead(region, view.ahead, view.since)
            for region, view in sorted(seen.items())
            if view.ahead and self._concerns(region, application.name, application.regions)
        ]

    def knowing(self, application: str) -> tuple[RegionName, ...]:
        """The regions that are ahead in this application."""
        return tuple(
            region
            for region, found in sorted(self.ahead.items())
            if any(each.application == application for each in found)
        )

    def check(self, application: ApplicationName, regions: Collection[RegionName]) -> None:
        """No region of a command is ahead: it would be decided by what is not so. Raises Refused."""
        for region in sorted(self.ahead):
            if self._concerns(region, application, regions):
                why = tuple(each.reason for each in self.ahead[region])
                raise Refused(Refusal.REGION_AHEAD, divergence.RECOVER, region=region, why=why)

    def _concerns(
        self, region: RegionName, application: ApplicationName, regions: Collection[RegionName]
    ) -> bool:
        return region in regions or region in self.knowing(application)
