"""The third tier: several controllers on one database, with all that the second tier has.

Each is the real scheduler, mirror, membership, reports and sessions. Agents dial one after the other, people
ask any of them. What counts is what became durable (database.py), and what the regions do.
"""

import asyncio
import itertools
from collections.abc import Callable, Collection, Iterable, Mapping

from repave_controller.core.domain.reasons import Refused
from repave_controller.core.ports import StoreError
from repave_controller.fleet.sessions import Sessions
from repave_controller.peers.membership import Membership
from repave_controller.peers.mirror import Mirror
from repave_controller.peers.ports import SHARDS, Held, Member, NotOwner, Shard, Standing, shard_of
from repave_controller.peers.reports import Reports
from repave_controller.peers.shards import is_present
from repave_controller.runtime.clock import SteadyClock
from repave_controller.runtime.scheduler import Scheduler
from repave_protos.protocol.channel import Link
from repave_protos.protocol.values import ApplicationName, RegionName, Welcome
from repave_simulation.checks import people
from repave_simulation.kernel.timeline import WALL, Life
from repave_simulation.scenarios.plural import CONTROLLERS
from repave_simulation.scenarios.scenario import APPLICATIONS, Command, Scenario, Strike
from repave_simulation.tiers.database import Database, SimulatedSharedStore
from repave_simulation.tiers.figures import LATENCY_SECONDS, RESTART_SECONDS
from repave_simulation.tiers.processes import SimulatedAgent, TierTwo, carried_out, images_of
from repave_simulation.tiers.shared_reports import lose_reports
from repave_simulation.world.world import World

LOOK_SECONDS = 0.5
OWNERLESS_SECONDS_MAX = 6.0
"""So long after the last trouble of controllers a shard may be without one that decides for it."""
FORWARDS_MAX = 3
FADED_SECONDS = 4.0
_NAMED = {shard_of(ApplicationName(f"app-{n}")): ApplicationName(f"app-{n}") for n in range(1000)}
TWICE_SHARE = 0.3
"""Of the commands that are sent on to their owner, those that come there twice."""


class SimulatedPeer:
    """One of the controllers, as repave_controller.__main__ wires it, over simulated ports."""

    def __init__(self, world: World, life: Life, database: Database, instance: str) -> None:
        self._world, self._life = world, life
        self.store = SimulatedSharedStore(database, life)
        loaded = self.store.opened()
        clock = SteadyClock(loaded.last_event_at, lambda: WALL + world.now, lambda: world.now)
        welcome = Welcome("0", loaded.installation, "http://127.0.0.1/v1/images", takes_sums=True)
        self.sessions = Sessions(welcome, clock)
        self.member = Member(life.name, instance, "", "", "0", WALL + world.now)
        self.membership = Membership(self.store, self.member, self, lambda: world.now)
        self.scheduler = Scheduler(
            self.store, images_of(world), loaded, clock, self.sessions, ownership=self.membership
        )
        self.mirror = Mirror(self.store, self.scheduler, loaded.change)
        self.scheduler.share_by(self.mirror)
        self.sessions.report_to(self.scheduler)
        self.elsewhere = self.sessions.elsewhere(self._is_live)
        self.reports = Reports(self.store, life.name, instance, self.elsewhere)
        self.sessions.share_with(self.reports, lambda: self.membership.has_lease)

    async def run(self) -> None:
        """One that can't join ends, and is started again."""
        try:
            await self.membership.join()
        except StoreError as error:
            self._world.tell(self._life.name, f"can't join: {error}")
            self._world.kill(self._life.name, down_seconds=RESTART_SECONDS)
            return
        parts = (self.membership, self.scheduler, self.mirror, self.reports)
        await asyncio.gather(*(each.run() for each in parts), self._hear())

    async def _hear(self) -> None:
        async for _ in self.store.hints():
            self.reports.wake()

    async def stop(self) -> None:
        await self.membership.stop()
        self._world.kill(self._life.name)

    def _is_live(self, controller: str, process: str) -> bool:
        standing = self.membership.standing
        return standing is not None and any(
            is_present(each) and (each.member.id, each.member.instance) == (controller, process)
            for each in standing.members
        )

    async def gained(self, terms: Mapping[Shard, int]) -> None:
        self._world.tell(self._life.name, f"decides for {_shown(terms)}")
        await self.scheduler.gained(terms)

    async def lost(self, shards: Collection[Shard]) -> None:
        self._world.tell(self._life.name, f"decides no more for {_shown(shards)}")
        await self.scheduler.lost(shards)

    def standing(self, standing: Standing) -> None:
        self.elsewhere.members_changed()


