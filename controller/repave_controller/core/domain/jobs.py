"""Jobs of a release, and how each of their attempts went. Plain frozen values.

What becomes of them is decided in rollout/jobs.py.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from repave_controller.core.domain.instants import Instant
from repave_protos.protocol.values import JobId, RegionName

JOB_TIMEOUT_SECONDS = 600.0
SETTLEMENTS = ("again", "done", "failed")

Settlement = Literal["", "again", "done", "failed", "left"]
"""What a person says of an attempt: it is run again; it has done its work; it has not. "left": its rollout
went back without hearing of its end."""


class Moment(StrEnum):
    """When a job runs, once in a release."""

    BEFORE = "before"  # any host of the release is made
    AFTER = "after"  # it has all the traffic everywhere, and the old group is still there
    ON_ROLLBACK = "on_rollback"  # it was undone, or a rollback has left it


@dataclass(frozen=True, slots=True)
class Job:
    """A command that runs on one fresh host of the release's package."""

    name: str
    run: tuple[str, ...]
    timeout_seconds: float = JOB_TIMEOUT_SECONDS
    retries: int = 0  # after attempts of which it is known that they failed
    environment: tuple[tuple[str, str], ...] = ()  # beside that of hosts
    region: RegionName | None = None  # None: the first one of the first wave


@dataclass(frozen=True, slots=True)
class Jobs:
    """Those of one release. Names differ within a moment; they run one after the other."""

    before: tuple[Job, ...] = ()
    after: tuple[Job, ...] = ()
    on_rollback: tuple[Job, ...] = ()

    def at(self, moment: Moment) -> tuple[Job, ...]:
        match moment:
            case Moment.BEFORE:
                return self.before
            case Moment.AFTER:
                return self.after
            case Moment.ON_ROLLBACK:
                return self.on_rollback

    def job(self, moment: Moment, name: str) -> Job | None:
        return next((each for each in self.at(moment) if each.name == name), None)

    @property
    def named(self) -> tuple[tuple[Moment, Job], ...]:
        return tuple((moment, job) for moment in Moment for job in self.at(moment))


NO_JOBS = Jobs()


class RunState(StrEnum):
    """How far an attempt is. Those after RUNNING are ends, but UNKNOWN may yet become another one."""

    ASKED = "asked"  # its region is asked, and has not begun it as far as is known
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"  # ended by repave, or withdrawn before it began
    UNKNOWN = "unknown"  # it may have run, and nobody can say how that ended


@dataclass(frozen=True, slots=True)
class JobRun:
    """One attempt of a job. `id` is saved before any agent hears of it, and never given to another one."""

    id: JobId
    moment: Moment
    job: str
    attempt: int  # of this job in its rollout, from 1
    group: int  # the number of the group of whose package it is
    region: RegionName
    asked_at: Instant
    state: RunState = RunState.ASKED
    journal: str = ""  # whose agent may begin it; set once
    is_stopped: bool = False  # it is not to begin any more, or to end
    began_at: Instant | None = None
    ended_at: Instant | None = None
    exit_code: int | None = None
    text: str = ""  # what it waits for, or how it ended
    log_tail: str = ""
    settled: Settlement = ""
    settled_by: str = ""
    settled_reason: str = ""

    @property
    def is_open(self) -> bool:
        """Whether its region is still to hear of it."""
        return not self.settled and self.state in (RunState.ASKED, RunState.RUNNING, RunState.UNKNOWN)

    @property
    def is_done(self) -> bool:
        """Whether its job needs no other attempt."""
        return self.settled == "done" or (not self.settled and self.state is RunState.SUCCEEDED)

    @property
    def has_failed(self) -> bool:
        """Whether it is known to have failed."""
        is_failed = self.state in (RunState.FAILED, RunState.STOPPED)
        return self.settled == "failed" or (not self.settled and is_failed)
