"""A small world for the pure step function: regions that are obedient, slow, failing or away, and a clock."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from repave_controller.core.commands.release import request_release
from repave_controller.core.domain.application import (
    Application,
    Because,
    Instant,
    Observed,
    Policy,
    RegionView,
    ReleaseOrder,
    Tenure,
)
from repave_controller.core.domain.rollout import GroupNumber, Phase
from repave_controller.core.rollout.step import step
from repave_controller.core.rules.safety import check
from repave_controller.core.steps import Scale, Soak, Verify, Weight
from repave_protos.protocol.values import (
    ApplicationName,
    ApplicationReport,
    DesiredGroup,
    DesiredJob,
    DesiredState,
    Digest,
    GroupName,
    GroupReport,
    JobReport,
    JobState,
    RecordReport,
    RegionName,
)
from tests.fakes.templates import a_template, changed

PARIS, OSLO = RegionName("paris"), RegionName("oslo")
HELLO = ApplicationName("hello")
KEEP_SECONDS = 600.0


def an_order(digest: str = "a", size: int = 3, **changes: Any) -> ReleaseOrder:
    order = ReleaseOrder(
        version=digest,
        digest=Digest(digest * 64),
        frontend_port=8000,
        sizes=((PARIS, size), (OSLO, size)),
        template=a_template(("./app",)),
        steps=(Scale(100, 60.0), Verify(60.0), Weight(10_000, 60.0), Soak(20.0, 60.0)),
        policy=Policy(keep_seconds=KEEP_SECONDS),
        by="ann",
    )
    return changed(order, changes)


def job_report(job: DesiredJob, state: JobState, **more: Any) -> JobReport:
    """Of an attempt that has a journal; one that has none waits for it."""
    known = state if job.journal else "ready"
    return JobReport(job.id, known, journal=job.journal or "journal", **more)


@dataclass
class Region:
    """A region that does at each `work` what it was asked, unless told to misbehave."""

    desired: DesiredState | None = None
    reported: ApplicationReport | None = None
    is_connected: bool = True
    present: dict[GroupName, int] = field(default_factory=dict)
    sick: set[GroupName] = field(default_factory=set)
    unseen: set[GroupName] = field(default_factory=set)  # healthy hosts that the balancer finds down
    broken: set[GroupName] = field(default_factory=set)
    draining: set[GroupName] = field(default_factory=set)  # no hosts are left, but requests
    most: dict[GroupName, int] = field(default_factory=dict)  # no more hosts of it come up
    record: RecordReport | None = None
    does: Callable[[DesiredJob], JobReport] = lambda job: job_report(job, "succeeded")

    def work(self) -> None:
        if self.desired is None:
            return
        groups = tuple(
            self._group(each.name, self._wanted(each), each.weight_bp) for each in self.desired.groups
        )
        self.reported = ApplicationReport(
            self.desired.application,
            self.desired.epoch,
            groups,
            record=self.record,
            jobs=tuple(map(self.does, self.desired.jobs)),
        )

    def _wanted(self, group: DesiredGroup) -> int:
        is_left_alone = group.keeps_failed and group.count == 0
        return self.present.get(group.name, 0) if is_left_alone else group.count

    def _group(self, name: GroupName, count: int, weight_bp: int) -> GroupReport:
        count = min(count, self.most.get(name, count))
        self.present[name] = count
        if name in self.draining:
            return GroupReport(name, in_flight=1)
        if name in self.broken:
            return GroupReport(name, failed=count, has_given_up=count > 0, trouble="exited with code 1")
        if name in self.sick:
            return GroupReport(name, unhealthy=count, weight_bp=weight_bp, trouble="answered 500")
        up = 0 if name in self.unseen else count
        return GroupReport(name, verified=count, balancer_up=up, weight_bp=weight_bp)


class World:
    """One application, its regions and a clock."""

    def __init__(self) -> None:
        self.application = Application(HELLO, "hello", GroupNumber(1))
        self.regions = {PARIS: Region(), OSLO: Region()}
        self.now = Instant(1000.0)
        self.tenure = Tenure(1, 1)
        self.kinds: list[str] = []
        self.because: tuple[Because, ...] = ()

    @property
    def observed(self) -> Observed:
        return {
            name: RegionView(region.is_connected, region.reported, Instant(0))
            for name, region in self.regions.items()
        }

    def decide(self) -> None:
        """One decision; every promise is checked on it, then it is published to connected regions."""
        decision = step(self.application, self.observed, self.now, self.tenure)
        assert check(self.application, decision, self.observed) == []
        self.application, self.because = decision.application, decision.because
        self.kinds += [event.kind for event in decision.events]
        for name, state in self.application.desired:
            if self.regions[name].is_connected:
                self.regions[name].desired = state

    def settle(self) -> None:
        """Works and decides until nothing moves any more at this instant."""
        for _ in range(50):
            before = (self.application, [(each.desired, each.reported) for each in self.regions.values()])
            for region in self.regions.values():
                region.work()
            self.decide()
            if before == (
                self.application,
                [(each.desired, each.reported) for each in self.regions.values()],
            ):
                return
        raise AssertionError("it never settles")

    def release(self, digest: str = "a", queue: bool = False, **changes: Any) -> None:
        order = an_order(digest, **changes)
        self.application, events = request_release(self.application, order, queue, self.now)
        self.kinds += [event.kind for event in events]
        self.decide()

    def finish(self) -> None:
        self.settle()
        self.now = Instant(self.now + 21)
        self.settle()

    def weights(self, region: RegionName = PARIS) -> dict[str, int]:
        state = self.application.desired_in(region)
        assert state is not None
        return {group.name: group.weight_bp for group in state.groups if group.weight_bp}

    def is_in(self, phase: Phase) -> bool:
        return self.application.rollout is not None and self.application.rollout.phase is phase


def released(*digests: str) -> World:
    world = World()
    for digest in digests or ("a",):
        world.release(digest)
        world.finish()
        assert world.is_in(Phase.SUCCEEDED)
    return world
