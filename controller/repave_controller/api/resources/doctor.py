"""How the controller and its regions are, for `repave doctor`: each finding with what to do about it."""

import asyncio
import contextlib
from collections.abc import Collection, Mapping

from aiohttp import web

from repave_controller.api.answers.disk import disk_answer, disk_checks
from repave_controller.api.answers.models import CheckItem, DiskAnswer, DoctorAnswer
from repave_controller.api.answers.views import time_of
from repave_controller.api.resources.agents import Agents
from repave_controller.api.resources.controllers import Controllers
from repave_controller.api.resources.notices import Notices
from repave_controller.api.resources.orphans import orphans_check, orphans_of
from repave_controller.api.web.openapi import Route
from repave_controller.api.web.responses import answer
from repave_controller.core.domain.reasons import cli
from repave_controller.core.ports import Store, StoreError
from repave_controller.core.rules.divergence import RECOVER, Ahead
from repave_controller.fleet.questions import RegionUnreachable
from repave_controller.fleet.regions import KnownRegion, Rival
from repave_controller.fleet.sessions import Sessions
from repave_controller.operations.disk import Disk
from repave_controller.runtime.clock import SteadyClock
from repave_controller.runtime.scheduler import Scheduler
from repave_controller.security.logins import Logins
from repave_controller.security.outbound import IssuerError
from repave_controller.wording.render import command_of, texts_of
from repave_protos import __version__
from repave_protos.protocol.queries import Bakes, ListBakes
from repave_protos.protocol.values import RegionName

NOTE = "note: "
"""Before what is only good to know."""


class Doctor:
    """One for an API."""

    def __init__(
        self,
        scheduler: Scheduler,
        store: Store,
        sessions: Sessions,
        clock: SteadyClock,
        agents: Agents,
        controllers: Controllers,
        logins: Logins | None,
        disk: Disk | None,
        notices: Notices,
    ) -> None:
        self._scheduler, self._store, self._sessions = scheduler, store, sessions
        self._clock, self._agents, self._logins, self._disk = clock, agents, logins, disk
        self._controllers, self._notices = controllers, notices

    def routes(self) -> tuple[Route, ...]:
        return (Route("GET", "doctor", self.doctor, DoctorAnswer),)

    async def doctor(self, _: web.Request) -> web.Response:
        """How the controller and its regions are: each finding with what to do about it."""
        self._sessions.forget_unused()
        regions, ahead = self._sessions.views(), self._scheduler.fence.ahead
        turned_away, unused = await self._agents.turned_away.everywhere(), self._sessions.unused()
        found = await _examine(self._store, self._clock, regions, ahead, turned_away.rivals, unused)
        found += await self._controllers.checks()
        found += await self._notices.checks()
        found += self._agents.checks(turned_away.denials)
        found += [await _issuer(self._logins)] if self._logins is not None else []
        found.append(orphans_check(await orphans_of(self._sessions, regions)))
        disk, of_disk = await self._of_disk()
        found += of_disk
        now = time_of(self._clock())
        return answer(DoctorAnswer(version=__version__, now=now, items=found, disk=disk))

    async def _of_disk(self) -> tuple[DiskAnswer | None, list[CheckItem]]:
        if self._disk is None:
            return None, []
        try:
            usage = await self._disk.usage()
        except (StoreError, OSError) as error:
            return None, [_check("disk", "fail", str(error), "see the controller's log")]
        baked = await self._baked()
        return disk_answer(usage, baked), disk_checks(usage, baked)

    async def _baked(self) -> dict[str, int]:
        """How many machine images there are, by region; of regions that can say."""
        found: dict[str, int] = {}

        async def ask(region: RegionName) -> None:
            with contextlib.suppress(RegionUnreachable):
                found[region] = len((await self._sessions.ask(region, ListBakes(), Bakes)).images)

        there = [name for name, each in self._sessions.views().items() if each.is_connected]
        await asyncio.gather(*map(ask, there))
        return dict(sorted(found.items()))


