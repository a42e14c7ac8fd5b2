"""Questions and answers as messages, and back: a part of wire.py, which alone calls it."""

from typing import Final, assert_never

from repave_protos.protocol import bounds
from repave_protos.protocol import fleet_pb2 as pb
from repave_protos.protocol.bounds import WireError
from repave_protos.protocol.queries import (
    Accepted,
    AcceptedOf,
    Answer,
    Bake,
    BakedImage,
    BakeOrder,
    Bakes,
    ChangeMachine,
    Content,
    Done,
    Failure,
    FindHosts,
    FindRoom,
    FindWayIn,
    Flip,
    FoundHost,
    FoundHosts,
    Front,
    GroupTraffic,
    HostOutput,
    Hosts,
    HostsOf,
    ListBakes,
    ListMachines,
    Machine,
    Machines,
    MachineState,
    Orphans,
    Output,
    PoolVerb,
    Query,
    Question,
    ReadOutput,
    Refusal,
    Room,
    Traffic,
    TrafficOf,
    UnknownQuestion,
    WayIn,
)
from repave_protos.protocol.values import (
    MACHINE_IMAGE_LENGTH_MAX,
    ApplicationName,
    Digest,
    GroupName,
    HostDetail,
    HostName,
    HostPhase,
    ProbeSample,
)
from repave_protos.protocol.wire_desired import (
    desired,
    desired_message,
    given_host,
    given_message,
    machine_sizes,
    probe,
    probe_message,
    split,
    split_message,
)
from repave_protos.protocol.wire_fronts import front_message, fronts_of

_NUMBERS_OF_PHASE = {
    phase: pb.HostPhase.Value(f"HOST_PHASE_{phase.name}")
    for phase in HostPhase
    if phase is not HostPhase.UNKNOWN
} | {HostPhase.UNKNOWN: pb.HOST_PHASE_UNSPECIFIED}
_PHASES: Final[dict[int, HostPhase]] = {number: phase for phase, number in _NUMBERS_OF_PHASE.items()}
_VERBS: Final[dict[int, PoolVerb]] = {
    pb.ChangeMachine.VERB_QUARANTINE: "quarantine",
    pb.ChangeMachine.VERB_RETURN: "return",
    pb.ChangeMachine.VERB_RELEASE: "release",
}
_NUMBERS_OF_VERB = {verb: pb.ChangeMachine.Verb.Value(f"VERB_{verb.upper()}") for verb in _VERBS.values()}
_STATES: Final[dict[int, MachineState]] = {
    pb.Machine.STATE_DIRTY: "dirty",
    pb.Machine.STATE_FRESH: "fresh",
    pb.Machine.STATE_LEASED: "leased",
    pb.Machine.STATE_QUARANTINED: "quarantined",
}
_NUMBERS_OF_STATE = {
    state: pb.Machine.State.Value(f"STATE_{state.upper()}") for state in _STATES.values()
} | {"unknown": pb.Machine.STATE_UNSPECIFIED}


# -------------------------------------------------------------------------------------------- questions


def query_message(query: Query) -> pb.Query:
    message = _question_message(query.question)
    message.query_id = query.query_id
    message.cause = query.cause
    message.kind = message.WhichOneof("question") or message.kind
    return message


