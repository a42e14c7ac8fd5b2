"""The looks of an analysis are made when they are due, by what its sources say, and each counts once."""

import asyncio
import math
import random
import threading
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace

import pytest

from repave_controller.core.analysis.values import JudgeConfig, JudgeName, Outcome
from repave_controller.core.commands.judging import Judged
from repave_controller.core.domain.analyses import Ending, Finding
from repave_controller.core.domain.application import Application, Instant
from repave_controller.core.domain.reasons import Why
from repave_controller.core.domain.rollout import Phase
from repave_controller.core.ports import Look, StoreError, Transaction
from repave_controller.core.steps import Analyse
from repave_controller.operations.analysis import details
from repave_controller.operations.analysis.details import NUMBERS, LookDetails, looks_in, packed
from repave_controller.operations.analysis.reading import Reader
from repave_controller.operations.analysis.runner import Analyses
from repave_controller.operations.analysis.sources.ports import Series, Side, SourceError, Window
from repave_controller.runtime.broadcast import Broadcast
from repave_controller.wording.render import text_of
from repave_protos.protocol.values import ApplicationName
from tests.fakes.waiting import until
from tests.scenarios.specs import spec
from tests.scenarios.stage import done, serving
from tests.scenarios.world import World

Numbers = Callable[[str, Side, Window, int], tuple[float, ...]]
"""Of a query, by a seed."""
NEW = "shop-v002"


@dataclass
class Source:
    """Says what `numbers` does; fails with `trouble`; waits for `gate`."""

    numbers: Numbers
    name: str = "balancer"
    kind: str = "balancer"
    applications: tuple[str, ...] = ("*",)
    trouble: str = ""
    seed: int = 1
    asked: list[tuple[str, Side, Window]] = field(default_factory=list)
    gate: asyncio.Event | None = None

    def step_for(self, seconds: float) -> int:
        return 5 if seconds <= 1800 else 60

    def total_of(self, query: str) -> str:
        return "requests"

    def objection(self, query: str) -> str:
        return ""

    def objection_to_sides(self, query: str) -> str:
        return ""

    async def is_by_version(self, query: str) -> bool:
        return "{version}" in query

    async def read(self, query: str, side: Side, window: Window) -> Series:
        self.asked.append((query, side, window))
        if self.gate is not None:
            await self.gate.wait()
        if self.trouble:
            raise SourceError(self.trouble)
        values = self.numbers(query, side, window, self.seed)
        return Series(window.since, window.step_seconds, values)


@dataclass
class Office:
    """Applications in their worlds, whose time stands still while a look is made."""

    worlds: dict[ApplicationName, World]
    rows: list[Look] = field(default_factory=list)
    visible: Broadcast = field(default_factory=Broadcast)
    is_mine: bool = True
    trouble: str = ""

    def clock(self) -> Instant:
        return Instant(next(iter(self.worlds.values())).now)

    def applications(self) -> Mapping[ApplicationName, Application]:
        return {name: world.application for name, world in self.worlds.items()}

    def decides_for(self, application: ApplicationName) -> bool:
        return self.is_mine

    async def judged(self, application: ApplicationName, judged: Judged, extra: Transaction) -> bool:
        if self.trouble:
            raise StoreError(self.trouble)
        world = self.worlds[application]
        before = world.application
        changed, _ = judged.apply(before, world.observed, "", "", Instant(world.now))
        if changed is before:
            return False
        assert done(world, judged) is None
        self.rows += extra.looks
        return True


def traffic(rate: float = 100.0, bad: float = 0.001, seconds: float = 0.05) -> Mapping[str, float]:
    return {"rate": rate, "bad": bad, "seconds": seconds}


def balancer(old: Mapping[str, float], new: Mapping[str, float]) -> Numbers:
    """Requests by chance; latency around its mean."""

    def numbers(query: str, side: Side, window: Window, seed: int) -> tuple[float, ...]:
        of = new if side.group == NEW else old
        found = []
        for slot in range(window.slots):
            own = random.Random(f"{seed} {side.group} {window.since + slot * window.step_seconds}")
            requests = int(of["rate"] * window.step_seconds)
            errors = sum(own.random() < of["bad"] for _ in range(requests))
            mean = own.gauss(of["seconds"], of["seconds"] / 10)
            found.append({"requests": requests, "errors": errors, "latency": mean}[query])
        return tuple(map(float, found))

    return numbers


START: dict[str, World] = {}


def in_analysis(world: World) -> bool:
    rollout = world.rollout
    return isinstance(rollout.steps[rollout.cursor], Analyse) and rollout.phase is Phase.RUNNING


