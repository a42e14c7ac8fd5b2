"""Turns values into the bytes that travel between agent and controller, and back.

The only module that touches generated code, with its parts wire_desired.py and wire_queries.py. Decoding
trusts no peer: what arrives becomes a value within every bound of bounds.py, or raises WireError, which names
the field. Unknown fields are skipped, so that a newer peer may say more. Reports are the hot path.
"""

from typing import Final, TypeVar, assert_never

from google.protobuf.message import DecodeError

from repave_protos.protocol import bounds
from repave_protos.protocol import fleet_pb2 as pb
from repave_protos.protocol.bounds import WireError as WireError  # callers catch wire.WireError
from repave_protos.protocol.queries import Answer, FromAgent, FromController, Query
from repave_protos.protocol.values import (
    FULL_WEIGHT_BP,
    ApplicationName,
    ApplicationReport,
    Applied,
    AskLease,
    Beat,
    DesiredState,
    GroupName,
    GroupReport,
    Hello,
    HostName,
    JobReport,
    JobState,
    Lease,
    Notice,
    RecordReport,
    RecordState,
    RegionName,
    Rejection,
    Report,
    Resync,
    Wear,
    Welcome,
    Worn,
)
from repave_protos.protocol.wire_desired import (
    desired,
    desired_message,
    epoch,
    epoch_message,
    job_id,
    job_id_message,
)
from repave_protos.protocol.wire_queries import answer, answer_message, query, query_message

_service = pb.DESCRIPTOR.services_by_name["Fleet"]
SERVICE_NAME: Final[str] = _service.full_name
METHOD_NAME: Final[str] = _service.methods_by_name["Connect"].name
METHOD_PATH: Final[str] = f"/{SERVICE_NAME}/{METHOD_NAME}"

_WEARS: Final[dict[int, Wear]] = {
    pb.WEAR_AGE: "age",
    pb.WEAR_DRIFT: "drift",
    pb.WEAR_RENEWAL: "renewal",
    pb.WEAR_ASKED: "asked",
    pb.WEAR_UNSPECIFIED: "unknown",
}
_NUMBERS_OF_WEAR = {why: number for number, why in _WEARS.items()}
_RECORD_STATES: Final[dict[int, RecordState]] = {
    pb.RecordReport.STATE_UNKNOWN: "unknown",
    pb.RecordReport.STATE_IN: "in",
    pb.RecordReport.STATE_OUT: "out",
}
_JOB_STATES: Final[dict[int, JobState]] = {
    pb.JobReport.STATE_READY: "ready",
    pb.JobReport.STATE_RUNNING: "running",
    pb.JobReport.STATE_SUCCEEDED: "succeeded",
    pb.JobReport.STATE_FAILED: "failed",
    pb.JobReport.STATE_STOPPED: "stopped",
}

Message = TypeVar("Message", pb.FromAgent, pb.FromController)


def encode_from_agent(value: FromAgent) -> bytes:
    """One message upwards; the same value gives the same bytes. ValueError: a number out of range."""
    match value:
        case Report():
            message = pb.FromAgent(report=_report_message(value))
        case Answer():
            message = pb.FromAgent(answer=answer_message(value))
        case Beat():
            message = pb.FromAgent(beat=pb.Beat(sent_at=value.sent_at))
        case AskLease(number):
            message = pb.FromAgent(ask_lease=pb.AskLease(number=number))
        case Hello():
            message = pb.FromAgent(hello=_hello_message(value))
        case _:
            assert_never(value)
    return message.SerializeToString(deterministic=True)


def decode_from_agent(message: bytes) -> FromAgent:
    """The value in a message from an agent. Raises WireError."""
    parsed = _parsed(pb.FromAgent, message)
    match parsed.WhichOneof("message"):
        case "report":
            return _report(parsed.report)
        case "answer":
            return answer(parsed.answer)
        case "beat":
            return Beat(bounds.instant(parsed.beat.sent_at, "Beat.sent_at"))
        case "ask_lease":
            return AskLease(parsed.ask_lease.number)
        case "hello":
            return _hello(parsed.hello)
        case _:
            raise WireError("FromAgent.message: none is set, or one that this version does not know")


