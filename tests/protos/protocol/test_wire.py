"""Whatever is sent arrives the same, and nothing that arrives can do harm."""

import math
from dataclasses import replace
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repave_protos.daemon.printable import printable
from repave_protos.protocol import bounds, wire, wire_desired
from repave_protos.protocol import fleet_pb2 as pb
from repave_protos.protocol.fronts import TrafficFront, plain_front
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
    FindRoom,
    FindWayIn,
    Flip,
    FromAgent,
    FromController,
    Front,
    GroupTraffic,
    HostOutput,
    Hosts,
    HostsOf,
    ListBakes,
    ListMachines,
    Machine,
    Machines,
    Orphans,
    Output,
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
from repave_protos.protocol.secret_places import SECRET_NAME
from repave_protos.protocol.values import (
    BY_REQUEST,
    MARK_NAME,
    MARK_VALUE,
    ApplicationName,
    ApplicationReport,
    Applied,
    DesiredGroup,
    DesiredState,
    Digest,
    Epoch,
    GroupName,
    GroupReport,
    Hello,
    HostDetail,
    HostName,
    HostPhase,
    HostTemplate,
    Notice,
    Probe,
    ProbeSample,
    RegionName,
    Rejection,
    Report,
    Resync,
    SecretReference,
    Split,
    Timeouts,
    Welcome,
    Worn,
)
from tests.fakes.templates import changed

