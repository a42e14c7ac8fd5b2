"""A region's size is a number, or bounds and what it follows within them; what can't work is refused, with
the fix."""

import pytest

from repave_controller.core.domain.scaling import Scaling
from repave_controller.spec.loader import SpecError, load
from repave_controller.spec.schema import schema
from repave_controller.spec.spec import Spec, compile_order
from repave_protos.protocol.values import Digest, RegionName

DIGEST = Digest("a" * 64)
SPEC = """\
repave: 1
app: hello
artifact: {uri: ./hello}
host: {run: ./serve}
health: {http: {port: 8080}}
traffic: {port: 8000}
regions:
- {name: paris, size: %s}
- {name: oslo, size: 3}
strategy: {blue_green: {}}
%s"""


def read(size: str, more: str = "") -> Spec:
    return load(SPEC % (size, more), "repave.yaml")[0]


def wrong(size: str, more: str = "") -> str:
    with pytest.raises(SpecError) as caught:
        read(size, more)
    return "\n".join(map(str, caught.value.problems))


def test_bounds_begin_with_the_least_and_are_kept_with_the_policy() -> None:
    spec = read("{min: 2, max: 20, by: requests, target: 50}")
    order = compile_order(spec, DIGEST, "1.0")
    assert order.sizes == ((RegionName("paris"), 2), (RegionName("oslo"), 3))
    assert list(order.policy.scaling) == [Scaling(RegionName("paris"), 2, 20, "requests", 50.0)]


def test_a_metric_is_read_by_a_query_of_a_source() -> None:
    spec = read(
        "{min: 2, max: 4, by: metric, source: prom, query: cpu, value: average, target: 0.75, step: 20%}"
    )
    (scaling,) = compile_order(spec, DIGEST, "1.0").policy.scaling
    assert (scaling.source, scaling.query, scaling.is_average, scaling.target) == ("prom", "cpu", True, 0.75)
    assert scaling.step_percent == 20.0


def test_a_number_and_equal_bounds_are_no_bounds() -> None:
    for size in ("4", "{min: 4, max: 4}"):
        spec = read(size)
        assert spec.regions[0].hosts == 4
        assert not compile_order(spec, DIGEST, "1.0").policy.scaling
        assert spec.model_dump(mode="json")["regions"][0]["size"] == 4


@pytest.mark.parametrize(
    ("size", "more", "text"),
    [
        ("0", "", "8:23: regions.0.size: must be at least 1"),
        ("ten", "", "regions.0.size: must be a whole number"),
        ("{min: 0, max: 4}", "", "regions.0.size.min: must be at least 1"),
        ("{min: 5, max: 4}", "", "regions.0.size.max: min can't be more than max"),
        ("{max: 4}", "", "regions.0.size.min: is missing"),
        (
            "{min: 1, max: 4, by: cpu, target: 70}",
            "",
            "regions.0.size.by: repave does not see the CPU of hosts",
        ),
        (
            "{min: 1, max: 4, by: load, target: 70}",
            "",
            "regions.0.size.by: must be 'requests', 'queue' or 'metric'",
        ),
        ("{min: 1, max: 4, by: requests}", "", "say what each host is to have of it: target: 50"),
        ("{min: 1, max: 4, by: requests, target: 0}", "", "write a number above 0"),
        ("{min: 1, max: 4, target: 50}", "", "regions.0.size.target: nothing chooses the number"),
        (
            "{min: 1, max: 4, by: queue, target: 5, query: x}",
            "",
            "regions.0.size.query: the balancer's numbers",
        ),
        ("{min: 1, max: 4, by: metric, target: 5, query: x}", "", "say where it is read"),
        (
            "{min: 1, max: 4, by: metric, target: 5, source: prom, query: 'x{g=\"{group}\"}'}",
            "",
            "regions.0.size.query: the hosts of all groups",
        ),
        ("{min: 1, max: 4, by: requests, target: 5, every: 500ms}", "", "regions.0.size.every: at least 1s"),
        ("{min: 1, max: 4, by: requests, target: 5, steady: 30s}", "", "over <= steady"),
        ("{min: 1, max: 4}", "guards: {min_hosts: 2}\n", "guards.min_hosts: guards.min_hosts keeps 2 hosts"),
        ("{min: 1, max: 4, minimum: 2}", "", "regions.0.size.minimum: unknown option"),
    ],
)
def test_what_can_not_work_is_refused(size: str, more: str, text: str) -> None:
    assert text in wrong(size, more)


def test_steps_must_suit_the_least_and_the_most() -> None:
    rest = "{scale: 100%%}, {verify: {}}, {weight: 100%%}"
    steps = f"strategy: {{steps: [{{scale: 1}}, {{verify: {{}}}}, {{weight: 5%%}}, {rest}]}}"
    text = SPEC.replace("strategy: {blue_green: {}}", steps)
    load(text % ("{min: 2, max: 20}", ""), "repave.yaml")
    with pytest.raises(SpecError, match="40"):
        load(text % ("{min: 2, max: 40}", ""), "repave.yaml")


def test_the_schema_has_both_forms() -> None:
    size = schema()["$defs"]["Region"]["properties"]["size"]
    number, bounds = size["anyOf"]
    assert (number["type"], number["minimum"]) == ("integer", 1)
    assert "SizeSection" in bounds["$ref"]


def test_a_worker_has_no_requests_to_go_by() -> None:
    worker = SPEC.replace("health: {http: {port: 8080}}", "health: {command: {run: ./well}}")
    worker = worker.replace("traffic: {port: 8000}", "traffic: none")
    load(worker % ("{min: 1, max: 4, by: metric, source: prom, query: jobs, target: 5}", ""), "repave.yaml")
    with pytest.raises(SpecError, match="a worker takes no requests to go by"):
        load(worker % ("{min: 1, max: 4, by: requests, target: 5}", ""), "repave.yaml")
