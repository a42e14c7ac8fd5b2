"""A desired state as a message, and back: the part of wire.py that only goes down. Wire alone calls it."""

import re
from collections.abc import Collection
from functools import lru_cache
from typing import Final, Literal

from repave_protos.protocol import bounds
from repave_protos.protocol import fleet_pb2 as pb
from repave_protos.protocol.bounds import WireError
from repave_protos.protocol.capabilities import KIND_NAME
from repave_protos.protocol.secret_places import SECRET_NAME, SECRET_PLACE_LENGTH_MAX, SECRETS_MAX
from repave_protos.protocol.values import (
    FULL_WEIGHT_BP,
    MACHINE_IMAGE_LENGTH_MAX,
    SIZE_LENGTH_MAX,
    SIZES_MAX,
    ApplicationName,
    DesiredGroup,
    DesiredJob,
    DesiredState,
    Digest,
    Drain,
    Drift,
    Epoch,
    GivenHost,
    GroupName,
    HostName,
    HostTemplate,
    JobId,
    Probe,
    SecretReference,
    Split,
    Timeouts,
)
from repave_protos.protocol.wire_fronts import front_message, fronts_of

TEMPLATES_KEPT = 64
"""What hosts are made of is most of a desired state, and the same in all regions: it is encoded, and checked,
once for all of them."""
TEMPLATE_KEPT_BYTES_MAX = 16_384

ProbeKind = Literal["http", "tcp", "command"]
_PROBE_KINDS: Final[dict[int, ProbeKind]] = {
    pb.Probe.KIND_HTTP: "http",
    pb.Probe.KIND_TCP: "tcp",
    pb.Probe.KIND_COMMAND: "command",
}
_KINDS_OF_PROBE = {kind: pb.Probe.Kind.Value(f"KIND_{kind.upper()}") for kind in _PROBE_KINDS.values()}
Mark = Literal["", "cookie", "header"]
_MARKS: Final[dict[int, Mark]] = {
    pb.Split.MARK_NONE: "",
    pb.Split.MARK_COOKIE: "cookie",
    pb.Split.MARK_HEADER: "header",
}
_NUMBERS_OF_MARKS = {mark: pb.Split.Mark.Value(f"MARK_{mark.upper() or 'NONE'}") for mark in _MARKS.values()}
_DRIFTS: Final[dict[int, Drift]] = {
    pb.DRIFT_UNSPECIFIED: "ignore",  # of a controller that does not know it
    pb.DRIFT_IGNORE: "ignore",
    pb.DRIFT_REPORT: "report",
    pb.DRIFT_TAINT: "taint",
}
_NUMBERS_OF_DRIFT = {drift: pb.Drift.Value(f"DRIFT_{drift.upper()}") for drift in _DRIFTS.values()}

_DRAINS: Final[dict[int, Drain]] = {
    pb.DRAIN_NONE: "none",
    pb.DRAIN_UNLESS_LAST: "unless_last",
    pb.DRAIN_EVEN_LAST: "even_last",
}
_NUMBERS_OF_DRAIN = {drain: pb.Drain.Value(f"DRAIN_{drain.upper()}") for drain in _DRAINS.values()}


def desired_message(state: DesiredState) -> pb.DesiredState:
    return pb.DesiredState(
        application=state.application,
        epoch=epoch_message(state.epoch),
        frontend_port=state.frontend_port,
        groups=map(_desired_group_message, state.groups),
        split=split_message(state.split),
        spare=state.spare or "",
        drain=_NUMBERS_OF_DRAIN[state.drain],
        jobs=map(_job_message, state.jobs),
    )


def _job_message(job: DesiredJob) -> pb.DesiredJob:
    return pb.DesiredJob(
        id=job_id_message(job.id),
        name=job.name,
        group=job.group,
        digest=job.digest,
        template=_template_message(job.template),
        timeout_seconds=job.timeout_seconds,
        journal=job.journal,
        is_stopped=job.is_stopped,
        released_at=job.released_at,
    )


def job_id_message(job: JobId) -> pb.JobId:
    return pb.JobId(incarnation=job.incarnation, number=job.number)


def split_message(split: Split) -> pb.Split:
    return pb.Split(
        by=_NUMBERS_OF_MARKS["" if split.by == "request" else split.by],
        name=split.name,
        tester_by=_NUMBERS_OF_MARKS[split.tester_by],
        tester_name=split.tester_name,
        tester_value=split.tester_value,
    )


