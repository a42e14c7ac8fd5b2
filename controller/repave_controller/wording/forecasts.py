"""What people read of that which follows a wait, and of what an analysis will not see."""

from collections.abc import Mapping, Sequence

from repave_controller.core.domain.reasons import Forecast, Kind
from repave_controller.core.rollout.failure import FailureKind
from repave_controller.wording.phrases import Template, length, listed, percent

FAILURES = {
    "health": "if it falls ill",
    "analysis": "if it is worse, or falls ill",
    "guard": "without enough healthy hosts until then",
    "approval": "if no one does by then",
    "deadline": "without progress until then",
}


def _step(
    step: str,
    share_bp: int | None,
    failure: str,
    effect: str,
    regions: Sequence[str],
    wave: int | None,
    is_all: bool,
    back: Sequence[str],
) -> str:
    then = f"then {_named(step, share_bp)}"
    if not failure:
        return then
    return f"{then}; {FAILURES[failure]}: {_effect(FailureKind(effect), regions, wave, is_all, back)}"


def _named(step: str, share_bp: int | None) -> str:
    """`weight 50 %`"""
    if not step:
        return "it is done"
    return step if share_bp is None else f"{step} {percent(share_bp)}"


def _effect(
    effect: FailureKind, regions: Sequence[str], wave: int | None, is_all: bool, back: Sequence[str] = ()
) -> str:
    match effect:
        case FailureKind.END:
            return "it is held, for there is no older group to go back to"
        case FailureKind.PAUSE:
            return "it is held in place"
        case FailureKind.STAY:
            return f"{listed(regions)} is held as it is, the others go on"
        case FailureKind.CONTINUE:
            return f"{listed(regions)} goes back, the others go on"
        case FailureKind.STOP:
            if not regions:
                return "no other region begins"
            return f"{listed(regions) if wave is None else f'wave {wave}'} goes back"
        case FailureKind.KEEP:
            stays = "stays" if len(regions) == 1 else "stay"
            alone = f"{listed(back)} goes back, " if back else ""
            held = "with the larger group and it is held: the old one lacks hosts"
            return f"{alone}{listed(regions)} {stays} {held}"
        case FailureKind.UNDO:
            return "every region goes back" if is_all else f"{listed(regions)} goes back"


def _skipped(step: str, share_bp: int | None, **_: object) -> str:
    return f"then {_named(step, share_bp)}; if not by then: it is left out, and caught up when it returns"


def _gone_back(failure: str, **_: object) -> str:
    return "if not by then: the rollout is held as it is" if failure else ""


def _wave(
    wave: int,
    regions: Sequence[str],
    approver: str | None,
    unless_seconds: float,
    effect: str,
    back: Sequence[str],
    is_all: bool,
) -> str:
    role = f"a person with the role {approver}" if approver else "a person"
    gate = f", once {role} has approved" if approver is not None else ""
    if unless_seconds:
        gate += f", or after {unless_seconds:g} s unless a person objects"
    then = f"then wave {wave}{gate}: {listed(regions)}"
    if not effect:
        return then
    return f"{then}; {FAILURES['approval']}: {_effect(FailureKind(effect), back, None, is_all)}"


def _errors_unseen(
    step: int,
    region: str,
    share_bp: int,
    rate: float,
    bad: float,
    needed: float | None,
    has: float,
    sees: float | None,
) -> str:
    few = _too_slow(step, region, share_bp, rate, f"{bad * 100:g} % errors", needed, has)
    return few if sees is None else f"{few}, which is enough for {sees * 100:.2g} %"


def _slowness_unseen(
    step: int,
    region: str,
    share_bp: int,
    rate: float,
    bad: float,
    needed: float | None,
    has: float,
    **_: object,
) -> str:
    return _too_slow(step, region, share_bp, rate, f"answers that are {bad * 100:g} % slower", needed, has)


def _too_slow(
    step: int, region: str, share_bp: int, rate: float, bad: str, needed: float | None, has: float
) -> str:
    """`step 5: at 5 % of 20 requests a second you need 42 min to see 1 % errors; this analysis takes
    10 min`"""
    where = f" in {region}" if region else ""
    time = "more than a year" if needed is None else length(needed)
    traffic = f"at {percent(share_bp)} of {rate:.3g} requests a second{where}"
    return f"step {step}: {traffic} you need {time} to see {bad}; this analysis takes {length(has)}"


TEXTS: Mapping[Kind, Template] = {
    Forecast.STEP: _step,
    Forecast.REGION_SKIPPED: _skipped,
    Forecast.GONE_BACK: _gone_back,
    Forecast.WAVE: _wave,
    Forecast.SUCCESS: "then the rollout has succeeded",
    Forecast.END_WITHOUT_REGION: "if not by then, the rollout ends without it",
    Forecast.ERRORS_UNSEEN: _errors_unseen,
    Forecast.SLOWNESS_UNSEEN: _slowness_unseen,
}
