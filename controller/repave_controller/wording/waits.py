"""What people read of that which is waited for, and what they could do about it."""

from collections.abc import Mapping, Sequence

from repave_controller.core.domain.reasons import Kind, Why
from repave_controller.wording.phrases import (
    Template,
    approver,
    counted,
    job_of,
    listed,
    outcomes,
    percent,
    settling,
    ways,
    who,
)


def _counted(step: str, noun: str, of_worker: str = "") -> Template:
    def text(*_: str, have: int, need: int, trouble: str, is_work: bool = False, **__: object) -> str:
        what = of_worker if is_work and of_worker else noun
        return f"{step}: {have} of {need} {what}{in_brackets(trouble)}"

    return text


def _weight(
    *_: str, have: int, need: int, weight_bp: int, trouble: str, is_work: bool = False, **__: object
) -> str:
    if is_work:
        return f"weight: the agent has yet to count {percent(weight_bp)} of the work{in_brackets(trouble)}"
    return f"weight: {have} of {need} balancers acknowledge {percent(weight_bp)}{in_brackets(trouble)}"


def _draining(*_: str, group: str, hosts: int) -> str:
    return f"{group}: {counted(hosts, 'host')} {'is' if hosts == 1 else 'are'} being drained and destroyed"


def in_brackets(trouble: str) -> str:
    return f" ({trouble})" if trouble else ""


def _heals(*_: str, group: str, have: int, need: int, trouble: str) -> str:
    lost = f"{have} of {need} hosts of {group} are healthy{in_brackets(trouble)}"
    return f"heals: {lost}; fresh ones take the place of the others"


def _soak(*_: str, group: str, **__: object) -> str:
    return f"soak: {group} proves itself"


def _analysis(
    *_: str, group: str, look: int, count: int, said: Sequence[str], last: str | None, **__: object
) -> str:
    text = f"analyse: {group} is compared with the old group, look {look} of {count}"
    if said:
        text += f"; so far {outcomes(said)}"
    return text + (f"; the last: {last}" if last else "")


def _analysis_failed(*_: str, **facts: object) -> str:
    return _analysed("is worse than the old group", **facts)


def _analysis_undecided(*_: str, **facts: object) -> str:
    return _analysed("could not be told from the old group surely enough", **facts)


def _analysed(verdict: str, **facts: object) -> str:
    """`web-v003 is worse than the old group (look 3 of 10, score 40): errors: ...`"""
    region, score, last = facts["region"], facts["score"], facts["last"]
    where = f"{region}: " if region else ""
    rated = f", score {score:g}" if isinstance(score, float | int) else ""
    text = f"{where}{facts['group']} {verdict} (look {facts['look']} of {facts['count']}{rated})"
    return text + (f": {last}" if last else "")


def _metric(*_: str, metric: str, rule: str, trouble: str, others: int, **facts: object) -> str:
    """`errors: 12 of 400 (3 %), the old group 10 of 8200 (0.122 %)`"""
    more = f", and {counted(others, 'more metric')}" if others else ""
    why = {
        "no-data": " has no numbers",
        "no-data-but-required": " has no numbers",
        "too-few-samples": f" has too few numbers yet, {facts['needed']} are needed",
        "failed-to-judge": f" could not be judged{in_brackets(trouble)}",
    }
    if rule in why:
        return f"{metric}{why[rule]}{more}"
    new, old = (
        _side(facts["mean"], facts["events"], facts["trials"]),
        _side(facts["base"], facts["base_events"], facts["base_trials"]),
    )
    return f"{metric}: {new}, the old group {old}{more}"


def _side(mean: object, events: object, trials: object) -> str:
    if isinstance(events, int | float) and isinstance(trials, int | float) and trials:
        return f"{events:g} of {trials:g} ({100 * events / trials:.3g} %)"
    return f"{mean:.4g}" if isinstance(mean, int | float) else "nothing"


def _source_failed(source: str, trouble: str) -> str:
    return f"{source}: {trouble}" if source else trouble


def _unjudged(*_: str, **facts: object) -> str:
    where = f"{facts['region']}: " if facts["region"] else ""
    last = f": {facts['last']}" if facts["last"] else ""
    return f"{where}{facts['group']} could not be judged, its numbers could not be read{last}"


