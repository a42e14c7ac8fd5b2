"""Controllers that share a store in memory, each with its real API on an ephemeral port, real sessions, and
agents that obey at the other end of links in memory."""

import asyncio
import itertools
import uuid
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp

from repave_controller.api.app import make_app
from repave_controller.api.resources.agents import Agents
from repave_controller.api.web.access import Guarded
from repave_controller.api.web.relay import COMMAND, Owners, Relay
from repave_controller.api.web.server import serve
from repave_controller.core.domain.application import Instant
from repave_controller.core.ports import Loaded
from repave_controller.fleet.afar import QUESTION, STAND_BY, Afar
from repave_controller.fleet.packages import ImageDirectory
from repave_controller.fleet.sessions import Sessions
from repave_controller.fleet.turned_away import LETTER as TURNED_AWAY
from repave_controller.fleet.turned_away import TurnedAwayAgents
from repave_controller.operations.drafts import LETTER, Drafts
from repave_controller.peers.letters import Letters
from repave_controller.peers.mirror import Mirror
from repave_controller.peers.ports import ControllerId, Held, shard_of
from repave_controller.peers.reports import Reports
from repave_controller.runtime.clock import SteadyClock
from repave_controller.runtime.scheduler import Scheduler
from repave_controller.security.accounts import Accounts
from repave_controller.security.audit import audit_of
from repave_controller.security.issuers import Issuers
from repave_controller.security.records import KINDS, load_accounts
from repave_controller.security.tickets import Tickets
from repave_protos.protocol.values import ApplicationName, Welcome
from repave_simulation.tiers.shared_shelf import SharedShelf
from repave_simulation.tiers.shared_store import SharedMemoryStore
from tests.fakes.controller.api_rig import ObedientAgent
from tests.fakes.controller.plural import Owned


class Peer:
    """One of them. `is_silent`: it answers no letters any more."""

    def __init__(self, name: ControllerId, shelf: SharedShelf, packages: Path, live: Collection[str]) -> None:
        self.name, self.shelf, self._live = name, shelf, live
        self.store = SharedMemoryStore(shelf, name)
        self.clock = SteadyClock(Instant(0.0))
        self.sessions = Sessions(Welcome("0.1.0", "memory", "http://127.0.0.1:1/v1/images"), self.clock)
        self.images = ImageDirectory(packages, self.clock)
        self.elsewhere = self.sessions.elsewhere(lambda controller, _: controller in live)
        self.reports = Reports(self.store, name, f"{name}-1", self.elsewhere)
        self.letters = Letters(self.store, name, self.store.hints, lambda: str(uuid.uuid4()))
        self.letters.answer_with(QUESTION, self.sessions.answer)
        self.letters.answer_with(STAND_BY, self.sessions.hear_stand_by)
        self.client: aiohttp.ClientSession
        self.scheduler: Scheduler
        self.tasks: list[asyncio.Task[None]] = []
        self.agents: list[ObedientAgent] = []
        self.token = ""

    async def open(self, running: AsyncExitStack, *, has_accounts: bool) -> None:
        loaded = await self.store.open()
        owned = Owned(self.shelf, self.name)
        self.scheduler = Scheduler(
            self.store, self.images, loaded, self.clock, self.sessions, ownership=owned
        )
        self.mirror = Mirror(self.store, self.scheduler, loaded.change)
        self.scheduler.share_by(self.mirror)
        self.sessions.report_to(self.scheduler)
        self.sessions.share_with(self.reports, lambda: True, Afar(self.letters.ask))
        owners = Owners(self.name, self.scheduler.tenure_of, owned.owner_of)
        numbers = itertools.count(1)
        self.relay = Relay(self.letters.ask, owners, lambda: f"{self.name}-{next(numbers)}")
        self.letters.answer_with(COMMAND, self.relay.answer)
        drafts = Drafts(lambda letter: self.letters.ask_all(self._live, LETTER, letter, 1.0))
        self.letters.answer_with(LETTER, drafts.answer)
        others = TurnedAwayAgents(
            self.sessions, lambda letter: self.letters.ask_all(self._live, TURNED_AWAY, letter, 1.0)
        )
        self.letters.answer_with(TURNED_AWAY, others.answer)
        app = make_app(
            scheduler=self.scheduler,
            store=self.store,
            images=self.images,
            sessions=self.sessions,
            clock=self.clock,
            guarded=await self._guarded(loaded) if has_accounts else None,
            relay=self.relay,
            drafts=drafts,
            agents=Agents(None, self.sessions, self.clock, turned_away=others),
        )
        self.mirroring = asyncio.create_task(self.mirror.run())
        works = (
            self.scheduler.run(),
            self.reports.run(),
            self.letters.run(),
            self._hear(),
        )
        self.tasks += [self.mirroring, *(asyncio.create_task(work) for work in works)]
        running.push_async_callback(self._close)
        self.port = await running.enter_async_context(serve(app, "127.0.0.1", 0))
        self.client = aiohttp.ClientSession(f"http://127.0.0.1:{self.port}/v1/")
        running.push_async_callback(self.client.close)

    async def _guarded(self, loaded: Loaded) -> Guarded:
        accounts = Accounts(self.store, await load_accounts(self.store), self.clock)
        if not self.shelf.records:
            self.token = await accounts.make_admin()
        for kind in KINDS:
            self.mirror.hear(kind, accounts.take)
        audit = await audit_of(self.store, loaded.installation, self.clock)
        return Guarded(accounts, audit, Tickets(bytes(32)), Issuers(self.clock))

    async def _hear(self) -> None:
        async for _ in self.store.hints():
            self.reports.wake()

    async def take(self, *applications: str) -> None:
        """Their shards, as membership does once the other one is gone or has handed them over."""
        shards = {shard_of(ApplicationName(each)) for each in applications}
        for shard in shards:
            self.shelf.shards[shard] = Held(shard, self.name, self.shelf.shards[shard].term + 1)
        await self.scheduler.gained(shards)

    async def lose(self, *applications: str) -> None:
        await self.scheduler.lost({shard_of(ApplicationName(each)) for each in applications})

    def serve(self, agent: ObedientAgent) -> None:
        self.agents.append(agent)
        self.tasks.append(asyncio.create_task(self.sessions.serve(agent)))

    def be_silent(self) -> None:
        """As one that is gone: it answers no letters, and decides nothing."""
        for task in self.tasks:
            task.cancel()

    async def _close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.wait(self.tasks)


@asynccontextmanager
async def peers(folder: Path, *names: str, has_accounts: bool = False) -> AsyncIterator[list[Peer]]:
    """They have no shards at the beginning, and share one directory of packages."""
    shelf, live = SharedShelf(), set(names)
    made = [Peer(name, shelf, folder / "images", live) for name in names]
    async with AsyncExitStack() as running:
        for each in made:
            await each.open(running, has_accounts=has_accounts)
            each.token = each.token or made[0].token
        yield made