def _unheard(answer: people.Answer) -> None:
    """No caller waits for it."""


def _shown(shards: Iterable[Shard]) -> str:
    """Those that applications are in."""
    known = {shard_of(name): name for name in APPLICATIONS}
    names = [known[each] for each in sorted(shards) if each in known]
    return f"{len(list(shards))} shards {', '.join(names)}".rstrip()


class TierThree(TierTwo):
    """Implements world.Tier."""

    def __init__(self, scenario: Scenario) -> None:
        self.peers: dict[str, SimulatedPeer] = {}
        self._instances = itertools.count(1)
        self._asked = itertools.count()
        self._troubled_at = 0.0
        self._states: list[tuple[bool, bool]] = []  # of the controllers, at the last look
        self._owned_at = dict.fromkeys(range(SHARDS), 0.0)
        super().__init__(scenario, CONTROLLERS[: 2 + scenario.seed % 2])
        self.database = Database(self.world)
        self.database.on_taken = self._taken
        self.world.strike_otherwise = self._strike
        self.loop.after(LOOK_SECONDS, self._look)

    async def _serve(self, controller: str, link: Link) -> None:
        await self.peers[controller].sessions.serve(link)

    # ------------------------------------------------------------------------------------ processes

    def _begin(self, name: str, life: Life) -> None:
        if name not in self.world.controllers:
            agent = self.agents[RegionName(name)] = SimulatedAgent(
                self.world, life, RegionName(name), self.network
            )
            self.loop.spawn(life, agent.run(), f"agent of {name}")
            return
        self._troubled_until(self.world.now)
        peer = self.peers[name] = SimulatedPeer(
            self.world, life, self.database, f"{name}-{next(self._instances)}"
        )
        self.loop.spawn(life, peer.run(), name)

    def regions_of(self, name: str) -> Iterable[RegionName]:
        return self.network.regions_at(name) if name in self.world.controllers else (RegionName(name),)

    def ended(self, name: str) -> None:
        super().ended(name)
        if name in self.peers:
            self._troubled_until(self.world.now)
            self.database.shelf.roster.died(self.peers[name].member)

    # --------------------------------------------------------------------------------------- people

    def _ask(self, command: Command, done: Callable[[people.Answer], None]) -> None:
        names = self.world.controllers
        self._ask_at(names[next(self._asked) % len(names)], command, done)

    def _ask_at(
        self, name: str, command: Command, done: Callable[[people.Answer], None], forwards: int = 0
    ) -> None:
        life = self.world.lives[name]
        if life.is_over:
            done(None)
            return

        def arrive() -> None:
            self.loop.spawn(life, self._answer_at(life, command, done, forwards), "request")

        self.loop.after(LATENCY_SECONDS, arrive, life)

    async def _answer_at(
        self, life: Life, command: Command, done: Callable[[people.Answer], None], forwards: int
    ) -> None:
        """One that another controller decides on is sent on to that one."""
        try:
            accepted = await carried_out(self.peers[life.name].scheduler, command, self.world.scenario.fleet)
        except Refused as refused:
            done(refused)
        except NotOwner as other:
            if other.owner in (None, life.name) or forwards == FORWARDS_MAX:
                done(None)
            else:
                self._ask_at(other.owner, command, done, forwards + 1)
                if self.world.chance.happens(TWICE_SHARE, "twice", command.key, self.world.now):
                    self._ask_at(other.owner, command, _unheard, FORWARDS_MAX)
        except StoreError:
            done(None)
        else:
            self._told(life, command, accepted, done)

    # ------------------------------------------------------------------------------------- troubles

    def _strike(self, strike: Strike) -> None:
        world, database, until = self.world, self.database, self.world.now + strike.seconds
        self._troubled_until(until)
        chosen, owner = world.controllers[strike.number % len(world.controllers)], self._owner()
        match strike.kind:
            case "owner-killed":
                world.kill(owner, down_seconds=strike.seconds)
            case "owner-frozen":
                world.freeze(owner, strike.seconds)
            case "controller-stopped":
                life = world.lives[owner]
                if not life.is_over and owner in self.peers:
                    self.loop.spawn(life, self.peers[owner].stop(), "stop")
            case "store-cut":
                database.cut_until[owner if strike.number % 2 else chosen] = until
            case "store-away":
                database.away_until = until
                database.shelf.roster.sessions.update(dict.fromkeys(database.shelf.roster.sessions, False))
                lose_reports(database.shelf)
            case "store-slow":
                database.slow_until = until
            case "store-fades":
                database.fading_until[owner] = until
                self._troubled_until(until + FADED_SECONDS)
                world.later(strike.seconds, lambda: self._cut(owner))
            case "store-clock-jumps":
                database.clock_step += strike.seconds * (1.0 if strike.number % 2 else -1.0)
            case "hints-lost":
                database.deaf_until[chosen] = until + 10.0
            case "new-incarnation":
                database.shelf.incarnation += 1
                database.shelf.change += 1
            case _:
                raise AssertionError(f"unknown strike: {strike.kind}")

    def _memberships(self) -> list[Membership]:
        return [peer.membership for peer in self.peers.values()]

    def _cut(self, controller: str) -> None:
        if not self.world.is_fair:
            self.database.cut_until[controller] = self.world.now + FADED_SECONDS

    def _taken(self, former: Held) -> None:
        """The former owner knows by its own clock that it has it no more, where its lease has ended."""
        peer = self.peers.get(former.owner or "")
        if peer is None or self.world.lives[peer.member.id].is_over or self.database.clock_step:
            return
        roster, membership = self.database.shelf.roster, peer.membership
        has_session = roster.sessions.get(peer.member.instance, False)
        tenure = membership.tenure_of(_NAMED[former.shard])
        if has_session and tenure is not None and tenure.term == former.term:
            text = f"shard {former.shard} is taken, and {former.owner} still takes it to be its own"
            self.world.broken(7, text)

    def _troubled_until(self, at: float) -> None:
        self._troubled_at = max(self._troubled_at, at)

    def _owner(self) -> str:
        held = self.database.shelf.shards[shard_of(APPLICATIONS[0])]
        return held.owner or self.world.controllers[0]

    def _look(self) -> None:
        """Each shard has an owner again soon after the last trouble."""
        self.loop.after(LOOK_SECONDS, self._look)
        world, database = self.world, self.database
        if world.is_fair and (database.away_until or database.cut_until or database.deaf_until):
            database.heal()
        lives = [world.lives[name] for name in world.controllers]
        states = [(each.is_over, each.is_frozen) for each in lives]
        if states != self._states or (False, False) not in states or world.now < database.slow_until:
            self._troubled_until(world.now)
        self._states = states
        for membership in self._memberships():
            for shard in membership.held:
                tenure = membership.tenure_of(_NAMED[shard])
                if tenure is not None and tenure.incarnation == database.shelf.incarnation:
                    self._owned_at[shard] = world.now
        for shard, owned_at in self._owned_at.items():
            if world.now > max(owned_at, self._troubled_at) + OWNERLESS_SECONDS_MAX:
                world.broken(5, f"shard {shard} has had no owner for {OWNERLESS_SECONDS_MAX:g} s")
