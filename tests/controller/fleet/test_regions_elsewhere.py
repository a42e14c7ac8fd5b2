"""Regions whose agents are connected to another controller. Two controllers over one store in memory, with
links in memory; what they exchange is written and read where a test says so."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from repave_controller.core.domain.application import Event
from repave_controller.core.ports import StoreError, Transaction
from repave_controller.fleet.afar import QUESTION, STAND_BY, Afar
from repave_controller.fleet.holder_records import KIND, HolderRecords
from repave_controller.fleet.holders import FREE_SECONDS, Holder
from repave_controller.fleet.questions import AgentRefused, RegionUnreachable
from repave_controller.peers.letters import Letters
from repave_controller.peers.reports import Reports
from repave_protos.protocol.queries import Answer, Content, Failure, Hosts, Orphans, Query, Refusal
from repave_protos.protocol.values import (
    Applied,
    AskLease,
    Beat,
    Epoch,
    Hello,
    Lease,
    RegionName,
    Rejection,
    Welcome,
)
from repave_simulation.tiers.shared_reports import lose_reports
from repave_simulation.tiers.shared_shelf import SharedShelf
from repave_simulation.tiers.shared_store import SharedMemoryStore
from tests.fakes.controller.links import (
    CART,
    HELLO,
    HOST,
    PARIS,
    SHOP,
    Controller,
    MemoryLink,
    Observer,
    desired,
    seen,
    settle,
)


class Peer(Controller):
    """A controller among several."""

    def __init__(self, shelf: SharedShelf, name: str, live: set[str]) -> None:
        super().__init__()
        self.name, self.live = name, live
        live.add(name)
        self.store = SharedMemoryStore(shelf, name)
        self.elsewhere = self.sessions.elsewhere(lambda controller, process: f"{controller}" in live)
        self.reports = Reports(self.store, name, f"{name}-1", self.elsewhere)
        self.greeted: list[tuple[RegionName, bool]] = []
        self.caught_up = 0
        self.letters = Letters(self.store, name, self.store.hints, lambda: str(uuid.uuid4()))
        self.letters.answer_with(QUESTION, self.sessions.answer)
        self.letters.answer_with(STAND_BY, self.sessions.hear_stand_by)
        self.records = HolderRecords(self.store, lambda: self.now, lambda events: None)

    async def begin(self) -> None:
        await self.store.open()
        far = Afar(self.letters.ask)
        self.sessions.share_with(self.reports, lambda: self.name in self.live, far)
        await self.records.load(self.sessions)

    async def before_greeting(self) -> None:
        self.caught_up += 1
        self.records.take(await self.store.records(KIND), self.sessions)

    def greet(self, hello: Hello, *, is_elsewhere: bool = False) -> None:
        self.greeted.append((hello.region, is_elsewhere))


class Pair:
    def __init__(self) -> None:
        self.shelf, self.live = SharedShelf(), set[str]()
        self.ann, self.ben = Peer(self.shelf, "ann", self.live), Peer(self.shelf, "ben", self.live)

    async def exchange(self) -> None:
        for each in (self.ann, self.ben):
            await each.reports.write()
        for each in (self.ann, self.ben):
            await each.reports.read()
            await each.reports.write()
        await settle()

    def pass_time(self, seconds: float) -> None:
        for each in (self.ann, self.ben):
            each.now += seconds

    async def die(self, peer: Peer) -> None:
        """Its lease has ended, and the others have seen that."""
        self.live.discard(peer.name)
        for each in (self.ann, self.ben):
            if each is not peer:
                each.elsewhere.members_changed()


@asynccontextmanager
async def pair() -> AsyncIterator[Pair]:
    made = Pair()
    await made.ann.begin()
    await made.ben.begin()
    try:
        yield made
    finally:
        for each in (made.ann, made.ben):
            for task in each.tasks:
                task.cancel()


async def test_a_region_is_known_at_every_controller_as_its_agent_reports_it() -> None:
    async with pair() as two:
        link, agent = await two.ann.connect(), Observer()
        link.say(agent.report(seen(SHOP, 3), is_full=True))
        await settle()
        await two.exchange()
        here, there = two.ann.view, two.ben.view
        assert there.is_connected
        assert there.hello == here.hello
        assert there.observations == here.observations
        assert two.ben.changes == [(PARIS, {SHOP})]
        assert two.ben.greeted == [(PARIS, True)]
        assert two.ann.greeted == [(PARIS, False)]


async def test_only_what_changed_is_written_and_told() -> None:
    async with pair() as two:
        link, agent = await two.ann.connect(), Observer()
        link.say(agent.report(seen(SHOP, 3), seen(CART, 1), is_full=True))
        await settle()
        await two.exchange()
        regions, reports = dict(two.shelf.regions), dict(two.shelf.reports)
        two.ben.changes.clear()
        link.say(agent.report(seen(CART, 2)))
        link.say(Beat(1.0))
        await settle()
        await two.exchange()
        assert two.ben.changes == [(PARIS, {CART})]
        changed = {key[1] for key, row in two.shelf.reports.items() if row != reports[key]}
        assert changed == {CART}
        assert {name for name, row in two.shelf.regions.items() if row != regions[name]} <= {PARIS}
        assert two.ben.view.observations.applications[CART] == seen(CART, 2)


async def test_an_application_that_is_reported_no_longer_is_not_known_elsewhere_either() -> None:
    async with pair() as two:
        link, agent = await two.ann.connect(), Observer()
        link.say(agent.report(seen(SHOP, 3), seen(CART, 1), is_full=True))
        await settle()
        await two.exchange()
        link.say(agent.report(seen(SHOP, 3), is_full=True))
        await settle()
        await two.exchange()
        assert set(two.ben.view.observations.applications) == {SHOP}
        assert two.ben.changes[-1] == (PARIS, {CART})


async def test_troubles_and_what_is_withheld_are_told() -> None:
    async with pair() as two:
        link, agent = await two.ann.connect(), Observer()
        link.say(replace(agent.report(seen(SHOP, 3), is_full=True), troubles=("no pool",), is_starting=True))
        await settle()
        await two.exchange()
        assert (two.ben.view.troubles, two.ben.view.is_starting) == (("no pool",), True)


async def test_a_region_that_is_lost_or_whose_controller_is_gone_is_not_connected() -> None:
    async with pair() as two:
        link, agent = await two.ann.connect(), Observer()
        link.say(agent.report(seen(SHOP, 3), is_full=True))
        await settle()
        await two.exchange()
        two.ben.changes.clear()
        two.pass_time(7)
        await two.die(two.ann)
        assert not two.ben.view.is_connected
        assert two.ben.view.since == 7
        assert two.ben.changes == [(PARIS, {SHOP})]
        two.live.add("ann")
        two.ben.elsewhere.members_changed()
        assert two.ben.view.is_connected
        assert two.ben.changes == [(PARIS, {SHOP})] * 2
        link.hang_up()
        await settle()
        await two.exchange()
        assert not two.ben.view.is_connected
        assert two.ben.view.troubles == ()


async def test_a_newer_session_elsewhere_ends_the_older_stream_and_takes_its_place() -> None:
    async with pair() as two:
        old, agent = await two.ann.connect(), Observer()
        old.say(agent.report(seen(SHOP, 3), is_full=True))
        await settle()
        await two.exchange()
        new, again = await two.ben.connect(), Observer()
        new.say(again.report(seen(SHOP, 4), is_full=True))
        await settle()
        assert two.ben.view.home is None, "its own now"
        await two.exchange()
        assert old.heard[-1] == Rejection("a newer stream of paris is open at controller ben")
        assert old.is_closed
        assert two.ann.view.is_connected
        assert two.ann.view.observations.applications[SHOP] == seen(SHOP, 4)
        old.say(agent.report(seen(SHOP, 9)))
        await settle()
        await two.exchange()
        assert two.ben.view.observations.applications[SHOP] == seen(SHOP, 4)
        assert not new.is_closed


async def test_a_frozen_controller_that_wakes_does_not_take_its_region_back() -> None:
    async with pair() as two:
        old, agent = await two.ann.connect(), Observer()
        await two.ann.reports.write()
        new = await two.ben.connect()
        await two.ben.reports.write()
        old.say(agent.report(seen(SHOP, 3), is_full=True))
        await settle()
        await two.ann.reports.write()
        await two.ann.reports.read()
        await settle()
        assert old.is_closed
        assert two.ann.view.home is not None
        assert two.ann.view.is_connected
        assert not new.is_closed
        assert not two.ann.view.observations.applications


async def test_what_is_offered_goes_to_streams_of_this_controller_only() -> None:
    async with pair() as two:
        link = await two.ann.connect()
        await two.exchange()
        two.ben.sessions.publish(PARIS, desired(1))
        two.ann.sessions.publish(PARIS, desired(2))
        await settle()
        assert link.heard[1:] == [desired(2)]


async def test_after_the_database_lost_its_tables_all_is_told_anew() -> None:
    async with pair() as two:
        link, agent = await two.ann.connect(), Observer()
        link.say(agent.report(seen(SHOP, 3), seen(CART, 1), is_full=True))
        await settle()
        await two.exchange()
        lose_reports(two.shelf)
        link.say(agent.report(seen(SHOP, 5), is_full=True))
        await settle()
        await two.exchange()
        assert two.ben.view.is_connected
        assert two.ben.view.observations.applications == {SHOP: seen(SHOP, 5)}
        assert PARIS in two.shelf.regions


async def test_what_is_not_written_is_written_later() -> None:
    async with pair() as two:
        link, agent = await two.ann.connect(), Observer()
        link.say(agent.report(seen(SHOP, 3), is_full=True))
        await settle()
        two.ann.store.trouble = "it is away"
        with pytest.raises(StoreError):
            await two.ann.reports.write()
        two.ann.store.trouble = ""
        await two.exchange()
        assert two.ben.view.observations.applications == {SHOP: seen(SHOP, 3)}


async def test_no_agent_is_served_while_the_store_is_away_and_the_streams_that_are_open_stay() -> None:
    async with pair() as two:
        link = await two.ann.connect()
        two.ann.store.trouble = "it is away"
        refused = await two.ann.connect(replace(HELLO, region=RegionName("oslo")))
        (heard,) = refused.heard
        assert isinstance(heard, Rejection)
        assert "it is away" in heard.reason
        assert not link.is_closed


async def test_a_forgotten_region_is_forgotten_everywhere() -> None:
    async with pair() as two:
        link = await two.ann.connect()
        await two.exchange()
        assert not two.ben.sessions.forget(PARIS), "its agent is connected"
        link.hang_up()
        await settle()
        await two.exchange()
        assert two.ben.sessions.forget(PARIS)
        await two.exchange()
        assert not two.ann.sessions.views()
        assert not two.ben.sessions.views()


async def test_a_controller_that_starts_knows_the_regions_of_before_as_away() -> None:
    async with pair() as two:
        link, agent = await two.ann.connect(), Observer()
        link.say(agent.report(seen(SHOP, 3), is_full=True))
        await settle()
        await two.exchange()
        fresh = Peer(two.shelf, "ann", two.live)
        fresh.elsewhere = fresh.sessions.elsewhere(lambda controller, process: process != "ann-1")
        fresh.reports = Reports(fresh.store, "ann", "ann-2", fresh.elsewhere)
        await fresh.begin()
        await fresh.reports.read()
        assert not fresh.view.is_connected
        assert fresh.view.observations.applications == {SHOP: seen(SHOP, 3)}


# ------------------------------------------------------------------------------------------- holders


def of(instance: str, **changes: object) -> Hello:
    """An agent whose hosts and balancer are a cloud's."""
    return replace(HELLO, instance=instance, capabilities=("take_over",), leases=True, **changes)  # type: ignore[arg-type]


