"""A command that is accepted changes what `repave why` says, and no refusal advises one that is refused:
over random strategies, waves, policies, troubles, pauses and holds."""

from collections.abc import Iterable
from contextlib import suppress
from random import Random

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from repave_controller.api.answers.views import queue_answer, why
from repave_controller.core.commands.advice import with_ways_that_work, works
from repave_controller.core.commands.promotion import Object, Override, Promote
from repave_controller.core.commands.queue import QueueDrop, QueueMove, QueueResume
from repave_controller.core.commands.release import WhileBusy, request_release
from repave_controller.core.commands.rollback import Rollback
from repave_controller.core.commands.steering import Abort, Pause, Resume, Retry, StepBack
from repave_controller.core.commands.verb import Verb
from repave_controller.core.domain.application import Application, Decision, Instant, Policy
from repave_controller.core.domain.reasons import Refused, Remedy, Why
from repave_controller.core.domain.rollout import Wave
from repave_controller.core.domain.steps import Step
from repave_controller.core.rollout.step import step
from repave_controller.wording.render import text_of
from tests.fakes.controller.random_rollouts import (
    REGIONS,
    TENURE,
    TROUBLES,
    World,
    begun,
    policies,
    wave_lists,
    ways,
)
from tests.fakes.controller.stepping import an_order

MOMENTS_MAX = 12
ADVISING = (
    *(Why.PAUSED, Why.HELD, Why.SOAK, Why.KEEP, Why.BAKE, Why.QUEUE_STANDS, Why.GROWS_BACK),
    *(Why.APPROVE, Why.APPROVE_WAVE, Why.APPROVE_UNLESS, Why.APPROVE_WAVE_UNLESS),
)

OPS = "ops,"
VERBS: tuple[Verb, ...] = (
    Pause(),
    Resume(),
    Retry(),
    StepBack(),
    Abort(),
    *(Abort(region) for region in REGIONS),
    Rollback(),
    Promote(OPS),
    Promote(OPS, skips=True),
    Promote(OPS, skips=True, regions=REGIONS[:1]),
    Promote(OPS, skips=True, is_everywhere=True),
    Promote(OPS, is_full=True),
    Override("capacity"),
    Override("freeze"),
    Object(),
    QueueResume(),
    QueueDrop(is_all=True),
    QueueDrop("1"),
    QueueMove("1", 2),
    QueueMove("2", 1),
)


def said(world: World, application: Application) -> str:
    """All that `repave why` and `queue list` say once it is carried out, before any region has answered."""
    decision = step(application, world.views, world.now, TENURE)
    explained = why(decision.application, world.views, decision.because, {})
    return explained.model_dump_json() + queue_answer(decision.application).model_dump_json()


def outcome(world: World, verb: Verb) -> Application | Refused:
    try:
        return verb.apply(world.application, world.views, "ann", "as a test", world.now)[0]
    except Refused as refused:
        return with_ways_that_work(refused, world.application, world.views, world.now)


def check_all(world: World) -> None:
    before = said(world, world.application)
    for verb in VERBS:
        after = outcome(world, verb)
        if isinstance(after, Refused):
            text_of(after.reason)
            check_advice(world, after.reason.remedies, f"{verb} is refused: {after.kind}")
            event(f"refused: {after.kind}")
        elif after is not world.application:  # else it is answered that all is so already
            assert said(world, after) != before, f"{verb} is accepted and changes nothing: {before}"
            event(f"accepted: {type(verb).__name__}")


def check_advice(world: World, remedies: Iterable[Remedy], because: str) -> None:
    for remedy in remedies:
        assert works(remedy, world.application, world.views, world.now), f"{because}, and advises {remedy}"


def check_waits(world: World, decision: Decision) -> None:
    """What `why` and `status` advise of a rollout that stands still is accepted as well."""
    for because in decision.because:
        if because.reason.kind in ADVISING:
            check_advice(world, because.reason.remedies, f"why says {because.reason.kind}")


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(
    st.randoms(use_true_random=True),
    wave_lists(),
    ways(),
    policies,
    st.sampled_from(("first", "later", "later", "rollback")),
)
def test_what_is_accepted_shows_and_what_is_advised_works(
    chance: Random, waves: tuple[Wave, ...], way: tuple[Step, ...], policy: Policy, kind: str
) -> None:
    total = sum(len(wave.regions) for wave in waves)
    world = begun(waves, way, policy, kind, old=chance.randint(1, total))
    for _ in range(MOMENTS_MAX):
        decision = world.settle()
        check_waits(world, decision)
        check_all(world)
        if world.application.running is None and world.application.queue_stands is None:
            return
        go_on(world, decision, chance)


def go_on(world: World, decision: Decision, chance: Random) -> None:
    match chance.choice(("time", "time", "trouble", "trouble", "command", "release")):
        case "time":
            ends = [each.until for each in decision.because if each.until is not None]
            world.now = Instant(max(world.now + 7, min(ends, default=0.0)))
        case "release":
            busy = chance.choice(
                (WhileBusy(queues=True), WhileBusy(is_latest=True), WhileBusy(replaces=True))
            )
            sizes = tuple((region, 2) for region in sorted(world.views))
            order = an_order(chance.choice("de"), sizes=sizes)
            with suppress(Refused):
                world.application, _ = request_release(world.application, order, busy, world.now)
        case "trouble":
            world.strike(chance.choice(sorted(world.views)), chance.choice(TROUBLES))
        case _:
            with suppress(Refused):
                verb = chance.choice([each for each in VERBS if not isinstance(each, Abort | Rollback)])
                world.application, _ = verb.apply(world.application, world.views, "ann", "so", world.now)