names = st.from_regex(r"[a-z][a-zé0-9._-]{0,20}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
lines = texts.map(printable)
digests = st.text("0123456789abcdef", min_size=64, max_size=64).map(Digest)
fingerprints = st.text("0123456789abcdef", min_size=16, max_size=16)
numbers = st.integers(0, bounds.NUMBER_MAX)
counts = st.integers(0, 2**32 - 1)
ports = st.integers(1, 65_535)
weights = st.integers(0, 10_000)
seconds = st.floats(0, bounds.SECONDS_MAX)
positive_seconds = st.floats(0.001, bounds.SECONDS_MAX)
times = st.integers(1, bounds.TIMES_MAX)
applications = names.map(ApplicationName)
groups = names.map(GroupName)


T = TypeVar("T")


def tuples(of: st.SearchStrategy[T]) -> st.SearchStrategy[tuple[T, ...]]:
    return st.lists(of, max_size=3).map(tuple)


epochs = st.builds(Epoch, numbers, numbers, numbers)
instants = st.floats(0, bounds.INSTANT_MAX)
worn = st.builds(Worn, names.map(HostName), st.sampled_from(["age", "drift", "renewal", "asked"]), texts)
group_reports = st.builds(
    GroupReport,
    groups,
    *[counts] * 8,
    weights,
    *[counts] * 3,
    has_given_up=st.booleans(),
    trouble=texts,
    worn=tuples(worn),
    aged=counts,
    drifted=counts,
    outdated=counts,
    oldest_at=instants,
    due_at=instants,
)
application_reports = st.builds(ApplicationReport, applications, epochs, tuples(group_reports), texts)
notices = st.builds(Notice, names, texts, names | st.just(""), names | st.just(""), names | st.just(""))
reports = st.builds(
    lambda report, is_summed: replace(report, digest="", sum=report.digest) if is_summed else report,
    st.builds(Report, numbers, st.booleans(), tuples(application_reports), fingerprints, tuples(notices)),
    st.booleans(),
)
applied = st.builds(Applied, applications, epochs, fingerprints)
hellos = st.builds(
    Hello, names.map(RegionName), counts, lines, lines, lines, tuples(names), tuples(applied), lines
)
hosts = st.builds(
    HostDetail,
    host=names.map(HostName),
    group=groups,
    application=applications,
    phase=st.sampled_from(HostPhase),
    address=texts,
    port=st.integers(0, 65_535),
    digest=digests,
    age_seconds=seconds,
    healthy_seconds=seconds,
    trouble=texts,
    log_tail=texts,
    orphan=texts,
    unclaimed_seconds=seconds,
    worn=texts,
    probes=st.lists(
        st.builds(ProbeSample, seconds, seconds, st.booleans(), texts), max_size=bounds.PROBE_SAMPLES_MAX
    ).map(tuple),
)
probes = st.builds(
    Probe,
    kind=st.sampled_from(["http", "tcp", "command"]),
    port=ports,
    path=texts,
    expect_status=st.integers(100, 599),
    command=tuples(texts),
    interval_seconds=positive_seconds,
    timeout_seconds=positive_seconds,
    healthy_after=times,
    unhealthy_after=times,
    host=texts,
    headers=tuples(st.tuples(texts, texts)),
)
FRONTS = (plain_front(80), TrafficFront("echo", 7, "tcp", to=7007, balance="leastconn"))
machine_sizes = st.lists(st.text("abc019.-_ ", min_size=1, max_size=128), max_size=8).map(tuple)
templates = st.builds(
    HostTemplate,
    run=tuples(texts),
    environment=tuples(st.tuples(names, texts)),
    probe=probes,
    timeouts=st.builds(Timeouts, positive_seconds, positive_seconds, positive_seconds),
    min_healthy_seconds=seconds,
    launch_deadline_seconds=seconds,
    drain_seconds=seconds,
    machine_image=st.text(st.characters(categories=["L", "N"]), max_size=255),
    secrets=st.lists(
        st.builds(
            SecretReference,
            name=st.from_regex(SECRET_NAME, fullmatch=True),
            source=st.sampled_from(["vault", "file", "env", "mycloud"]),
            where=st.sampled_from(["kv/shop#url", "/etc/secrets/{region}/url", "REPAVE_SECRET_SHOP__URL"]),
            as_file=st.booleans(),
        ),
        max_size=3,
    ).map(tuple),
    launch_failures=st.none() | st.integers(0, 1000),
    signature=st.text(max_size=200) | st.just("x" * 5_000),
    trusted_roots=st.lists(st.text(min_size=1, max_size=50), max_size=3).map(tuple),
    signers=st.lists(st.text("ABCabc012+/=", min_size=1, max_size=56), max_size=3).map(tuple),
    machine_sizes=machine_sizes,
    is_spot=st.booleans(),
    health_by=st.sampled_from(["agent", "balancer"]),
    fronts=st.sampled_from(((), FRONTS)),
)
desired_groups = st.builds(
    DesiredGroup,
    name=groups,
    digest=digests,
    count=st.integers(0, bounds.HOSTS_MAX),
    weight_bp=weights,
    template=templates,
    is_proven=st.booleans(),
    ready_count=counts,
    attempt=counts,
    takes_testers=st.booleans(),
    max_age_seconds=seconds,
    drift=st.sampled_from(["ignore", "report", "taint"]),
    generation=counts,
    replace=tuples(names.map(HostName)),
    released_at=instants,
    keeps_failed=st.booleans(),
)
mark_names = st.just("") | st.from_regex(MARK_NAME, fullmatch=True)
splits = st.builds(
    Split,
    by=st.sampled_from(["request", "cookie", "header"]),
    name=mark_names,
    tester_by=st.sampled_from(["", "cookie", "header"]),
    tester_name=mark_names,
    tester_value=st.just("") | st.from_regex(MARK_VALUE, fullmatch=True),
)
desired_states = st.builds(
    DesiredState,
    applications,
    epochs,
    ports | st.just(0),  # 0: a region without a way in
    tuples(desired_groups),
    splits,
    st.none() | groups,
)
instants = st.floats(0.0, bounds.INSTANT_MAX)
short = st.text(max_size=bounds.NAME_LENGTH_MAX)
machines = st.builds(
    Machine,
    name=short,
    address=texts,
    state=st.sampled_from(["dirty", "fresh", "leased", "quarantined"]),
    host=names | st.just(""),
    since=instants,
    reason=texts,
)
images = st.builds(BakedImage, texts, texts, texts.map(Digest), texts, texts, instants, st.booleans())
bakes = st.builds(Bake, digests, texts, texts, instants, texts, texts)
outputs = st.builds(HostOutput, names.map(HostName), groups, texts, names)
contents: st.SearchStrategy[Content] = st.one_of(
    st.builds(Hosts, tuples(hosts)),
    st.builds(Accepted, st.none() | desired_states),
    st.builds(Machines, tuples(machines)),
    st.builds(Done, texts),
    st.builds(Room, texts, texts),
    st.builds(
        Output, tuples(st.builds(HostOutput, names.map(HostName), groups, texts, names)), st.integers(0, 9)
    ),
    st.builds(
        Traffic,
        st.integers(1, 86_400),
        tuples(
            st.integers(0, 5).flatmap(
                lambda length: st.builds(
                    GroupTraffic, groups, *[st.tuples(*[st.integers(0, 2**32 - 1)] * length)] * 4
                )
            )
        ),
        tuples(st.builds(Flip, instants, tuples(st.tuples(groups, st.integers(0, 10_000))))),
        instants,
    ),
    st.builds(WayIn, texts, tuples(st.builds(Front, applications, st.integers(0, 65_535)))),
    st.builds(Bakes, tuples(images), tuples(bakes)),
    st.builds(Refusal, texts),
    st.builds(Failure, texts),
)
answers = st.builds(Answer, numbers, contents)
questions: st.SearchStrategy[Question] = st.one_of(
    st.builds(
        HostsOf,
        applications,
        groups | st.just(""),
        st.integers(0, bounds.LOG_LINES_MAX),
        st.booleans(),
        names | st.just(""),
        st.integers(0, bounds.PROBE_SAMPLES_MAX),
    ),
    st.builds(
        ReadOutput,
        applications,
        groups | st.just(""),
        names | st.just(""),
        st.integers(0, bounds.LOG_LINES_MAX),
        tuples(st.tuples(names.map(HostName), names)),
        st.booleans(),
    ),
    st.builds(AcceptedOf, applications),
    st.just(Orphans()),
    st.just(ListMachines()),
    st.builds(ChangeMachine, st.sampled_from(["quarantine", "return", "release"]), short, texts),
    st.builds(FindRoom, st.integers(0, bounds.HOSTS_MAX), machine_sizes, st.just("debian"), st.booleans()),
    st.builds(TrafficOf, applications, instants),
    st.builds(FindWayIn, applications, ports, splits, st.sampled_from(((), FRONTS))),
    st.just(ListBakes()),
    st.builds(BakeOrder, digests, short, tuples(texts), texts),
)
queries = st.builds(Query, numbers, questions, names | st.just(""))
welcomes = st.builds(
    Welcome,
    lines,
    names,
    lines,
    st.none() | tuples(applications),
    return_seconds=seconds,
    takes_sums=st.booleans(),
)
rejections = st.builds(Rejection, texts)

PROBE = Probe(kind="http", port=8080)
GROUP = DesiredGroup(
    GroupName("shop-v001"), Digest("0" * 64), 3, 10_000, HostTemplate(("./run",), (), PROBE, 1.0, 60.0, 5.0)
)
DESIRED = DesiredState(ApplicationName("shop"), Epoch(1, 1, 1), 8000, (GROUP,))
REPORT = Report(
    1,
    True,
    (ApplicationReport(ApplicationName("shop"), Epoch(1, 1, 1), (GroupReport(GroupName("g")),)),),
    "0" * 16,
)
HOST = HostDetail(
    HostName("h"),
    GroupName("g"),
    ApplicationName("shop"),
    HostPhase.HEALTHY,
    "127.0.0.1",
    80,
    Digest("0" * 64),
    1,
    1,
    public_address="203.0.113.7",
)


SAMPLE = ProbeSample(1.0, 0.003, True, "answered 200")
WORN = Worn(HostName("h"), "age")


def _report_with(group: GroupReport) -> Report:
    return replace(REPORT, applications=(replace(REPORT.applications[0], groups=(group,)),))


@given(hellos | reports | answers)
def test_whatever_an_agent_says_arrives_as_it_was_meant(value: FromAgent) -> None:
    assert wire.decode_from_agent(wire.encode_from_agent(value)) == value


@given(welcomes | rejections | desired_states | st.just(Resync()) | queries)
def test_whatever_a_controller_says_arrives_as_it_was_meant(value: FromController) -> None:
    assert wire.decode_from_controller(wire.encode_from_controller(value)) == value


@given(reports)
def test_the_same_report_is_always_the_same_bytes(report: Report) -> None:
    encoded = wire.encode_from_agent(report)
    assert wire.encode_from_agent(wire.decode_from_agent(encoded)) == encoded


def test_every_phase_and_every_kind_of_probe_has_its_number() -> None:
    for phase in HostPhase:
        answer = Answer(1, Hosts((replace(HOST, phase=phase),)))
        assert wire.decode_from_agent(wire.encode_from_agent(answer)) == answer
    assert len(pb.HostPhase.keys()) == len(HostPhase), "that of a later version has none"
    assert len(pb.Probe.Kind.keys()) == 3 + 1


@given(st.binary(max_size=300))
@settings(max_examples=150)
def test_random_bytes_are_understood_or_refused_but_never_break_anything(message: bytes) -> None:
    _decode_or_refuse(message)


@given(
    st.one_of(
        (hellos | reports | answers).map(wire.encode_from_agent),
        (desired_states | queries | welcomes).map(wire.encode_from_controller),
    ),
    st.lists(st.tuples(st.integers(0, 2_000), st.integers(0, 255)), min_size=1, max_size=4),
)
@settings(max_examples=150)
def test_damaged_messages_are_understood_or_refused(message: bytes, damages: list[tuple[int, int]]) -> None:
    damaged = bytearray(message)
    for place, value in damages:
        if damaged:
            damaged[place % len(damaged)] = value
    _decode_or_refuse(bytes(damaged))


def _decode_or_refuse(message: bytes) -> None:
    """What is understood can be sent on: decoding lets nothing in that encoding would not take."""
    try:
        wire.encode_from_agent(wire.decode_from_agent(message))
    except wire.WireError:
        pass
    try:
        wire.encode_from_controller(wire.decode_from_controller(message))
    except wire.WireError:
        pass


def test_a_region_that_is_to_be_closed_hears_of_it() -> None:
    closed = replace(DESIRED, frontend_port=0, groups=())
    assert wire.decode_from_controller(wire.encode_from_controller(closed)) == closed


def _with_group(**changes: object) -> DesiredState:
    return replace(DESIRED, groups=(changed(GROUP, changes),))


@pytest.mark.parametrize(
    ("field", "desired"),
    [
        ("DesiredState.application", replace(DESIRED, application=ApplicationName(""))),
        ("DesiredState.application", replace(DESIRED, application=ApplicationName("a" * 201))),
        ("DesiredState.frontend_port", replace(DESIRED, frontend_port=65_536)),
        ("DesiredState.epoch", replace(DESIRED, epoch=Epoch(2**64 - 1, 0, 0))),
        ("DesiredState.groups", replace(DESIRED, groups=(GROUP,) * 10_001)),
        ("DesiredGroup.name", _with_group(name="../../etc")),
        ("DesiredGroup.name", _with_group(name="..")),
        ("DesiredGroup.name", _with_group(name="two words")),
        ("DesiredGroup.name", _with_group(name="line\nbreak")),
        ("DesiredGroup.name", _with_group(name="end\n")),
        ("DesiredGroup.digest", _with_group(digest="0" * 63)),
        ("DesiredGroup.digest", _with_group(digest="A" * 64)),
        ("DesiredGroup.count", _with_group(count=1_000_000)),
        ("DesiredGroup.weight_bp", _with_group(weight_bp=10_001)),
        ("HostTemplate.min_healthy_seconds", _with_group(min_healthy_seconds=math.nan)),
        ("HostTemplate.launch_deadline_seconds", _with_group(launch_deadline_seconds=math.inf)),
        ("HostTemplate.drain_seconds", _with_group(drain_seconds=-1.0)),
        ("DesiredGroup.max_age_seconds", _with_group(max_age_seconds=-1.0)),
        ("DesiredGroup.replace", _with_group(replace=("h",) * 101)),
        ("DesiredGroup.replace", _with_group(replace=("a host",))),
        ("HostTemplate.machine_image", _with_group(machine_image="x" * 256)),
        ("HostTemplate.machine_sizes", _with_group(machine_sizes=("xl",) * 9)),
        ("HostTemplate.machine_sizes", _with_group(machine_sizes=("x" * 129,))),
        ("HostTemplate.machine_sizes", _with_group(machine_sizes=("x\x1bl",))),
        ("HostTemplate.secrets", _with_group(secrets=(SecretReference("A", "env", "A"),) * 65)),
        ("Secret.name", _with_group(secrets=(SecretReference("A=B", "env", "A"),))),
        ("Secret.source", _with_group(secrets=(SecretReference("A", "", "A"),))),
        ("Secret.where", _with_group(secrets=(SecretReference("A", "env", "A\n"),))),
        ("Secret.where", _with_group(secrets=(SecretReference("A", "env", "x" * 1025),))),
        ("HostTemplate.launch_failures", _with_group(launch_failures=10_000_000)),
        ("HostTemplate.bundle", _with_group(signature="x" * 65_537)),
        ("HostTemplate.trusted_roots", _with_group(trusted_roots=("{}",) * 5)),
        ("HostTemplate.trusted_roots", _with_group(trusted_roots=("x" * 65_537,))),
        ("HostTemplate.signers", _with_group(signers=("x" * 1001,))),
        ("HostTemplate.signers", _with_group(signers=("RW",) * 21)),
        ("HostTemplate.signers", _with_group(signers=("R\x1bW",))),
        ("HostTemplate.run", _with_group(run=("x",) * 1_001)),
        ("HostTemplate.environment", _with_group(environment=(("A", "x"),) * 1_001)),
        ("Variable.name", _with_group(environment=(("", "x"),))),
        ("Split.name", replace(DESIRED, split=Split("cookie", "two words"))),
        ("Split.name", replace(DESIRED, split=Split("cookie", "end\n"))),
        ("Split.name", replace(DESIRED, split=Split("header", "x" * 65))),
        ("Split.tester_name", replace(DESIRED, split=Split("request", "", "header", "a:b", "x"))),
        ("Split.tester_value", replace(DESIRED, split=Split("request", "", "header", "a", "x'y"))),
        ("Split.tester_value", replace(DESIRED, split=Split("request", "", "header", "a", "x" * 201))),
        ("Probe.port", _with_group(probe=replace(PROBE, port=0))),
        ("Probe.expect_status", _with_group(probe=replace(PROBE, expect_status=42))),
        ("Probe.interval_seconds", _with_group(probe=replace(PROBE, interval_seconds=0.0))),
        ("Probe.timeout_seconds", _with_group(probe=replace(PROBE, timeout_seconds=math.nan))),
        ("Probe.healthy_after", _with_group(probe=replace(PROBE, healthy_after=0))),
        ("Probe.path", _with_group(probe=replace(PROBE, path="/" * 70_000))),
    ],
)
def test_a_desired_state_out_of_bounds_is_refused_by_the_name_of_its_field(
    field: str, desired: DesiredState
) -> None:
    encoded = wire.encode_from_controller(desired)
    with pytest.raises(wire.WireError, match=f"^{field}: "):
        wire.decode_from_controller(encoded)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("Report.digest", replace(REPORT, digest="")),
        ("Report.sequence", replace(REPORT, sequence=2**63)),
        ("Report.notices", replace(REPORT, notices=(Notice("kind", "text"),) * 1_001)),
        ("Report.applications", replace(REPORT, applications=REPORT.applications * 10_001)),
        ("GroupReport.weight_bp", _report_with(GroupReport(GroupName("g"), weight_bp=10_001))),
        ("GroupReport.group", _report_with(GroupReport(GroupName("")))),
        ("GroupReport.trouble", _report_with(GroupReport(GroupName("g"), trouble="x" * 65_537))),
        ("GroupReport.worn", _report_with(GroupReport(GroupName("g"), worn=(WORN,) * 101))),
        ("GroupReport.oldest_at", _report_with(GroupReport(GroupName("g"), oldest_at=math.nan))),
        ("GroupReport.due_at", _report_with(GroupReport(GroupName("g"), due_at=-1.0))),
        ("Worn.host", _report_with(GroupReport(GroupName("g"), worn=(replace(WORN, host=HostName("")),)))),
        ("Hello.region", Hello(RegionName(""), 1, "", "", "")),
        ("Hello.region", Hello(RegionName("paris\x1b[2K"), 1, "", "", "")),
        ("Hello.region", Hello(RegionName("paris\u202e"), 1, "", "", "")),
        ("Hello.region", Hello(RegionName("paris\u200b"), 1, "", "", "")),
        ("Hello.agent_version", Hello(RegionName("paris"), 1, "0.1\nforged  row", "", "")),
        ("Hello.provider", Hello(RegionName("paris"), 1, "", "local\x9b", "")),
        ("Hello.balancer", Hello(RegionName("paris"), 1, "", "", "haproxy\r")),
        ("Hello.capabilities", Hello(RegionName("paris"), 1, "", "", "", ("a\u2066",))),
    ],
)
def test_what_an_agent_says_out_of_bounds_is_refused_by_the_name_of_its_field(
    field: str, value: FromAgent
) -> None:
    encoded = wire.encode_from_agent(value)
    with pytest.raises(wire.WireError, match=f"^{field}: "):
        wire.decode_from_agent(encoded)


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("FromAgent.message", pb.FromAgent()),
        ("Applied.epoch", pb.FromAgent(hello=pb.Hello(region="r", applied=[pb.Applied(application="a")]))),
        (
            "ApplicationReport.epoch",
            pb.FromAgent(
                report=pb.Report(digest="0" * 16, applications=[pb.ApplicationReport(application="a")])
            ),
        ),
    ],
)
def test_an_agents_message_with_something_missing_or_unknown_is_refused(
    field: str, message: pb.FromAgent
) -> None:
    with pytest.raises(wire.WireError, match=f"^{field}: "):
        wire.decode_from_agent(message.SerializeToString())