def encode_from_controller(value: FromController, traceparent: str = "") -> bytes:
    """One message downwards; the same value gives the same bytes. ValueError: a number out of range."""
    match value:
        case DesiredState():
            message = pb.FromController(desired=desired_message(value), traceparent=traceparent)
        case Query():
            message = pb.FromController(query=query_message(value))
        case Resync():
            message = pb.FromController(resync=pb.Resync())
        case Welcome():
            message = pb.FromController(welcome=_welcome_message(value))
        case Rejection(reason, stands_by):
            rejection = pb.Rejection(reason=bounds.sendable(reason), stands_by=stands_by)
            message = pb.FromController(rejection=rejection)
        case Lease(number, seconds, term):
            message = pb.FromController(lease=pb.Lease(number=number, seconds=seconds, term=term))
        case _:
            assert_never(value)
    return message.SerializeToString(deterministic=True)


def decode_from_controller(message: bytes) -> FromController:
    """The value in a message from the controller. Raises WireError."""
    parsed = _parsed(pb.FromController, message)
    match parsed.WhichOneof("message"):
        case "desired":
            return desired(parsed.desired)
        case "query":
            return query(parsed.query)
        case "resync":
            return Resync()
        case "welcome":
            return _welcome(parsed.welcome)
        case "rejection":
            reason = bounds.text(parsed.rejection.reason, "Rejection.reason")
            return Rejection(reason, parsed.rejection.stands_by)
        case "lease":
            lease = parsed.lease
            return Lease(lease.number, bounds.seconds(lease.seconds, "Lease.seconds"), lease.term)
        case _:
            raise WireError("FromController.message: none is set, or one that this version does not know")


def application_of(message: bytes) -> ApplicationName | None:
    """Whose desired state a message from the controller is that could not be decoded; None: it is none."""
    parsed = _parsed(pb.FromController, message)
    if parsed.WhichOneof("message") != "desired":
        return None
    return ApplicationName(bounds.name(parsed.desired.application, "DesiredState.application"))


def trace_of(message: bytes) -> tuple[ApplicationName, str] | None:
    """Of which trace a desired state is, as W3C's traceparent, "" of none; None: the message is no desired
    state, or can't be read."""
    try:
        parsed = _parsed(pb.FromController, message)
        if parsed.WhichOneof("message") != "desired":
            return None
        application = ApplicationName(bounds.name(parsed.desired.application, "DesiredState.application"))
    except WireError:
        return None
    return application, parsed.traceparent


def _parsed(kind: type[Message], message: bytes) -> Message:
    try:
        return kind.FromString(message)
    except DecodeError as error:
        raise WireError(f"{kind.__name__}: not a message of this protocol: {error}") from error


def _report_message(report: Report) -> pb.Report:
    return pb.Report(
        sequence=report.sequence,
        is_full=report.is_full,
        applications=map(_application_message, report.applications),
        digest=report.digest,
        sum=report.sum,
        notices=map(_notice_message, report.notices),
        troubles=map(bounds.sendable, report.troubles),
        is_starting=report.is_starting,
    )


def _application_message(report: ApplicationReport) -> pb.ApplicationReport:
    return pb.ApplicationReport(
        application=report.application,
        epoch=epoch_message(report.epoch),
        groups=map(_group_message, report.groups),
        refusal=report.refusal,
        record=_record_message(report.record) if report.record is not None else None,
        jobs=map(_job_message, report.jobs),
    )


def _job_message(report: JobReport) -> pb.JobReport:
    return pb.JobReport(
        id=job_id_message(report.id),
        state=pb.JobReport.State.Value(f"STATE_{report.state.upper()}"),
        journal=report.journal,
        exit_code=report.exit_code,
        text=bounds.sendable(report.text),
        log_tail=bounds.sendable(report.log_tail, bounds.JOB_LOG_LENGTH_MAX),
    )


def _record_message(record: RecordReport) -> pb.RecordReport:
    return pb.RecordReport(
        name=record.name,
        state=pb.RecordReport.State.Value(f"STATE_{record.state.upper()}"),
        ttl_seconds=record.ttl_seconds,
        left_at=record.left_at,
        trouble=bounds.sendable(record.trouble),
    )