async def refused(peer: Peer, hello: Hello) -> str:
    (heard,) = (await peer.connect(hello)).heard
    assert isinstance(heard, Rejection)
    return heard.reason


async def test_of_two_agents_that_come_to_two_controllers_at_once_one_gets_the_region() -> None:
    async with pair() as two:
        links = [MemoryLink(), MemoryLink()]
        for peer, link, instance in ((two.ann, links[0], "one"), (two.ben, links[1], "two")):
            peer.tasks.append(peer.serve(link))
            link.say(of(instance))
        await settle()
        first = [link.heard[0] for link in links]
        assert sorted(type(each).__name__ for each in first) == ["Rejection", "Welcome"]
        (why,) = [each.reason for each in first if isinstance(each, Rejection)]
        assert "paris" in why


async def test_the_same_agent_may_come_to_any_controller() -> None:
    async with pair() as two:
        await two.ann.connect(of("one"))
        await two.exchange()
        second = await two.ben.connect(of("one", applied=(Applied(SHOP, Epoch(1, 1, 1), "0" * 16),)))
        assert isinstance(second.heard[0], Welcome)


async def test_a_lease_of_another_controller_counts_from_when_it_was_heard_last() -> None:
    async with pair() as two:
        acting = await two.ann.connect(of("one"))
        await refused(two.ann, of("two"))
        acting.say(AskLease(1))
        await settle()
        assert any(isinstance(each, Lease) for each in acting.heard)
        await two.exchange()
        two.ann.tasks.append(asyncio.create_task(two.ann.letters.run()))
        two.pass_time(FREE_SECONDS + 1)
        acting.say(AskLease(2))
        await settle()
        assert "stands by" in await refused(two.ben, of("two")), "ann goes on lending"
        await two.die(two.ann)
        two.pass_time(FREE_SECONDS - 1)
        assert "its lease ends in 1 s" in await refused(two.ben, of("two"))
        leases = [each for each in acting.heard if isinstance(each, Lease)]
        acting.say(AskLease(3))
        await settle()
        assert [each for each in acting.heard if isinstance(each, Lease)] == leases, "ann may not lend now"
        two.pass_time(1)
        link = await two.ben.connect(of("two"))
        assert isinstance(link.heard[0], Welcome)


