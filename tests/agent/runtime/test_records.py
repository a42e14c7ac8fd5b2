"""How the keeper of records goes on, whatever the service says."""

from collections.abc import Callable

from repave_agent.core.ports import NotActingError, RefusedError, TransientError
from repave_agent.core.records import Wanted
from repave_agent.runtime.records import LOOK_SECONDS, RETRY_SECONDS, RecordKeeper
from repave_protos.protocol.values import ApplicationName, Drain, RecordReport
from tests.fakes.agent.records import TTL_SECONDS, FakeRecords, FakeZone

SHOP, NAME = ApplicationName("shop"), "shop.example.com"
PARIS, OSLO = "192.0.2.1", "192.0.2.2"


class FakeClock:
    """Implements ports.Clock: stands still but for what is slept."""

    def __init__(self) -> None:
        self.now = 1000.0

    def wall(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


class Kept:
    """A keeper over a zone that oslo is in as well; `told` is what it has reported last."""

    def __init__(self, check: Callable[[], None] = lambda: None) -> None:
        self.zone = FakeZone({NAME: {OSLO}})
        self.clock = FakeClock()
        self.wanted: dict[ApplicationName, Wanted] = {}
        self.told: list[RecordReport] = []
        self.begin(check)
        self.want()

    def begin(self, check: Callable[[], None] = lambda: None) -> None:
        """As after a restart of the agent."""
        records = FakeRecords(self.zone, "paris")
        self.keeper = RecordKeeper(
            records,
            lambda: self.wanted,
            lambda _, report: self.told.append(report),
            self.clock,
            check,
            TTL_SECONDS,
        )

    def want(self, drain: Drain = "none", *, is_served: bool = True) -> None:
        self.wanted = {SHOP: Wanted(NAME, (PARIS,), drain, is_serving=True, is_served=is_served)}

    async def tend(self, seconds: float = 0.0) -> RecordReport:
        self.clock.now += seconds
        await self.keeper.tend()
        return self.told[-1]


async def test_it_is_in_then_out_and_says_when_it_left() -> None:
    kept = Kept()
    assert (await kept.tend()).state == "in"
    kept.want("unless_last")
    out = await kept.tend()
    assert (out.state, out.ttl_seconds, out.left_at) == ("out", TTL_SECONDS, kept.clock.wall())
    assert (await kept.tend(LOOK_SECONDS)).left_at == out.left_at
    assert kept.zone.names[NAME] == {OSLO}
    kept.begin()  # it can't know when that was: not before it began
    assert (await kept.tend()).left_at == kept.clock.wall()


async def test_nothing_is_put_there_before_the_balancer_serves() -> None:
    kept = Kept()
    kept.want(is_served=False)
    assert (await kept.tend()).trouble == "the balancer serves nothing of it yet"
    assert await kept.keeper.troubles() == []
    kept.want()
    assert (await kept.tend()).state == "in"
    kept.want(is_served=False)  # its balancer does not answer: no reason to leave
    assert (await kept.tend()).state == "in"


async def test_a_service_that_does_not_answer_changes_nothing_of_what_is_known() -> None:
    kept = Kept()
    await kept.tend()
    kept.want("unless_last")
    kept.zone.faults.append(TransientError("no answer"))
    told = await kept.tend()
    assert (told.state, told.trouble) == ("in", "no answer")
    assert await kept.keeper.troubles() == [f"dns: {NAME}: no answer"]
    told = await kept.tend(RETRY_SECONDS)
    assert (told.state, told.trouble) == ("out", "")
    assert await kept.keeper.troubles() == []


async def test_what_a_person_removes_by_hand_comes_back() -> None:
    kept = Kept()
    await kept.tend()
    kept.zone.names[NAME].remove(PARIS)
    await kept.tend(LOOK_SECONDS)
    assert kept.zone.names[NAME] == {PARIS, OSLO}


async def test_without_a_lease_nothing_is_changed() -> None:
    def check() -> None:
        raise NotActingError("another agent may have the region")

    kept = Kept(check)
    assert "another agent" in (await kept.tend()).trouble
    assert kept.zone.names == {NAME: {OSLO}}


async def test_one_name_that_fails_holds_up_no_other() -> None:
    kept = Kept()
    kept.wanted[ApplicationName("web")] = Wanted("web.example.com", (PARIS,), "none", True, True)
    kept.zone.faults.append(RefusedError("not allowed"))
    await kept.keeper.tend()
    assert kept.zone.names["web.example.com"] == {PARIS}


async def test_a_region_that_is_given_up_leaves_even_as_the_last() -> None:
    kept = Kept()
    kept.zone.names[NAME].clear()
    await kept.tend()
    await kept.keeper.remove_all()
    assert kept.zone.names[NAME] == set()
    assert kept.zone.marks == {}
