"""What people read of an event that was decided; those that regions tell bring their text along."""

from collections.abc import Mapping, Sequence

from repave_controller.core.domain.instants import Instant, show
from repave_controller.core.domain.reasons import Happening, Kind
from repave_controller.wording.phrases import (
    Template,
    counted,
    job_of,
    listed,
    outcomes,
    percent,
    who,
    with_reason,
)


def _queued(version: str, running: str) -> str:
    return f"{version} waits for {running}" if running else f"{version} waits behind others in the queue"


def _queue_stands(resume: str, queued: int, after: str) -> str:
    return f"the queue stands still ({counted(queued, 'release')}): {after}; {resume} goes on"


def _released(group: str, version: str, regions: Sequence[str]) -> str:
    return f"{group} ({version}) is released to {listed(regions)}"


def _caught_up(group: str, version: str, regions: Sequence[str]) -> str:
    return f"{_released(group, version, regions)}, which had been away"


def _rollback_started(
    targets: Sequence[str],
    regions: Sequence[str],
    is_everywhere: bool,
    notes: str,
    by: str,
    reason: str,
    of: str = "traffic",
) -> str:
    if len(set(targets)) == 1:
        place = "" if is_everywhere else f" in {listed(regions)}"
        text = f"all {of}{place} goes back to {targets[0]}"
    else:
        by_target = {
            name: [r for t, r in zip(targets, regions, strict=True) if t == name] for name in targets
        }
        ways = (f"to {name} in {listed(where)}" for name, where in by_target.items())
        text = f"all {of} goes back {', '.join(ways)}"
    return f"{text}, asked by {who(by, reason)}" + (f"; {notes}" if notes else "")


def _built_again(past: str, version: str, group: str, regions: Sequence[str]) -> str:
    name = "" if past == group else f" as {group}"
    return f"{past} ({version}) is built again{name} in {listed(regions)}"


def _grows(group: str, has: int, size: int, regions: Sequence[str], when: str) -> str:
    return f"{group} grows from {has} to {size} hosts in {listed(regions)} {when}"


def _stays(group: str, regions: Sequence[str]) -> str:
    return f"{listed(regions)} {'stays' if len(regions) == 1 else 'stay'} with {group}"


def _by_person(done: str) -> Template:
    def text(by: str, reason: str) -> str:
        return f"{done} by {who(by, reason)}"

    return text


def _job_ended(how: str) -> Template:
    def said(job: str, moment: str, attempt: int, text: str) -> str:
        return f"{job_of(job, moment, attempt)} {how}" + (f": {text}" if text else "")

    return said


def _gate_passed(gates: Sequence[str], kind: str, by: str, role: str, reason: str) -> str:
    passed = ", ".join(gates) or "all gates and waits"
    return with_reason(f"{passed} {kind} by {_signed(by, role)}", reason)


def _gate_waiting(group: str, gate: str, role: str, regions: Sequence[str]) -> str:
    person = f"a person with the role {role}" if role else "a person"
    return f"{group} waits at {gate} for {person} to approve it in {listed(regions) or 'every region'}"


def _guard_overridden(rule: str, by: str, role: str, reason: str) -> str:
    return with_reason(f"guard {rule} overridden by {_signed(by, role)}", reason)


def _signed(by: str, role: str) -> str:
    return who(by) + (f" as {role}" if role else "")


def _stepped_back(resume: str, by: str, reason: str) -> str:
    return with_reason(f"gone back a step by {who(by)}; {resume} goes on", reason)


def _step_entered(group: str, step: str, regions: Sequence[str]) -> str:
    return f"{group}: {step} in {listed(regions) or 'every region'}"


def _looked(
    group: str,
    gate: str,
    region: str,
    look: int,
    count: int,
    outcome: str,
    score: float | None,
    last: str | None,
) -> str:
    place = f"{gate} in {region}" if region else gate
    rated = f", score {score:g}" if score is not None else ""
    return with_reason(f"{group} at {place}: look {look} of {count} {SAID[outcome]}{rated}", last)