@pytest.mark.parametrize(
    ("field", "answer"),
    [
        ("HostDetail.digest", Hosts((replace(HOST, digest=Digest("no")),))),
        ("HostDetail.port", Hosts((replace(HOST, port=65_536),))),
        ("HostDetail.age_seconds", Hosts((replace(HOST, age_seconds=-0.5),))),
        ("HostDetail.probes", Hosts((replace(HOST, probes=(SAMPLE,) * 11),))),
        ("ProbeSample.ago_seconds", Hosts((replace(HOST, probes=(replace(SAMPLE, ago_seconds=-1),)),))),
        ("HostDetail.healthy_seconds", Hosts((replace(HOST, healthy_seconds=math.nan),))),
        ("HostDetail.host", pb.Answer(hosts=pb.Hosts(hosts=[pb.HostDetail()]))),
        ("Machine.since", pb.Answer(machines=pb.Machines(machines=[pb.Machine(name="m", since=-1)]))),
    ],
)
def test_an_answer_that_breaks_the_protocol_is_a_failure_and_costs_no_stream(
    field: str, answer: Content | pb.Answer
) -> None:
    if isinstance(answer, pb.Answer):
        answer.query_id = 7
        encoded = pb.FromAgent(answer=answer).SerializeToString()
    else:
        encoded = wire.encode_from_agent(Answer(7, answer))
    heard = wire.decode_from_agent(encoded)
    assert isinstance(heard, Answer)
    assert isinstance(heard.content, Failure)
    assert heard.query_id == 7
    assert heard.content.why.startswith(f"{field}: ")


