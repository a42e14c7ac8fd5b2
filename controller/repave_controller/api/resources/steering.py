"""The commands to an application that was released before: their paths, their bodies, what each asks for."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from repave_controller.api.answers.models import SignedRequest
from repave_controller.core.commands import draining, jobs, lifecycle, promotion, queue, steering
from repave_controller.core.commands.rollback import Rollback
from repave_controller.core.commands.verb import Verb
from repave_controller.core.domain.bounds import REGIONS_MAX, SIZE_MAX
from repave_protos.protocol.values import RegionName

NAME_LENGTH_MAX = 200
Name = Annotated[str, Field(max_length=NAME_LENGTH_MAX)]


class SteeringRequest(SignedRequest):
    """A command to an application."""

    def wanted(self) -> Verb:
        """What it asks for."""
        raise NotImplementedError


class AbortRequest(SteeringRequest):
    """End the running rollout, or take one region out of it."""

    region: Name = Field("", description="Only this one: it goes back, the others go on. Empty: all.")

    def wanted(self) -> Verb:
        return steering.Abort(RegionName(self.region) if self.region else None)


class RollbackRequest(SteeringRequest):
    """Go back to the group before, or to another older one."""

    to: Name = Field("", description="A group or a version; what served before in each region if empty.")
    regions: Annotated[list[Name], Field(max_length=REGIONS_MAX)] = Field(
        default_factory=list, description="Only these; empty: everywhere."
    )
    force: bool = Field(False, description="Even to a group with too few healthy hosts. Takes a reason.")
    now: bool = Field(
        False, description="With the hosts that are there; those that are missing follow the switch."
    )

    def wanted(self) -> Rollback:
        regions = tuple(RegionName(region) for region in dict.fromkeys(self.regions))
        return Rollback(self.to, regions, self.force, self.now)


class PauseRequest(SteeringRequest):
    """Hold the rollout where it is."""

    def wanted(self) -> Verb:
        return steering.Pause()


class ResumeRequest(SteeringRequest):
    """Let a paused rollout go on."""

    def wanted(self) -> Verb:
        return steering.Resume()


class RetryRequest(SteeringRequest):
    """Try the step anew in which repave holds the rollout."""

    def wanted(self) -> Verb:
        return steering.Retry()


class StepBackRequest(SteeringRequest):
    """Back to the share of the traffic of one step before, and pause there."""

    def wanted(self) -> Verb:
        return steering.StepBack()


class PromoteRequest(SteeringRequest):
    """Let it go on past the gate that it waits at."""

    role: str = Field(
        "", max_length=100, description="The role of the approval; several with commas between."
    )
    skip: bool = Field(False, description="Also end what only waits for time: a soak, a bake.")
    full: bool = Field(False, description="All gates and waits that are still to come.")
    gates: Annotated[list[Name], Field(max_length=REGIONS_MAX)] = Field(
        default_factory=list,
        description="Seen to wait, as status names them: refused once that is over. Empty: what waits now.",
    )
    regions: Annotated[list[Name], Field(max_length=REGIONS_MAX)] = Field(
        default_factory=list, description="Only in these; empty: in all that wait there now."
    )
    all: bool = Field(False, description="Also in the regions of the wave that come there later.")

    def wanted(self) -> Verb:
        regions = tuple(RegionName(region) for region in dict.fromkeys(self.regions))
        return promotion.Promote(self.role, self.skip, self.full, tuple(self.gates), regions, self.all)


class ObjectRequest(SteeringRequest):
    """Keep what would go on by itself where it is, until it is approved."""

    gates: Annotated[list[Name], Field(max_length=REGIONS_MAX)] = Field(
        default_factory=list, description="As status names them; empty: all that would go on by themselves."
    )

    def wanted(self) -> Verb:
        return promotion.Object(tuple(self.gates))


class OverrideRequest(SteeringRequest):
    """Let this rollout pass a guard. Takes a reason."""

    rule: str = Field(min_length=1, max_length=100, description="As repave why names it: capacity, freeze.")
    role: str = Field("", max_length=100)

    def wanted(self) -> Verb:
        return promotion.Override(self.rule, self.role)


class SettleJobRequest(SteeringRequest):
    """Say of a job that nobody can judge, or that has failed for good, what counts from now on."""

    job: str = Field(min_length=1, max_length=100, description="Its name in the spec.")
    outcome: Literal["again", "done", "failed"] = Field(
        description="again: run it once more. done: it has done its work, go on. failed: it has not; of one "
        "that may have run."
    )

    def wanted(self) -> Verb:
        return jobs.SettleJob(self.job, self.outcome)


class QueueResumeRequest(SteeringRequest):
    """Let the queue go on that stands still after a rollout which did not succeed."""

    def wanted(self) -> Verb:
        return queue.QueueResume()


class QueueDropRequest(SteeringRequest):
    """Drop a release that waits, or all."""

    name: Name = Field("", description="Its number or its version.")
    all: bool = Field(False, description="All that wait; then without a name.")

    @model_validator(mode="after")
    def _says_which(self) -> "QueueDropRequest":
        if self.all == bool(self.name):
            raise ValueError("say which: a name, or all")
        return self

    def wanted(self) -> Verb:
        return queue.QueueDrop(self.name, self.all)


class QueueMoveRequest(SteeringRequest):
    """Give a release that waits another place in the queue."""

    name: Name = Field(min_length=1, description="Its number or its version.")
    place: int = Field(
        ge=1, le=SIZE_MAX, description="1: it is the next. Behind the last one: it is the last."
    )

    def wanted(self) -> Verb:
        return queue.QueueMove(self.name, self.place)


class SizesRequest(SteeringRequest):
    """Other numbers of hosts, whatever is being rolled out."""

    sizes: Annotated[
        dict[Name, Annotated[int, Field(ge=1, le=SIZE_MAX)]], Field(min_length=1, max_length=REGIONS_MAX)
    ] = Field(description="Region to hosts; regions that are not named stay as they are.")

    def wanted(self) -> steering.Resize:
        return steering.Resize(tuple((RegionName(name), size) for name, size in sorted(self.sizes.items())))


class RetireGroupRequest(SteeringRequest):
    """End an old group before its time."""

    group: Name = Field(min_length=1, description="Its name, or its version.")
    regions: Annotated[list[Name], Field(max_length=REGIONS_MAX)] = Field(
        default_factory=list, description="Only there; empty: everywhere."
    )

    def wanted(self) -> Verb:
        regions = tuple(RegionName(region) for region in dict.fromkeys(self.regions))
        return lifecycle.RetireGroup(self.group, regions)


class LeaveRegionRequest(SteeringRequest):
    """Take the application out of a region."""

    region: Name = Field(min_length=1)

    def wanted(self) -> Verb:
        return lifecycle.LeaveRegion(RegionName(self.region))


class DrainRegionRequest(SteeringRequest):
    """Take the application's record of a region out of DNS."""

    region: Name = Field(min_length=1)

    def wanted(self) -> Verb:
        return draining.DrainRegion(RegionName(self.region))


