"""The ledger's figures: of what is saved, and of the history at a start; nothing is counted twice."""

from dataclasses import replace
from typing import Any

import pytest
from prometheus_client.registry import CollectorRegistry

from repave_controller.core.domain.application import Application, Instant
from repave_controller.core.domain.by_region import ByRegion
from repave_controller.core.domain.rollout import GroupNumber, Phase, Rollout, RolloutKind, Track, TrackPhase
from repave_controller.core.ports import Transaction
from repave_controller.core.steps.scale import Scale
from repave_controller.metrics.ledger import Ledger
from repave_protos.protocol.values import ApplicationName, RegionName

HELLO = ApplicationName("hello")


def rollout(
    number: int = 1, phase: Phase = Phase.RUNNING, kind: RolloutKind = RolloutKind.RELEASE
) -> Rollout:
    track = Track(RegionName("paris"), 0, None, TrackPhase.RUNNING, entered_at=Instant(100.0))
    return Rollout(
        number=number,
        kind=kind,
        target=GroupNumber(number),
        steps=(Scale(100.0, 60.0), Scale(100.0, 60.0)),
        tracks=ByRegion((track,)),
        phase=phase,
        started_at=Instant(100.0),
        started_by="ann",
        ended_at=Instant(160.0) if phase.is_over else None,
    )


class Case:
    def __init__(self) -> None:
        self.registry, self.now = CollectorRegistry(), 100.0
        self.ledger = Ledger(self.registry, lambda: Instant(self.now))

    def save(self, each: Rollout, at: float = 0.0) -> None:
        self.now = at or self.now
        self.ledger.committed(Transaction(application=an_application(each), rollout=each))

    def value(self, name: str, **labels: Any) -> float | None:
        return self.registry.get_sample_value(name, {key: str(each) for key, each in labels.items()})

    def ended(self, outcome: Phase, kind: RolloutKind = RolloutKind.RELEASE) -> float | None:
        return self.value("repave_rollouts_total", application="hello", kind=kind, outcome=outcome)


def an_application(latest: Rollout) -> Application:
    return Application(HELLO, "hello", GroupNumber(9), rollout=latest, rollouts_total=latest.number)


@pytest.fixture
def case() -> Case:
    return Case()


def test_every_outcome_is_there_from_the_first_save_on(case: Case) -> None:
    case.save(rollout())
    assert {case.ended(phase) for phase in Phase if phase.is_over} == {0.0}


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase.is_over])
def test_an_end_counts_once_however_often_it_is_saved(case: Case, phase: Phase) -> None:
    case.save(rollout())
    for _ in range(3):
        case.save(rollout(phase=phase))
    assert case.ended(phase) == 1


def test_a_held_rollout_that_goes_on_counts_again_when_it_ends(case: Case) -> None:
    for phase in (Phase.RUNNING, Phase.HELD, Phase.RUNNING, Phase.SUCCEEDED):
        case.save(rollout(phase=phase))
    assert (case.ended(Phase.HELD), case.ended(Phase.SUCCEEDED)) == (1, 1)


def test_going_back_lasts_from_the_decision_to_the_end(case: Case) -> None:
    case.save(rollout())
    case.save(rollout(phase=Phase.UNDOING), at=140.0)
    case.save(rollout(phase=Phase.UNDOING), at=150.0)
    case.save(rollout(phase=Phase.ROLLED_BACK), at=160.0)
    assert case.value("repave_restore_duration_seconds_sum", application="hello") == 20.0


def test_a_rollback_by_a_person_lasts_from_its_start(case: Case) -> None:
    case.save(rollout(kind=RolloutKind.ROLLBACK, phase=Phase.SUCCEEDED))
    assert case.value("repave_restore_duration_seconds_sum", application="hello") == 60.0


def test_a_step_lasts_until_its_region_enters_the_next(case: Case) -> None:
    first = rollout()
    case.save(first)
    (track,) = first.tracks
    case.save(first.with_track(replace(track, cursor=1, entered_at=Instant(130.0))), at=130.0)
    assert case.value("repave_step_duration_seconds_sum", step="scale") == 30.0


class _History:
    def __init__(self, *rollouts: Rollout) -> None:
        self._rollouts = rollouts

    async def images(self) -> list[Any]:
        return []

    async def rollouts(
        self, application: ApplicationName, limit: int = 50, before: int | None = None
    ) -> tuple[Rollout, ...]:
        return self._rollouts


async def test_a_restart_counts_the_history_and_what_runs_when_it_ends(case: Case) -> None:
    past, running = rollout(1, Phase.SUCCEEDED), rollout(2)
    application = an_application(running)
    case.ledger.know([application])
    ended = rollout(2, Phase.SUCCEEDED)
    case.save(ended)  # before the history is read, which then has it too
    await case.ledger.recall(_History(ended, past), {HELLO: application})  # type: ignore[arg-type]
    assert case.ended(Phase.SUCCEEDED) == 2


async def test_what_had_ended_before_a_restart_is_not_counted_again_when_it_is_saved(case: Case) -> None:
    past = rollout(1, Phase.ROLLED_BACK)
    application = an_application(past)
    case.ledger.know([application])
    await case.ledger.recall(_History(past), {HELLO: application})  # type: ignore[arg-type]
    case.save(past)
    assert case.ended(Phase.ROLLED_BACK) == 1


async def test_a_rollout_that_goes_back_over_a_restart_is_timed(case: Case) -> None:
    going = rollout(phase=Phase.UNDOING)
    (track,) = going.tracks
    going = going.with_track(replace(track, phase=TrackPhase.UNDOING, entered_at=Instant(120.0)))
    case.ledger.know([an_application(going)])
    case.save(rollout(phase=Phase.ROLLED_BACK), at=160.0)
    assert case.value("repave_restore_duration_seconds_sum", application="hello") == 40.0