def _silent(*_: str, **facts: object) -> str:
    where = f"{facts['region']}: " if facts["region"] else ""
    last = f": {facts['last']}" if facts["last"] else ""
    return f"{where}{facts['group']} could not be judged for {facts['seconds']:g} s{last}"


def _keep(*_: str, group: str, absent: str | None, **__: object) -> str:
    return f"keep: {group} is kept" + (f"; {absent}" if absent else "")


def _approve(*_: str, role: str, objection: str = "", **__: object) -> str:
    return f"approve: {_against(objection)}{approver(role)} must say yes"


def _against(objection: str) -> str:
    return f"{objection}; " if objection else ""


def _approve_wave(*_: str, role: str, wave: int, waves: int, objection: str = "", **__: object) -> str:
    return f"approve: {_against(objection)}{approver(role)} must say yes to wave {wave} of {waves}"


def _unconfirmed(refusal: str) -> str:
    return f"the newest desired state is not confirmed yet{in_brackets(refusal)}"


def _paused(*_: str, by: str, reason: str | None) -> str:
    return f"paused by {who(by, reason)}"


def _kept_failed(*_: str, group: str, regions: Sequence[str]) -> str:
    where = f" in {listed(regions)}" if regions else ""
    return f"{group} failed and is kept to be looked at{where}, out of traffic"


def _renewal(*_: str, group: str, under_way: int, waiting: int, why_not: str | None) -> str:
    text = f"renewal: {under_way} of {group} being replaced"
    text += f", {waiting} more due" if waiting else ""
    return text + (f"; nothing begins now: {why_not}" if waiting and why_not else "")


def _hosts_fail(region: str, trouble: str) -> str:
    return f"{region}: {trouble or 'its hosts fail'}"


def _ill(region: str, have: int, need: int, trouble: str) -> str:
    return f"{region}: {have} of {need} hosts are healthy{in_brackets(trouble)}"


def _larger_side(
    region: str,
    group: str,
    up: int,
    size: int,
    other: str,
    other_up: int,
    stays: bool,
    is_loss: bool = False,
) -> str:
    verb = "stays with" if stays else "goes to"
    sides = f"{group} has {up} of {size} hosts up, {other} {other_up}"
    why = "going back would cost hosts" if is_loss else "neither group is whole"
    return f"{region}: {why}: {sides}; traffic {verb} {group}"


def _protected(region: str, group: str, up: int, other: str, other_up: int) -> str:
    left = f"has {counted(other_up, 'host')} up" if other_up else "has no healthy host"
    return f"{region}: {other} {left}; all traffic goes to {group}, which has {up} up"


def _none_up(region: str, group: str, healthy: int, trouble: str) -> str:
    fact = f"the balancer finds none of {group} up, though {healthy} are healthy to the agent"
    return f"{region}: {fact}{in_brackets(trouble)}"


def _ended_by(done: str) -> Template:
    def text(by: str, reason: str) -> str:
        return f"{done} by {who(by, reason)}"

    return text


def _queue_stands(*_: str, queued: int, after: str) -> str:
    wait = "release waits" if queued == 1 else "releases wait"
    return f"queue: {queued} {wait} until a person goes on, for {after}"


ENDINGS = {
    "rolled-back": "went back",
    "aborted": "was aborted",
    "held": "is held",
    "succeeded": "did not reach every region",
}


def _rollout_ended(kind: str, group: str, phase: str) -> str:
    return f"the {kind} of {group} {ENDINGS[phase]}"


def _serves_only_in(reason: str, regions: Sequence[str]) -> str:
    return f"{reason}; it serves in {listed(regions)} only"


def _job_begins(*_: str, job: str, moment: str, attempt: int, text: str) -> str:
    return f"{job_of(job, moment, attempt)} is to begin{in_brackets(text)}"


def _job_failed(*_: str, job: str, moment: str, attempts: int, text: str) -> str:
    tries = f" {attempts} times" if attempts > 1 else ""
    return f"{job_of(job, moment)} failed{tries}{in_brackets(text)}"