def test_values_of_a_later_agent_are_unknown_and_all_else_counts() -> None:
    message = pb.FromAgent.FromString(wire.encode_from_agent(Answer(7, Hosts((HOST,)))))
    message.answer.hosts.hosts[0].phase = 99  # type: ignore[assignment]
    heard = wire.decode_from_agent(message.SerializeToString())
    assert heard == Answer(7, Hosts((replace(HOST, phase=HostPhase.UNKNOWN),)))
    machine = pb.Machine(name="m", state=99)  # type: ignore[arg-type]
    message = pb.FromAgent(answer=pb.Answer(query_id=7, machines=pb.Machines(machines=[machine])))
    heard = wire.decode_from_agent(message.SerializeToString())
    assert isinstance(heard, Answer)
    assert isinstance(heard.content, Machines)
    assert heard.content.machines[0].state == "unknown"


def test_a_controllers_message_with_something_missing_or_unknown_is_refused() -> None:
    desired = pb.FromController.FromString(wire.encode_from_controller(DESIRED))
    desired.desired.groups[0].template.probe.kind = 99  # type: ignore[assignment]  # a newer one
    strange_split = pb.FromController.FromString(wire.encode_from_controller(DESIRED))
    strange_split.desired.split.by = 99  # type: ignore[assignment]  # a newer one
    drifting = pb.FromController.FromString(wire.encode_from_controller(DESIRED))
    drifting.desired.groups[0].drift = 99  # type: ignore[assignment]  # a newer one
    without_probe = pb.FromController.FromString(wire.encode_from_controller(DESIRED))
    without_probe.desired.groups[0].template.ClearField("probe")
    without_template = pb.FromController.FromString(wire.encode_from_controller(DESIRED))
    without_template.desired.groups[0].ClearField("template")  # that of protocol 1
    for field, message in [
        ("FromController.message", pb.FromController()),
        ("Probe.kind", desired),
        ("Split.by", strange_split),
        ("DesiredGroup.drift", drifting),
        ("HostTemplate.probe", without_probe),
        ("DesiredGroup.template", without_template),
    ]:
        with pytest.raises(wire.WireError, match=f"^{field}: "):
            wire.decode_from_controller(message.SerializeToString())