def analysed(options: str = "", extra: str = "") -> World:
    """A canary that has come to its analysis: six looks, one each ten seconds."""
    if options + extra not in START:
        canary = f"{{canary: {{steps: [{{traffic: 50%, hold: 60s, analyse: {{{options}}}}}]}}}}"
        text = spec(canary, "paris:4, oslo:4", "analysis: {interval: 10s}\n" + extra)
        world = START[options + extra] = serving("analysis", text)
        world.release("1.2")
        world.until(in_analysis)
    return deepcopy(START[options + extra])


@dataclass
class Running:
    """An application whose looks are made by the runner, over sources."""

    world: World
    sources: dict[str, Source]
    office: Office = field(init=False)
    analyses: Analyses = field(init=False)
    told: list[Outcome] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.office = Office({self.world.application.name: self.world})
        self.begin_anew()

    def begin_anew(self) -> None:
        """As another controller that has taken over."""
        reader = Reader(self.sources, 4)
        self.analyses = Analyses(self.office, reader, lambda *told: self.told.append(told[2]))

    async def look(self) -> int:
        """Makes what is due."""
        due = self.analyses.due(self.office.clock())
        for each in due:
            await self.analyses.make(*each)
        return len(due)

    async def until_over(self, seconds: int = 120) -> None:
        for _ in range(seconds):
            await self.look()
            if not in_analysis(self.world):
                return
            self.world.run(1)

    @property
    def rows(self) -> list[LookDetails]:
        return list(looks_in(list({each.id: each for each in self.office.rows}.values())).values())


def over(numbers: Numbers, options: str = "", seed: int = 1) -> Running:
    return Running(analysed(options), {"balancer": Source(numbers, seed=seed)})


async def test_a_good_version_goes_on_after_its_last_look_and_each_look_is_kept() -> None:
    running = over(balancer(traffic(), traffic()))
    begun = running.world.now
    await running.until_over()
    assert running.world.now == begun + 60
    assert running.world.rollout.analyses[0].ending is Ending.PASSED
    assert [each.look for each in running.rows] == [1, 2, 3, 4, 5, 6]
    assert running.told == [Outcome.PASS] * 6 or set(running.told) <= {Outcome.PASS, Outcome.INCONCLUSIVE}
    assert sum(each.outcome == NUMBERS for each in {row.id: row for row in running.office.rows}.values()) == 1
    last = running.rows[-1]
    assert [each.metric.name for each in last.metrics] == ["errors", "latency"]
    assert len(last.metrics[0].canary.trials) >= 10
    assert sum(last.metrics[0].canary.trials) == 500.0 * len(last.metrics[0].canary.trials)


async def test_good_versions_pass_in_fifty_of_fifty_runs() -> None:
    """The same traffic with other chances: none goes back, and none waits for a person, where the spec wants
    few false alarms. With the usual 5 % about one in fifty waits."""
    ended, same = [], balancer(traffic(rate=20.0, bad=0.01), traffic(rate=20.0, bad=0.01))
    for seed in range(50):
        running = over(same, "judge: {false_alarms: 1%}", seed)
        await running.until_over()
        ended.append(running.world.rollout.analyses[0].ending)
    assert ended == [Ending.PASSED] * 50


@pytest.mark.parametrize(
    "new", [traffic(bad=0.02), traffic(seconds=0.065), traffic(bad=1.0)], ids=["errors", "slow", "dead"]
)
async def test_a_bad_version_goes_back_before_its_last_look(new: Mapping[str, float]) -> None:
    running = over(balancer(traffic(), new))
    await running.until_over()
    assert running.world.until_over() is Phase.ROLLED_BACK
    reason = running.world.rollout.undo_reason
    assert reason is not None
    assert reason.kind is Why.ANALYSIS_FAILED
    assert running.told[-1] is Outcome.FAIL
    assert len(running.told) < 6
    assert "of 6" in text_of(reason)


async def test_a_source_that_is_down_is_no_verdict_and_counts_for_nothing() -> None:
    running = over(balancer(traffic(), traffic()))
    source = running.sources["balancer"]
    source.trouble = "it did not answer within 15 s"
    for _ in range(21):
        running.world.run(1)
        await running.look()
    assert running.told == [Outcome.ERROR] * 2
    assert in_analysis(running.world)
    (analysis,) = running.world.rollout.analyses
    assert analysis.last is not None
    assert analysis.last.reason is not None
    assert text_of(analysis.last.reason) == "balancer: it did not answer within 15 s"
    assert running.rows[0].metrics[0].trouble == source.trouble
    source.trouble = ""
    await running.until_over()
    assert running.world.rollout.analyses[0].ending is Ending.PASSED