def _question_message(question: Question) -> pb.Query:
    match question:
        case HostsOf():
            hosts = pb.HostsOf(
                application=question.application,
                group=question.group,
                log_lines=question.log_lines,
                with_gone=question.with_gone,
                host=question.host,
                probes=question.probes,
            )
            return pb.Query(hosts_of=hosts)
        case ReadOutput():
            return pb.Query(
                read_output=pb.ReadOutput(
                    application=question.application,
                    group=question.group,
                    host=question.host,
                    lines=question.lines,
                    cursors=[pb.ReadOutput.Cursor(host=host, at=at) for host, at in question.cursors],
                    with_gone=question.with_gone,
                )
            )
        case AcceptedOf(application):
            return pb.Query(accepted_of=pb.AcceptedOf(application=application))
        case Orphans():
            return pb.Query(orphans=pb.Orphans())
        case ListMachines():
            return pb.Query(list_machines=pb.ListMachines())
        case ChangeMachine(verb, machine, reason):
            number = _NUMBERS_OF_VERB[verb]
            return pb.Query(change_machine=pb.ChangeMachine(verb=number, machine=machine, reason=reason))
        case FindRoom(hosts, wanted, image, is_spot):
            found = pb.FindRoom(hosts=hosts, machine_sizes=wanted, machine_image=image, is_spot=is_spot)
            return pb.Query(find_room=found)
        case FindWayIn(application, port, by, fronts):
            asked = pb.FindWayIn(
                application=application,
                port=port,
                split=split_message(by),
                fronts=map(front_message, fronts),
            )
            return pb.Query(find_way_in=asked)
        case TrafficOf(application, since):
            return pb.Query(traffic_of=pb.TrafficOf(application=application, since=since))
        case FindHosts(kind, name, given, asked_by):
            found_by = pb.FindHosts(
                kind=kind, name=name, hosts=map(given_message, given), probe=probe_message(asked_by)
            )
            return pb.Query(find_hosts=found_by)
        case ListBakes():
            return pb.Query(list_bakes=pb.ListBakes())
        case BakeOrder(digest, name, check, by):
            return pb.Query(bake_order=pb.BakeOrder(digest=digest, name=name, check=check, by=by))
        case UnknownQuestion(kind):
            return pb.Query(kind=kind)
        case _:
            assert_never(question)


def query(message: pb.Query) -> Query:
    query_id = bounds.between(0, message.query_id, bounds.NUMBER_MAX, "Query.query_id")
    cause = bounds.line(message.cause, "Query.cause", bounds.NAME_LENGTH_MAX)
    return Query(query_id, _question(message), cause)


def _question(message: pb.Query) -> Question:
    match message.WhichOneof("question"):
        case "hosts_of":
            hosts = message.hosts_of
            return HostsOf(
                ApplicationName(bounds.name(hosts.application, "HostsOf.application")),
                bounds.name_or_none(hosts.group, "HostsOf.group"),
                bounds.between(0, hosts.log_lines, bounds.LOG_LINES_MAX, "HostsOf.log_lines"),
                hosts.with_gone,
                bounds.name_or_none(hosts.host, "HostsOf.host"),
                bounds.between(0, hosts.probes, bounds.PROBE_SAMPLES_MAX, "HostsOf.probes"),
            )
        case "read_output":
            return _read_output(message.read_output)
        case "accepted_of":
            accepted = message.accepted_of
            return AcceptedOf(ApplicationName(bounds.name(accepted.application, "AcceptedOf.application")))
        case "orphans":
            return Orphans()
        case "list_machines":
            return ListMachines()
        case "change_machine":
            return _change_machine(message.change_machine)
        case "find_room":
            return _find_room(message.find_room)
        case "find_way_in":
            asked = message.find_way_in
            return FindWayIn(
                ApplicationName(bounds.name(asked.application, "FindWayIn.application")),
                bounds.between(1, asked.port, 65_535, "FindWayIn.port"),
                split(asked.split),
                fronts_of(asked.fronts, "FindWayIn.fronts"),
            )
        case "traffic_of":
            of = message.traffic_of
            return TrafficOf(
                ApplicationName(bounds.name(of.application, "TrafficOf.application")),
                bounds.instant(of.since, "TrafficOf.since"),
            )
        case "find_hosts":
            return _find_hosts(message.find_hosts)
        case "list_bakes":
            return ListBakes()
        case "bake_order":
            order = message.bake_order
            return BakeOrder(
                Digest(bounds.sha256(order.digest, "BakeOrder.digest")),
                bounds.text(order.name, "BakeOrder.name", bounds.NAME_LENGTH_MAX),
                bounds.words(order.check, "BakeOrder.check"),
                bounds.text(order.by, "BakeOrder.by"),
            )
        case _:
            return UnknownQuestion(bounds.text(message.kind, "Query.kind", bounds.NAME_LENGTH_MAX))


