"""What people read of that which follows a wait."""

from collections.abc import Mapping, Sequence

from repave_controller.core.domain.reasons import Forecast, Kind
from repave_controller.core.rollout.failure import FailureKind
from repave_controller.wording.phrases import Template, listed, percent

FAILURES = {
    "health": "if it falls ill",
    "approval": "if nobody does by then",
    "deadline": "without progress until then",
}


def _step(step: str, share_bp: int | None, failure: str, effect: str, region: str, wave: int | None) -> str:
    then = f"then {_named(step, share_bp)}"
    return f"{then}; {FAILURES[failure]}: {_effect(FailureKind(effect), region, wave)}" if failure else then


def _named(step: str, share_bp: int | None) -> str:
    """`weight 50 %`"""
    if not step:
        return "it is done"
    return step if share_bp is None else f"{step} {percent(share_bp)}"


def _effect(effect: FailureKind, region: str, wave: int | None) -> str:
    match effect:
        case FailureKind.END:
            return "it is held, for there is no older group to go back to"
        case FailureKind.PAUSE:
            return "it is held in place"
        case FailureKind.CONTINUE:
            return f"{region} goes back, the others go on"
        case FailureKind.STOP:
            return f"{region if wave is None else f'wave {wave}'} goes back"
        case FailureKind.UNDO:
            return "every region goes back"


def _wave(wave: int, regions: Sequence[str], approver: str | None) -> str:
    gate = f", once {approver or 'somebody'} has said yes" if approver is not None else ""
    return f"then wave {wave}{gate}: {listed(regions)}"


TEXTS: Mapping[Kind, Template] = {
    Forecast.STEP: _step,
    Forecast.WAVE: _wave,
    Forecast.SUCCESS: "then the rollout has succeeded",
    Forecast.END_WITHOUT_REGION: "if not by then, it is said, and the rollout ends without it",
}