async def test_a_source_that_stays_down_holds_the_release() -> None:
    running = over(balancer(traffic(), traffic()))
    running.sources["balancer"].trouble = "connection refused"
    await running.until_over()
    assert running.world.rollout.analyses[0].ending is Ending.UNJUDGED
    assert running.world.rollout.phase is Phase.RUNNING
    assert running.told == [Outcome.ERROR] * 5


async def test_what_can_be_read_is_enough_to_find_it_bad_and_not_to_find_it_good() -> None:
    for new, outcome in ((traffic(), Outcome.ERROR), (traffic(bad=0.5), Outcome.FAIL)):
        world = analysed("metrics: [{name: errors}, {name: queue, source: prom, query: q}]")
        down = Source(lambda *_: (), name="prom", trouble="connection refused")
        running = Running(world, {"balancer": Source(balancer(traffic(), new)), "prom": down})
        world.run(30)
        assert await running.look() == 1
        assert running.told == [outcome]


async def test_a_source_that_the_settings_do_not_have_or_forbid_is_an_error() -> None:
    world = analysed("metrics: [{name: queue, source: prom, query: q}]")
    running = Running(world, {"balancer": Source(balancer(traffic(), traffic()))})
    world.run(30)
    await running.look()
    assert "have no source prom, but balancer" in running.rows[0].metrics[0].trouble
    running.sources["prom"] = Source(balancer(traffic(), traffic()), applications=("cart-*",))
    world.run(30)
    await running.look()
    assert "let shop not use the source prom" in running.rows[1].metrics[0].trouble
    assert running.told == [Outcome.ERROR] * 2


async def test_two_groups_of_one_version_are_not_told_apart_by_it() -> None:
    world = analysed('metrics: [{name: queue, source: prom, query: "{version}"}]')
    groups = world.application.groups
    world.application = replace(
        world.application, groups=tuple(replace(each, version="1.1") for each in groups)
    )
    running = Running(world, {"prom": Source(lambda _, __, window, ___: (1.0,) * window.slots, name="prom")})
    world.run(30)
    await running.look()
    assert "both groups are of version 1.1" in running.rows[0].metrics[0].trouble
    assert running.told == [Outcome.ERROR]


async def test_what_a_source_says_is_kept_as_text_that_can_be_shown() -> None:
    running = over(balancer(traffic(), traffic()))
    running.sources["balancer"].trouble = "a\ud800b\n\x1b[31m" + "x" * 10_000
    running.world.run(30)
    await running.look()
    found = running.rows[0].metrics[0].trouble
    assert found.startswith("a b  [31mx")
    assert len(found) == 1000


async def test_events_of_longer_steps_are_no_more_of_them() -> None:
    """The time before a switch is long ago, and balancers keep it in longer steps."""

    class Coarse(Source):
        async def read(self, query: str, side: Side, window: Window) -> Series:
            step = window.step_seconds * (1 if side.group == NEW else 12)
            return Series(window.since, step, (2.0 * step,) * 6)

    running = Running(analysed("metrics: [{name: requests}]"), {"balancer": Coarse(lambda *_: ())})
    running.world.run(30)
    await running.look()
    verdict = running.rows[0].metrics[0].verdict
    assert verdict is not None
    assert verdict.canary.mean == verdict.baseline.mean


async def test_a_millisecond_more_is_no_worse_for_balancers_tell_no_less() -> None:
    for new, outcome in ((0.001, Outcome.PASS), (0.002, Outcome.FAIL)):
        world = analysed("metrics: [{name: latency}]")

        def numbers(_: str, side: Side, window: Window, __: int, new: float = new) -> tuple[float, ...]:
            return (new if side.group == NEW else 0.0001,) * window.slots

        running = Running(world, {"balancer": Source(numbers)})
        await running.until_over()
        assert running.told[-1] is outcome


async def test_what_a_look_has_found_is_packed_beside_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """30 metrics of 720 steps take a fifth of a second."""
    threads = []

    def packing(text: str) -> str:
        threads.append(threading.current_thread())
        return packed(text)

    monkeypatch.setattr(details, "packed", packing)
    running = over(balancer(traffic(), traffic()))
    running.world.run(30)
    await running.look()
    assert threads
    assert threads[0] is not threading.main_thread()
    assert running.office.rows[0].details.startswith(details.PACKED)
    assert running.rows[0].metrics[0].canary.trials


