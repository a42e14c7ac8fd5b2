"""Says which reports an application has to be decided again for. Pure.

A decision is a function of what it reads. One that rests reads little of a report, so that a region whose
hosts come and go costs nothing but taking its report in. What a decision reads beyond that must be named
here: tests/controller/core/rules/test_attention.py compares decisions with and without the reports left out.
"""

from collections.abc import Callable
from operator import attrgetter

from repave_controller.core.domain.application import (
    Application,
    Because,
    GroupState,
    Part,
    RegionView,
)
from repave_controller.core.domain.by_region import ByRegion
from repave_controller.core.domain.reasons import Why
from repave_controller.core.domain.rollout import Track
from repave_controller.core.rules.divergence import is_offered
from repave_protos.protocol.values import ApplicationReport, GroupReport, RegionName

STANDING = frozenset({Why.KEPT_FAILED, Why.SIZE_UNKNOWN, Why.SIZE_AT_MOST, Why.SIZE_REFUSED})
"""What ends by time, by numbers or by a person, whatever regions report."""
_LATER = frozenset({Why.FOLLOWS, Why.SKIPPED})
_READ_OF_GROUP: Callable[[GroupReport], tuple[object, ...]] = attrgetter(
    "group",
    "launching",
    "starting",
    "healthy",
    "verified",
    "unhealthy",
    "failed",
    "destroying",
    "balancer_up",
    "weight_bp",
    "in_flight",
    "has_given_up",
    "trouble",
    "worn",
)
"""The other fields are for people: hosts launched and destroyed so far, how old they are."""


def rests(application: Application, because: tuple[Because, ...]) -> bool:
    """Whether the application waits for nothing that a region does. `because`: what its last decision waits
    for."""
    return (
        application.running is None
        and all(each.reason.kind in STANDING for each in because)
        and not (application.queue or application.missed or application.drained)
        and not (application.tainted or application.replacing or application.deletion)
        and not any(group.parts.once(_some_retire) for group in application.groups)
        and (application.rollout is None or not application.rollout.tracks.once(_some_follow))
    )


def is_news(
    application: Application,
    region: RegionName,
    before: RegionView | None,
    now: RegionView,
    *,
    is_at_rest: bool,
) -> bool:
    """Whether a decision by what the region says `now` may differ from the last one, by what it said
    `before`; None: that one read nothing of the region. `is_at_rest`: as `rests` found after that one."""
    if now.is_connected and not now.ahead and _waits_to_be_sent(application, region):
        return True
    if before is None or before == now:
        return False
    if before.ahead or now.ahead:
        return True
    if is_at_rest:
        return _read_at_rest(before.report) != _read_at_rest(now.report)
    link_before, link_now = (before.is_connected, before.since), (now.is_connected, now.since)
    return link_before != link_now or _read(before.report) != _read(now.report)


def _waits_to_be_sent(application: Application, region: RegionName) -> bool:
    return application.desired_in(region) is not None and not is_offered(application, region)


def _read(report: ApplicationReport | None) -> object:
    if report is None:
        return None
    groups = [_READ_OF_GROUP(group) for group in report.groups]
    return report.epoch, report.refusal, report.record, report.jobs, groups


def _read_at_rest(report: ApplicationReport | None) -> object:
    """Worn hosts, which are replaced, and a record that is out of DNS without being asked for."""
    if report is None:
        return None
    is_out = report.record is not None and report.record.state == "out"
    if not is_out and not any(group.worn for group in report.groups):
        return None
    return _read(report)


def _some_retire(parts: ByRegion[Part]) -> bool:
    return any(part.state is GroupState.RETIRING for part in parts)


def _some_follow(tracks: ByRegion[Track]) -> bool:
    return any(track.reason is not None and track.reason.kind in _LATER for track in tracks)
