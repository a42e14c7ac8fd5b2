"""What people may ask of an application that was released before, as values: one for each verb.

What each makes of the application is decided in `release.py` and `steering.py`; this is the one table that
the scheduler needs. Releases are not here: they come with an order, and may be the first.
"""

from dataclasses import dataclass
from typing import assert_never

from repave_controller.core.commands import release, steering
from repave_controller.core.domain.application import Application, Instant, Observed, Outcome
from repave_protos.protocol.values import RegionName


@dataclass(frozen=True, slots=True)
class Rollback:
    """Traffic back: to the newest warm group, or `to`; everywhere, or in `regions`."""

    to: str = ""
    regions: tuple[RegionName, ...] = ()
    force: bool = False


@dataclass(frozen=True, slots=True)
class Abort:
    """The rollout ends as if it had never begun; with `region`, only there."""

    region: RegionName | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing of the rollout moves."""


@dataclass(frozen=True, slots=True)
class Resume:
    """It goes on after a pause."""


@dataclass(frozen=True, slots=True)
class Retry:
    """The step in which repave holds the rollout begins anew."""


@dataclass(frozen=True, slots=True)
class StepBack:
    """The share of the traffic of one step before, and a pause there."""


@dataclass(frozen=True, slots=True)
class Promote:
    """What waits for approval goes on; with `skips` also what waits for time, with `is_full` all to come."""

    role: str = ""
    skips: bool = False
    is_full: bool = False


@dataclass(frozen=True, slots=True)
class Override:
    """A guard counts no longer for this rollout."""

    rule: str
    role: str = ""


@dataclass(frozen=True, slots=True)
class Resize:
    """So many hosts in these regions from now on."""

    sizes: tuple[tuple[RegionName, int], ...]


Asked = Rollback | Abort | Pause | Resume | Retry | StepBack | Promote | Override | Resize


def carried_out(
    asked: Asked, application: Application, observed: Observed, by: str, reason: str, now: Instant
) -> Outcome:
    """What it makes of the application. Raises Refused, with the verb that would fit where there is one."""
    match asked:
        case Rollback(to=to, regions=regions, force=force):
            return release.request_rollback(application, observed, by, reason, force, now, to, regions)
        case Abort(region=region) if region is not None:
            return steering.request_abort_region(application, region, by, reason, now)
        case Abort():
            return release.request_abort(application, by, reason, now)
        case Pause():
            return steering.request_pause(application, by, reason, now)
        case Resume():
            return steering.request_resume(application, by, reason, now)
        case Retry():
            return steering.request_retry(application, by, reason, now)
        case StepBack():
            return steering.request_step_back(application, by, reason, now)
        case Promote(role=role, skips=skips, is_full=is_full):
            return steering.request_promote(application, by, role, reason, now, skips=skips, is_full=is_full)
        case Override(rule=rule, role=role):
            return steering.request_override(application, rule, by, role, reason, now)
        case Resize(sizes=sizes):
            return steering.request_size(application, sizes, by, reason, now)
        case _:
            assert_never(asked)
