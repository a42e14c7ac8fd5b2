"""The regions whose agents are connected to other controllers, as those tell of them.

They stand among the others in `Regions`, with their home. A region is connected while its home says so and
is live; a newer session of it ends the stream that an older one has here. Decides nothing, waits for nothing.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from repave_controller.core.ports import RegionListener
from repave_controller.fleet.regions import Home, KnownRegion, Regions
from repave_controller.peers.ports import ControllerId
from repave_controller.peers.reports import Gone, Local, Said, Standing
from repave_protos.protocol.values import ApplicationName, RegionName

IsLive = Callable[[ControllerId, str], bool]
"""Whether that process of a controller is there, as far as is known."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What `Elsewhere` needs of the sessions. `end` ends the stream that a region has here; `left`: its home
    tells of its agent no longer."""

    regions: Regions
    listener: Callable[[], RegionListener]
    clock: Callable[[], float]
    end: Callable[[RegionName, Standing], None]
    left: Callable[[RegionName], None]


class Elsewhere:
    """Implements peers.reports.Fleet."""

    def __init__(self, around: Surroundings, is_live: IsLive) -> None:
        self._around = around
        self._is_live = is_live

    def local(self, region: RegionName) -> Local | None:
        view = self._around.regions.views.get(region)
        if view is None or view.home is not None:
            return None
        return Local(
            view.session,
            view.is_connected,
            view.since,
            view.hello,
            view.troubles,
            view.is_starting,
            view.told_offset_seconds,
            view.identity,
            view.observations.applications,
        )

    def locals(self) -> Collection[RegionName]:
        return [name for name, view in self._around.regions.views.items() if view.home is None]

    async def before_hearing(self) -> None:
        await self._around.listener().before_greeting()

    def hear(self, standings: Sequence[Standing | Gone], said: Sequence[Said]) -> None:
        """The regions concerned are to be looked at again, each once."""
        changed: dict[RegionName, set[ApplicationName]] = {}
        for each in standings:
            names = self._go(each) if isinstance(each, Gone) else self._stand(each)
            if names is not None:
                changed.setdefault(each.region, set()).update(names)
        for report in said:
            if self._say(report):
                changed.setdefault(report.region, set()).add(report.application)
        for region, applications in changed.items():
            self._around.listener().region_changed(region, applications)

    def members_changed(self) -> None:
        """Controllers came or went: regions whose agents they have are there or not."""
        for region, view in list(self._around.regions.views.items()):
            if view.home is not None and self._settle(view, view.home):
                self._around.listener().region_changed(region, view.named)

    def _stand(self, told: Standing) -> set[ApplicationName] | None:
        """The applications to be looked at again; None: nothing is new."""
        view = self._around.regions.views.get(told.region)
        if view is not None and view.session > told.session:
            return None
        if view is not None and view.session == told.session:
            return self._update(view, told) if view.home is not None else None
        if view is not None and view.home is None:
            self._around.end(told.region, told)
        fresh = KnownRegion(told.region, False, told.since, told.hello, session=told.session)
        self._around.regions.views[told.region] = fresh
        self._around.listener().greet(told.hello, is_elsewhere=True)
        self._update(fresh, told)
        return fresh.named | (view.named if view is not None else set())

    def _update(self, view: KnownRegion, told: Standing) -> set[ApplicationName] | None:
        before = (view.troubles, view.is_starting, view.identity)
        view.reported = view.troubles = told.troubles if told.is_connected else ()
        view.is_starting = told.is_starting and told.is_connected
        view.identity, view.clock_offset_seconds = told.identity, told.clock_offset_seconds
        home = view.home = Home(told.controller, told.process, told.is_connected, told.since)
        is_moved = self._settle(view, home)
        return view.named if is_moved or before != (view.troubles, view.is_starting, view.identity) else None

    def _settle(self, view: KnownRegion, home: Home) -> bool:
        """Whether it is connected or not otherwise than before."""
        is_connected = home.is_connected and self._is_live(home.controller, home.process)
        if is_connected == view.is_connected:
            return False
        view.is_connected = is_connected
        view.since = self._around.clock() if home.is_connected and not is_connected else home.since
        if not is_connected:
            self._around.left(view.region)
        return True

    def _go(self, gone: Gone) -> set[ApplicationName] | None:
        view = self._around.regions.views.get(gone.region)
        if view is None or view.session > gone.session or (view.home is None and view.is_connected):
            return None
        self._around.regions.forget_elsewhere(gone.region)
        return view.named

    def _say(self, said: Said) -> bool:
        """Whether it is new. What an older session said counts no more, and what was said here is known."""
        view = self._around.regions.views.get(said.region)
        if view is None or view.home is None or view.session != said.session:
            return False
        view.reported_at = self._around.clock()
        known = view.observations.applications
        if known.get(said.application) == said.report:
            return False
        if said.report is None:
            del known[said.application]
        else:
            known[said.application] = said.report
        return True
