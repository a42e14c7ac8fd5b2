"""Judges whether a region has done its step, must still wait, or has failed, from what it observes. Pure.

Only a report made under the epoch that was published last counts: an older one speaks of another wish.
"""

from dataclasses import dataclass, replace
from typing import Literal

from repave_controller.core.domain.application import (
    Application,
    Because,
    Instant,
    Observed,
    Part,
    ServerGroup,
)
from repave_controller.core.domain.rollout import (
    Approve,
    Keep,
    Retire,
    Rollout,
    Scale,
    Soak,
    Track,
    Verify,
    Weight,
)
from repave_controller.core.rules.divergence import because_ahead
from repave_protos.protocol.values import GroupReport, RegionName

Cause = Literal["health", "deadline"]


@dataclass(frozen=True, slots=True)
class Done:
    """The region has done the step."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The step cannot be completed; `reason` is for people."""

    reason: str
    cause: Cause = "health"


@dataclass(frozen=True, slots=True)
class Waiting:
    """Not yet. Growth of `progress` is progress, and resets the step's deadline."""

    because: Because
    progress: int = 0
    wake_at: Instant | None = None
    has_deadline: bool = True  # False: only a person, or time, can end this wait

    def __str__(self) -> str:
        return f"{self.because.region}: {self.because.what}"


Verdict = Done | Failed | Waiting


def gate_of(rollout: Rollout, track: Track) -> str:
    """What a person passes who lets the regions of this wave go on past this step."""
    return f"step {track.wave + 1}.{track.cursor + 1}"


def judge(
    application: Application, rollout: Rollout, track: Track, observed: Observed, now: Instant
) -> Verdict:
    """The verdict on the track's present step."""
    target = application.group(rollout.target)
    part = target.part(track.region) if target is not None else None
    assert target is not None, "a running track has a target"
    assert part is not None, "a running track has a target"
    failure = failure_of(application, target, track.region, observed)
    if failure is not None:
        return failure
    match rollout.step(track):
        case Soak() | Keep() | Approve() as step:
            return _judge_wait(application, rollout, track, step, target, part, observed, now)
        case Retire():
            return _judge_retire(application, track, observed)
        case Scale() | Verify() | Weight() as step:
            return _judge_count(application, track, step, target, part, observed)


def failure_of(
    application: Application, target: ServerGroup, region: RegionName, observed: Observed
) -> Failed | None:
    """What no waiting can mend, in whichever step it shows. That hosts were given up counts only as an answer
    to the newest attempt: what was reported of one before says nothing of it."""
    view = observed.get(region)
    if view is None or view.report is None:
        return None
    if view.report.refusal:
        return Failed(f"{region} refuses: {view.report.refusal}")
    report, desired = view.group(target.name), application.desired_in(region)
    asked = desired.group(target.name) if desired is not None else None
    is_answer = target.attempt == 0 or (
        desired is not None
        and asked is not None
        and asked.attempt == target.attempt
        and view.report.epoch == desired.epoch
    )
    if not report.has_given_up or not is_answer:
        return None
    return Failed(f"{region}: {report.trouble or 'its hosts fail'}")


def illness_of(
    application: Application, target: ServerGroup, part: Part, observed: Observed
) -> Failed | None:
    """Fewer of its hosts are healthy than make it ready, by a report that counts."""
    report, absent = current_report(application, target, part.region, observed)
    if absent is not None or report.verified >= application.policy.needed(part.judged):
        return None
    detail = f" ({report.trouble})" if report.trouble else ""
    return Failed(f"{part.region}: {report.verified} of {part.judged} hosts are healthy{detail}")


def _judge_count(
    application: Application,
    track: Track,
    step: Scale | Verify | Weight,
    target: ServerGroup,
    part: Part,
    observed: Observed,
) -> Verdict:
    report, absent = current_report(application, target, part.region, observed)
    if absent is not None:
        return Waiting(absent, -1, has_deadline=not _waits_for_a_person(part.region, observed))
    have, need, noun = _measure(application, step, part, report)
    if have >= need:
        return Done()
    trouble = f" ({report.trouble})" if report.trouble else ""
    what = f"{step.kind}: {have} of {need} {noun}{trouble}"
    return Waiting(
        Because(what, part.region, since=track.entered_at, remedy=_remedy(application)), progress=have
    )