def _desired_group_message(group: DesiredGroup) -> pb.DesiredGroup:
    return pb.DesiredGroup(
        name=group.name,
        digest=group.digest,
        count=group.count,
        weight_bp=group.weight_bp,
        template=_template_message(group.template),
        is_proven=group.is_proven,
        ready_count=group.ready_count,
        attempt=group.attempt,
        takes_testers=group.takes_testers,
        max_age_seconds=group.max_age_seconds,
        drift=_NUMBERS_OF_DRIFT[group.drift],
        generation=group.generation,
        replace=group.replace,
        released_at=group.released_at,
        keeps_failed=group.keeps_failed,
        is_baseline=group.is_baseline,
        given=map(given_message, group.given),
    )


def given_message(host: GivenHost) -> pb.GivenHost:
    return pb.GivenHost(address=host.address, port=host.port, name=bounds.sendable(host.name))


@lru_cache(TEMPLATES_KEPT)
def _template_message(template: HostTemplate) -> pb.HostTemplate:
    is_long = len(template.signature) > bounds.SIGNATURE_LENGTH_MAX
    return pb.HostTemplate(
        run=template.run,
        environment=[pb.Variable(name=name, value=value) for name, value in template.environment],
        probe=probe_message(template.probe),
        min_healthy_seconds=template.min_healthy_seconds,
        launch_deadline_seconds=template.launch_deadline_seconds,
        drain_seconds=template.drain_seconds,
        machine_image=template.machine_image,
        timeouts=pb.Timeouts(
            client_seconds=template.timeouts.client_seconds,
            server_seconds=template.timeouts.server_seconds,
            tunnel_seconds=template.timeouts.tunnel_seconds,
        ),
        launch_failures=template.launch_failures,
        signature="" if is_long else template.signature,
        bundle=template.signature if is_long else "",
        signers=template.signers,
        trusted_roots=template.trusted_roots,
        secrets=map(_secret_message, template.secrets),
        machine_sizes=template.machine_sizes,
        is_spot=template.is_spot,
        is_health_by_balancer=template.health_by == "balancer",
        fronts=map(front_message, template.fronts),
        is_worker=template.is_worker,
    )


def _secret_message(secret: SecretReference) -> pb.Secret:
    return pb.Secret(name=secret.name, source=secret.source, where=secret.where, as_file=secret.as_file)


def probe_message(probe: Probe) -> pb.Probe:
    return pb.Probe(
        kind=_KINDS_OF_PROBE[probe.kind],
        port=probe.port,
        path=probe.path,
        expect_status=probe.expect_status,
        command=probe.command,
        interval_seconds=probe.interval_seconds,
        timeout_seconds=probe.timeout_seconds,
        healthy_after=probe.healthy_after,
        unhealthy_after=probe.unhealthy_after,
        host=probe.host,
        headers=[pb.Header(name=name, value=value) for name, value in probe.headers],
    )


def desired(message: pb.DesiredState) -> DesiredState:
    bounds.few(message.groups, bounds.GROUPS_MAX, "DesiredState.groups")
    bounds.few(message.jobs, bounds.JOBS_MAX, "DesiredState.jobs")
    return DesiredState(
        application=ApplicationName(bounds.name(message.application, "DesiredState.application")),
        epoch=epoch(message, "DesiredState.epoch"),
        # 0 where the region has no way in: not yet, or not any more.
        frontend_port=bounds.between(0, message.frontend_port, 65_535, "DesiredState.frontend_port"),
        groups=tuple(map(_desired_group, message.groups)),
        split=split(message.split),
        spare=GroupName(bounds.name(message.spare, "DesiredState.spare")) if message.spare else None,
        drain=_drain(message.drain),
        jobs=tuple(map(_job, message.jobs)),
    )


def _job(message: pb.DesiredJob) -> DesiredJob:
    if not message.HasField("template"):
        raise WireError("DesiredJob.template: is missing")
    return DesiredJob(
        id=job_id(message.id, "DesiredJob.id"),
        name=bounds.name(message.name, "DesiredJob.name"),
        group=GroupName(bounds.name(message.group, "DesiredJob.group")),
        digest=Digest(bounds.sha256(message.digest, "DesiredJob.digest")),
        template=_template_of(message.template),
        timeout_seconds=bounds.positive_seconds(message.timeout_seconds, "DesiredJob.timeout_seconds"),
        journal=bounds.name_or_none(message.journal, "DesiredJob.journal"),
        is_stopped=message.is_stopped,
        released_at=bounds.instant(message.released_at, "DesiredJob.released_at"),
    )


def job_id(message: pb.JobId, field: str) -> JobId:
    return JobId(
        bounds.between(0, message.incarnation, bounds.NUMBER_MAX, field),
        bounds.between(1, message.number, bounds.NUMBER_MAX, field),
    )


def _drain(number: int) -> Drain:
    drain = _DRAINS.get(number)
    if drain is None:
        raise WireError(f"DesiredState.drain: {number} is nothing that this version knows")
    return drain