def _find_hosts(message: pb.FindHosts) -> FindHosts:
    bounds.few(message.hosts, bounds.HOSTS_MAX, "FindHosts.hosts")
    return FindHosts(
        bounds.name(message.kind, "FindHosts.kind"),
        bounds.line(message.name, "FindHosts.name", bounds.TEXT_LENGTH_MAX),
        tuple(map(given_host, message.hosts)),
        probe(message.probe),
    )


def _find_room(message: pb.FindRoom) -> FindRoom:
    """Of 0 hosts: only whether such can be made."""
    image = bounds.text(message.machine_image, "FindRoom.machine_image", MACHINE_IMAGE_LENGTH_MAX)
    return FindRoom(
        bounds.between(0, message.hosts, bounds.HOSTS_MAX, "FindRoom.hosts"),
        machine_sizes(message.machine_sizes, "FindRoom.machine_sizes"),
        image,
        message.is_spot,
    )


def _read_output(message: pb.ReadOutput) -> ReadOutput:
    bounds.few(message.cursors, bounds.OUTPUTS_MAX, "ReadOutput.cursors")
    return ReadOutput(
        ApplicationName(bounds.name(message.application, "ReadOutput.application")),
        bounds.name_or_none(message.group, "ReadOutput.group"),
        bounds.name_or_none(message.host, "ReadOutput.host"),
        bounds.between(0, message.lines, bounds.LOG_LINES_MAX, "ReadOutput.lines"),
        tuple(
            (
                HostName(bounds.name(each.host, "ReadOutput.cursors.host")),
                bounds.line(each.at, "ReadOutput.cursors.at", bounds.NAME_LENGTH_MAX),
            )
            for each in message.cursors
        ),
        message.with_gone,
    )


def _host_output_message(output: HostOutput) -> pb.Output.OfHost:
    return pb.Output.OfHost(
        host=output.host,
        group=output.group,
        text=bounds.sendable(output.text),
        cursor=output.cursor,
        gone_at=output.gone_at,
        is_cut=output.is_cut,
        trouble=bounds.sendable(output.trouble),
    )


def _host_output(message: pb.Output.OfHost) -> HostOutput:
    return HostOutput(
        HostName(bounds.name(message.host, "Output.host")),
        GroupName(bounds.name(message.group, "Output.group")),
        bounds.text(message.text, "Output.text"),
        bounds.line(message.cursor, "Output.cursor", bounds.NAME_LENGTH_MAX),
        bounds.instant(message.gone_at, "Output.gone_at"),
        message.is_cut,
        bounds.text(message.trouble, "Output.trouble"),
    )


def _change_machine(message: pb.ChangeMachine) -> ChangeMachine:
    verb = _VERBS.get(message.verb)
    if verb is None:
        raise WireError(f"ChangeMachine.verb: {message.verb} is no verb that this version knows")
    machine = bounds.text(message.machine, "ChangeMachine.machine", bounds.NAME_LENGTH_MAX)
    return ChangeMachine(verb, machine, bounds.text(message.reason, "ChangeMachine.reason"))


# ---------------------------------------------------------------------------------------------- answers


def answer_message(answer: Answer) -> pb.Answer:
    message = _content_message(answer.content)
    message.query_id = answer.query_id
    return message


