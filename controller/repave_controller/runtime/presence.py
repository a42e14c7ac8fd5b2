"""Which applications have a region, found at once: a region that comes or goes concerns no other ones."""

from collections.abc import Iterable, Set

from repave_controller.core.domain.application import Application
from repave_protos.protocol.values import ApplicationName, RegionName

NONE: Set[ApplicationName] = frozenset()


class Presence:
    """Told of each application as it is saved."""

    def __init__(self, applications: Iterable[Application]) -> None:
        self._regions: dict[ApplicationName, frozenset[RegionName]] = {}
        self._applications: dict[RegionName, set[ApplicationName]] = {}
        for each in applications:
            self.note(each)

    def note(self, application: Application) -> None:
        """What it is now; looks at regions only where some came or went."""
        name, regions = application.name, _regions_of(application)
        before = self._regions.get(name, frozenset())
        self._regions[name] = regions
        for region in regions - before:
            self._applications.setdefault(region, set()).add(name)
        for region in before - regions:
            self._applications[region].discard(name)
            if not self._applications[region]:
                del self._applications[region]

    def of(self, region: RegionName) -> Set[ApplicationName]:
        """Those that have something there, or wait for the region."""
        return self._applications.get(region, NONE)


def _regions_of(application: Application) -> frozenset[RegionName]:
    rollout, queued = application.running, (each.sizes for each in application.queue)
    return frozenset(
        {
            *(part.region for group in application.groups for part in group.parts),
            *(region for region, _ in application.desired),
            *(track.region for track in (rollout.tracks if rollout is not None else ())),
            *(each.region for each in application.missed),
            *(region for sizes in queued for region, _ in sizes),
        }
    )