def _group_message(report: GroupReport) -> pb.GroupReport:
    return pb.GroupReport(
        group=report.group,
        launching=report.launching,
        starting=report.starting,
        healthy=report.healthy,
        verified=report.verified,
        unhealthy=report.unhealthy,
        failed=report.failed,
        destroying=report.destroying,
        balancer_up=report.balancer_up,
        weight_bp=report.weight_bp,
        in_flight=report.in_flight,
        launched_total=report.launched_total,
        destroyed_total=report.destroyed_total,
        has_given_up=report.has_given_up,
        trouble=report.trouble,
        worn=map(_worn_message, report.worn),
        aged=report.aged,
        drifted=report.drifted,
        outdated=report.outdated,
        oldest_at=report.oldest_at,
        due_at=report.due_at,
    )


def _worn_message(worn: Worn) -> pb.Worn:
    number = pb.Wear.ValueType(_NUMBERS_OF_WEAR[worn.why])
    return pb.Worn(host=worn.host, why=number, text=bounds.sendable(worn.text))


def _notice_message(notice: Notice) -> pb.Notice:
    return pb.Notice(
        kind=notice.kind,
        text=bounds.sendable(notice.text),
        application=notice.application,
        group=notice.group,
        host=notice.host,
    )


def _report(message: pb.Report) -> Report:
    bounds.few(message.applications, bounds.APPLICATIONS_MAX, "Report.applications")
    bounds.few(message.notices, bounds.NOTICES_MAX, "Report.notices")
    bounds.few(message.troubles, bounds.TROUBLES_MAX, "Report.troubles")
    return Report(
        sequence=bounds.between(0, message.sequence, bounds.NUMBER_MAX, "Report.sequence"),
        is_full=message.is_full,
        applications=tuple(map(_application, message.applications)),
        digest=bounds.fingerprint(message.digest, "Report.digest") if not message.sum else "",
        sum=bounds.fingerprint(message.sum, "Report.sum") if message.sum else "",
        notices=tuple(map(_notice, message.notices)),
        troubles=tuple(bounds.text(each, "Report.troubles") for each in message.troubles),
        is_starting=message.is_starting,
    )


def _application(message: pb.ApplicationReport) -> ApplicationReport:
    bounds.few(message.groups, bounds.GROUPS_MAX, "ApplicationReport.groups")
    bounds.few(message.jobs, bounds.JOBS_MAX, "ApplicationReport.jobs")
    return ApplicationReport(
        ApplicationName(bounds.name(message.application, "ApplicationReport.application")),
        epoch(message, "ApplicationReport.epoch"),
        tuple(map(_group, message.groups)),
        bounds.text(message.refusal, "ApplicationReport.refusal"),
        _record(message.record) if message.HasField("record") else None,
        tuple(map(_job, message.jobs)),
    )


def _job(message: pb.JobReport) -> JobReport:
    return JobReport(
        job_id(message.id, "JobReport.id"),
        _JOB_STATES.get(message.state, "unknown"),
        bounds.name_or_none(message.journal, "JobReport.journal"),
        message.exit_code if message.HasField("exit_code") else None,
        bounds.text(message.text, "JobReport.text"),
        bounds.text(message.log_tail, "JobReport.log_tail", bounds.JOB_LOG_LENGTH_MAX),
    )


def _record(message: pb.RecordReport) -> RecordReport:
    return RecordReport(
        bounds.name(message.name, "RecordReport.name"),
        _RECORD_STATES.get(message.state, "unknown"),
        bounds.between(0, message.ttl_seconds, bounds.TTL_SECONDS_MAX, "RecordReport.ttl_seconds"),
        bounds.instant(message.left_at, "RecordReport.left_at"),
        bounds.text(message.trouble, "RecordReport.trouble"),
    )


def _group(message: pb.GroupReport) -> GroupReport:
    bounds.few(message.worn, bounds.WORN_MAX, "GroupReport.worn")
    return GroupReport(
        GroupName(bounds.name(message.group, "GroupReport.group")),
        message.launching,
        message.starting,
        message.healthy,
        message.verified,
        message.unhealthy,
        message.failed,
        message.destroying,
        message.balancer_up,
        bounds.between(0, message.weight_bp, FULL_WEIGHT_BP, "GroupReport.weight_bp"),
        message.in_flight,
        message.launched_total,
        message.destroyed_total,
        message.has_given_up,
        bounds.text(message.trouble, "GroupReport.trouble"),
        tuple(map(_worn, message.worn)) if message.worn else (),
        message.aged,
        message.drifted,
        message.outdated,
        bounds.instant(message.oldest_at, "GroupReport.oldest_at"),
        bounds.instant(message.due_at, "GroupReport.due_at"),
    )