def split(message: pb.Split) -> Split:
    """An absent one is that of an older controller: by request, no testers."""
    return Split(
        by=_mark(message.by, "Split.by") or "request",
        name=bounds.mark_name(message.name, "Split.name"),
        tester_by=_mark(message.tester_by, "Split.tester_by"),
        tester_name=bounds.mark_name(message.tester_name, "Split.tester_name"),
        tester_value=bounds.mark_value(message.tester_value, "Split.tester_value"),
    )


def _mark(number: int, field: str) -> Mark:
    mark = _MARKS.get(number)
    if mark is None:
        raise WireError(f"{field}: {number} is nothing that this version knows requests by")
    return mark


def _desired_group(message: pb.DesiredGroup) -> DesiredGroup:
    if not message.HasField("template"):
        raise WireError("DesiredGroup.template: is missing")
    drift = _DRIFTS.get(message.drift)
    if drift is None:
        raise WireError(f"DesiredGroup.drift: {message.drift} is nothing that this version knows")
    bounds.few(message.replace, bounds.WORN_MAX, "DesiredGroup.replace")
    bounds.few(message.given, bounds.HOSTS_MAX, "DesiredGroup.given")
    return DesiredGroup(
        name=GroupName(bounds.name(message.name, "DesiredGroup.name")),
        digest=Digest(bounds.sha256(message.digest, "DesiredGroup.digest")),
        count=bounds.between(0, message.count, bounds.HOSTS_MAX, "DesiredGroup.count"),
        weight_bp=bounds.between(0, message.weight_bp, FULL_WEIGHT_BP, "DesiredGroup.weight_bp"),
        template=_template_of(message.template),
        is_proven=message.is_proven,
        ready_count=message.ready_count,
        attempt=message.attempt,
        takes_testers=message.takes_testers,
        max_age_seconds=bounds.seconds(message.max_age_seconds, "DesiredGroup.max_age_seconds"),
        drift=drift,
        generation=message.generation,
        replace=tuple(HostName(bounds.name(each, "DesiredGroup.replace")) for each in message.replace),
        released_at=bounds.instant(message.released_at, "DesiredGroup.released_at"),
        keeps_failed=message.keeps_failed,
        is_baseline=message.is_baseline,
        given=tuple(map(given_host, message.given)),
    )


def given_host(message: pb.GivenHost) -> GivenHost:
    return GivenHost(
        bounds.name(message.address, "GivenHost.address"),
        bounds.between(1, message.port, 65_535, "GivenHost.port"),
        bounds.line(message.name, "GivenHost.name", bounds.NAME_LENGTH_MAX),
    )


def _template_of(message: pb.HostTemplate) -> HostTemplate:
    as_bytes = message.SerializeToString(deterministic=True)
    return _kept_template(as_bytes) if len(as_bytes) <= TEMPLATE_KEPT_BYTES_MAX else _template(message)


@lru_cache(TEMPLATES_KEPT)
def _kept_template(as_bytes: bytes) -> HostTemplate:
    return _template(pb.HostTemplate.FromString(as_bytes))


def _template(message: pb.HostTemplate) -> HostTemplate:
    bounds.few(message.environment, bounds.WORDS_MAX, "HostTemplate.environment")
    bounds.few(message.secrets, SECRETS_MAX, "HostTemplate.secrets")
    if not message.HasField("probe"):
        raise WireError("HostTemplate.probe: is missing")
    return HostTemplate(
        run=bounds.words(message.run, "HostTemplate.run"),
        environment=tuple(map(_variable, message.environment)),
        probe=probe(message.probe),
        min_healthy_seconds=bounds.seconds(message.min_healthy_seconds, "HostTemplate.min_healthy_seconds"),
        launch_deadline_seconds=bounds.seconds(
            message.launch_deadline_seconds, "HostTemplate.launch_deadline_seconds"
        ),
        drain_seconds=bounds.seconds(message.drain_seconds, "HostTemplate.drain_seconds"),
        machine_image=bounds.text(
            message.machine_image, "HostTemplate.machine_image", MACHINE_IMAGE_LENGTH_MAX
        ),
        launch_failures=_launch_failures(message),
        timeouts=_timeouts(message.timeouts) if message.HasField("timeouts") else Timeouts(),
        signature=_signature(message),
        signers=_signers(message),
        trusted_roots=_trusted_roots(message),
        secrets=tuple(map(_secret, message.secrets)),
        machine_sizes=machine_sizes(message.machine_sizes, "HostTemplate.machine_sizes"),
        is_spot=message.is_spot,
        health_by="balancer" if message.is_health_by_balancer else "agent",
        fronts=fronts_of(message.fronts, "HostTemplate.fronts"),
        is_worker=message.is_worker,
    )


