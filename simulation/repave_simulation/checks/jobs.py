"""Whether each attempt of a job ran at most once, and each job no oftener than it may, on the truth.

The truth is what hosts of jobs were made and how their commands ended; what controller and agents believe of
that counts for nothing.
"""

from repave_agent.core.ports import HostSpec
from repave_controller.core.domain.application import Application, GroupState
from repave_controller.core.domain.jobs import Job, JobRun, Moment
from repave_controller.core.domain.rollout import Phase, Rollout, RolloutKind
from repave_protos.protocol.values import ApplicationName, HostName, RegionName, job_host
from repave_simulation.world.place import Machine
from repave_simulation.world.world import World

PROMISE = 12
Of = tuple[ApplicationName, int, Moment, str]
"""A job: of which application and rollout, when it runs, its name."""


class JobTruth:
    """One for a run."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._runs: dict[HostName, tuple[Of, JobRun]] = {}  # as committed last

    def makes(self, region: RegionName, spec: HostSpec) -> None:
        """The host of an attempt is about to be made, and its command to run."""
        if self._machine(spec.name) is not None:
            self._broken(region, f"{spec.name} runs for the second time")
        found = self._runs.get(spec.name)
        if found is None:
            self._broken(region, f"{spec.name} runs, and was never decided on")
            return
        of, run = found
        if run.region != region or not run.journal:
            self._broken(region, f"{spec.name} runs, and was not given to this region")
        for name, (other, earlier) in self._runs.items():
            if other == of and earlier.id < run.id:
                self._check_over(region, spec.name, name, earlier)

    def _check_over(self, region: RegionName, host: HostName, former: HostName, run: JobRun) -> None:
        """An earlier attempt has failed for sure, or a person has let the job run again."""
        machine = self._machine(former)
        if run.settled == "again" or machine is None:
            return
        if machine.host.exit_code == 0:
            self._broken(region, f"{host} runs though {former} has succeeded")
        if machine.host.is_running and former in self._world.places[run.region].machines:
            self._broken(region, f"{host} runs while {former} does")
        if not machine.host.is_running and machine.host.exit_code is None:  # it died, and was not ended
            self._broken(region, f"{host} runs, and nobody knows how {former} ended")

    def decides(self, before: Application | None, after: Application) -> None:
        rollout = after.rollout
        if rollout is None:
            return
        for run in rollout.runs:
            of = (after.name, rollout.number, run.moment, run.job)
            name = next((name for name, known in self._runs.items() if _is_same(known, of, run)), None)
            if name is None:
                group = next((each for each in after.groups if each.number == run.group), None)
                assert group is not None, "an attempt is of a group"
                name = job_host(group.name, run.id)
            self._runs[name] = (of, run)
        if before is None or before.rollout == rollout or rollout.kind is not RolloutKind.RELEASE:
            return
        target = after.group(rollout.target)
        is_new = target is not None and target.state is GroupState.NEW
        if is_new and target is not None and any(part.percent > 0 for part in target.parts):
            self._check_done(after, rollout, Moment.BEFORE, "a region begins")
        if rollout.phase is Phase.SUCCEEDED and before.running is not None:
            self._check_done(after, rollout, Moment.AFTER, "the release ends")

    def _check_done(self, application: Application, rollout: Rollout, moment: Moment, what: str) -> None:
        for job in rollout.jobs.at(moment):
            if not self._is_done(application, rollout, moment, job):
                self._broken(application.name, f"{what}, and job {job.name} was not done")

    def _is_done(self, application: Application, rollout: Rollout, moment: Moment, job: Job) -> bool:
        of = (application.name, rollout.number, moment, job.name)
        for name, (known, run) in self._runs.items():
            machine = self._machine(name)
            has_succeeded = machine is not None and machine.host.exit_code == 0
            if known == of and (has_succeeded or run.settled == "done"):
                return True
        return False

    def _machine(self, host: HostName) -> Machine | None:
        found = (place.jobs[host] for place in self._world.places.values() if host in place.jobs)
        return next(found, None)

    def _broken(self, where: str, text: str) -> None:
        self._world.broken(PROMISE, f"{where}: {text}")


def _is_same(known: tuple[Of, JobRun], of: Of, run: JobRun) -> bool:
    return known[0] == of and known[1].id == run.id