def _worn(message: pb.Worn) -> Worn:
    why = _WEARS.get(message.why, "unknown")
    return Worn(HostName(bounds.name(message.host, "Worn.host")), why, bounds.text(message.text, "Worn.text"))


def _notice(message: pb.Notice) -> Notice:
    return Notice(
        kind=bounds.name(message.kind, "Notice.kind"),
        text=bounds.text(message.text, "Notice.text"),
        application=bounds.name_or_none(message.application, "Notice.application"),
        group=bounds.name_or_none(message.group, "Notice.group"),
        host=bounds.name_or_none(message.host, "Notice.host"),
    )


def _hello_message(hello: Hello) -> pb.Hello:
    return pb.Hello(
        region=hello.region,
        protocol_version=hello.protocol_version,
        agent_version=hello.agent_version,
        provider=hello.provider,
        balancer=hello.balancer,
        capabilities=hello.capabilities,
        applied=[
            pb.Applied(
                application=each.application, epoch=epoch_message(each.epoch), fingerprint=each.fingerprint
            )
            for each in hello.applied
        ],
        traffic_address=hello.traffic_address,
        beats=hello.beats,
        instance=hello.instance,
        sent_at=hello.sent_at,
        leases=hello.leases,
        term=hello.term,
    )


def _hello(message: pb.Hello) -> Hello:
    bounds.few(message.applied, bounds.APPLICATIONS_MAX, "Hello.applied")
    bounds.few(message.capabilities, bounds.WORDS_MAX, "Hello.capabilities")
    return Hello(
        region=RegionName(bounds.name(message.region, "Hello.region")),
        protocol_version=message.protocol_version,
        agent_version=bounds.line(message.agent_version, "Hello.agent_version"),
        provider=bounds.line(message.provider, "Hello.provider"),
        balancer=bounds.line(message.balancer, "Hello.balancer"),
        capabilities=tuple(bounds.name(word, "Hello.capabilities") for word in message.capabilities),
        applied=tuple(map(_applied, message.applied)),
        traffic_address=bounds.line(message.traffic_address, "Hello.traffic_address"),
        beats=message.beats,
        instance=bounds.name_or_none(message.instance, "Hello.instance"),
        sent_at=bounds.instant(message.sent_at, "Hello.sent_at"),
        leases=message.leases,
        term=message.term,
    )


def _applied(message: pb.Applied) -> Applied:
    return Applied(
        ApplicationName(bounds.name(message.application, "Applied.application")),
        epoch(message, "Applied.epoch"),
        bounds.fingerprint(message.fingerprint, "Applied.fingerprint"),
    )


def _welcome_message(welcome: Welcome) -> pb.Welcome:
    named = welcome.applications
    return pb.Welcome(
        controller_version=welcome.controller_version,
        installation=welcome.installation,
        image_url=welcome.image_url,
        applications=None if named is None else pb.Applications(names=named),
        beat_seconds=welcome.beat_seconds,
        image_ticket=welcome.image_ticket,
        lease_seconds=welcome.lease_seconds,
        term=welcome.term,
        return_seconds=welcome.return_seconds,
        takes_sums=welcome.takes_sums,
    )


def _welcome(message: pb.Welcome) -> Welcome:
    bounds.few(message.applications.names, bounds.APPLICATIONS_MAX, "Welcome.applications")
    named = tuple(
        ApplicationName(bounds.name(each, "Welcome.applications")) for each in message.applications.names
    )
    return Welcome(
        controller_version=bounds.line(message.controller_version, "Welcome.controller_version"),
        installation=bounds.name(message.installation, "Welcome.installation"),
        image_url=bounds.line(message.image_url, "Welcome.image_url"),
        applications=named if message.HasField("applications") else None,
        beat_seconds=bounds.seconds(message.beat_seconds, "Welcome.beat_seconds"),
        image_ticket=bounds.line(message.image_ticket, "Welcome.image_ticket"),
        lease_seconds=bounds.seconds(message.lease_seconds, "Welcome.lease_seconds"),
        term=message.term,
        return_seconds=bounds.seconds(message.return_seconds, "Welcome.return_seconds"),
        takes_sums=message.takes_sums,
    )