SAID = {
    "pass": "finds it no worse",
    "marginal": "finds it doubtful",
    "fail": "finds it worse",
    "inconclusive": "can't tell yet",
    "error": "could not be judged",
}


def _analysis_passed(group: str, gate: str, region: str, look: int, count: int, said: Sequence[str]) -> str:
    place = f"{gate} in {region}" if region else gate
    return (
        f"{group} is no worse than the old group at {place}, after {look} of {count} looks: {outcomes(said)}"
    )


def _traffic_moved(group: str, weight_bp: int, regions: Sequence[str], of: str = "traffic") -> str:
    return f"{group} takes {percent(weight_bp)} of the {of} in {listed(regions) or 'every region'}"


def _scope_failed(group: str, reason: str, wave: int | None, region: str) -> str:
    where = region if wave is None else f"wave {wave}"
    return f"{group} failed: {reason}; {where} goes back, no other region begins"


def _failed(group: str, reason: str, has_traffic: bool, of: str = "traffic") -> str:
    if of == "work":
        return f"{group} failed: {reason}; the old group works on"
    where = "goes back to the old group" if has_traffic else "was not touched"
    return f"{group} failed: {reason}; traffic {where}"


def _succeeded(rollout: str, group: str, reason: str | None) -> str:
    return f"{rollout} of {group} succeeded" + (f" ({reason})" if reason else "")


def _ends(is_adopted: int) -> str:
    """What becomes of its hosts."""
    return "let go, and its hosts run on" if is_adopted else "destroyed"


def _group_retires(group: str, regions: Sequence[str], is_adopted: int = 0) -> str:
    where = f" in {listed(regions)}" if regions else ""
    return f"{group} has been kept long enough: drained and {_ends(is_adopted)}{where}"


def _group_destroyed(group: str, is_adopted: int = 0) -> str:
    if is_adopted:
        return f"{group} is let go in every region: its hosts run on, and are no concern of repave's any more"
    return f"{group} is destroyed in every region"


def _baseline_ends(group: str, regions: Sequence[str]) -> str:
    where = f" in {listed(regions)}" if regions else ""
    return f"the comparison with the baseline {group} is over{where}: drained and destroyed"


def _group_kept(group: str, regions: Sequence[str], seconds: float) -> str:
    return f"{group} is kept to be looked at in {listed(regions)} for {seconds:g} s, out of traffic"


def _group_retired(group: str, regions: Sequence[str], by: str, reason: str, is_adopted: int = 0) -> str:
    where = f" in {listed(regions)}" if regions else ""
    return f"{group} is drained and {_ends(is_adopted)}{where}, asked by {who(by, reason)}"


def _region_left(region: str, is_lost: bool, by: str, reason: str) -> str:
    what = "what was there is forgotten" if is_lost else "drained and destroyed there"
    return f"{region} is left, {what}, asked by {who(by, reason)}"


def _group_renewed(hosts: int, group: str, by: str, reason: str) -> str:
    return f"all {hosts} hosts of {group} are replaced, a few at a time, asked by {who(by, reason)}"


def _all_unfrozen(by: str, at: Instant, reason: str) -> str:
    since = show(at, "UTC")
    return with_reason(f"the freeze of everything by {by or 'an operator'} since {since} is lifted", reason)


def _freeze(done: str) -> Template:
    def text(
        name: str, applications: Sequence[str], begins_at: Instant, ends_at: Instant, zone: str, reason: str
    ) -> str:
        whom = ", ".join(applications) or "every application"
        span = f"from {show(begins_at, zone)} to {show(ends_at, zone)}"
        return with_reason(f"freeze {name} of {whom} is {done}: {span}", reason)

    return text


def _recovered(group: str, notes: Sequence[str]) -> str:
    return "; ".join((f"adopted what the regions run: {group or 'no group'} serves", *notes))