def _measure(
    application: Application, step: Scale | Verify | Weight, part: Part, report: GroupReport
) -> tuple[int, int, str]:
    """(what there is, what is needed, its name) of the step in one region."""
    match step:
        case Scale():
            return report.starting + report.healthy + report.verified, part.count, "hosts run"
        case Verify():
            have = min(report.verified, report.balancer_up)
            return have, application.policy.needed(part.count), "hosts verified and up behind the balancer"
        case Weight():
            share = f"{part.weight_bp / 100:g} %"
            return int(report.weight_bp == part.weight_bp), 1, f"balancers acknowledge {share}"


def _judge_retire(application: Application, track: Track, observed: Observed) -> Verdict:
    origin = application.group(track.origin)
    part = origin.part(track.region) if origin is not None else None
    if origin is None or part is None:
        return Done()
    report, absent = current_report(application, origin, track.region, observed)
    if absent is not None:
        return Waiting(absent, -10_000, has_deadline=not _waits_for_a_person(track.region, observed))
    if report.present <= part.count:
        return Done()
    what = f"retire: {report.present} hosts of {origin.name} are left, {part.count} shall be"
    return Waiting(Because(what, track.region, since=track.entered_at), progress=-report.present)


def _judge_wait(
    application: Application,
    rollout: Rollout,
    track: Track,
    step: Soak | Keep | Approve,
    target: ServerGroup,
    part: Part,
    observed: Observed,
    now: Instant,
) -> Verdict:
    """Counted from the completion of the step before; while it lasts health is looked at again and again."""
    if not isinstance(step, Keep) and (illness := illness_of(application, target, part, observed)):
        return replace(illness, reason=f"{illness.reason} in the {step.kind}")
    if rollout.may_pass(gate_of(rollout, track)):
        return Done()
    if isinstance(step, Approve):
        return _judge_approval(application, track, step, now)
    until = Instant(track.entered_at + step.seconds)
    _, absent = current_report(application, target, track.region, observed)
    if now < until:
        what = f"{step.kind}: {target.name} " + ("proves itself" if isinstance(step, Soak) else "is kept")
        what += f"; {absent.what}" if absent is not None else ""
        skip = f"repave promote {application.name} --skip ends it"
        because = Because(what, track.region, track.entered_at, until, skip)
        return Waiting(because, 0, until, has_deadline=False)
    if absent is not None and isinstance(step, Soak):
        return Waiting(absent, 1, has_deadline=not _waits_for_a_person(track.region, observed))
    return Done()


def _judge_approval(application: Application, track: Track, step: Approve, now: Instant) -> Verdict:
    until = Instant(track.entered_at + step.expires_seconds) if step.expires_seconds else None
    who = f"somebody with the role {step.role}" if step.role else "somebody"
    if until is not None and now >= until:
        return Failed(f"{track.region}: nobody approved within {step.expires_seconds:g} s", "deadline")
    role = f" --role {step.role}" if step.role else ""
    remedy = f"repave promote {application.name}{role}"
    because = Because(f"approve: {who} must say yes", track.region, track.entered_at, until, remedy)
    return Waiting(because, wake_at=until, has_deadline=False)


def _waits_for_a_person(region: RegionName, observed: Observed) -> bool:
    return region in observed and bool(observed[region].ahead)


def current_report(
    application: Application, group: ServerGroup, region: RegionName, observed: Observed
) -> tuple[GroupReport, Because | None]:
    """The region's report on `group`, or why there is none that speaks of what was published last."""
    view, desired = observed.get(region), application.desired_in(region)
    if view is None or not view.is_connected:
        since = view.since if view is not None else None
        remedy = f"start or reconnect the agent of {region}; repave abort {application.name} gives up"
        return GroupReport(group.name), Because("its agent is not connected", region, since, remedy=remedy)
    if view.ahead:
        return GroupReport(group.name), because_ahead(region, view.ahead, view.since)
    if view.report is None or desired is None or view.report.epoch != desired.epoch:
        refusal = f" ({view.report.refusal})" if view.report is not None and view.report.refusal else ""
        what = f"it has not confirmed the newest desired state yet{refusal}"
        return GroupReport(group.name), Because(what, region)
    return view.group(group.name), None


def _remedy(application: Application) -> str:
    return f"repave hosts {application.name} shows each host; repave abort {application.name} ends it"