def test_an_older_controller_that_says_nothing_of_a_split_means_the_one_there_was() -> None:
    silent = pb.FromController.FromString(wire.encode_from_controller(DESIRED))
    silent.desired.ClearField("split")
    received = wire.decode_from_controller(silent.SerializeToString())
    assert isinstance(received, DesiredState)
    assert received.split == BY_REQUEST


def test_texts_of_hosts_are_cut_and_cleaned_rather_than_refused() -> None:
    broken = replace(HOST, log_tail="x" * 70_000 + "\udcff end")
    content = _sent(Answer(1, Hosts((broken,)))).content
    assert isinstance(content, Hosts)
    (host,) = content.hosts
    assert host.log_tail.endswith("? end")
    assert len(host.log_tail) == bounds.TEXT_LENGTH_MAX


def _sent(answer: Answer) -> Answer:
    received = wire.decode_from_agent(wire.encode_from_agent(answer))
    assert isinstance(received, Answer)
    return received


def test_the_method_is_the_one_of_fleet_proto() -> None:
    assert wire.METHOD_PATH == "/repave.fleet.v1.Fleet/Connect"


def test_a_question_of_a_newer_controller_keeps_its_name() -> None:
    asked = pb.FromController(query=pb.Query(query_id=7, kind="sing"))
    assert wire.decode_from_controller(asked.SerializeToString()) == Query(7, UnknownQuestion("sing"))