async def test_numbers_that_are_none_pass_nothing() -> None:
    running = over(lambda _, __, window, ___: (math.nan,) * window.slots)
    await running.until_over()
    assert Outcome.PASS not in running.told
    assert running.world.rollout.analyses[0].ending is not Ending.PASSED


async def test_another_controller_goes_on_from_the_saved_state() -> None:
    running = over(balancer(traffic(), traffic()))
    for _ in range(35):
        running.world.run(1)
        await running.look()
    assert [each.look for each in running.rows] == [1, 2, 3]
    running.begin_anew()
    assert await running.look() == 0
    await running.until_over()
    assert [each.look for each in running.rows] == [1, 2, 3, 4, 5, 6]


async def test_one_that_does_not_decide_for_it_makes_no_look() -> None:
    running = over(balancer(traffic(), traffic()))
    running.office.is_mine = False
    running.world.run(30)
    assert await running.look() == 0


async def test_a_look_is_not_made_twice_at_a_time_and_one_that_is_overtaken_changes_nothing() -> None:
    running = over(balancer(traffic(), traffic(bad=1.0)))
    source = running.sources["balancer"]
    source.gate = asyncio.Event()
    running.world.run(20)
    ((application, look),) = running.analyses.due(running.office.clock())
    made = asyncio.create_task(running.analyses.make(application, look))
    await until(lambda: bool(source.asked))
    running.world.run(5)
    assert running.analyses.due(running.office.clock()) == []
    assert (
        done(running.world, Judged.of(look, Finding(Outcome.PASS, 100.0))) is None
    )  # another controller was quicker
    source.gate.set()
    await made
    assert running.told == []
    assert in_analysis(running.world)


async def test_what_could_not_be_saved_is_looked_at_again_after_a_while() -> None:
    running = over(balancer(traffic(), traffic()))
    running.office.trouble = "the disk is full"
    running.world.run(20)
    assert await running.look() == 1
    running.world.run(1)
    assert await running.look() == 0
    running.office.trouble = ""
    running.world.run(5)
    assert await running.look() == 1
    assert len(running.rows) == 1


async def test_old_looks_are_judged_again_by_other_thresholds() -> None:
    running = over(balancer(traffic(), traffic(bad=0.02)))
    await running.until_over()
    bad = running.rows[-1]
    assert bad.judged_again(bad.judge).outcome is Outcome.FAIL
    again = bad.judged_again(JudgeConfig(JudgeName.KAYENTA, 0.0, 0.0))
    assert again.outcome is Outcome.PASS
    assert again.verdicts[0].metric == "errors"


async def test_many_applications_rest_until_one_of_them_is_due() -> None:
    """What has not changed is not looked into again."""
    running = over(balancer(traffic(), traffic()))
    assert running.analyses.due(running.office.clock()) == []
    known = dict(running.analyses._known)
    assert running.analyses.due(running.office.clock()) == []
    assert running.analyses._known == known
    ((_, at),) = known.values()
    assert at == Instant(running.world.now + 10)


@pytest.mark.parametrize("strategy", ["canary", "flip", "sliding"])
async def test_each_look_is_judged_again_by_the_very_numbers_that_it_saw(strategy: str) -> None:
    """They are kept once, with the last look; where looks slide each has its own."""
    running = over(balancer(traffic(), traffic()), "look_back: 20s" if strategy == "sliding" else "")
    if strategy == "flip":
        world = serving("flip", spec("{blue_green: {warm: 60s, analyse: {interval: 10s}}}", "paris:4"))
        world.release("1.2")
        world.until(in_analysis)
        running = Running(world, running.sources)
    await running.until_over()
    looks = running.rows
    assert len(looks) == 6
    for each in looks:
        assert each.judged_again(each.judge) == each.judgement
    sizes = [len(each.metrics[1].canary.values) for each in looks]
    assert sizes == sorted(sizes)


async def test_what_is_soon_too_old_for_fine_steps_is_read_in_coarse_ones_from_the_first_look_on() -> None:
    for hold, step in (("20m", 5), ("40m", 60)):
        canary = f"{{canary: {{steps: [{{traffic: 50%, hold: {hold}, analyse: {{interval: 5m}}}}]}}}}"
        world = serving("long", spec(canary, "paris:4"))
        world.release("1.2")
        world.until(in_analysis)
        source = Source(balancer(traffic(rate=1.0), traffic(rate=1.0)))
        running = Running(world, {"balancer": source})
        world.run(301)
        await running.look()
        assert {window.step_seconds for _, _, window in source.asked} == {step}