async def _examine(
    store: Store,
    clock: SteadyClock,
    regions: Mapping[RegionName, KnownRegion],
    ahead: Mapping[RegionName, tuple[Ahead, ...]],
    rivals: Mapping[RegionName, Rival],
    unused: Collection[RegionName],
) -> list[CheckItem]:
    """The store, the clock, then every region that ever connected to this controller process."""
    found = [await _store(store), _clock(clock)]
    if not regions:
        found.append(_check("regions", "warn", "no agent has connected yet", "start repave-agent somewhere"))
    for name in sorted(regions):
        found.append(_region(regions[name], ahead.get(name, ()), name in unused))
        found += _troubles(regions[name])
    return found + [_rival(regions.get(name), rivals[name], clock()) for name in sorted(rivals)]


def _troubles(region: KnownRegion) -> list[CheckItem]:
    """What its agent says of provider, pool and balancer."""
    name = f"region {region.region}"
    return [
        _check(name, "warn", text.removeprefix(NOTE)) if text.startswith(NOTE) else _check(name, "fail", text)
        for text in region.troubles
    ]


async def _store(store: Store) -> CheckItem:
    try:
        newest = await store.events(limit=1, newest=True)
    except StoreError as error:
        return _check("store", "fail", str(error), "see the controller's log")
    return _check("store", "ok", f"{newest[-1].sequence if newest else 0} events")


async def _issuer(logins: Logins) -> CheckItem:
    issuer = logins.provider.client.issuer
    try:
        has_device = await logins.provider.check()
    except IssuerError as error:
        remedy = "see oidc.issuer; until then people log in with tokens: repave login --token"
        return _check("log-in", "fail", f"the issuer can't be used: {error}", remedy)
    if logins.has_device and not has_device:
        text = f"{issuer} knows no device flow: a machine without a browser needs a token"
        return _check("log-in", "warn", text, "allow it for this client there, or set oidc.device = false")
    return _check("log-in", "ok", f"people log in with {issuer}")


def _clock(clock: SteadyClock) -> CheckItem:
    if clock.warning:
        return _check("clock", "warn", clock.warning, "start an NTP client on the controller's machine")
    return _check("clock", "ok", "has not been set back")


def _rival(view: KnownRegion | None, rival: Rival, now: float) -> CheckItem:
    hello, region = rival.hello, rival.hello.region
    if rival.can_follow and view is not None and view.is_connected:
        acts, heard = view.hello.instance[:8], f"heard {now - rival.at:.0f} s ago"
        text = f"{acts} acts, {hello.instance[:8]} stands by, {heard}"
        return _check(f"agents of {region}", "ok", text)
    if rival.can_follow:
        remedy = f"once the other one has stopped: repave regions take-over {region}"
        return _check(f"agents of {region}", "warn", f"{hello.instance[:8]}: {rival.why}", remedy)
    text = (
        f"two agents run for it: another one ({hello.provider}, {hello.balancer}, {hello.instance[:8]}) "
        f"was refused {now - rival.at:.0f} s ago"
    )
    remedy = f"stop one of them; or let the other one have the region: repave regions take-over {region}"
    return _check(f"agents of {region}", "fail", text, remedy)


def _region(region: KnownRegion, ahead: tuple[Ahead, ...], is_unused: bool) -> CheckItem:
    name, hello = f"region {region.region}", region.hello
    if ahead:
        found = texts_of(each.reason for each in ahead)
        text = f"{found}; nothing is sent there: the store was restored from a backup, or lost"
        return _check(name, "fail", text, command_of(RECOVER))
    if not region.is_connected and is_unused:
        text = "its agent is not connected, and no application is in it: it is forgotten after a while"
        return _check(name, "warn", text, command_of(cli("regions remove", region.region)))
    if not region.is_connected:
        return _check(name, "fail", "its agent is not connected", f"start repave-agent in {region.region}")
    text = f"agent {hello.agent_version}, {hello.provider}, {hello.balancer}"
    if hello.agent_version != __version__:
        return _check(name, "warn", text, f"the controller is {__version__}; bring both to one version")
    return _check(name, "ok", text)


def _check(name: str, state: str, text: str, remedy: str = "") -> CheckItem:
    return CheckItem(name=name, state=state, text=text, remedy=remedy)
