"""What a region in a step is judged by: reports that count, its hosts' health, gates. Pure.

Only a report made under the epoch that was published last counts: an older one speaks of another wish.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from repave_controller.core.domain.application import (
    Application,
    Because,
    Expiry,
    Instant,
    Observed,
    Part,
    ServerGroup,
)
from repave_controller.core.domain.place import Place, Side
from repave_controller.core.domain.reasons import Reason, Why, cli, reason_of
from repave_controller.core.domain.rollout import Pass, Rollout, Track
from repave_controller.core.rules.divergence import because_ahead
from repave_protos.protocol.copies import replace
from repave_protos.protocol.values import GroupName, GroupReport, RegionName

Cause = Literal["health", "deadline", "analysis", "undecided"]
"""`undecided`: nothing speaks against it, and nothing for it. No release goes back for that."""


@dataclass(frozen=True, slots=True)
class Done:
    """The region has done the step."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The step cannot be completed."""

    reason: Reason
    cause: Cause = "health"


@dataclass(frozen=True, slots=True)
class Waiting:
    """Not yet. Growth of `progress` is progress, and resets the step's deadline."""

    because: Because
    progress: int = 0
    wake_at: Instant | None = None
    has_deadline: bool = True  # False: only a person, or time, can end this wait
    is_unseen: bool = False  # no report counts: it waits for one, by a clock of its own
    is_healing: bool = False  # hosts are missing, and their region has time to replace them


Verdict = Done | Failed | Waiting


def gate_of(track: Track) -> str:
    """What a person passes who lets regions of this wave go on past this step."""
    return f"step {track.wave + 1}.{track.cursor + 1}"


def may_pass(place: Place) -> bool:
    """Whether a person has let the region go on past its step."""
    return place.rollout.may_pass(gate_of(place.track), place.region)


def said_against(objection: Pass | None) -> str:
    """Who objects, and why; "" where no one does."""
    if objection is None:
        return ""
    by = objection.by or "an operator"
    return f"{by} objects: {objection.reason}" if objection.reason else f"{by} objects"


def is_endured(rollout: Rollout, track: Track) -> bool:
    """Whether a person has let the region go on although its step had failed."""
    return rollout.is_endured(gate_of(track), track.region)


def failure_of(
    application: Application, target: ServerGroup, region: RegionName, observed: Observed
) -> Failed | None:
    """What no waiting can mend, in whichever step it shows. That hosts were given up counts only as an answer
    to the newest attempt: what was reported of one before says nothing of it."""
    view = observed.get(region)
    if view is None or view.report is None:
        return None
    if view.report.refusal:
        return Failed(reason_of(Why.AGENT_REFUSES, region=region, refusal=view.report.refusal))
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
    return Failed(reason_of(Why.HOSTS_FAIL, region=region, trouble=report.trouble))


def illness_of(
    application: Application, target: Side, track: Track, observed: Observed, now: Instant
) -> Failed | Waiting | None:
    """Fewer of its hosts are healthy than make it ready, or the balancer finds none of them up though it
    sends requests to them; by a report that counts. A few hosts the region has time to replace; then it
    waits."""
    part, policy = target.part, application.policy
    report, absent = current_report(application, target.group, part.region, observed)
    if absent is not None:
        return None
    have, unanswered = report.verified, _unanswered(target.group, part, report)
    if have >= policy.needed(part.judged) or (unanswered is not None and have > 0):
        return unanswered
    since = track.ill_at if track.ill_at is not None else now
    until = Instant(since + policy.heal_seconds)
    if have >= policy.healing(part.judged) and now < until:
        reason = reason_of(
            Why.HEALS,
            cli("hosts", application.name),
            group=target.group.name,
            have=have,
            need=part.judged,
            trouble=report.trouble,
        )
        because = Because(reason, part.region, since, until, Expiry.ILLNESS)
        return Waiting(because, wake_at=until, has_deadline=False, is_healing=True)
    ill = reason_of(Why.ILL, region=part.region, have=have, need=part.judged, trouble=report.trouble)
    if track.ill_at is not None and now >= until:
        ill = reason_of(Why.NOT_HEALED, illness=ill, seconds=policy.heal_seconds)
    return Failed(ill)


def _unanswered(target: ServerGroup, part: Part, report: GroupReport) -> Failed | None:
    if not part.weight_bp or not report.weight_bp or report.balancer_up:
        return None
    healthy, trouble = report.verified, report.trouble
    return Failed(
        reason_of(Why.NONE_UP, region=part.region, group=target.name, healthy=healthy, trouble=trouble)
    )


def illness_during(kind: str, place: Place, observed: Observed, now: Instant) -> Failed | Waiting | None:
    """The same, of a region that is in a step of this kind."""
    illness = illness_of(place.application, place.target, place.track, observed, now)
    if not isinstance(illness, Failed):
        return illness
    return replace(illness, reason=reason_of(Why.ILL_IN_STEP, illness=illness.reason, step=kind))


def unseen(absent: Because, region: RegionName, observed: Observed) -> Waiting:
    """What a step waits for while no report of its region counts."""
    return Waiting(absent, has_deadline=not waits_for_a_person(region, observed), is_unseen=True)


def waits_for_a_person(region: RegionName, observed: Observed) -> bool:
    return region in observed and bool(observed[region].ahead)


def current_report(
    application: Application, group: ServerGroup, region: RegionName, observed: Observed
) -> tuple[GroupReport, Because | None]:
    """The region's report on `group`, or why there is none that speaks of what was published last."""
    view, desired = observed.get(region), application.desired_in(region)
    if view is None or not view.is_connected:
        since = view.since if view is not None else None
        reason = reason_of(Why.AGENT_AWAY, cli("abort", application.name), region=region)
        return _nothing_of(group.name), Because(reason, region, since)
    if view.ahead:
        return _nothing_of(group.name), because_ahead(region, view.ahead, view.since)
    asked = desired.group(group.name) if desired is not None else None
    is_tried_anew = asked is not None and asked.attempt != group.attempt
    if view.report is None or desired is None or view.report.epoch != desired.epoch or is_tried_anew:
        refusal = view.report.refusal if view.report is not None else ""
        return _nothing_of(group.name), Because(reason_of(Why.UNCONFIRMED, refusal=refusal), region)
    return view.group(group.name), None


@lru_cache(64)
def _nothing_of(group: GroupName) -> GroupReport:
    """One for all regions that do not report on the group."""
    return GroupReport(group)
