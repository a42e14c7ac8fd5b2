"""What a spec with `traffic: none` may not say. Such an application is a worker: it takes no requests, its
hosts find their work by themselves, in a queue or by the clock. So there are no shares of requests to give,
no balancer that counts or checks, and an old group that was kept ready would go on working.
"""

from collections.abc import Sequence

from repave_controller.core.domain.rollout import Step
from repave_controller.core.domain.steps import baseline_range
from repave_controller.spec.analysis import BALANCER, AnalysisSection
from repave_controller.spec.jobs import JobsSection
from repave_controller.spec.sections import Health, Host, Rollback, contradiction, variables_in
from repave_controller.spec.strategy import Strategy

WHOLE = 100.0


def check_served(health: Health, host: Host) -> None:
    """Raises where an application that takes requests does not say at which port of its hosts, or is given
    time as if it took none."""
    if host.stop_grace is not None:
        raise contradiction(
            "requests have traffic.drain to finish, and then nothing is left for a host to do: leave it out",
            ("host", "stop_grace"),
        )
    if health.command is not None and health.command.port is None:
        raise contradiction(
            "port is missing: where it takes its traffic; an application that takes none says traffic: none",
            ("health", "command"),
        )


def check_worker(health: Health, strategy: Strategy, rollback: Rollback) -> None:
    """Raises at the first option that needs requests, or would keep old hosts at work."""
    if health.by == "balancer":
        raise contradiction(
            "no balancer has the hosts of a worker: leave it out, or by: agent", ("health", "by")
        )
    for name, has in (("canary", strategy.canary), ("phased", strategy.phased)):
        if has is not None:
            raise contradiction(
                f"{name} gives the new group a share of the requests, and a worker takes none: write "
                "rolling, whose hosts come and go in shares, or blue_green",
                ("strategy", name),
            )
    for index, step in enumerate(strategy.steps or ()):
        if step.weight not in (None, WHOLE):
            raise contradiction(
                f"{step.weight:g}% of the requests can't be given to a worker, which takes none: scale says "
                "how many hosts work, and - weight: 100% that the new group is the one that counts",
                ("strategy", "steps", index, "weight"),
            )
    for option, is_given in (
        ("keep", "keep" in rollback.model_fields_set),
        ("keep_failed", rollback.keep_failed > 0),
    ):
        if is_given:
            raise contradiction(
                "hosts of a worker that are kept would go on working: leave it out; they are stopped, and a "
                "rollback launches their package again",
                ("rollback", option),
            )


def check_steps(steps: Sequence[Step], strategy: Strategy, analysis: AnalysisSection | None) -> None:
    """Raises where the steps of a worker compare what only requests show."""
    field = ("analysis",) if analysis is not None else ("strategy", strategy.name.replace("-", "_"))
    plans = [step.analysis for step in steps if step.analysis is not None]
    if any(reading.source == BALANCER for plan in plans for reading in plan.readings):
        raise contradiction(
            "a balancer counts nothing of a worker, which takes no requests: name metrics of another source, "
            "such as {name: jobs_failed, source: prometheus, query: ...}",
            field,
        )
    if baseline_range(steps):
        raise contradiction(
            "a fresh baseline is given as much of the requests as the new group, and a worker takes none: "
            "baseline: current",
            field,
        )


def check_no_port(health: Health, host: Host, jobs: JobsSection) -> None:
    """Raises where a command asks for a port that a worker does not have."""
    if health.probe.port is not None:
        return
    command = health.command
    commands = [
        (("host", "run"), host.run or ()),
        (("health", "command", "run"), command.run if command is not None else ()),
        *((("jobs", str(moment), index, "run"), job.run) for moment, index, job in jobs.named),
    ]
    for field, words in commands:
        if any("PORT" in variables_in(word) for word in words):
            raise contradiction(
                "$PORT is not set for a worker whose health.command names no port: name it there, or leave "
                "$PORT out",
                field,
            )
