"""This controller among those that share its store: its lease and shards, what others save and report, and
letters; put together, and run."""

import asyncio
import uuid
from collections.abc import Collection, Coroutine, Mapping, Sequence

from repave_controller.api.web.access import Guarded
from repave_controller.api.web.relay import COMMAND, Owners, Relay
from repave_controller.core.ports import Loaded
from repave_controller.fleet.afar import QUESTION, STAND_BY, Afar
from repave_controller.fleet.holder_records import KIND, HolderRecords
from repave_controller.fleet.sessions import Sessions
from repave_controller.fleet.turned_away import LETTER as TURNED_AWAY
from repave_controller.fleet.turned_away import TurnedAwayAgents
from repave_controller.operations.drafts import LETTER, Drafts
from repave_controller.peers.company import Company
from repave_controller.peers.hinted import Hinted
from repave_controller.peers.letters import Letters
from repave_controller.peers.membership import Membership
from repave_controller.peers.mirror import Mirror
from repave_controller.peers.ports import ControllerId, Member, Shard, Standing
from repave_controller.peers.reports import Reports
from repave_controller.peers.shards import is_present
from repave_controller.runtime.clock import seconds_since_boot
from repave_controller.runtime.scheduler import Scheduler
from repave_controller.security import enrolment as enrolments
from repave_controller.security import provenance as packages
from repave_controller.security import under_way
from repave_controller.security.enrolment import Enrolment
from repave_controller.security.provenance import Provenance
from repave_controller.security.records import KINDS as ACCOUNTS
from repave_controller.stores.postgresql.shared import Shared

HINT_SECONDS = 1.0
CUT_OFF_SECONDS = 5.0
"""So long without a lease agents are kept: a database that is restarted is back by then."""
LOOK_SECONDS = 0.5
PLANS_SECONDS = 2.0
"""So long others are asked for a plan that was not shown here."""
TURNED_AWAY_SECONDS = 1.0
"""So long others are asked for the agents that they have not let in."""


class Sharing:
    """Implements peers.membership.Listener. `connect` comes once the other parts are there, then `run`."""

    def __init__(self, shared: Shared, member: Member) -> None:
        self.membership = Membership(shared.members, member, self, seconds_since_boot)
        self.letters = Letters(shared.letters, member.id, shared.store.hints, lambda: str(uuid.uuid4()))
        self.company = Company(member, self.membership, shared.members.concerns)
        self._shared = shared
        self._member = member
        self._live: Mapping[ControllerId, str] = {}
        self._scheduler: Scheduler | None = None

    def connect(
        self, scheduler: Scheduler, sessions: Sessions, holders: HolderRecords, loaded: Loaded
    ) -> Mirror:
        """Before anything is served; the mirror may be told who else hears of records."""
        self.mirror = Mirror(self._shared.store, scheduler, loaded.change)
        self.mirror.hear(KIND, lambda records: holders.take(records, sessions))
        scheduler.share_by(self.mirror)
        self._shared.members.tell = scheduler.note
        self._elsewhere = sessions.elsewhere(lambda id, instance: self._live.get(id) == instance)
        self.reports = Reports(self._shared.reports, self._member.id, self._member.instance, self._elsewhere)
        sessions.share_with(self.reports, lambda: self.membership.has_lease, Afar(self.letters.ask))
        self.letters.answer_with(QUESTION, sessions.answer)
        self.letters.answer_with(STAND_BY, sessions.hear_stand_by)
        owners = Owners(self._member.id, scheduler.tenure_of, self.membership.owner_of)
        self.relay = Relay(self.letters.ask, owners, lambda: str(uuid.uuid4()))
        self.letters.answer_with(COMMAND, self.relay.answer)
        self._scheduler, self._sessions = scheduler, sessions
        return self.mirror

    def hear(self, guarded: Guarded | None, enrolment: Enrolment | None, provenance: Provenance) -> None:
        """Once connected: what others save of people, agents and packages counts here too."""
        if guarded is not None:
            for kind in ACCOUNTS:
                self.mirror.hear(kind, guarded.accounts.take)
            if guarded.logins is not None:
                self.mirror.hear(under_way.KIND, guarded.logins.under_way.take)
        if enrolment is not None:
            for kind in (enrolments.TOKEN, enrolments.MEMBER):
                self.mirror.hear(kind, enrolment.take)
        self.mirror.hear(packages.KIND, provenance.take)

    def drafts(self) -> Drafts:
        """The plans that any of the controllers has shown. Before `work`."""

        async def ask_others(letter: bytes) -> Sequence[bytes]:
            return await self.letters.ask_all(list(self._live), LETTER, letter, PLANS_SECONDS)

        drafts = Drafts(ask_others)
        self.letters.answer_with(LETTER, drafts.answer)
        return drafts

    def turned_away(self) -> TurnedAwayAgents:
        """The agents that any of the controllers has not let in. Before `work`."""

        async def ask_others(letter: bytes) -> Sequence[bytes]:
            return await self.letters.ask_all(list(self._live), TURNED_AWAY, letter, TURNED_AWAY_SECONDS)

        agents = TurnedAwayAgents(self._sessions, ask_others)
        self.letters.answer_with(TURNED_AWAY, agents.answer)
        return agents

    def work(self) -> tuple[Coroutine[None, None, None], ...]:
        """To be run until the controller stops, after `join` of the membership."""
        each = (self.membership.run(), self.mirror.run(), self.reports.run(), self.letters.run())
        return (*each, self._wake_reports(), self._mind_agents())

    async def stop(self) -> None:
        """What is being saved is saved; then others may take the shards."""
        await self.membership.stop()
        self._shared.members.close()

    async def _wake_reports(self) -> None:
        hinted = Hinted(self._shared.store.hints())
        try:
            while True:
                await hinted.wait(HINT_SECONDS)
                self.reports.wake()
        finally:
            hinted.close()

    async def _mind_agents(self) -> None:
        """Nothing is decided for agents whose controller is cut off, while others go on."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self._sessions.cut_off(is_so=self.membership.lapsed_seconds > CUT_OFF_SECONDS)

    # ----------------------------------------------------------------------- peers.membership.Listener

    async def gained(self, terms: Mapping[Shard, int]) -> None:
        assert self._scheduler is not None, "connected before it runs"
        await self._scheduler.gained(terms)

    async def lost(self, shards: Collection[Shard]) -> None:
        assert self._scheduler is not None, "connected before it runs"
        await self._scheduler.lost(shards)

    def standing(self, standing: Standing) -> None:
        live = {each.member.id: each.member.instance for each in standing.members if is_present(each)}
        if live != self._live:
            self._live = live
            self._elsewhere.members_changed()