LOADS = {"requests": "the requests", "queue": "the requests in flight", "metric": "the metric"}


def _by_load(*_: str, by: str, load: float, needed: float, target: float) -> str:
    unit = {"requests": " requests a second", "queue": " requests in flight", "metric": " of the metric"}[by]
    return f"{load:.4g}{unit}, {target:g} for each host"


TEXTS: Mapping[Kind, Template] = {
    Why.SCALE: _counted("scale", "hosts run"),
    Why.VERIFY: _counted("verify", "hosts verified and up behind the balancer", of_worker="hosts verified"),
    Why.WEIGHT: _weight,
    Why.BASELINE: lambda *_, group, origin, have, need, trouble: (
        f"baseline: {have} of {need} hosts of {group}, fresh ones of {origin}'s version, verified and up"
        + in_brackets(trouble)
    ),
    Why.BASELINE_SHARE: lambda *_, group, weight_bp, trouble: (
        f"weight: the baseline {group} has not its {percent(weight_bp)} yet{in_brackets(trouble)}"
    ),
    Why.SOAK: _soak,
    Why.SOAK_UNSEEN: "soak: stands still, {left:g} s of it are left: {absent}",
    Why.ANALYSIS: _analysis,
    Why.ANALYSIS_UNSEEN: "analyse: stands still: {absent}",
    Why.HEALS: _heals,
    Why.APPROVE: _approve,
    Why.APPROVE_WAVE: _approve_wave,
    Why.APPROVE_UNLESS: "approve: it goes on unless a person objects",
    Why.APPROVE_WAVE_UNLESS: "approve: wave {wave} of {waves} begins unless a person objects",
    Why.KEEP: _keep,
    Why.RETIRE: "retire: {have} hosts of {group} are left, {need} shall be",
    Why.AGENT_AWAY: "its agent is not connected",
    Why.AGENT_AWAY_AT_BEGIN: ("its agent is not connected; {policy} is what guards.unreachable_region says"),
    Why.AGENT_AWAY_AT_UNDO: "its agent is not connected",
    Why.AGENT_AWAY_AT_END: "its agent is not connected; hosts of {group} may be left there",
    Why.AHEAD: "{ahead}: the store was restored from an older backup, or lost; nothing is sent there",
    Why.AHEAD_OF_NOTHING: ("it runs {application} (epoch {accepted}), which this store does not know there"),
    Why.AHEAD_UNDER_ONE_EPOCH: (
        "it has something else under epoch {accepted} of {application} than this store"
    ),
    Why.AHEAD_BY_EPOCHS: ("it has accepted epoch {accepted} of {application}, this store knows {offered}"),
    Why.UNCONFIRMED: _unconfirmed,
    Why.PAUSED: _paused,
    Why.HELD: "held: {reason}",
    Why.EARLIER_WAVES: "wave {wave} waits for the waves before it",
    Why.MAKES_ROOM: "{groups} make room first: they are drained and destroyed",
    Why.BAKE: "bake: wave {wave} of {waves} is watched",
    Why.BAKE_UNSEEN: "bake: stands still, wave {wave} of {waves} can't be watched: no word from {regions}",
    Why.GUARD: "guard {rule}: {answer}",
    Why.JOB_BEGINS: _job_begins,
    Why.JOB_RUNS: lambda *_, job, moment, attempt, **__: f"{job_of(job, moment, attempt)} runs",
    Why.JOB_UNSEEN: lambda *_, job, moment, attempt, **__: (
        f"{job_of(job, moment, attempt)}: the agent of its region is not connected"
    ),
    Why.JOB_ENDS: lambda *_, job, moment, attempt, **__: f"{job_of(job, moment, attempt)} is being ended",
    Why.JOB_FAILED: _job_failed,
    Why.JOB_UNKNOWN: lambda *_, job, moment, attempt, text, **__: (
        f"{job_of(job, moment, attempt)} may have run{in_brackets(text)}; it is not run again by itself"
    ),
    Why.GROWS_BACK: "{group} gets the traffic back once it has its hosts: {up} of {size} are up",
    Why.STILL_IN_TRAFFIC: "the balancer still sends traffic to {group}",
    Why.NOT_YET_IN_TRAFFIC: "the balancer has not yet given all traffic back to {group}",
    Why.DRAINING: _draining,
    Why.DELETING: "it is being deleted: {hosts} hosts are left to be drained and destroyed",
    Why.OLD_GROUP_STAYS: "{group} stays although its time is over: {answer}",
    Why.KEPT_FAILED: _kept_failed,
    Why.RENEWAL: _renewal,
    Why.RENEWAL_UNCONFIRMED: "the region has not confirmed its newest desired state yet",
    Why.RENEWAL_FLOOR: "{up} hosts are verified and up, the floor is {floor}",
    Why.SIZE_BY_LOAD: _by_load,
    Why.SIZE_BY_BOUNDS: "the spec says {least} to {most} hosts",
    Why.SIZE_UNKNOWN: lambda hosts, by, text: (
        f"scaling: nothing is known of {LOADS[by]}{in_brackets(text)}; it has {counted(hosts, 'host')}, and "
        "none of them ends"
    ),
    Why.SIZE_AT_MOST: "scaling: the load asks for {needed} hosts, and the spec allows {most} at most",
    Why.SIZE_REFUSED: "scaling: {hosts} hosts are needed: {refusal}",
    Why.DRAIN: lambda *_, region, name, trouble: (
        f"drain: {name} still leads to {region}{in_brackets(trouble)}"
    ),
    Why.DRAIN_AWAY: (
        "drain: its agent is not connected, so its record in DNS stays as it is until the agent returns"
    ),
    Why.DRAIN_UNSEEN: "drain: its agent has said nothing of a record in DNS",
    Why.DRAIN_REMEMBERED: (
        "drain: it is out of DNS; clients may still come for up to {seconds} s, as resolvers remember it"
    ),
    Why.UNDRAIN: lambda *_, region, name, trouble: (
        f"undrain: {name} does not lead to {region}{in_brackets(trouble)}"
    ),
    Why.AGENT_REFUSES: "{region} refuses: {refusal}",
    Why.HOSTS_FAIL: _hosts_fail,
    Why.ILL: _ill,
    Why.NONE_UP: _none_up,
    Why.ILL_IN_STEP: "{illness} in the {step}",
    Why.ILL_WHEN_DONE: "{illness} after the region was done",
    Why.NEITHER_WHOLE: "{reason}; {regions}",
    Why.LARGER_SIDE: _larger_side,
    Why.PROTECTED: _protected,
    Why.IN_REFUGE: "all traffic is with {group}: the other group could not serve its share",
    Why.NOT_HEALED: "{illness} for {seconds:g} s",
    Why.METRIC: _metric,
    Why.SOURCE_FAILED: _source_failed,
    Why.ANALYSIS_FAILED: _analysis_failed,
    Why.ANALYSIS_UNDECIDED: _analysis_undecided,
    Why.ANALYSIS_UNJUDGED: _unjudged,
    Why.ANALYSIS_SILENT: _silent,
    Why.NO_BASELINE: "the baseline {group} can't be had: {failure}",
    Why.BASELINE_ILL: lambda region, group, have, need, trouble: (
        f"{region}: {have} of {need} hosts of the baseline {group} are healthy{in_brackets(trouble)}: "
        "the comparison would not be fair"
    ),
    Why.BASELINE_LOST: "{region}: the baseline has no equal share of the traffic to compare with",
    Why.NO_PROGRESS: "{step}: no progress for {seconds:g} s; {region}: {waiting}",
    Why.NOT_APPROVED: "{region}: no approval within {seconds:g} s",
    Why.WAVE_NOT_APPROVED: "no approval of wave {wave} within {seconds:g} s",
    Why.GUARD_FOR_TOO_LONG: "{region}: {answer} for {seconds:g} s",
    Why.NOT_UNDONE: "going back is not done after {seconds:g} s: {region}: {left}",
    Why.UNDO_FAILED: "{reason}; {failure}",
    Why.ABORTED: _ended_by("aborted"),
    Why.ROLLED_BACK: _ended_by("rolled back"),
    Why.SKIPPED: "its agent was not connected; it is caught up when it returns",
    Why.SERVES_ONLY_IN: _serves_only_in,
    Why.FOLLOWS: "its agent is not connected; all its traffic goes to {group} when it returns",
    Why.LEFT_OUT: "{regions}",
    Why.IN_REGION: "{region}: {reason}",
    Why.NOT_IN_REGION: "not in {region}: {reason}",
    Why.STORE_RESTORED: "the store was restored while it ran; what the regions run was adopted",
    Why.STEPPED_BACK: "gone back a step",
    Why.REPLACED: lambda version, by, reason: f"replaced by {version}, asked by {who(by, reason)}",
    Why.QUEUE_STANDS: _queue_stands,
    Why.ROLLOUT_ENDED: _rollout_ended,
    Why.QUEUED_REFUSED: "the release of {version} was refused: {refusal}",
    Why.QUEUED_NO_ROOM: "{version}: {refusal}",
    Why.QUEUE_ASKS_ROOM: "queue: the regions are asked whether {version} has room",
    Why.NOT_SAVED: "the store does not take decisions: {error}",
    Why.PROMISE_BROKEN: "stopped: {promises}",
    Why.BUG: "stopped by a mistake of repave's own; the controller's log says which",
    Why.TEXT: "{text}",
}

