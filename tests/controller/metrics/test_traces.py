"""A rollout's spans: one trace, whose ids follow from what it is of, whichever controller tells them."""

from dataclasses import replace
from pathlib import Path

from repave_controller.core.analysis.values import Outcome
from repave_controller.core.domain.instants import Instant
from repave_controller.core.rules.looks import due
from repave_controller.metrics.traces import RolloutTraces
from repave_controller.runtime.clock import SteadyClock
from repave_protos.daemon.spans import Context, Span, context_in, context_of
from repave_protos.daemon.tracing import spans_from
from tests.controller.api.conftest import release
from tests.fakes.controller.api_rig import real_controller
from tests.fakes.waiting import until
from tests.scenarios.specs import spec
from tests.scenarios.stage import serving


class Kept:
    """Implements spans.Spans: keeps them."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def tell(self, span: Span) -> None:
        self.spans.append(span)

    def close(self) -> None: ...


async def test_a_release_is_a_tree_of_spans(tmp_path: Path) -> None:
    kept = Kept()
    async with real_controller(tmp_path, SteadyClock(Instant(0.0))) as real:
        await until(lambda: len(real.sessions.views()) == 2)
        known = real.scheduler.applications
        traces = RolloutTraces(kept, "store-1", real.scheduler.clock, known)
        real.metrics.traces = traces
        await release(real)
        assert traces.traceparent("paris", "hello") == ""  # type: ignore[arg-type]  # names
    spans = kept.spans
    by_context = {each.context: each for each in spans}
    assert [each.name for each in spans if by_context[each.context] is not each] == []
    (root,) = [each for each in spans if each.parent is None]
    assert (root.name, root.context, root.error) == ("release hello", traces.of_rollout("hello", 1), "")
    assert {each.name for each in spans} >= {
        "release hello",
        "wave 1",
        "region paris",
        "region oslo",
        "step scale",
        "step weight",
    }  # steps that take no time at all are told by the one before
    assert {
        by_context[each.parent].name for each in spans if each.name.startswith("step") and each.parent
    } == {
        "region paris",
        "region oslo",
    }
    assert all(each.began <= each.ended for each in spans)


def test_ids_follow_from_names() -> None:
    one, again, other = context_of("a", 1), context_of("a", 1), context_of("a", 2)
    assert one == again != other
    assert one.child("wave", 1).trace == one.trace
    assert one.child("wave", 1) != one.child("wave", 2)
    assert context_in(str(one)) == one
    for text in ("", "00-0-0-01", f"00-{'0' * 32}-{'1' * 16}-01", f"01-{'1' * 32}-{'1' * 16}-01"):
        assert context_in(text) is None
    assert str(Context(1, 2)) == f"00-{1:032x}-{2:016x}-01"


def test_nothing_is_told_unless_the_environment_asks() -> None:
    at = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    for environ in (
        {},
        {**at, "OTEL_SDK_DISABLED": "true"},
        {**at, "OTEL_TRACES_EXPORTER": "none"},
        {**at, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
    ):
        assert spans_from(environ, "x", "1") is None


def test_a_look_is_a_span_of_its_wave_or_of_its_region() -> None:
    canary = "{canary: {steps: [{traffic: 50%, hold: 50s, analyse: {interval: 10s}}]}}"
    world = serving("traced", spec(canary, "paris:4, oslo:4"))
    world.release("1.2")
    world.until(lambda each: bool(due(each.application, Instant(each.now))))
    (look,) = due(world.application, Instant(world.now))
    kept, name, number = Kept(), world.application.name, world.rollout.number
    traces = RolloutTraces(kept, "store-1", lambda: Instant(9.0), lambda: {name: world.application})
    traces.looked(name, look, Outcome.PASS, 0.5)
    traces.looked(name, replace(look, region=look.regions[0].region), Outcome.ERROR, 0.5)
    traces.looked(name, replace(look, rollout=number + 1), Outcome.PASS, 0.5)
    together, alone = kept.spans
    above = traces.of_rollout(name, number)
    assert (together.parent, alone.parent) == (
        above.child("wave", 0),
        above.child("region", look.regions[0].region),
    )
    assert (together.began, together.ended, together.error, alone.error) == (8.5, 9.0, "", "error")
    assert together.attributes["repave.outcome"] == "pass"