class DrainLastRegionRequest(SteeringRequest):
    """The same where no other region of it is in DNS: clients find none then. Takes a reason."""

    region: Name = Field(min_length=1)

    def wanted(self) -> Verb:
        return draining.DrainRegion(RegionName(self.region), is_even_last=True)


class UndrainRegionRequest(SteeringRequest):
    """Put the application's record of a region into DNS again."""

    region: Name = Field(min_length=1)

    def wanted(self) -> Verb:
        return draining.UndrainRegion(RegionName(self.region))


class DeleteRequest(SteeringRequest):
    """End the application: close its ports, drain and destroy its hosts, keep its history."""

    def wanted(self) -> Verb:
        return lifecycle.Delete()


BODIES: dict[str, type[SteeringRequest]] = {
    "rollback": RollbackRequest,
    "abort": AbortRequest,
    "pause": PauseRequest,
    "resume": ResumeRequest,
    "retry": RetryRequest,
    "step-back": StepBackRequest,
    "promote": PromoteRequest,
    "override": OverrideRequest,
    "object": ObjectRequest,
    "sizes": SizesRequest,
    "jobs/settle": SettleJobRequest,
    "queue/resume": QueueResumeRequest,
    "queue/drop": QueueDropRequest,
    "queue/move": QueueMoveRequest,
    "retire-group": RetireGroupRequest,
    "leave-region": LeaveRegionRequest,
    "drain-region": DrainRegionRequest,
    "drain-last-region": DrainLastRegionRequest,
    "undrain-region": UndrainRegionRequest,
    "delete": DeleteRequest,
}
"""By the last part of their path, below /v1/applications/{application}."""

_NEXT = ("nothing-running", "paused", "undoing", "held", "rollout-running", "hosts-gone", "nothing-to-abort")
_GATES = (
    "no-gate",
    "gate-left",
    "unknown-gate",
    "no-objection",
    "own-release",
    "role-missing",
    "reason-missing",
)
_STAYS = ("unknown-region", "last-region", "in-dns", "rollout-running", "group-in-rollout")
REFUSES: dict[str, tuple[str, ...]] = {
    "rollback": (
        *_NEXT,
        "already-back",
        "serves-already",
        "group-failed",
        "nothing-to-roll-back-to",
        "unhealthy-target",
        "unknown-group",
        "unknown-region",
        "reason-missing",
    ),
    "abort": (*_NEXT, "unknown-region", "nothing-to-roll-back-to", "already-back"),
    "pause": _NEXT,
    "resume": (*_NEXT, "not-paused"),
    "retry": (*_NEXT, "not-held", "unknown-region"),
    "step-back": (*_NEXT, "first-step", "nothing-to-roll-back-to", "steps", "already-back"),
    "promote": (*_NEXT, *_GATES, "unknown-region", "overridden"),
    "override": (*_NEXT, *_GATES, "unknown-guard", "overridden"),
    "object": (*_NEXT, *_GATES),
    "sizes": (*_NEXT, "size", "steps", "unknown-region"),
    "jobs/settle": ("no-jobs", "unknown-job", "job-not-open"),
    "queue/resume": ("queue-empty", "queue-goes-on"),
    "queue/drop": ("queue-empty", "unknown-queued", "ambiguous-queued"),
    "queue/move": ("queue-empty", "unknown-queued", "ambiguous-queued"),
    "retire-group": ("group-in-rollout", "group-serves", "unknown-group", "rollout-running"),
    "leave-region": _STAYS,
    "drain-region": ("unknown-region", "last-in-dns", "no-record", "reason-missing"),
    "drain-last-region": ("unknown-region", "no-record", "reason-missing"),
    "undrain-region": ("unknown-region", "no-record"),
    "delete": _STAYS,
}
"""Kinds of problems, by the same; those that every command may give are in web/openapi.py."""