_SHOWS_HOSTS = "{0} shows each host; {1} ends it"
_TOLD_LATER = "it is told when it returns: start or reconnect the agent of {region}"

REMEDIES: Mapping[Kind, Template] = {
    Why.SCALE: _SHOWS_HOSTS,
    Why.VERIFY: _SHOWS_HOSTS,
    Why.WEIGHT: _SHOWS_HOSTS,
    Why.BASELINE: "{0} shows each host",
    Why.BASELINE_SHARE: "{0} shows each host",
    Why.SOAK: "{0} ends it",
    Why.SOAK_UNSEEN: "start or reconnect the agent of {region}; {0} ends the soak",
    Why.ANALYSIS: "{0} shows it; {1} ends it",
    Why.ANALYSIS_UNSEEN: "start or reconnect the agent of {region}; {0} ends the analysis",
    Why.HEALS: "{0} shows each host",
    Why.GROWS_BACK: lambda *commands, **_: f"{commands[0]} does not wait" if commands else "",
    Why.BAKE_UNSEEN: "{0} ends it",
    Why.KEEP: "{0} ends it",
    Why.JOB_RUNS: "{0} shows what it prints, {1} ends it and the release",
    Why.JOB_UNSEEN: lambda *commands, region, **_: (
        f"start or reconnect the agent of {region}; if it is lost: {settling(commands)}"
    ),
    Why.JOB_FAILED: lambda *commands, **_: settling(commands),
    Why.JOB_UNKNOWN: lambda *commands, **_: settling(commands),
    Why.APPROVE_UNLESS: "{0} keeps it here, {1} goes on now",
    Why.APPROVE_WAVE_UNLESS: "{0} keeps it here, {1} goes on now",
    Why.BAKE: "{0} ends it",
    Why.AGENT_AWAY: "start or reconnect the agent of {region}; {0} gives up",
    Why.AGENT_AWAY_AT_BEGIN: "start or reconnect the agent of {region}",
    Why.AGENT_AWAY_AT_UNDO: _TOLD_LATER,
    Why.AGENT_AWAY_AT_END: _TOLD_LATER,
    Why.FOLLOWS: _TOLD_LATER,
    Why.AHEAD: "{0} adopts what the regions run",
    Why.PAUSED: lambda *commands, **_: ways(commands).removeprefix("; "),
    Why.HELD: lambda *commands, **_: ways(commands).removeprefix("; "),
    Why.KEPT_FAILED: "{0} shows its hosts, {1} ends it now",
    Why.RENEWAL: "{0} shows what is worn",
    Why.DRAIN: "{0} leads clients to it again",
    Why.DRAIN_AWAY: "start or reconnect the agent of {region}; {0} calls it off",
    Why.DRAIN_UNSEEN: "{0} calls it off",
    Why.QUEUE_STANDS: "{0} goes on, {1} shows them, {2} drops them",
}
"""With the others helps what helps with the reason within, or the command alone, or nothing but time."""
