"""What a region in a step is judged by: reports that count, its hosts' health, gates. Pure.

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
from repave_controller.core.domain.place import Place
from repave_controller.core.domain.rollout import Track
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


def gate_of(track: Track) -> str:
    """What a person passes who lets the regions of this wave go on past this step."""
    return f"step {track.wave + 1}.{track.cursor + 1}"


def may_pass(place: Place) -> bool:
    """Whether a person has let the region go on past its step."""
    return place.rollout.may_pass(gate_of(place.track))


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


def illness_during(kind: str, place: Place, observed: Observed) -> Failed | None:
    """The same, of a region that is in a step of this kind."""
    illness = illness_of(place.application, place.target.group, place.target.part, observed)
    return replace(illness, reason=f"{illness.reason} in the {kind}") if illness is not None else None


def waits_for_a_person(region: RegionName, observed: Observed) -> bool:
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