async def test_a_take_over_that_a_person_asks_for_holds_at_every_controller() -> None:
    async with pair() as two:
        await two.ann.connect(replace(HELLO, instance="one"))
        await two.exchange()
        other = replace(HELLO, instance="two")
        assert "another agent serves paris" in await refused(two.ben, other)
        two.ann.sessions.let_take_over(PARIS)
        await two.ann.sessions.tell_take_over(PARIS)
        taken = await two.ben.connect(other)
        assert isinstance(taken.heard[0], Welcome)
        third = replace(HELLO, instance="three")
        assert "another agent serves paris" in await refused(two.ann, third), "it was for one"


async def test_a_stand_by_at_one_controller_binds_the_agent_that_is_connected_to_another() -> None:
    async with pair() as two:
        acting = await two.ann.connect(of("one"))
        await two.exchange()
        two.ann.tasks.append(asyncio.create_task(two.ann.letters.run()))
        assert "stands by" in await refused(two.ben, of("two"))
        await settle()
        bound = acting.heard[-1]
        assert isinstance(bound, Welcome)
        assert bound.lease_seconds > 0


# ----------------------------------------------------------------------------------------- questions


async def answering(link: MemoryLink, content: Content) -> None:
    """The agent answers the next question so."""
    while not any(isinstance(each, Query) for each in link.heard):
        await settle()
    (query,) = [each for each in link.heard if isinstance(each, Query)]
    link.say(Answer(query.query_id, content))