def test_every_question_names_its_kind_for_agents_that_do_not_know_it() -> None:
    sent = pb.FromController.FromString(wire.encode_from_controller(Query(7, FindRoom(3))))
    assert sent.query.kind == "find_room"
    sent.query.ClearField("find_room")
    assert wire.decode_from_controller(sent.SerializeToString()) == Query(7, UnknownQuestion("find_room"))


def test_an_answer_of_a_newer_agent_is_a_failure_not_the_end_of_its_stream() -> None:
    said = pb.FromAgent(answer=pb.Answer(query_id=7))
    received = wire.decode_from_agent(said.SerializeToString())
    assert isinstance(received, Answer)
    assert isinstance(received.content, Failure)


@pytest.mark.parametrize(
    ("field", "question"),
    [
        ("HostsOf.application", HostsOf(ApplicationName(""))),
        ("HostsOf.log_lines", HostsOf(ApplicationName("shop"), "", 10_001)),
        ("HostsOf.host", HostsOf(ApplicationName("shop"), host="a b")),
        ("HostsOf.probes", HostsOf(ApplicationName("shop"), probes=bounds.PROBE_SAMPLES_MAX + 1)),
        ("AcceptedOf.application", AcceptedOf(ApplicationName("two words"))),
        ("ChangeMachine.machine", ChangeMachine("return", "m" * 201, "")),
        ("FindRoom.hosts", FindRoom(100_001)),
        ("FindRoom.machine_sizes", FindRoom(1, ("xl",) * 9)),
        ("FindRoom.machine_image", FindRoom(1, (), "x" * 256)),
        ("FindWayIn.port", FindWayIn(ApplicationName("shop"), 0)),
        ("BakeOrder.digest", BakeOrder(Digest("d"), "shop-1")),
        ("BakeOrder.check", BakeOrder(Digest("d" * 64), "shop-1", ("x",) * 1_001)),
    ],
)
def test_a_question_out_of_bounds_is_refused_by_the_name_of_its_field(field: str, question: Question) -> None:
    encoded = wire.encode_from_controller(Query(1, question))
    with pytest.raises(wire.WireError, match=f"^{field}: "):
        wire.decode_from_controller(encoded)


