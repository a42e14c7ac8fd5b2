"""The agent's end of the stream, over links in memory and a clock that only the test moves."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest
import structlog
from structlog.testing import capture_logs
from structlog.typing import EventDict

from repave_agent.runtime.session import (
    NOTICES_MAX,
    QUERIES_IN_FLIGHT_MAX,
    TROUBLE_LENGTH_MAX,
    Session,
)
from repave_protos.daemon.standstill import STANDSTILL_SECONDS, WATCH_SECONDS
from repave_protos.protocol import fleet_pb2 as pb
from repave_protos.protocol import wire
from repave_protos.protocol.channel import Late
from repave_protos.protocol.queries import Answer, Failure, Hosts, HostsOf, Query
from repave_protos.protocol.values import (
    ZERO_EPOCH,
    ApplicationName,
    ApplicationReport,
    Beat,
    DesiredState,
    Digest,
    Epoch,
    GroupName,
    GroupReport,
    HostDetail,
    HostName,
    HostPhase,
    Notice,
    Observations,
    Rejection,
    Resync,
)
from tests.fakes.agent.session_rig import HELLO, WELCOME, Recorder, Region, running, settle, verified

SHOP, CART = ApplicationName("shop"), ApplicationName("cart")


@pytest.fixture(autouse=True)
def _plain_log() -> Iterator[None]:
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


def warnings(logs: list[EventDict]) -> list[str]:
    return [entry["event"] for entry in logs if entry["log_level"] in ("warning", "error")]


# ----------------------------------------------------------------------------------------------- speaking


async def test_hello_comes_first_and_a_welcome_is_answered_with_everything() -> None:
    async with running(Region()) as region:
        region.observe(shop=3, cart=1)
        await settle()
        assert region.link.heard == [HELLO]
        assert not region.session.is_connected
        await region.welcome()
        assert region.session.is_connected
        assert region.handler.welcomes == [WELCOME]
        (first,) = region.link.reports
        assert first.is_full
        assert {each.application for each in first.applications} == {SHOP, CART}
        seen = Observations()
        assert seen.merge(first), "the digest is that of what was sent"


async def test_even_a_region_without_applications_reports_so_after_welcome() -> None:
    async with running(Region()) as region:
        await region.welcome()
        assert [(each.is_full, each.applications) for each in region.link.reports] == [(True, ())]


async def test_hello_is_built_anew_for_each_stream() -> None:
    async with running(Region()) as region:
        await region.welcome()
        region.hello = replace(HELLO, agent_version="0.2.0")
        region.link.hang_up()
        await region.time.advance(5.0)
        assert len(region.links) == 2
        assert region.link.heard[0] == region.hello


async def test_the_first_change_goes_at_once_and_those_that_follow_go_together() -> None:
    async with running(Region()) as region:
        await region.welcome()
        for count in (1, 2, 3):
            region.observe(shop=count)
            await settle()
        assert [verified(each) for each in region.link.reports[1:]] == [{"shop": 1}]
        await region.time.advance(0.049)
        assert len(region.link.reports) == 2
        region.observe(shop=4, cart=9)
        await region.time.advance(0.001)
        assert verified(region.link.reports[-1]) == {"shop": 4, "cart": 9}
        assert len(region.link.reports) == 3


async def test_what_the_controller_waits_for_goes_at_once_once_in_each_window() -> None:
    """Hosts that come one by one go together; the last one of them ends a step."""
    async with running(Region()) as region:
        await region.welcome()
        shop = GroupName("shop-v001")
        groups = [GroupReport(shop, launching=each, starting=4 - each) for each in (3, 2, 1, 0)]
        groups.append(replace(groups[-1], has_given_up=True))
        for group in groups:
            region.session.observed({SHOP: ApplicationReport(SHOP, Epoch(1, 1, 1), (group,))})
            await settle()
        reported = [each.applications[0].groups[0] for each in region.link.reports[1:]]
        assert reported == [groups[0], groups[3]]
        await region.time.advance(0.05)
        assert [each.applications[0].groups[0] for each in region.link.reports[3:]] == groups[4:]


async def test_after_a_quiet_window_a_change_goes_at_once_again() -> None:
    async with running(Region()) as region:
        await region.welcome()
        region.observe(shop=1)
        await region.time.advance(0.2)
        region.observe(shop=2)
        await settle()
        assert [verified(each) for each in region.link.reports[1:]] == [{"shop": 1}, {"shop": 2}]


async def test_only_changed_applications_are_sent_and_the_digest_is_of_all() -> None:
    async with running(Region()) as region:
        region.observe(shop=1, cart=1)
        await region.welcome()
        region.observe(shop=1, cart=2)
        await settle()
        changed = region.link.reports[-1]
        assert not changed.is_full
        assert verified(changed) == {"cart": 2}
        seen = Observations()
        assert [seen.merge(each) for each in region.link.reports] == [True, True]


async def test_a_controller_that_takes_sums_gets_them_in_the_place_of_digests() -> None:
    async with running(Region()) as region:
        region.observe(shop=1, cart=1)
        await region.welcome(replace(WELCOME, takes_sums=True))
        region.observe(shop=1, cart=2)
        await settle()
        assert [bool(each.digest) for each in region.link.reports] == [False, False]
        seen = Observations()
        assert [seen.merge(each) for each in region.link.reports] == [True, True]
        region.link.hang_up()
        await region.time.advance(5.0)
        await region.welcome()
        assert [bool(each.sum) for each in region.link.reports] == [False], "the next one may be older"


async def test_nothing_is_sent_while_nothing_changes() -> None:
    async with running(Region()) as region:
        region.observe(shop=1)
        await region.welcome()
        for _ in range(3):
            region.observe(shop=1)
            await region.time.advance(1.0)
        assert len(region.link.reports) == 1


async def test_an_application_that_is_gone_makes_the_next_report_a_full_one() -> None:
    async with running(Region()) as region:
        region.observe(shop=1, cart=1)
        await region.welcome()
        region.observe(shop=1)
        await settle()
        assert region.link.reports[-1].is_full
        assert verified(region.link.reports[-1]) == {"shop": 1}


async def test_a_resync_is_answered_with_everything() -> None:
    async with running(Region()) as region:
        region.observe(shop=1, cart=1)
        await region.welcome()
        region.link.say(Resync())
        await settle()
        assert [each.is_full for each in region.link.reports] == [True, True]
        assert verified(region.link.reports[-1]) == {"shop": 1, "cart": 1}


async def test_a_slow_stream_gets_the_newest_state_and_never_a_queue_of_old_ones() -> None:
    async with running(Region()) as region:
        await region.welcome()
        region.link.writable.clear()
        for count in range(50):
            region.observe(shop=count)
            await region.time.advance(0.1)
        region.link.writable.set()
        await region.time.advance(0.1)
        assert [verified(each) for each in region.link.reports[1:]] == [{"shop": 0}, {"shop": 49}]


async def test_notices_wait_for_the_controller_and_the_oldest_are_dropped() -> None:
    async with running(Region()) as region:
        for number in range(NOTICES_MAX + 10):
            region.session.notice(Notice("host.failed", str(number)))
        await region.welcome()
        (first,) = region.link.reports
        assert [notice.text for notice in first.notices] == [str(n) for n in range(10, NOTICES_MAX + 10)]
        region.session.notice(Notice("host.failed", "later"))
        await settle()
        assert [notice.text for notice in region.link.reports[-1].notices] == ["later"]


async def test_texts_that_cannot_be_sent_are_cleaned_before_the_digest_is_made() -> None:
    async with running(Region()) as region:
        group = GroupReport(GroupName("shop-v001"), trouble="x" * 5_000 + "\udcff")
        region.session.observed({SHOP: ApplicationReport(SHOP, ZERO_EPOCH, (group,), refusal="\udcfe")})
        await region.welcome()
        (first,) = region.link.reports
        assert Observations().merge(first)
        assert len(first.applications[0].groups[0].trouble) == TROUBLE_LENGTH_MAX


# ---------------------------------------------------------------------------------------------- listening


async def test_desired_states_reach_the_handler_in_order() -> None:
    async with running(Region()) as region:
        await region.welcome()
        states = [DesiredState(SHOP, Epoch(1, 1, rev), 8000, ()) for rev in range(5)]
        for state in states:
            region.link.say(state)
        await settle()
        assert region.handler.desired == states


async def test_a_question_is_answered_while_another_one_takes_its_time() -> None:
    async with running(Region()) as region:
        slow = asyncio.Event()

        async def answer(query: Query) -> Answer:
            if query.query_id == 1:
                await slow.wait()
            return Answer(query.query_id, Hosts((HOST,)))

        region.handler.answer = answer
        await region.welcome()
        region.link.say(Query(1, HostsOf(SHOP)))
        region.link.say(Query(2, HostsOf(SHOP)))
        await settle()
        assert region.link.answers == [Answer(2, Hosts((HOST,)))]
        slow.set()
        await settle()
        assert region.link.answers == [Answer(2, Hosts((HOST,))), Answer(1, Hosts((HOST,)))]


HOST = HostDetail(
    HostName("h-1"),
    GroupName("shop-v001"),
    SHOP,
    HostPhase.VERIFIED,
    "127.1.1.1",
    80,
    Digest("0" * 64),
    1.0,
    1.0,
)


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        (None, "the disk is on fire"),
        ((replace(HOST, age_seconds=-1.0),), "HostDetail.age_seconds"),
        ((replace(HOST, log_tail="x" * 60_000),) * 300, "too large"),
    ],
)
async def test_a_question_that_fails_is_told_to_who_asked_and_costs_nothing_else(
    hosts: tuple[HostDetail, ...] | None, expected: str
) -> None:
    async with running(Region()) as region:

        async def answer(query: Query) -> Answer:
            if hosts is None:
                raise RuntimeError("the disk is on fire")
            return Answer(query.query_id, Hosts(hosts))

        region.handler.answer = answer
        await region.welcome()
        region.link.say(Query(7, HostsOf(SHOP)))
        await settle()
        (failed,) = region.link.answers
        assert failed.query_id == 7
        assert isinstance(failed.content, Failure)
        assert expected in failed.content.why
        assert len(region.links) == 1


async def test_no_more_questions_are_taken_than_can_be_in_flight() -> None:
    async with running(Region()) as region:
        release = asyncio.Event()

        async def answer(query: Query) -> Answer:
            await release.wait()
            return Answer(query.query_id, Hosts())

        region.handler.answer = answer
        await region.welcome()
        for number in range(QUERIES_IN_FLIGHT_MAX + 5):
            region.link.say(Query(number, HostsOf(SHOP)))
        await settle()
        release.set()
        await settle()
        assert len(region.link.answers) == QUERIES_IN_FLIGHT_MAX
        region.link.say(Query(999, HostsOf(SHOP)))
        await settle()
        assert region.link.answers[-1].query_id == 999


# ------------------------------------------------------------------------------------------- reconnecting


async def test_an_absent_controller_is_dialled_again_with_growing_delays_and_one_warning() -> None:
    region = Region()
    region.refused = ConnectionRefusedError("nobody listens")
    with capture_logs() as logs:
        async with running(region):
            delays = []
            for _ in range(8):
                await settle()
                (delay_seconds,) = region.time.pending_seconds
                delays.append(delay_seconds)
                await region.time.advance(delay_seconds)
            assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
            region.refused = None
            await region.time.advance(5.0)
            await region.welcome()
    assert warnings(logs) == ["session.lost"]
    assert logs[0]["reason"] == "nobody listens"
    assert logs[-1]["event"] == "session.welcome"
    assert logs[-1]["outage_seconds"] > 16


async def test_patience_grows_while_no_answer_comes_and_is_what_the_link_needs_then() -> None:
    """5 s, 10 s, 20 s for an answer; one that took 12 s is given three times as long from then on."""
    async with running(Region()) as region:
        region.refused = Late("no answer")
        for delay_seconds in (0.1, 0.2):
            await settle()
            await region.time.advance(delay_seconds)
        region.refused = None
        await region.time.advance(0.4)
        assert region.patience == [5.0, 10.0, 20.0, 40.0]
        await region.time.advance(12.0)
        await region.welcome()
        region.link.hang_up()
        await settle()
        await region.time.advance(0.1)
        assert region.patience[-1] == 36.0


async def test_a_refused_connection_says_nothing_of_how_slow_the_link_is() -> None:
    async with running(Region()) as region:
        region.refused = ConnectionRefusedError("nothing listens")
        for _ in range(4):
            await settle()
            await region.time.advance(5.0)
        assert set(region.patience) == {5.0}


async def test_an_agent_with_no_news_says_that_it_is_there_as_often_as_it_is_asked() -> None:
    async with running(Region()) as region:
        await settle()
        region.link.say(replace(WELCOME, beat_seconds=1.5))
        await settle()
        await region.time.advance(6.0)
        assert region.link.heard.count(Beat()) == 4


async def test_an_agent_beats_as_often_as_it_was_asked_last() -> None:
    async with running(Region()) as region:
        await settle()
        region.link.say(replace(WELCOME, beat_seconds=1.5))
        await settle()
        await region.time.advance(1.0)
        region.link.say(replace(WELCOME, beat_seconds=5.0))
        await settle()
        await region.time.advance(15.5)
        assert region.link.heard.count(Beat()) == 4, "the one that was under way, and one each 5 s"


async def test_a_controller_that_asks_for_no_beat_hears_none() -> None:
    async with running(Region()) as region:
        await region.welcome()
        await region.time.advance(60.0)
        assert Beat() not in region.link.heard


async def test_a_second_outage_is_told_again_and_starts_with_short_delays() -> None:
    with capture_logs() as logs:
        async with running(Region()) as region:
            for _ in range(2):
                await region.welcome()
                await region.time.advance(60.0)
                region.link.hang_up()
                await settle()
                assert region.time.pending_seconds == [0.1]
                await region.time.advance(0.1)
    assert warnings(logs) == ["session.lost", "session.lost"]
    assert len(region.links) == 3


async def test_an_agent_of_many_spreads_its_return_as_the_controller_asked() -> None:
    async with running(Region()) as region:
        await region.welcome(replace(WELCOME, return_seconds=2.0))
        await region.time.advance(60.0)
        delays = []
        for _ in range(3):
            region.link.hang_up()
            await settle()
            delays.append(region.time.pending_seconds[-1])
            await region.time.advance(delays[-1])
        assert delays == [2.0, 4.0, 5.0], "by the greatest chance; never longer than without"


async def test_a_controller_that_welcomes_and_hangs_up_is_not_dialled_in_a_tight_loop() -> None:
    async with running(Region()) as region:
        delays = []
        for _ in range(6):
            await region.welcome()
            region.link.hang_up()
            await settle()
            delays.append(region.time.pending_seconds[-1])
            await region.time.advance(delays[-1])
        assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2]


async def test_what_changed_during_an_outage_is_reported_whole_afterwards() -> None:
    async with running(Region()) as region:
        region.observe(shop=1)
        await region.welcome()
        region.link.hang_up()
        await settle()
        assert not region.session.is_connected
        region.observe(shop=2)
        await region.time.advance(0.1)
        await region.welcome()
        assert [(each.is_full, verified(each)) for each in region.link.reports] == [(True, {"shop": 2})]


async def test_a_rejection_is_an_error_told_once_and_retried_after_the_longest_delay() -> None:
    with capture_logs() as logs:
        async with running(Region()) as region:
            for _ in range(3):
                await settle()
                region.link.say(Rejection("speaks protocol 1, upgrade the agent"))
                await settle()
                assert region.link.is_closed
                assert region.time.pending_seconds == [5.0]
                await region.time.advance(5.0)
            await region.welcome()
            assert region.session.is_connected
    assert [(each["log_level"], each["event"]) for each in logs[:-1]] == [("error", "session.rejected")]
    assert logs[0]["reason"] == "speaks protocol 1, upgrade the agent"


@pytest.mark.parametrize("message", [b"\xff\xff", b""])
async def test_a_message_that_makes_no_sense_closes_the_stream_and_not_the_agent(message: bytes) -> None:
    with capture_logs() as logs:
        async with running(Region()) as region:
            await region.welcome()
            first = region.link
            first.incoming.put_nowait(message)
            await settle()
            assert first.is_closed
            await region.time.advance(0.1)
            assert len(region.links) == 2
    assert warnings(logs) == ["session.lost"]
    assert "FromController" in logs[1]["reason"]


async def test_a_controller_that_never_says_welcome_is_given_up() -> None:
    async with running(Region()) as region:
        await region.time.advance(10.0)
        assert region.links[0].is_closed
        await region.time.advance(0.1)
        assert len(region.links) == 2


async def test_a_failing_handler_costs_the_stream_and_not_the_agent() -> None:
    class Failing(Recorder):
        async def on_desired(self, desired: DesiredState) -> None:
            raise OSError("no space left on device")

    region = Region()
    region.handler = Failing()
    region.session = Session(
        region._dial, lambda: HELLO, region.handler, region.time.clock, region.time.sleep, lambda: 1.0
    )
    async with running(region):
        await region.welcome()
        region.link.say(DesiredState(SHOP, ZERO_EPOCH, 8000, ()))
        await settle()
        assert region.links[0].is_closed
        await region.time.advance(0.1)
        assert len(region.links) == 2


@pytest.mark.parametrize("is_watch_first", [False, True])
async def test_what_was_sent_to_an_agent_that_stood_still_is_not_acted_on(is_watch_first: bool) -> None:
    with capture_logs() as logs:
        async with running(Region()) as region:
            await region.welcome()
            await region.time.advance(100.0)
            region.time.stand_still(STANDSTILL_SECONDS + WATCH_SECONDS)
            if is_watch_first:
                await region.time.advance(0.0)
            region.link.say(DesiredState(SHOP, ZERO_EPOCH, 8000, ()))
            await settle()
            assert region.links[0].is_closed
            await region.time.advance(0.1)
            await region.welcome()
            region.link.say(DesiredState(SHOP, Epoch(1, 1, 2), 8000, ()))
            await settle()
            assert [state.epoch for state in region.handler.desired] == [Epoch(1, 1, 2)]
    assert "stood still for 6 s" in next(entry["reason"] for entry in logs if "reason" in entry)


async def test_a_cancelled_session_closes_its_stream() -> None:
    region = Region()
    async with running(region):
        await region.welcome()
    assert region.link.is_closed


async def test_what_is_wrong_with_the_region_goes_up_when_it_changes() -> None:
    async with running(Region()) as region:
        region.session.troubled(("Keystone: no answer",), is_starting=True)
        await region.welcome()
        (first,) = region.link.reports
        assert (first.troubles, first.is_starting) == (("Keystone: no answer",), True)
        for _ in range(2):
            region.session.troubled(())
            await region.time.advance(1.0)
        (_, later) = region.link.reports
        assert (later.troubles, later.is_starting, later.is_full) == ((), False, False)


async def test_an_agent_that_has_something_else_to_say_of_itself_greets_again() -> None:
    async with running(Region()) as region:
        await region.welcome()
        before = region.link
        region.session.greet_again()
        await region.time.advance(1.0)
        await region.time.advance(10.0)
        assert before.is_closed
        assert len(region.links) >= 2


async def test_a_channel_is_changed_without_a_moment_in_which_there_is_none() -> None:
    async with running(Region()) as region:
        await region.welcome()
        before = region.link
        region.observe(shop=1)
        await region.session.change_channel()
        assert not before.is_closed, "the former one ends when the other has said Hello"
        assert region.link.heard == [HELLO]
        await settle()
        assert before.is_closed
        assert len(region.links) == 2
        assert region.link.heard == [HELLO], "once"
        await region.welcome()
        assert region.session.is_connected
        assert region.link.reports[0].is_full
        assert len(region.handler.welcomes) == 2


async def test_a_channel_that_can_not_be_changed_stays() -> None:
    async with running(Region()) as region:
        await region.welcome()
        before = region.link
        region.refused = ConnectionError("refused")
        with pytest.raises(ConnectionError):
            await region.session.change_channel()
        await settle()
        assert region.session.is_connected
        assert not before.is_closed


async def test_a_channel_is_not_changed_while_there_is_none() -> None:
    region = Region()
    region.refused = ConnectionError("refused")
    async with running(region):
        await settle()
        await region.session.change_channel()
        assert region.links == []


async def test_a_changed_channel_that_ends_at_once_is_dialled_again() -> None:
    async with running(Region()) as region:
        await region.welcome()
        await region.session.change_channel()
        region.link.hang_up()
        await settle()
        await region.time.advance(1.0)
        assert len(region.links) == 3
        await region.welcome()
        assert region.session.is_connected


async def test_what_a_later_controller_wants_of_one_application_costs_the_others_nothing() -> None:
    state = DesiredState(SHOP, ZERO_EPOCH, 8000, ())
    strange = pb.FromController.FromString(wire.encode_from_controller(state))
    strange.desired.split.by = 99  # type: ignore[assignment]  # a way that this version does not know
    async with running(Region()) as region:
        await region.welcome()
        region.link.incoming.put_nowait(strange.SerializeToString())
        region.link.say(replace(state, application=CART))
        await settle()
        assert not region.link.is_closed
        assert [each.application for each in region.handler.desired] == [CART]
        assert "Split.by" in region.handler.unreadable[SHOP]


async def test_a_message_that_is_none_of_this_protocol_still_ends_the_stream() -> None:
    async with running(Region()) as region:
        await region.welcome()
        region.link.incoming.put_nowait(b"")
        await settle()
        assert region.links[0].is_closed