def machine_sizes(given: Collection[str], field: str) -> tuple[str, ...]:
    bounds.few(given, SIZES_MAX, field)
    return tuple(bounds.line(each, field, SIZE_LENGTH_MAX) for each in given)


def _signers(message: pb.HostTemplate) -> tuple[str, ...]:
    field, most = "HostTemplate.signers", bounds.SIGNER_LENGTH_MAX
    bounds.few(message.signers, bounds.SIGNERS_MAX, field)
    return tuple(bounds.line(each, field, most) for each in message.signers)


def _signature(message: pb.HostTemplate) -> str:
    if message.bundle:
        return bounds.text(message.bundle, "HostTemplate.bundle", bounds.BUNDLE_LENGTH_MAX)
    return bounds.text(message.signature, "HostTemplate.signature", bounds.SIGNATURE_LENGTH_MAX)


def _trusted_roots(message: pb.HostTemplate) -> tuple[str, ...]:
    field, most = "HostTemplate.trusted_roots", bounds.TRUSTED_ROOT_LENGTH_MAX
    bounds.few(message.trusted_roots, bounds.TRUSTED_ROOTS_MAX, field)
    return tuple(bounds.text(each, field, most) for each in message.trusted_roots)


def _secret(message: pb.Secret) -> SecretReference:
    return SecretReference(
        _part(SECRET_NAME, message.name, "Secret.name"),
        _part(KIND_NAME, message.source, "Secret.source"),
        bounds.line(message.where, "Secret.where", SECRET_PLACE_LENGTH_MAX),
        message.as_file,
    )


def _part(pattern: re.Pattern[str], value: str, field: str) -> str:
    if pattern.fullmatch(value) is None:
        raise WireError(f"{field}: {value[:40]!a} is none")
    return value


def _timeouts(message: pb.Timeouts) -> Timeouts:
    return Timeouts(
        bounds.positive_seconds(message.client_seconds, "Timeouts.client_seconds"),
        bounds.positive_seconds(message.server_seconds, "Timeouts.server_seconds"),
        bounds.positive_seconds(message.tunnel_seconds, "Timeouts.tunnel_seconds"),
    )


def _launch_failures(message: pb.HostTemplate) -> int | None:
    if not message.HasField("launch_failures"):
        return None
    return bounds.between(0, message.launch_failures, bounds.HOSTS_MAX, "HostTemplate.launch_failures")


def _variable(message: pb.Variable) -> tuple[str, str]:
    return bounds.name(message.name, "Variable.name"), bounds.text(message.value, "Variable.value")


def probe(message: pb.Probe) -> Probe:
    kind = _PROBE_KINDS.get(message.kind)
    if kind is None:
        raise WireError(f"Probe.kind: {message.kind} is no kind that this version knows")
    if kind == "http":
        bounds.between(100, message.expect_status, 599, "Probe.expect_status")
    bounds.few(message.headers, bounds.WORDS_MAX, "Probe.headers")
    return Probe(
        kind=kind,
        # 0 of a worker that listens on no port.
        port=bounds.between(0 if kind == "command" else 1, message.port, 65_535, "Probe.port"),
        path=bounds.text(message.path, "Probe.path"),
        expect_status=message.expect_status,
        command=bounds.words(message.command, "Probe.command"),
        interval_seconds=bounds.positive_seconds(message.interval_seconds, "Probe.interval_seconds"),
        timeout_seconds=bounds.positive_seconds(message.timeout_seconds, "Probe.timeout_seconds"),
        healthy_after=bounds.between(1, message.healthy_after, bounds.TIMES_MAX, "Probe.healthy_after"),
        unhealthy_after=bounds.between(1, message.unhealthy_after, bounds.TIMES_MAX, "Probe.unhealthy_after"),
        host=bounds.text(message.host, "Probe.host"),
        headers=tuple(map(_header, message.headers)),
    )


def _header(message: pb.Header) -> tuple[str, str]:
    return bounds.text(message.name, "Header.name"), bounds.text(message.value, "Header.value")


def epoch_message(value: Epoch) -> pb.Epoch:
    return pb.Epoch(incarnation=value.incarnation, term=value.term, rev=value.rev)


def epoch(message: pb.ApplicationReport | pb.Applied | pb.DesiredState, field: str) -> Epoch:
    if not message.HasField("epoch"):
        raise WireError(f"{field}: is missing")
    found = message.epoch
    return Epoch(
        bounds.between(0, found.incarnation, bounds.NUMBER_MAX, field),
        bounds.between(0, found.term, bounds.NUMBER_MAX, field),
        bounds.between(0, found.rev, bounds.NUMBER_MAX, field),
    )