def test_what_hosts_are_made_of_is_encoded_and_checked_once_for_all_regions() -> None:
    template = replace(GROUP.template, run=("./only", "here"))
    states = [
        replace(DESIRED, epoch=Epoch(1, 1, rev), groups=(replace(GROUP, template=replace(template)),))
        for rev in range(1, 101)
    ]
    counted = (wire_desired._template_message, wire_desired._kept_template)
    before = [each.cache_info().misses for each in counted]
    for state in states:
        assert wire.decode_from_controller(wire.encode_from_controller(state)) == state
    assert [each.cache_info().misses for each in counted] == [misses + 1 for misses in before]


def test_a_template_that_may_not_be_is_refused_each_time() -> None:
    bad = _with_group(template=replace(GROUP.template, launch_deadline_seconds=-1.0))
    for _ in range(2):
        with pytest.raises(wire.WireError, match="launch_deadline_seconds"):
            wire.decode_from_controller(wire.encode_from_controller(bad))


@given(welcomes | rejections | desired_states | st.just(Resync()) | queries)
def test_an_order_says_of_which_trace_it_is_beside_what_it_orders(value: FromController) -> None:
    traceparent = f"00-{'1' * 32}-{'2' * 16}-01"
    message = wire.encode_from_controller(value, traceparent)
    assert wire.decode_from_controller(message) == wire.decode_from_controller(
        wire.encode_from_controller(value)
    )
    told = (value.application, traceparent) if isinstance(value, DesiredState) else None
    assert wire.trace_of(message) == told
    assert wire.trace_of(b"\xff") is None