async def test_an_agent_is_asked_wherever_it_is_connected() -> None:
    async with pair() as two:
        link = await two.ann.connect()
        await two.exchange()
        two.ann.tasks.append(asyncio.create_task(two.ann.letters.run()))
        asked = asyncio.create_task(two.ben.sessions.query(PARIS, SHOP, log_lines=5))
        await answering(link, Hosts((HOST,)))
        assert await asked == (HOST,)


@pytest.mark.parametrize(
    ("content", "kind", "text"),
    [
        (Failure("no disk"), RegionUnreachable, "the agent of paris could not answer: no disk"),
        (Refusal("not mine"), AgentRefused, "not mine"),
    ],
)
async def test_what_an_agent_can_not_answer_is_said_as_if_it_were_here(
    content: Content, kind: type[Exception], text: str
) -> None:
    async with pair() as two:
        link = await two.ann.connect()
        await two.exchange()
        two.ann.tasks.append(asyncio.create_task(two.ann.letters.run()))
        asked = asyncio.create_task(two.ben.sessions.orphans(PARIS))
        await answering(link, content)
        with pytest.raises(kind, match=text):
            await asked


async def test_an_agent_that_left_meanwhile_is_not_asked_in_a_circle() -> None:
    async with pair() as two:
        link = await two.ann.connect()
        await two.exchange()
        link.hang_up()
        await settle()
        two.ann.tasks.append(asyncio.create_task(two.ann.letters.run()))
        with pytest.raises(RegionUnreachable, match="the agent of paris is not connected"):
            await two.ben.sessions.orphans(PARIS)


async def test_a_controller_that_answers_no_letters_costs_the_time_of_a_question() -> None:
    async with pair() as two:
        await two.ann.connect()
        await two.exchange()
        with pytest.raises(
            RegionUnreachable, match="controller ann, which the agent of paris is connected to"
        ):
            await two.ben.sessions.ask(PARIS, Orphans(), Hosts, -0.95)


async def test_a_holder_whose_saving_is_answered_late_takes_the_place_of_no_later_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with pair() as two:
        ann, commit = two.ann, two.ann.store.commit

        async def late(transaction: Transaction) -> tuple[Event, ...]:
            """Ben lets another agent in before the answer is there."""
            saved = await commit(transaction)
            monkeypatch.setattr(ann.store, "commit", commit)
            two.ben.records.take(await two.ben.store.records(KIND), two.ben.sessions)
            await two.ben.records.save(Holder(PARIS, "b", 2), (), is_other=True)
            ann.records.take(await ann.store.records(KIND), ann.sessions)
            return saved

        monkeypatch.setattr(ann.store, "commit", late)
        await ann.records.save(Holder(PARIS, "a", 1), (), is_other=False)
        await ann.records.save(Holder(PARIS, "c", 3), (), is_other=True)
        (record,) = await ann.store.records(KIND)
        assert '"c"' in (record.state or "")
