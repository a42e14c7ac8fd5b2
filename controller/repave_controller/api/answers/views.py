"""Turns what the controller knows into what the API gives. Reads only."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from repave_controller.api.answers import models
from repave_controller.api.answers.ages import worn_text
from repave_controller.api.answers.fronts import fronts_of
from repave_controller.api.answers.reasons import facts_of, remedy_item
from repave_controller.api.answers.scaling import scaling_item
from repave_controller.api.answers.secrets import secret_items
from repave_controller.core.commands.advice import works
from repave_controller.core.commands.release import Accepted
from repave_controller.core.domain.analyses import Analysis, AnalysisPlan
from repave_controller.core.domain.application import (
    Application,
    Because,
    Event,
    GroupState,
    Instant,
    Observed,
    RegionView,
    ReleaseOrder,
    ServerGroup,
)
from repave_controller.core.domain.generations import generation_of
from repave_controller.core.domain.jobs import Job, JobRun, Moment
from repave_controller.core.domain.naming import format_group
from repave_controller.core.domain.reasons import Why, cli
from repave_controller.core.domain.rollout import GroupNumber, Pause, Phase, Rollout, Track, TrackPhase, Wave
from repave_controller.core.planning.forecast import Outlook
from repave_controller.core.ports import Image
from repave_controller.core.rollout import drains, queues
from repave_controller.core.rollout.conclusion import failed_until
from repave_controller.core.rollout.gates import Gate, gates
from repave_controller.core.rules.divergence import Ahead
from repave_controller.core.rules.verdicts import gate_of
from repave_controller.core.steps.step import describe
from repave_controller.fleet.regions import KnownRegion, Rival
from repave_controller.operations.recovery import Candidate, Findings
from repave_controller.wording.phrases import counted, listed, with_reason
from repave_controller.wording.render import command_of, event_text, text_of, texts_of
from repave_protos.daemon.endpoint import endpoint
from repave_protos.protocol.capabilities import dns_of
from repave_protos.protocol.values import (
    NO_PACKAGE,
    DesiredGroup,
    DesiredState,
    GroupReport,
    HostDetail,
    HostName,
    RecordReport,
    RegionName,
    job_host,
)


def time_of(instant: float) -> datetime:
    return datetime.fromtimestamp(instant, UTC)


def _time_or_none(instant: Instant | None) -> datetime | None:
    return None if instant is None else time_of(instant)


def accepted(answer: Accepted) -> models.AcceptedAnswer:
    return models.AcceptedAnswer(
        application=answer.application,
        group=answer.group,
        rollout=answer.rollout,
        kind=answer.kind,
        is_queued=answer.is_queued,
        is_joined=answer.is_joined,
    )


def tainted(answer: Accepted, region: RegionName, host: HostName) -> models.TaintAnswer:
    return models.TaintAnswer(
        application=answer.application,
        region=region,
        group=answer.group,
        host=host,
        is_joined=answer.is_joined,
    )


# ----------------------------------------------------------------------------------------- applications


def application_item(application: Application, observed: Observed) -> models.ApplicationItem:
    return models.ApplicationItem(**item_fields(application, observed))


def application_status(
    application: Application,
    observed: Observed,
    because: tuple[Because, ...],
    regions: Mapping[RegionName, KnownRegion],
    now: Instant,
) -> models.ApplicationStatus:
    rollout = application.rollout
    approvals, waits = gate_items(application, now)
    return models.ApplicationStatus(
        **item_fields(application, observed),
        fronts=fronts_of(application),
        current_rollout=rollout_item(rollout, application.cluster) if rollout else None,
        queue=queue_answer(application),
        gates=approvals,
        waits=waits,
        because=because_items(application, because, observed),
        region_items=[
            region_of(name, application, observed, regions.get(name)) for name in application.regions
        ],
    )


def item_fields(application: Application, observed: Observed) -> dict[str, Any]:
    serving = application.group(application.serving)
    running = application.running
    target = application.group(running.target) if running else None
    by_region: dict[RegionName, ServerGroup] = {}
    hosts = 0
    for group in application.groups:  # as serving_in, but once over all regions
        for part in group.parts:
            if part.state is GroupState.SERVING and part.region not in by_region:
                by_region[part.region] = group
                hosts += part.size
    verified = 0
    for region, group in by_region.items():
        view = observed.get(region)
        verified += view.group(group.name).verified if view is not None else 0
    return {
        "generation": generation_of(application),
        "name": application.name,
        "serving": serving.name if serving else "",
        "version": serving.version if serving else "",
        "phase": phase_of_application(application),
        "rollout": target.name if target else "",
        "hosts": hosts,
        "verified": verified,
        "regions": len(application.regions),
        "port": application.frontend_port,
        "queued": len(application.queue),
    }


def phase_of_application(application: Application) -> str:
    if application.deletion is not None:
        return "deleting"
    return phase_of(application.rollout) if application.rollout else ""


def region_of(
    name: RegionName, application: Application, observed: Observed, region: KnownRegion | None
) -> models.ApplicationRegionItem:
    view = observed.get(name)
    return models.ApplicationRegionItem(
        name=name,
        connected=view is not None and view.is_connected,
        ahead=texts_of(view.ahead) if view is not None else "",
        since=time_of(view.since) if view is not None else None,
        current=is_current(view, application.desired_in(name)),
        troubles=list(region.troubles) if region is not None else [],
        traffic_address=endpoint(region.hello.traffic_address, application.frontend_port)
        if region and application.frontend_port
        else "",
        dns=_dns_item(application, name, view),
        scaling=scaling_item(application, name),
        groups=[
            _region_group(group, name, application, observed)
            for group in application.groups
            if group.size(name)
        ],
    )


def is_current(view: RegionView | None, desired: DesiredState | None) -> bool:
    """It has confirmed the newest desired state."""
    report = view.report if view is not None else None
    return report is not None and desired is not None and report.epoch == desired.epoch


def _dns_item(application: Application, region: RegionName, view: RegionView | None) -> models.DnsItem | None:
    record, drained = drains.record_of(view), application.drained_in(region)
    if record is None and drained is None:
        return None
    record = record or RecordReport("")
    is_out = record.state == "out" and record.left_at > 0
    return models.DnsItem(
        name=record.name,
        state=record.state,
        ttl_seconds=record.ttl_seconds,
        trouble=record.trouble,
        drained=drained is not None,
        drained_by=drained.by if drained is not None else "",
        drained_reason=drained.reason if drained is not None else "",
        drained_at=time_of(drained.at) if drained is not None else None,
        clients_until=time_of(record.left_at + record.ttl_seconds) if is_out else None,
    )


def _region_group(
    group: ServerGroup, region: RegionName, application: Application, observed: Observed
) -> models.RegionGroupItem:
    view, desired = observed.get(region), application.desired_in(region)
    wanted = desired.group(group.name) if desired is not None else None
    report = view.group(group.name) if view is not None else GroupReport(group.name)
    part = group.part(region)
    return models.RegionGroupItem(
        name=group.name,
        version=group.version,
        adopted=group.is_adopted,
        state=str(part.state if part is not None else group.state),
        size=part.count if part is not None and group.is_baseline else group.size(region),
        baseline_of=_baseline_of(group, application),
        worker=group.template.is_worker,
        wanted_weight_bp=wanted.weight_bp if wanted else 0,
        secrets=secret_items(group.template.secrets),
        **{name: getattr(report, name) for name in _REPORTED},
    )


def _baseline_of(group: ServerGroup, application: Application) -> str:
    if group.baseline_of is None:
        return ""
    return format_group(application.cluster, group.baseline_of)


_REPORTED = (
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
    "launched_total",
    "destroyed_total",
    "trouble",
)


def queue_answer(application: Application) -> models.QueueAnswer:
    stands = queues.because(application)
    return models.QueueAnswer(
        items=[_queued_item(order) for order in application.queue],
        stands=text_of(stands.reason) if stands is not None else "",
        since=_time_or_none(stands.since) if stands is not None else None,
        remedy=remedy_item(stands.reason) if stands is not None else None,
    )


def _queued_item(order: ReleaseOrder) -> models.QueuedItem:
    return models.QueuedItem(
        number=order.number,
        version=order.version,
        digest=order.digest,
        regions=[region for region, _ in order.sizes],
        by=order.by,
        reason=order.reason,
        queued_at=_time_or_none(order.queued_at) if order.queued_at else None,
        replaces=order.replaces,
    )


def gate_items(application: Application, now: Instant) -> tuple[list[models.GateItem], list[models.GateItem]]:
    """Approvals, and times that a person may end."""
    found = gates(application, now)
    approvals = [_gate_item(application, gate) for gate in found if gate.kind == "approval"]
    return approvals, [_gate_item(application, gate) for gate in found if gate.kind != "approval"]


def _gate_item(application: Application, gate: Gate) -> models.GateItem:
    remedy = cli("promote", application.name, skip=gate.kind in ("time", "analysis"), role=gate.role)
    return models.GateItem(
        gate=gate.name,
        kind=gate.kind,
        regions=list(gate.regions),
        role=gate.role,
        distinct=gate.takes_two,
        command=command_of(remedy),
    )


def because_item(because: Because, outlook: Outlook) -> models.BecauseItem:
    return models.BecauseItem(
        kind=because.reason.kind.root,
        text=text_of(because.reason),
        facts=facts_of(because.reason),
        region=because.region,
        since=_time_or_none(because.since),
        until=_time_or_none(because.until),
        then=text_of(outlook.of(because)),
        remedy=remedy_item(because.reason),
    )


def because_items(
    application: Application, because: Iterable[Because], observed: Observed
) -> list[models.BecauseItem]:
    outlook = Outlook(application, observed)
    return [because_item(each, outlook) for each in because]


def why(
    application: Application,
    observed: Observed,
    because: tuple[Because, ...],
    regions: Mapping[RegionName, KnownRegion],
) -> models.WhyAnswer:
    secrets = {
        str(group.name): secret_items(group.template.secrets)
        for group in application.groups
        if group.template.secrets
    }
    return models.WhyAnswer(
        application=application.name,
        text=why_text(application, because),
        because=because_items(application, because, observed),
        troubles=troubles_of(application, regions),
        secrets=secrets,
    )


def troubles_of(application: Application, regions: Mapping[RegionName, KnownRegion]) -> dict[str, list[str]]:
    """What is wrong in its regions as a whole."""
    known = ((name, regions[name].troubles) for name in application.regions if name in regions)
    return {str(name): list(each) for name, each in known if each}


def why_text(application: Application, because: Iterable[Because]) -> str:
    """What it does, in a sentence."""
    text = _why_text(application)
    if any(each.reason.kind is Why.AHEAD for each in because):
        return f"regions are ahead of this store, so it cannot say; its own older copy is: {text}"
    return text


def _why_text(application: Application) -> str:
    rollout, running = application.rollout, application.running
    serving = application.group(application.serving)
    if application.deletion is not None:
        return f"it is being deleted, asked by {application.deletion.by or 'an operator'}"
    if running is not None:
        name = format_group(application.cluster, running.target)
        doing = "is going back" if running.phase is Phase.UNDOING else f"is {_doing(running)}"
        queued = [f"{counted(len(application.queue), 'release')} queued"] if application.queue else []
        text = "; ".join((f"the {running.kind} of {name} {doing}", *_asked_of(running), *queued))
        return with_reason(text, text_of(running.undo_reason))
    if rollout is not None and rollout.phase is Phase.HELD:
        back = cli("rollback", application.name)
        way = f", or {command_of(back)}" if works(back, application, {}, Instant(0)) else ""
        return f"held: {text_of(rollout.undo_reason)}; release a better version{way}"
    rests = f"nothing is being rolled out; {serving.name if serving else 'no group'} serves"
    if application.is_watched and serving is not None:
        return f"its fleet was adopted as {serving.name}, and is only probed until the first release begins"
    if rollout is None or rollout.phase is Phase.SUCCEEDED:
        return rests
    name = format_group(application.cluster, rollout.target)
    return with_reason(f"{rests}; the {rollout.kind} of {name} went back", text_of(rollout.undo_reason))


def _asked_of(running: Rollout) -> list[str]:
    """What people have asked that counts from now on: passes that have yet to be used, regions left out."""
    said = []
    for each in running.passes:
        rule = each.gate.removeprefix("guard ") if each.kind == "overridden" else ""
        signed = each.by or "an operator"
        if rule:
            said.append(f"the guard {rule} is overridden by {signed}")
        elif each.kind == "objected":
            regions = each.regions or (None,)
            is_open = not all(running.may_pass(each.gate, region) for region in regions)
            said += [f"{signed} objects to {each.gate}"] if is_open else []
        elif each.gate == "*":
            said.append(f"{signed} lets {listed(each.regions) or 'it'} pass all gates and waits")
    for track in running.tracks:  # not used yet: the others of the wave, or its agent, are waited for
        gate = gate_of(track)
        if track.phase is TrackPhase.RUNNING and any(each.gate == gate for each in running.passes):
            said += [f"{gate} is passed in {track.region}"] if running.may_pass(gate, track.region) else []
    is_back = running.phase is Phase.UNDOING  # then regions are back one after another, and none is left out
    out = [] if is_back else [each.region for each in running.tracks if each.phase is TrackPhase.UNDONE]
    return said + ([f"without {listed(out)}"] if out else [])


def _doing(running: Rollout) -> str:
    if running.pause is not None:
        return _held(running, running.pause) if running.pause.is_hold else "paused"
    moving = {track.wave for track in running.tracks if track.phase is TrackPhase.RUNNING}
    wave = f" of wave {min(moving) + 1}" if moving and len(running.waves) > 1 else ""
    if not moving:
        return "between two waves" if len(running.waves) > 1 else "about to end"
    return f"in step {_step_named(running, running.cursor)}{wave}"


def _held(running: Rollout, pause: Pause) -> str:
    track = running.track(pause.region) if pause.region is not None else None
    if track is None or track.phase is not TrackPhase.RUNNING:
        return "held"
    return f"held in step {_step_named(running, track.cursor)}"


def _step_named(running: Rollout, cursor: int) -> str:
    """Its kind, with its number where others are of the same kind."""
    kinds = [step.kind for step in running.steps]
    kind = kinds[cursor]
    return f"{kind} ({cursor + 1} of {len(kinds)})" if kinds.count(kind) > 1 else kind


def job_items(rollout: Rollout, cluster: str) -> list[models.JobItem]:
    """All attempts of each job, and the jobs that were not tried yet."""
    found = []
    for moment, job in rollout.jobs.named:
        runs = [run for run in rollout.runs if (run.moment, run.job) == (moment, job.name)]
        found += [_run_item(run, cluster) for run in runs] or [_untried(moment, job)]
    return found


def _run_item(run: JobRun, cluster: str) -> models.JobItem:
    group = format_group(cluster, GroupNumber(run.group))
    return models.JobItem(
        moment=str(run.moment),
        name=run.job,
        region=run.region,
        state=str(run.state),
        attempt=run.attempt,
        host=job_host(group, run.id),
        asked_at=time_of(run.asked_at),
        began_at=_time_or_none(run.began_at),
        ended_at=_time_or_none(run.ended_at),
        exit_code=run.exit_code,
        text=run.text,
        log_tail=run.log_tail,
        settled=run.settled,
        settled_by=run.settled_by,
        settled_reason=run.settled_reason,
    )


def _untried(moment: Moment, job: Job) -> models.JobItem:
    return models.JobItem(
        moment=str(moment),
        name=job.name,
        region=job.region or "",
        state="waiting",
        attempt=0,
        host="",
        asked_at=None,
        began_at=None,
        ended_at=None,
        exit_code=None,
        text="",
        log_tail="",
        settled="",
        settled_by="",
        settled_reason="",
    )


def brief_item(rollout: Rollout, cluster: str) -> models.RolloutItem:
    """Without what each region did."""
    return models.RolloutItem(**rollout_fields(rollout, cluster), waves=[])


def rollout_item(rollout: Rollout, cluster: str) -> models.RolloutItem:
    return models.RolloutItem(
        **rollout_fields(rollout, cluster),
        waves=[
            models.WaveItem(
                **wave_fields(wave),
                regions=[
                    track_item(track, rollout, cluster) for track in rollout.tracks if track.wave == index
                ],
            )
            for index, wave in enumerate(rollout.waves)
        ],
    )


def rollout_fields(rollout: Rollout, cluster: str) -> dict[str, Any]:
    """All but its waves."""
    pause = rollout.pause
    return {
        "number": rollout.number,
        "kind": str(rollout.kind),
        "group": format_group(cluster, rollout.target),
        "version": rollout.version,
        "origin": format_group(cluster, rollout.origin) if rollout.origin is not None else "",
        "phase": phase_of(rollout),
        "steps": [
            models.StepItem(kind=step.kind, text=describe(step), state=_step_state(index, rollout))
            for index, step in enumerate(rollout.steps)
        ],
        "step": rollout.cursor,
        "passes": [
            models.PassItem(
                gate=each.gate,
                kind=each.kind,
                at=time_of(each.at),
                by=each.by,
                role=each.role,
                reason=each.reason,
                regions=list(each.regions),
            )
            for each in rollout.passes
        ],
        "paused_by": ("repave" if pause.is_hold else pause.by or "an operator") if pause is not None else "",
        "started_at": time_of(rollout.started_at),
        "started_by": rollout.started_by,
        "reason": rollout.reason,
        "ended_at": _time_or_none(rollout.ended_at),
        "outcome": text_of(rollout.undo_reason or (pause.reason if pause is not None else None)),
        "analyses": [analysis_item(each, rollout) for each in rollout.analyses],
        "jobs": job_items(rollout, cluster),
    }


def analysis_item(analysis: Analysis, rollout: Rollout) -> models.AnalysisItem:
    last, plan = analysis.last, _plan_of(analysis.gate, rollout)
    return models.AnalysisItem(
        gate=analysis.gate,
        region=analysis.region,
        run=analysis.run,
        looks=analysis.looks,
        judged=analysis.judged,
        count=plan.count if plan is not None else analysis.judged,
        said=[str(each) for each in analysis.said],
        ending=str(analysis.ending or ""),
        score=last.score if last is not None else None,
        text=text_of(last.reason if last is not None else None),
    )


def _plan_of(gate: str, rollout: Rollout) -> AnalysisPlan | None:
    """`step 1.3` is the third step of the first wave."""
    step = gate.rpartition(".")[2]
    at = int(step) - 1 if step.isdecimal() else -1
    return rollout.steps[at].analysis if 0 <= at < len(rollout.steps) else None


def wave_fields(wave: Wave) -> dict[str, Any]:
    """All but its regions."""
    return {
        "bake_seconds": wave.bake_seconds,
        "approve": wave.approve,
        "unless_objected_seconds": wave.unless_objected_seconds,
        "expires_seconds": wave.expires_seconds,
        "parallel": wave.parallel,
        "lockstep": wave.is_lockstep,
    }


def phase_of(rollout: Rollout) -> str:
    """Its phase, or that it is paused or held in place."""
    if rollout.phase is Phase.RUNNING and rollout.pause is not None:
        return "held" if rollout.pause.is_hold else "paused"
    return str(rollout.phase)


def track_item(track: Track, rollout: Rollout, cluster: str) -> models.TrackItem:
    step = rollout.steps[track.cursor].kind if track.phase is TrackPhase.RUNNING else ""
    return models.TrackItem(
        region=track.region,
        phase=str(track.phase),
        step=track.cursor,
        kind=str(step),
        since=time_of(track.entered_at) if track.has_begun else None,
        reason=text_of(track.reason),
        group=format_group(cluster, rollout.target_of(track)),
        origin=format_group(cluster, track.origin) if track.origin is not None else "",
    )


def _step_state(index: int, rollout: Rollout) -> str:
    if rollout.phase is Phase.SUCCEEDED or index < rollout.cursor:
        return "done"
    if rollout.phase is Phase.RUNNING:
        return "running" if index == rollout.cursor else "waiting"
    return "skipped"


# --------------------------------------------------------------------------------- groups, regions, rest


def group_item(group: ServerGroup, application: Application, observed: Observed) -> models.GroupItem:
    until = None
    if group.state is GroupState.WARM and group.left_traffic_at is not None:
        until = time_of(group.left_traffic_at + application.policy.keep_seconds)
    reports = {region: observed[region].group(group.name) for region, _ in group.sizes if region in observed}
    return models.GroupItem(
        application=application.name,
        name=group.name,
        version=group.version,
        digest="" if group.is_adopted else group.digest,
        adopted=group.is_adopted,
        state=str(group.state),
        size=sum(part.count if group.is_baseline else part.size for part in group.parts),
        verified=sum(report.verified for report in reports.values()),
        regions=[region for region, _ in group.sizes],
        weight_bp={region: report.weight_bp for region, report in reports.items()},
        created_at=time_of(group.created_at),
        warm_until=until,
        failed_until=_failed_until(group, application),
        secrets=secret_items(group.template.secrets),
        machine_image=group.template.machine_image,
        machine_sizes=list(group.template.machine_sizes),
        spot=group.template.is_spot,
        baseline_of=_baseline_of(group, application),
        worker=group.template.is_worker,
    )


def _failed_until(group: ServerGroup, application: Application) -> datetime | None:
    if group.state is not GroupState.FAILED or group.failed_at is None:
        return None
    return time_of(failed_until(application, group.failed_at))


def host_item(host: HostDetail, region: RegionName, application: Application) -> models.HostItem:
    return models.HostItem(
        name=host.host,
        application=host.application,
        region=region,
        group=host.group,
        phase=str(host.phase),
        address=host.address,
        port=host.port,
        digest="" if host.digest == NO_PACKAGE else host.digest,
        adopted=host.digest == NO_PACKAGE,
        age_seconds=round(host.age_seconds, 1),
        healthy_seconds=round(host.healthy_seconds, 1),
        trouble=host.trouble,
        log_tail=host.log_tail,
        worn=worn_text(host, region, application),
        gone_at=time_of(Instant(host.gone_at)) if host.gone_at else None,
        public_address=host.public_address,
        baseline=any(each.is_baseline and each.name == host.group for each in application.groups),
        probes=[
            models.ProbeItem(
                ago_seconds=round(each.ago_seconds, 1),
                took_seconds=round(each.took_seconds, 4),
                passed=each.passed,
                said=each.said,
            )
            for each in host.probes
        ],
    )


def orphan_item(host: HostDetail, region: str) -> models.OrphanItem:
    return models.OrphanItem(
        name=host.host,
        region=region,
        group=host.group,
        application=host.application,
        phase=str(host.phase),
        age_seconds=round(host.age_seconds, 1),
        unclaimed_seconds=round(host.unclaimed_seconds, 1),
        state=host.orphan,
    )


def region_item(
    region: KnownRegion,
    ahead: tuple[Ahead, ...],
    rival: Rival | None = None,
    *,
    is_unused: bool = False,
    is_bound: bool = False,
) -> models.RegionItem:
    other = rival.hello.instance if rival is not None else ""
    can_follow = rival is not None and rival.can_follow
    reports = region.observations.applications.values()
    groups = [group for report in reports for group in report.groups]
    return models.RegionItem(
        name=region.region,
        connected=region.is_connected,
        ahead=texts_of(each.reason for each in ahead),
        since=time_of(region.since),
        troubles=list(region.troubles),
        provider=region.hello.provider,
        balancer=region.hello.balancer,
        agent_version=region.hello.agent_version,
        traffic_address=region.hello.traffic_address,
        dns=dns_of(region.hello.capabilities),
        applications=len(reports),
        hosts=sum(group.present for group in groups),
        launching=sum(group.launching + group.starting for group in groups),
        destroying=sum(group.destroying for group in groups),
        reported_at=time_of(region.reported_at) if region.reported_at is not None else None,
        unused=is_unused,
        instance=region.hello.instance,
        by_lease=is_bound,
        stand_by=other if can_follow else "",
        rival="" if can_follow else other,
    )


def event_item(event: Event) -> models.EventItem:
    return models.EventItem(
        sequence=event.sequence,
        at=time_of(event.at),
        kind=event.kind,
        text=event_text(event),
        application=event.application,
        region=event.region,
        group=event.group,
        host=event.host,
        by=event.by,
    )


def image_item(image: Image) -> models.ImageItem:
    return models.ImageItem(
        digest=image.digest,
        name=image.name,
        size_bytes=image.size_bytes,
        files=image.files,
        pushed_at=time_of(image.pushed_at),
    )


def recovery_answer(findings: Findings) -> models.RecoveryAnswer:
    return models.RecoveryAnswer(
        id=findings.id,
        incarnation=findings.incarnation,
        waiting={str(region): why for region, why in findings.waiting.items()},
        items=[_recovery_item(each) for each in findings.candidates],
    )


def _recovery_item(candidate: Candidate) -> models.RecoveryItem:
    application = candidate.application
    server = application.group(application.serving) if application is not None else None
    return models.RecoveryItem(
        application=candidate.name,
        serving=server.name if server is not None else "",
        adopted=candidate.is_adopted,
        refused=candidate.refusal,
        notes=list(candidate.notes),
        lines=[
            _recovery_line(candidate, region, group)
            for region, state in sorted(candidate.said.items())
            for group in state.groups
        ],
    )


def _recovery_line(candidate: Candidate, region: str, group: DesiredGroup) -> models.RecoveryLine:
    groups = candidate.application.groups if candidate.application is not None else ()
    adopted = next((each for each in groups if each.name == group.name), None)
    return models.RecoveryLine(
        application=candidate.name,
        region=region,
        group=group.name,
        state=str(adopted.state) if adopted is not None else "",
        hosts=group.count,
        weight_bp=group.weight_bp,
        version=adopted.version if adopted is not None else "",
        digest=group.digest,
        is_stored=group.digest not in candidate.lacking,
    )