def _content_message(content: Content) -> pb.Answer:
    match content:
        case Hosts(hosts):
            return pb.Answer(hosts=pb.Hosts(hosts=map(_host_message, hosts)))
        case Accepted(state):
            return pb.Answer(accepted=pb.Accepted(state=None if state is None else desired_message(state)))
        case Machines(machines):
            return pb.Answer(machines=pb.Machines(machines=map(_machine_message, machines)))
        case Done(text):
            return pb.Answer(done=pb.Done(text=bounds.sendable(text)))
        case Output(hosts, left_out):
            return pb.Answer(
                output=pb.Output(hosts=[_host_output_message(each) for each in hosts], left_out=left_out)
            )
        case Room(lack, misfit):
            return pb.Answer(room=pb.Room(lack=bounds.sendable(lack), misfit=bounds.sendable(misfit)))
        case WayIn(lack, fronts):
            shown = (pb.Front(application=each.application, port=each.port) for each in fronts)
            return pb.Answer(way_in=pb.WayIn(lack=bounds.sendable(lack), fronts=shown))
        case Bakes(images, bakes):
            return pb.Answer(
                bakes=pb.Bakes(images=map(_image_message, images), bakes=map(_bake_message, bakes))
            )
        case Traffic():
            return pb.Answer(traffic=_traffic_message(content))
        case FoundHosts(found):
            return pb.Answer(
                found_hosts=pb.FoundHosts(
                    hosts=[
                        pb.FoundHosts.Found(
                            host=given_message(each.host), trouble=bounds.sendable(each.trouble)
                        )
                        for each in found
                    ]
                )
            )
        case Refusal(why):
            return pb.Answer(refusal=pb.Refusal(why=bounds.sendable(why)))
        case Failure(why):
            return pb.Answer(failure=pb.Failure(why=bounds.sendable(why)))
        case _:
            assert_never(content)


def answer(message: pb.Answer) -> Answer:
    """One whose content breaks the protocol is a failure: it concerns who asked, and not the whole stream."""
    query_id = bounds.between(0, message.query_id, bounds.NUMBER_MAX, "Answer.query_id")
    try:
        content = _content(message)
    except WireError as error:
        content = Failure(f"{error}; is it of another version?")
    return Answer(query_id, content)


def _content(message: pb.Answer) -> Content:
    match message.WhichOneof("content"):
        case "hosts":
            bounds.few(message.hosts.hosts, bounds.HOSTS_MAX, "Hosts.hosts")
            return Hosts(tuple(map(_host, message.hosts.hosts)))
        case "output":
            bounds.few(message.output.hosts, bounds.OUTPUTS_MAX, "Output.hosts")
            return Output(tuple(map(_host_output, message.output.hosts)), message.output.left_out)
        case "accepted":
            has_state = message.accepted.HasField("state")
            return Accepted(desired(message.accepted.state) if has_state else None)
        case "machines":
            bounds.few(message.machines.machines, bounds.MACHINES_MAX, "Machines.machines")
            return Machines(tuple(map(_machine, message.machines.machines)))
        case "done":
            return Done(bounds.text(message.done.text, "Done.text"))
        case "room":
            lack, misfit = message.room.lack, message.room.misfit
            return Room(bounds.text(lack, "Room.lack"), bounds.text(misfit, "Room.misfit"))
        case "way_in":
            bounds.few(message.way_in.fronts, bounds.APPLICATIONS_MAX, "WayIn.fronts")
            lack = bounds.text(message.way_in.lack, "WayIn.lack")
            return WayIn(lack, tuple(map(_front, message.way_in.fronts)))
        case "bakes":
            bounds.few(message.bakes.images, bounds.IMAGES_MAX, "Bakes.images")
            bounds.few(message.bakes.bakes, bounds.IMAGES_MAX, "Bakes.bakes")
            return Bakes(tuple(map(_image, message.bakes.images)), tuple(map(_bake, message.bakes.bakes)))
        case "traffic":
            return _traffic(message.traffic)
        case "found_hosts":
            bounds.few(message.found_hosts.hosts, bounds.HOSTS_MAX, "FoundHosts.hosts")
            return FoundHosts(
                tuple(
                    FoundHost(given_host(each.host), bounds.text(each.trouble, "FoundHosts.trouble"))
                    for each in message.found_hosts.hosts
                )
            )
        case "refusal":
            return Refusal(bounds.text(message.refusal.why, "Refusal.why"))
        case "failure":
            return Failure(bounds.text(message.failure.why, "Failure.why"))
        case _:
            return Failure("its answer is of a kind that this version does not know")


