"""Which regions may be sent anything, and whose reports count: those that are not ahead of the store.

A region is judged by its Hello, before the first word to it. It stays ahead until `judge_again` finds that
the store has caught up, which only an adoption brings about (operations/recovery.py).
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping

from repave_controller.core.domain.application import (
    Application,
    Because,
    Event,
    Instant,
    Observed,
    RegionView,
)
from repave_controller.core.domain.reasons import Refusal, Refused
from repave_controller.core.ports import Region, Regions
from repave_controller.core.rules import divergence
from repave_controller.core.rules.divergence import Ahead
from repave_protos import __version__
from repave_protos.protocol.values import ApplicationName, Hello, RegionName

Applications = Mapping[ApplicationName, Application]


class Seen(Mapping[RegionName, RegionView]):
    """What is known of each region, made when it is read, and the same from then on: a decision about few of
    many regions costs no more than those."""

    def __init__(
        self, regions: Mapping[RegionName, Region], view: Callable[[RegionName, Region], RegionView]
    ) -> None:
        self._regions = regions
        self._view = view
        self.read: dict[RegionName, RegionView] = {}

    def __getitem__(self, region: RegionName) -> RegionView:
        found = self.read.get(region)
        if found is None:
            found = self.read[region] = self._view(region, self._regions[region])
        return found

    def __contains__(self, region: object) -> bool:
        return region in self._regions

    def __iter__(self) -> Iterator[RegionName]:
        return iter(self._regions)

    def __len__(self) -> int:
        return len(self._regions)


class Fence:
    """One for a controller; the scheduler asks it before each thing it sends and counts."""

    def __init__(self, regions: Regions) -> None:
        self._regions = regions
        self._hellos: dict[RegionName, Hello] = {}  # of those that are ahead
        self.ahead: dict[RegionName, tuple[Ahead, ...]] = {}

    def greet(self, hello: Hello, applications: Applications) -> list[Event]:
        """Judges the region anew; returns what there is to tell of it, each thing once."""
        former = self.ahead.pop(hello.region, ())
        found = self._judge(hello, applications)
        return [divergence.told(hello.region, each) for each in found if each not in former]

    def judge_again(self, applications: Applications) -> None:
        """By what the store holds now; a region that has caught up is forgotten."""
        for hello in list(self._hellos.values()):
            self._judge(hello, applications)

    def _judge(self, hello: Hello, applications: Applications) -> tuple[Ahead, ...]:
        region, is_alike = hello.region, hello.agent_version == __version__  # else values may look different
        found = divergence.judge(region, hello.applied, applications, compares_content=is_alike)
        if found:
            self.ahead[region], self._hellos[region] = found, hello
        else:
            self.ahead.pop(region, None)
            self._hellos.pop(region, None)
        return found

    def is_open(self, region: RegionName) -> bool:
        """Whether it may be sent something now."""
        known = self._regions.views().get(region)
        return known is not None and known.is_connected and region not in self.ahead

    def seen(self, application: ApplicationName) -> Observed:
        """What each region reported last, for people."""
        return Seen(self._regions.views(), lambda region, known: self._view(application, region, known))

    def observed(self, application: ApplicationName) -> "Seen":
        """The same to decide by: reports of a region that is ahead speak of other decisions."""

        def view(region: RegionName, known: Region) -> RegionView:
            seen = self._view(application, region, known)
            return dataclasses.replace(seen, report=None) if seen.ahead else seen

        return Seen(self._regions.views(), view)

    def _view(self, application: ApplicationName, region: RegionName, known: Region) -> RegionView:
        return RegionView(
            known.is_connected and not known.is_starting,
            known.observations.applications.get(application),
            Instant(known.since),
            tuple(each.reason for each in self.ahead[region]) if region in self.ahead else (),
        )

    def because(self, application: Application) -> list[Because]:
        """The regions of the application that are ahead."""
        if not self.ahead:
            return []
        seen, concerned = self.seen(application.name), self._concerned(application.name, application.regions)
        return [
            divergence.because_ahead(region, view.ahead, view.since)
            for region in concerned
            if (view := seen.get(region)) is not None
        ]

    def knowing(self, application: str) -> tuple[RegionName, ...]:
        """The regions that are ahead in this application."""
        return tuple(
            region
            for region, found in sorted(self.ahead.items())
            if any(each.application == application for each in found)
        )

    def check(self, application: ApplicationName, regions: Iterable[RegionName]) -> None:
        """No region of a command is ahead: it would be decided by what is not so. Raises Refused."""
        for region in self._concerned(application, regions)[:1]:
            why = tuple(each.reason for each in self.ahead[region])
            raise Refused(Refusal.REGION_AHEAD, divergence.RECOVER, region=region, why=why)

    def _concerned(self, application: ApplicationName, regions: Iterable[RegionName]) -> list[RegionName]:
        """The regions that are ahead and among these, or ahead in this application."""
        if not self.ahead:
            return []
        return sorted(self.ahead.keys() & {*regions, *self.knowing(application)})