def _adopted(group: str, hosts: int, regions: Sequence[str], serves: int, by: str) -> str:
    fleet = f"{group} is the fleet that was there before, {counted(hosts, 'host')} in {listed(regions)}"
    goes_on = "repave's balancers send it requests from now on" if serves else "it is only probed as yet"
    return f"{fleet}, adopted by {who(by)}; {goes_on}"


def _agent_revoked(region: str, agents: Sequence[str], by: str, reason: str) -> str:
    return f"{listed(agents) or f'the join tokens of {region}'} revoked by {who(by, reason)}"


def _authority_rotated(region: str, is_at_once: int, by: str) -> str:
    former = "is trusted no longer" if is_at_once else "is trusted until every agent has renewed"
    return f"a new authority issues to agents, asked by {who(by)}; the former one {former}"


def _region_drained(region: str, is_even_last: int, by: str, reason: str) -> str:
    last = ", even as the last one" if is_even_last else ""
    return f"{region} is taken out of DNS{last}, asked by {who(by, reason)}"


TEXTS: Mapping[Kind, Template] = {
    Happening.RELEASE_QUEUED: _queued,
    Happening.RELEASE_REPLACES: "{group} goes back, for {version} replaces it, asked by {by}",
    Happening.RELEASES_SUPERSEDED: "{versions} will not be released: {version} is newer",
    Happening.QUEUE_STANDS: _queue_stands,
    Happening.QUEUE_RESUMED: lambda queued, by, reason: f"the queue goes on, resumed by {who(by, reason)}",
    Happening.QUEUE_DROPPED: lambda versions, by, reason: (
        f"{', '.join(versions)} dropped from the queue by {who(by, reason)}"
    ),
    Happening.QUEUE_MOVED: lambda version, place, by, reason: (
        f"{version} moved to place {place} of the queue by {who(by, reason)}"
    ),
    Happening.RELEASE_STARTED: _released,
    Happening.RELEASE_REFUSED: "the queued release of {version} is refused: {refusal}",
    Happening.KEPT_ALREADY: "{group} has this package already and is kept warm: {0} is one switch",
    Happening.CAUGHT_UP: _caught_up,
    Happening.ROLLBACK_STARTED: _rollback_started,
    Happening.BUILT_AGAIN: _built_again,
    Happening.GROWS: _grows,
    Happening.STAYS: _stays,
    Happening.GOES_BACK: "{group}: {reason}",
    Happening.PAUSED: _by_person("paused"),
    Happening.RESUMED: _by_person("resumed"),
    Happening.HASTENED: _by_person("all traffic goes back with the hosts that are there, asked"),
    Happening.RETRIED: _by_person("retried"),
    Happening.GATE_PASSED: _gate_passed,
    Happening.GATE_WAITING: _gate_waiting,
    Happening.OBJECTED: lambda gates, by, reason: with_reason(
        f"{who(by)} objects to {', '.join(gates)}: it waits for approval", reason
    ),
    Happening.GUARD_OVERRIDDEN: _guard_overridden,
    Happening.STEPPED_BACK: _stepped_back,
    Happening.REGION_ABORTED: "{region}: {reason}",
    Happening.SIZED: lambda changes, reason: with_reason("; ".join(changes), reason),
    Happening.SCALED: lambda region, before, hosts, reason: with_reason(
        f"{region}: {before} -> {hosts} hosts", reason
    ),
    Happening.SCALING_HELD: "{region}: {reason}",
    Happening.SCALING_GOES_ON: "{region}: the number of hosts follows the load again",
    Happening.STEP_ENTERED: _step_entered,
    Happening.LOOKED: _looked,
    Happening.ANALYSIS_PASSED: _analysis_passed,
    Happening.TRAFFIC_MOVED: _traffic_moved,
    Happening.TRAFFIC_PROTECTED: "{moved}",
    Happening.REGION_DONE: "{group}: {region} is done",
    Happening.REGION_SKIPPED: "{group} skips {region}: {reason}",
    Happening.REGION_FAILED: "{group} failed: {reason}; the other regions go on",
    Happening.SCOPE_FAILED: _scope_failed,
    Happening.STOPPED: "{group}: {reason}; no other region begins",
    Happening.FAILED: _failed,
    Happening.HOLDS: "{group} holds: {reason}",
    Happening.SUCCEEDED: _succeeded,
    Happening.ENDED: "{group} {phase}: {reason}",
    Happening.GROUP_RETIRES: _group_retires,
    Happening.BASELINE_BEGINS: "{group} is a baseline: fresh hosts of {version}, as {origin} has it",
    Happening.BASELINE_ENDS: _baseline_ends,
    Happening.GROUP_RETIRED: _group_retired,
    Happening.GROUP_GIVES_WAY: "{group} gives way to {by} in {regions}: drained and destroyed",
    Happening.GROUP_KEPT: _group_kept,
    Happening.DELETED: lambda application, by, reason: (
        f"{application} is closed, drained and destroyed, asked by {who(by, reason)}"
    ),
    Happening.GONE: "{application} is gone; its history stays",
    Happening.JOB_ASKED: lambda job, moment, attempt: f"{job_of(job, moment, attempt)} is to run",
    Happening.JOB_BEGAN: lambda job, moment, attempt, text: f"{job_of(job, moment, attempt)} runs",
    Happening.JOB_SUCCEEDED: lambda job, moment, attempt, text: (
        f"{job_of(job, moment, attempt)} has succeeded"
    ),
    Happening.JOB_FAILED: _job_ended("failed"),
    Happening.JOB_STOPPED: _job_ended("was ended"),
    Happening.JOB_UNKNOWN: _job_ended("may have run, and nobody can say how it ended"),
    Happening.JOB_SETTLED: lambda job, outcome, by, reason: with_reason(
        f"{who(by)} says of job {job}: {outcome}", reason
    ),
    Happening.REGION_LEFT: _region_left,
    Happening.REGION_DRAINED: _region_drained,
    Happening.REGION_UNDRAINED: lambda region, by, reason: (
        f"{region} goes back into DNS, asked by {who(by, reason)}"
    ),
    Happening.GROUP_DESTROYED: _group_destroyed,
    Happening.GROUP_RENEWED: _group_renewed,
    Happening.HOST_TAINTED: lambda host, reason: with_reason(f"{host} is tainted", reason),
    Happening.HOST_REPLACED: "{host} is gone and a fresh host has its place: {why}",
    Happening.ALL_FROZEN: lambda reason: with_reason("everything is frozen", reason),
    Happening.ALL_UNFROZEN: _all_unfrozen,
    Happening.FREEZE_ADDED: _freeze("added"),
    Happening.FREEZE_LIFTED: _freeze("lifted"),
    Happening.RECOVERED: _recovered,
    Happening.ADOPTED: _adopted,
    Happening.ADOPTED_SERVES: (
        "{group}, which was adopted, is served by repave's balancers now, asked by {by}"
    ),
    Happening.AGENT_INVITED: "a join token for an agent of {region} was made by {by}",
    Happening.AGENT_JOINED: "{agent} joined from {address}, with a token of {by}",
    Happening.AGENT_REVOKED: _agent_revoked,
    Happening.AGENT_TOOK_OVER: "another agent acts in {region} now: {instance}",
    Happening.AUTHORITY_ROTATED: _authority_rotated,
    Happening.DATABASE_CHANGED: (
        "the database was restored, moved or failed over: {before} became {now}; a new incarnation has "
        "begun. To a region that knows more than the database nothing is sent until: {0}"
    ),
    Happening.REGION_AHEAD: ("{region} is ahead of this store: {ahead}; nothing is sent there until: {0}"),
}