def _host_message(host: HostDetail) -> pb.HostDetail:
    return pb.HostDetail(
        host=host.host,
        group=host.group,
        application=host.application,
        phase=_NUMBERS_OF_PHASE[host.phase],
        address=host.address,
        port=host.port,
        digest=host.digest,
        age_seconds=host.age_seconds,
        healthy_seconds=host.healthy_seconds,
        trouble=bounds.sendable(host.trouble),
        log_tail=bounds.sendable(host.log_tail),
        orphan=bounds.sendable(host.orphan),
        unclaimed_seconds=host.unclaimed_seconds,
        worn=bounds.sendable(host.worn),
        gone_at=host.gone_at,
        public_address=host.public_address,
        probes=[
            pb.ProbeSample(
                ago_seconds=each.ago_seconds,
                took_seconds=each.took_seconds,
                passed=each.passed,
                said=bounds.sendable(each.said),
            )
            for each in host.probes
        ],
    )


def _host(message: pb.HostDetail) -> HostDetail:
    return HostDetail(
        host=HostName(bounds.name(message.host, "HostDetail.host")),
        group=GroupName(bounds.name(message.group, "HostDetail.group")),
        application=ApplicationName(bounds.name(message.application, "HostDetail.application")),
        phase=_PHASES.get(message.phase, HostPhase.UNKNOWN),
        address=bounds.text(message.address, "HostDetail.address"),
        port=bounds.between(0, message.port, 65_535, "HostDetail.port"),
        digest=Digest(bounds.sha256(message.digest, "HostDetail.digest")),
        age_seconds=bounds.seconds(message.age_seconds, "HostDetail.age_seconds"),
        healthy_seconds=bounds.seconds(message.healthy_seconds, "HostDetail.healthy_seconds"),
        trouble=bounds.text(message.trouble, "HostDetail.trouble"),
        log_tail=bounds.text(message.log_tail, "HostDetail.log_tail"),
        orphan=bounds.text(message.orphan, "HostDetail.orphan"),
        unclaimed_seconds=bounds.seconds(message.unclaimed_seconds, "HostDetail.unclaimed_seconds"),
        worn=bounds.text(message.worn, "HostDetail.worn"),
        gone_at=bounds.instant(message.gone_at, "HostDetail.gone_at"),
        public_address=bounds.text(message.public_address, "HostDetail.public_address"),
        probes=_samples(message),
    )


def _samples(message: pb.HostDetail) -> tuple[ProbeSample, ...]:
    bounds.few(message.probes, bounds.PROBE_SAMPLES_MAX, "HostDetail.probes")
    return tuple(
        ProbeSample(
            bounds.seconds(each.ago_seconds, "ProbeSample.ago_seconds"),
            bounds.seconds(each.took_seconds, "ProbeSample.took_seconds"),
            each.passed,
            bounds.text(each.said, "ProbeSample.said"),
        )
        for each in message.probes
    )


def _traffic_message(traffic: Traffic) -> pb.Traffic:
    return pb.Traffic(
        step_seconds=traffic.step_seconds,
        groups=[
            pb.Traffic.OfGroup(
                group=each.group,
                slots=each.slots,
                requests=each.requests,
                errors=each.errors,
                response_us=each.response_us,
                in_flight=each.in_flight,
            )
            for each in traffic.groups
        ],
        flips=[
            pb.Traffic.Flip(
                at=flip.at, shares=[pb.Traffic.Share(group=name, weight_bp=bp) for name, bp in flip.shares]
            )
            for flip in traffic.flips
        ],
        kept_since=traffic.kept_since,
    )


