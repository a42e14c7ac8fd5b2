"""Looks at the load of regions when it is time, and tells the owner of the application how many hosts these
are to have. How many follows from the load alone (core/rules/scaling.py), and the number in force is the
store's: a controller that begins, or takes over, goes on from there.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from typing import Protocol

import structlog

from repave_controller.core.commands.scaling import Scale, hosts_in_force
from repave_controller.core.domain.application import Application, Instant, Observed
from repave_controller.core.domain.reasons import Kind, Refused, Why
from repave_controller.core.domain.scaling import Scaling
from repave_controller.core.ports import StoreError
from repave_controller.core.rules.scaling import Choice, choose
from repave_controller.operations.scaling.reading import LoadReader
from repave_controller.peers.ports import NotOwner
from repave_protos.protocol.values import ApplicationName, RegionName

log = structlog.get_logger()

PACE_SECONDS = 0.5
UNKNOWN_SECONDS_MIN = 60.0
"""So long, and for three looks, nothing has to be known of a load before that is told."""

Key = tuple[ApplicationName, RegionName]


class Office(Protocol):
    """runtime.scheduler.Scheduler."""

    @property
    def clock(self) -> Callable[[], Instant]: ...

    def applications(self) -> Mapping[ApplicationName, Application]: ...

    def decides_for(self, application: ApplicationName) -> bool: ...

    def observed(self, application: ApplicationName) -> Observed: ...

    async def scale(self, application: ApplicationName, scale: Scale) -> None: ...


class ScalingRunner:
    """One for a controller. `needed`: hosts by the load as it was last, of regions that are looked at
    here."""

    def __init__(
        self,
        office: Office,
        reader: LoadReader,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._office, self._reader, self._pause = office, reader, pause
        self._next: dict[Key, Instant] = {}
        self._under_way: set[Key] = set()
        self._unknown_since: dict[Key, Instant] = {}
        self.needed: dict[Key, float] = {}

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                for application, scaling in self.due(self._office.clock()):
                    self._under_way.add((application.name, scaling.region))
                    tasks.create_task(self.look(application, scaling), name=f"scaling {application.name}")
                await self._pause(PACE_SECONDS)

    def objection(self, application: str, scaling: Scaling) -> str:
        """Why its load can't be read; "": it can, as far as is known here."""
        return self._reader.objection(application, scaling)

    def due(self, now: Instant) -> list[tuple[Application, Scaling]]:
        """The regions to be looked at now, of applications that this controller decides for."""
        chosen = dict(self._chosen())
        for gone in self._next.keys() - chosen.keys():
            for known in (self._next, self._unknown_since, self.needed):
                known.pop(gone, None)
            self._reader.forget(gone)
        found = []
        for key, (application, scaling) in chosen.items():
            if key in self._under_way or now < self._next.get(key, now):
                continue
            self._next[key] = Instant(now + scaling.interval_seconds)
            found.append((application, scaling))
        return found

    def _chosen(self) -> Iterator[tuple[Key, tuple[Application, Scaling]]]:
        for name, application in self._office.applications().items():
            if not application.policy.scaling or not self._office.decides_for(name):
                continue
            for scaling in application.policy.scaling:
                if scaling.is_automatic and hosts_in_force(application, scaling.region) is not None:
                    yield (name, scaling.region), (application, scaling)

    # ------------------------------------------------------------------------------------------- a look

    async def look(self, application: Application, scaling: Scaling) -> None:
        """Raises nothing but what cancels it."""
        key = application.name, scaling.region
        self._under_way.add(key)
        try:
            await self._look(application.name, scaling)
        except (StoreError, NotOwner, Refused) as error:
            log.warning("scaling.not_saved", application=key[0], region=key[1], why=str(error))
        except Exception:  # the task's root: others go on
            log.exception("scaling.failed", application=key[0], region=key[1])
        finally:
            self._under_way.discard(key)

    async def _look(self, name: ApplicationName, scaling: Scaling) -> None:
        """Raises StoreError, NotOwner, Refused."""
        office, key = self._office, (name, scaling.region)
        measured = await self._reader.read(
            office.applications()[name], scaling, office.observed(name), office.clock()
        )
        application = office.applications().get(name)
        hosts = hosts_in_force(application, scaling.region) if application is not None else None
        if application is None or hosts is None or application.policy.scaling.find(scaling.region) != scaling:
            return
        sized, now = application.sized.find(scaling.region), office.clock()
        changed_at = sized.at if sized is not None else Instant(0)
        is_rolling = application.running is not None
        choice = choose(scaling, hosts, changed_at, measured, now, is_rolling=is_rolling)
        if choice.needed is not None:
            self.needed[key] = choice.needed
        else:
            self.needed.pop(key, None)
        choice = self._patient(key, scaling, choice, now)
        trouble = sized.trouble if sized is not None else None
        if choice.hosts != hosts or _tells(choice, trouble.kind if trouble is not None else None):
            await office.scale(name, Scale(scaling.region, hosts, choice, now))

    def _patient(self, key: Key, scaling: Scaling, choice: Choice, now: Instant) -> Choice:
        """A load that is not known for a moment is no trouble."""
        if choice.trouble is None or choice.trouble.kind is not Why.SIZE_UNKNOWN:
            self._unknown_since.pop(key, None)
            return choice
        since = self._unknown_since.setdefault(key, now)
        if now >= since + max(UNKNOWN_SECONDS_MIN, 3 * scaling.interval_seconds):
            return choice
        return replace(choice, trouble=None, is_open=True)


def _tells(choice: Choice, known: Kind | None) -> bool:
    """Whether what is said of the trouble changes."""
    if choice.trouble is None:
        return known is not None and not choice.keeps(known)
    return choice.trouble.kind is not known
