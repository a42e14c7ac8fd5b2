"""Jobs as a spec has them: commands that run once in a release, on a fresh host of its package."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from repave_controller.core.domain.jobs import Job, Jobs, Moment
from repave_controller.spec.quantities import Command, PositiveDuration, wrong
from repave_controller.spec.sections import Environment, Section, as_written, contradiction
from repave_protos.protocol.values import RegionName

JOBS_MAX = 10
RETRIES_MAX = 10
TIMEOUT_SECONDS_MAX = 86_400.0


def _check_name(text: str) -> str:
    if re.fullmatch(r"[a-z][a-z0-9-]{0,31}", text) is None:
        raise wrong("must be a lower-case letter, then up to 31 letters, digits or dashes")
    return text


Name = Annotated[str, AfterValidator(_check_name)]


class JobSection(Section):
    """One command. It runs at most once for each attempt, whatever dies meanwhile."""

    name: Name = Field(description="Names it in `status`, `why`, `logs` and events. Unique in its list.")
    run: Command = Field(
        description="Run in the package's folder, as a line or as a list of words. No shell runs it."
    )
    timeout: PositiveDuration = Field(
        as_written("10m"),
        le=TIMEOUT_SECONDS_MAX,
        description="From its start; then it is ended and has failed.",
    )
    retries: int = Field(
        0,
        ge=0,
        le=RETRIES_MAX,
        description="How often it is tried again when it is known to have failed. One of which nobody can "
        "say how it ended is never run again by itself.",
    )
    region: str | None = Field(
        None, description="Where it runs. Left out: in the first region of the first wave."
    )
    env: Environment = Field({}, description="Beside the environment of hosts, and over it.")


_List = Annotated[tuple[JobSection, ...], Field(strict=False, max_length=JOBS_MAX)]


class JobsSection(Section):
    """What runs once in a release, not once in each region; those of a list one after the other."""

    before: _List = Field(
        (),
        description="Before any host of the release is made. If one fails the release has failed.",
    )
    after: _List = Field(
        (),
        description="Once the release has all the traffic everywhere, before the old group may go. If one "
        "fails a person says what follows.",
    )
    on_rollback: _List = Field(
        (),
        description="Once the traffic is back, where the release was undone or a rollback has left it: with "
        "the package of the release.",
    )

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        for moment in Moment:
            names: set[str] = set()
            for index, job in enumerate(self.at(moment)):
                if job.name in names:
                    raise contradiction(f"{job.name} is there twice", (str(moment), index, "name"))
                names.add(job.name)
        return self

    def at(self, moment: Moment) -> tuple[JobSection, ...]:
        return {
            Moment.BEFORE: self.before,
            Moment.AFTER: self.after,
            Moment.ON_ROLLBACK: self.on_rollback,
        }[moment]

    @property
    def named(self) -> Iterator[tuple[Moment, int, JobSection]]:
        """Each with its place."""
        for moment in Moment:
            for index, job in enumerate(self.at(moment)):
                yield moment, index, job


def compile_jobs(
    section: JobsSection, first: str, fill: Callable[[str], str], within: tuple[str, ...] = ()
) -> Jobs:
    """`first`: the region where jobs run that say nothing; `fill` puts in what words may hold; `within`: what
    runs the commands, where it is not the host itself."""

    def compiled(jobs: Iterable[JobSection]) -> tuple[Job, ...]:
        return tuple(
            Job(
                name=job.name,
                run=(*within, *map(fill, job.run)),
                timeout_seconds=job.timeout,
                retries=job.retries,
                environment=tuple((name, fill(value)) for name, value in sorted(job.env.items())),
                region=RegionName(job.region or first),
            )
            for job in jobs
        )

    return Jobs(compiled(section.before), compiled(section.after), compiled(section.on_rollback))
