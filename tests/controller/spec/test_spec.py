"""What a spec asks for: good ones compile to the release that they describe, and the schema agrees."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from repave_controller.core.domain.application import Instant, Policy
from repave_controller.core.domain.windows import Freeze, Window
from repave_controller.core.steps import Approve, Scale, Soak, Verify, Weight
from repave_controller.spec.loader import SpecError, load
from repave_controller.spec.quantities import read_command, read_duration, read_share
from repave_controller.spec.schema import schema
from repave_controller.spec.spec import OrderError, Spec, artifact_path, compile_order
from repave_controller.spec.unsupported import LATER, later_option, options
from repave_protos.protocol.values import Digest, Probe, Split, Timeouts
from tests.fakes.controller.specs import DIGEST, EVERY_OPTION, SMALLEST


def spec(text: str = SMALLEST) -> Spec:
    return load(text, "repave.yaml")[0]


# ------------------------------------------------------------------------------------------- what compiles


def test_the_smallest_file_is_a_whole_release() -> None:
    order = compile_order(spec(), DIGEST, "1.0", by="ann", reason="first", key="k")
    assert order.sizes == (("local", 3),)
    assert order.template.run == ("python3", "-m", "http.server", "$PORT", "--bind", "$HOST")
    assert order.template.environment == ()
    assert order.template.probe == Probe("http", 8080)
    assert order.frontend_port == 8000
    hosts = order.template
    assert (hosts.min_healthy_seconds, hosts.launch_deadline_seconds, hosts.drain_seconds) == (
        10,
        300,
        30,
    )
    assert order.policy == Policy()
    assert order.steps == (Scale(100, 340.0), Verify(340.0), Weight(10_000, 60.0), Soak(300.0, 330.0))
    assert (order.version, order.digest, order.by, order.reason, order.key) == (
        "1.0",
        DIGEST,
        "ann",
        "first",
        "k",
    )


@pytest.mark.parametrize(
    ("image", "named"),
    [
        ("image: local, ", ""),
        ("", ""),
        ("image: debian-12, ", "debian-12"),
        ('image: "web-{version}", ', "web-7"),
    ],
)
def test_a_machine_image_is_named_or_left_to_the_region(image: str, named: str) -> None:
    written = SMALLEST.replace("image: local, ", image)
    assert compile_order(spec(written), DIGEST, "7").template.machine_image == named


@pytest.mark.parametrize(
    ("host", "sizes", "is_spot"),
    [
        ("", (), False),
        ("size: xl, ", ("xl",), False),
        ("size: m1 large, ", ("m1 large",), False),
        ("size: [m7i.2xlarge, m6i.2xlarge], ", ("m7i.2xlarge", "m6i.2xlarge"), False),
        ("size: [xl], spot: true, ", ("xl",), True),
    ],
)
def test_sizes_of_machines_are_named_or_left_to_the_region(
    host: str, sizes: tuple[str, ...], is_spot: bool
) -> None:
    template = compile_order(spec(SMALLEST.replace("image: local, ", host)), DIGEST, "7").template
    assert (template.machine_sizes, template.is_spot) == (sizes, is_spot)


@pytest.mark.parametrize(
    ("host", "field", "words"),
    [
        ("size: 4, ", "host.size", "write a size such as xl or m7i.2xlarge, or a list of them"),
        ("size: [4], ", "host.size", "write a size such as xl"),
        ("size: {xl: 1}, ", "host.size", "write a size such as xl"),
        ("size: [], ", "host.size", "name 1 to 8 sizes"),
        ("size: [a, b, c, d, e, f, g, h, i], ", "host.size", "name 1 to 8 sizes"),
        ('size: "", ', "host.size", "names no size"),
        ('size: " xl", ', "host.size", "names no size"),
        ('size: "x\\tl", ', "host.size", "names no size"),
        (f"size: {'x' * 129}, ", "host.size", "names no size"),
        ("size: [xl, l, xl], ", "host.size", "xl is there twice"),
        ("spot: 0.5, ", "host.spot", "valid boolean"),
        ("image: local, size: xl, ", "host.size", "a host on what is there is no machine of its own"),
        ("image: local, spot: true, ", "host.spot", "a host on what is there is no machine of its own"),
    ],
)
def test_what_names_no_machine_is_refused_where_it_stands(host: str, field: str, words: str) -> None:
    with pytest.raises(SpecError) as refused:
        spec(SMALLEST.replace("image: local, ", host))
    assert f"{field}: " in str(refused.value)
    assert words in str(refused.value)


def test_every_option_reaches_the_release() -> None:
    made = spec(EVERY_OPTION)
    assert (made.application, made.cluster, made.owner) == ("web-prod", "web-prod", "team web")
    order = compile_order(made, DIGEST, "1.42.0")
    assert order.template.run == ("./serve", "--port", "$PORT", "--version", "1.42.0")
    assert dict(order.template.environment) == {
        "LOG_LEVEL": "info",
        "RELEASE": "web 1.42.0",
        "BRACES": "{} {other}",
    }
    assert order.template.probe == Probe(
        "command",
        8080,
        command=("./check", "--quick"),
        interval_seconds=0.5,
        timeout_seconds=0.4,
        healthy_after=3,
        unhealthy_after=4,
    )
    assert order.sizes == (("eu-north", 4), ("eu-west", 1000))
    hosts = order.template
    assert (hosts.min_healthy_seconds, hosts.launch_deadline_seconds, hosts.drain_seconds) == (
        60,
        600,
        45,
    )
    assert hosts.launch_failures == 7
    assert order.split == Split("cookie", "uid", "header", "X-Tester", "let-me-in")
    assert order.steps[-1] == Soak(7200.0, 7230.0)
    assert order.policy == Policy(
        keep_seconds=604_800.0,
        keep_groups=3,
        retain=2,
        goes_back_on=("deadline", "health"),
        ready_percent=99.5,
        heal_seconds=180.0,
        heal_capacity_percent=90.0,
        min_capacity_percent=90.0,
        windows=(
            Window(("mon", "tue", "wed", "thu", "sat"), 1320, 240, "Europe/Berlin"),
            Window((), 0, 0, "UTC", "0 9 * * mon-fri", 25_200.0),
        ),
        freezes=(Freeze(Instant(1_797_721_200.0), Instant(1_798_974_000.0), "Europe/Berlin", "holidays"),),
    )
    assert artifact_path(made, "1.42.0") == "./build/web-1.42.0.tar.gz"


def test_every_way_to_ask_for_health_compiles() -> None:
    http = spec(SMALLEST.replace("path: /", "path: /health, expect: 204"))
    assert compile_order(http, DIGEST, "1").template.probe == Probe("http", 8080, "/health", 204)
    named = spec(
        SMALLEST.replace("path: /", 'path: /, host: "shop.example:8443", headers: {X-A: b c, User-Agent: d}')
    )
    assert compile_order(named, DIGEST, "1").template.probe == Probe(
        "http", 8080, host="shop.example:8443", headers=(("X-A", "b c"), ("User-Agent", "d"))
    )
    tcp = spec(SMALLEST.replace("{http: {port: 8080, path: /}}", "{tcp: {port: 9}}"))
    assert compile_order(tcp, DIGEST, "1").template.probe == Probe("tcp", 9)


def test_health_is_told_by_the_agent_unless_the_balancer_is_named() -> None:
    assert compile_order(spec(SMALLEST), DIGEST, "1").template.health_by == "agent"
    for asks in ("http: {port: 8080, path: /}", "tcp: {port: 9}"):
        told = spec(SMALLEST.replace("http: {port: 8080, path: /}", f"{asks}, by: balancer"))
        assert compile_order(told, DIGEST, "1").template.health_by == "balancer"


def test_timeouts_of_connections_have_defaults_each() -> None:
    assert compile_order(spec(SMALLEST), DIGEST, "1").template.timeouts == Timeouts(60, 60, 3600)
    longer = spec(SMALLEST.replace("traffic: {", "traffic: {timeouts: {server: 75s, tunnel: 12h}, "))
    assert compile_order(longer, DIGEST, "1").template.timeouts == Timeouts(60, 75, 43_200)


def test_an_answer_may_take_as_long_as_a_short_interval_when_nothing_is_said() -> None:
    short = spec(SMALLEST.replace("health: {", "health: {interval: 300ms, "))
    assert compile_order(short, DIGEST, "1").template.probe.timeout_seconds == 0.3


def test_what_must_be_able_to_serve_is_what_must_be_ready_when_nothing_is_said() -> None:
    fewer = spec(SMALLEST.replace("health: {", "health: {ready_percent: 80%, "))
    assert compile_order(fewer, DIGEST, "1").policy.min_capacity_percent == 80


def test_each_stack_of_an_app_is_released_by_itself() -> None:
    assert spec(SMALLEST + "stack: prod\n").application != spec(SMALLEST + "stack: test\n").application


def test_another_package_than_the_one_that_the_spec_wants_is_refused() -> None:
    with pytest.raises(OrderError, match=r"^artifact.sha256: the spec wants"):
        compile_order(spec(EVERY_OPTION), Digest("b" * 64), "1")
    required = spec(SMALLEST.replace("./app", "./app, sha256: required"))
    assert compile_order(required, DIGEST, "1").digest == DIGEST


@pytest.mark.parametrize("version", ["", "../etc", "1 0", "1/2", "-1", "v\n", "x" * 65, "１"])
def test_a_version_that_could_leave_its_folder_or_line_is_refused(version: str) -> None:
    with pytest.raises(OrderError, match=r"^version: "):
        compile_order(spec(), DIGEST, version)
    with pytest.raises(OrderError, match=r"^version: "):
        artifact_path(spec(), version)


# -------------------------------------------------------------------------------------------- quantities


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0s", 0), ("500ms", 0.5), ("1.5s", 1.5), ("2m", 120), ("12h", 43_200), ("7d", 604_800)],
)
def test_durations_are_read_with_their_unit(text: str, seconds: float) -> None:
    assert read_duration(text) == pytest.approx(seconds)


@given(
    st.text(max_size=8) | st.sampled_from(["5", "5 s", "-5s", "5S", "1h30m", "nan", "5s\n", "５s", "1e3s"])
)
def test_what_is_no_duration_is_refused_or_has_digits_and_a_unit(text: str) -> None:
    try:
        seconds = read_duration(text)
    except PydanticCustomError:
        return
    assert re.fullmatch(r"[0-9.]+(ms|s|m|h|d)", text)
    assert 0 <= seconds < 1e9


@pytest.mark.parametrize("written", [5, 5.0, True, None, ["5s"], "367d", "99999999999s"])
def test_what_is_no_text_or_too_long_is_no_duration(written: object) -> None:
    with pytest.raises(PydanticCustomError):
        read_duration(written)


def test_shares_are_read_with_their_sign() -> None:
    assert [read_share(text) for text in ("0%", "5%", "99.5%", "100%")] == [0, 5, 99.5, 100]
    for written in ("5", "101%", "-1%", "5 %", "nan%", 5, 0.05, None):
        with pytest.raises(PydanticCustomError):
            read_share(written)


def test_a_command_is_a_line_or_a_list_and_no_shell_hides_in_it() -> None:
    assert read_command("./serve --name 'a b' $PORT") == ("./serve", "--name", "a b", "$PORT")
    assert read_command(["sh", "-c", "./a && ./b"]) == ("sh", "-c", "./a && ./b")
    for written in ("", [], [""], "./a && ./b", "./a | b", "'open", 5, None, [5], ["a\0"], ["x"] * 257):
        with pytest.raises(PydanticCustomError):
            read_command(written)


# ------------------------------------------------------------------------------- schema and later options


def nodes(node: Any) -> Any:
    yield node
    for each in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from nodes(each)


def test_the_schema_describes_every_option_and_never_says_null() -> None:
    made = schema()
    assert {"type": "null"} not in list(nodes(made))
    sections = [made, *made["$defs"].values()]
    undescribed = [
        name
        for section in sections
        for name, option in section["properties"].items()
        if not {"description", "$ref"} & set(option)  # a section may leave it to its own
    ]
    assert undescribed == []
    assert all(section["additionalProperties"] is False for section in sections)
    assert made["$defs"]["Keep"]["properties"]["for"]["default"] == "24h"


def test_every_default_of_the_schema_is_written_as_users_write_it() -> None:
    """So that an editor that fills them in writes a spec that is accepted."""
    patterns = [
        node for node in nodes(schema()) if isinstance(node, dict) and {"default", "pattern"} <= set(node)
    ]
    assert len(patterns) > 5
    assert [node for node in patterns if not re.search(node["pattern"], node["default"])] == []


@pytest.mark.parametrize("option", LATER)
def test_no_option_of_a_later_version_is_one_of_this_version(option: str) -> None:
    *section, name = option.split(".")
    assert name not in options(section)
    assert options(section), f"there is no section for {option}"
    assert later_option(option.split("."))


def test_what_python_code_makes_of_a_spec_is_checked_too() -> None:
    with pytest.raises(ValidationError):
        Spec.model_validate({"repave": True})


@pytest.mark.parametrize(
    ("written", "role", "seconds"),
    [
        ("sre", "sre", 0.0),
        ("{unless_objected: 30m}", "", 1800.0),
        ("{role: sre, unless_objected: 5m}", "sre", 300.0),
        ("{}", "", 0.0),
    ],
)
def test_an_approval_is_a_role_or_says_when_it_is_not_needed(written: str, role: str, seconds: float) -> None:
    gates = (
        f"strategy: {{blue_green: {{approve: {written}}}}}\nwaves: [{{regions: rest, approve: {written}}}]\n"
    )
    order = compile_order(spec(re.sub("strategy: .*\n", "", SMALLEST) + gates), DIGEST, "1")
    (gate,) = (step for step in order.steps if isinstance(step, Approve))
    (wave,) = order.waves
    assert (gate.role, gate.unless_objected_seconds) == (role, seconds)
    assert (wave.approve, wave.unless_objected_seconds) == (role, seconds)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("sre", 7200.0), ("{role: sre, expires: 30m}", 1800.0), ("{expires: 0s}", 0.0)],
)
def test_an_approval_says_for_how_long_it_is_waited_for_or_the_guard_does(
    written: str, seconds: float
) -> None:
    gates = (
        f"strategy: {{canary: {{steps: [{{traffic: 5%, approve: {written}}}]}}}}\n"
        f"waves: [{{regions: rest, approve: {written}}}]\nguards: {{approval_expires: 2h}}\n"
    )
    order = compile_order(spec(re.sub("strategy: .*\n", "", SMALLEST) + gates), DIGEST, "1")
    (gate,) = (step for step in order.steps if isinstance(step, Approve))
    assert (gate.expires_seconds, order.waves[0].expires_seconds) == (seconds, seconds)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{unless_objcted: 5m}", "approve.unless_objcted: unknown option; did you mean unless_objected?"),
        ("5", "approve: write a role, or a mapping such as {role: sre, unless_objected: 30m}"),
        ("{unless_objected: 0s}", "approve.unless_objected: must be more than 0s"),
    ],
)
def test_an_approval_that_is_none_is_refused_at_its_place(written: str, said: str) -> None:
    with pytest.raises(SpecError) as caught:
        spec(re.sub("strategy: .*\n", "", SMALLEST) + f"strategy: {{blue_green: {{approve: {written}}}}}\n")
    assert said in str(caught.value)