def _traffic(message: pb.Traffic) -> Traffic:
    bounds.few(message.groups, bounds.GROUPS_MAX, "Traffic.groups")
    bounds.few(message.flips, bounds.FLIPS_MAX, "Traffic.flips")
    return Traffic(
        bounds.between(1, message.step_seconds, 86_400, "Traffic.step_seconds"),
        tuple(map(_group_traffic, message.groups)),
        tuple(map(_flip, message.flips)),
        bounds.instant(message.kept_since, "Traffic.kept_since"),
    )


def _group_traffic(message: pb.Traffic.OfGroup) -> GroupTraffic:
    bounds.few(message.slots, bounds.SLOTS_MAX, "Traffic.slots")
    columns = (message.slots, message.requests, message.errors, message.response_us)
    if len({len(each) for each in columns}) > 1 or len(message.in_flight) not in (0, len(message.slots)):
        raise WireError("Traffic.groups: its columns are of unequal length")
    name = GroupName(bounds.name(message.group, "Traffic.group"))
    return GroupTraffic(name, *map(tuple, (*columns, message.in_flight)))


def _flip(message: pb.Traffic.Flip) -> Flip:
    bounds.few(message.shares, bounds.GROUPS_MAX, "Traffic.shares")
    shares = tuple(
        (
            GroupName(bounds.name(each.group, "Traffic.shares.group")),
            bounds.between(0, each.weight_bp, 10_000, "Traffic.shares.weight_bp"),
        )
        for each in message.shares
    )
    return Flip(bounds.instant(message.at, "Traffic.flips.at"), shares)


def _machine_message(machine: Machine) -> pb.Machine:
    return pb.Machine(
        name=machine.name,
        address=machine.address,
        state=_NUMBERS_OF_STATE[machine.state],
        host=machine.host,
        since=machine.since,
        reason=bounds.sendable(machine.reason),
    )


def _machine(message: pb.Machine) -> Machine:
    return Machine(
        name=bounds.text(message.name, "Machine.name", bounds.NAME_LENGTH_MAX),
        address=bounds.text(message.address, "Machine.address"),
        state=_STATES.get(message.state, "unknown"),
        host=bounds.name_or_none(message.host, "Machine.host"),
        since=bounds.instant(message.since, "Machine.since"),
        reason=bounds.text(message.reason, "Machine.reason"),
    )


def _image_message(image: BakedImage) -> pb.BakedImage:
    return pb.BakedImage(
        image=image.image,
        name=bounds.sendable(image.name),
        digest=image.digest,
        base=image.base,
        by=bounds.sendable(image.by),
        made_at=image.made_at,
        is_current=image.is_current,
    )


def _image(message: pb.BakedImage) -> BakedImage:
    """Its texts are the cloud's, where others may change them."""
    return BakedImage(
        image=bounds.text(message.image, "BakedImage.image"),
        name=bounds.text(message.name, "BakedImage.name"),
        digest=Digest(bounds.text(message.digest, "BakedImage.digest")),
        base=bounds.text(message.base, "BakedImage.base"),
        by=bounds.text(message.by, "BakedImage.by"),
        made_at=bounds.instant(message.made_at, "BakedImage.made_at"),
        is_current=message.is_current,
    )


def _bake_message(bake: Bake) -> pb.Bake:
    return pb.Bake(
        digest=bake.digest,
        name=bake.name,
        step=bounds.sendable(bake.step),
        since=bake.since,
        image=bake.image,
        error=bounds.sendable(bake.error),
    )


def _bake(message: pb.Bake) -> Bake:
    return Bake(
        digest=Digest(bounds.sha256(message.digest, "Bake.digest")),
        name=bounds.text(message.name, "Bake.name"),
        step=bounds.text(message.step, "Bake.step"),
        since=bounds.instant(message.since, "Bake.since"),
        image=bounds.text(message.image, "Bake.image"),
        error=bounds.text(message.error, "Bake.error"),
    )


def _front(message: pb.Front) -> Front:
    return Front(
        ApplicationName(bounds.name(message.application, "Front.application")),
        bounds.between(0, message.port, 65_535, "Front.port"),
    )
