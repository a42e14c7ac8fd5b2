"""A spec without traffic: what it becomes, what it may not say, and where it can't run."""

import pytest

from repave_controller.core.domain.application import ReleaseOrder
from repave_controller.spec.agreement import disagreements
from repave_controller.spec.loader import SpecError, load
from repave_controller.spec.schema import schema
from repave_controller.spec.spec import Spec, compile_order
from repave_protos.protocol.capabilities import BalancerAbilities, ProviderAbilities, capability_words
from repave_protos.protocol.values import PROTOCOL_VERSION, Digest, Hello, RegionName

SPEC = """\
repave: 1
app: mailer
artifact: {uri: ./mailer}
host: {run: ./work}
health: {command: {run: ./alive}}
traffic: none
regions: [{name: oslo, size: 4}]
strategy: {blue_green: {warm: 20s}}
"""
OSLO = RegionName("oslo")


def read(*changes: tuple[str, str]) -> Spec:
    text = SPEC
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    return load(text, "repave.yaml")[0]


def order(*changes: tuple[str, str]) -> ReleaseOrder:
    return compile_order(read(*changes), Digest("a" * 64), "2.0")


def test_a_worker_has_no_port_and_its_old_group_is_stopped_and_not_kept() -> None:
    found = order(("host: {run: ./work}", "host: {run: ./work, stop_grace: 2m}"))
    assert found.template.is_worker
    assert (found.frontend_port, found.template.probe.port) == (0, 0)
    assert [step.kind for step in found.steps] == ["scale", "verify", "weight", "soak", "retire"]
    assert (found.policy.keep_groups, found.policy.protects) == (0, False)
    assert found.template.drain_seconds == 120.0


def test_hosts_may_come_and_go_in_shares() -> None:
    found = order(("blue_green: {warm: 20s}", "rolling: {steps: [{traffic: 50%}]}"))
    assert [step.kind for step in found.steps].count("retire") == 2
    assert not order(
        ("traffic: none", "traffic: {port: 80}"), ("run: ./alive", "port: 80, run: ./x")
    ).template.is_worker


@pytest.mark.parametrize("health", ["http: {port: 9000}", "tcp: {port: 9000}"])
def test_a_worker_may_answer_for_its_health_at_a_port(health: str) -> None:
    assert order(("command: {run: ./alive}", health)).template.probe.port == 9000


METRIC = "{name: failed, source: prometheus, query: 'failed{group=\"{group}\"}'}"


def test_a_worker_is_compared_by_metrics_of_another_source() -> None:
    found = order(("warm: 20s", f"warm: 20s, analyse: {{interval: 5s, metrics: [{METRIC}]}}"))
    assert any(step.analysis is not None for step in found.steps)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (
            "traffic: none\n",
            "",
            "traffic: is missing; add it: {port: 8000} says where clients connect; traffic: none makes it",
        ),
        (
            "traffic: none",
            "traffic:",
            "traffic: say where clients connect: {port: 8000}; or none, of a worker",
        ),
        (
            "traffic: none",
            "traffic: {port: 80}",
            "health.command: port is missing: where it takes its traffic",
        ),
        (
            "command: {run: ./alive}",
            "tcp: {port: 9000}, by: balancer",
            "no balancer has the hosts of a worker",
        ),
        (
            "blue_green: {warm: 20s}",
            "canary: {steps: [{traffic: 5%}]}",
            "canary gives the new group a share of",
        ),
        (
            "blue_green: {warm: 20s}",
            "phased: {steps: [{traffic: 5%}]}",
            "phased gives the new group a share of",
        ),
        (
            "blue_green: {warm: 20s}",
            "steps: [{scale: 100%}, {verify: {}}, {weight: 50%}, {weight: 100%}]",
            "50% of the requests can't be given to a worker",
        ),
        ("warm: 20s", "warm: 20s, analyse: true", "a balancer counts nothing of a worker"),
        (
            "blue_green: {warm: 20s}",
            "rolling: {steps: [{traffic: 20%, hold: 9s, "
            f"analyse: {{baseline: fresh, metrics: [{METRIC}]}}}}]}}",
            "a fresh baseline is given as much of the requests as the new group",
        ),
        (
            "strategy:",
            "rollback: {keep: {groups: 1}}\nstrategy:",
            "hosts of a worker that are kept would go on",
        ),
        (
            "strategy:",
            "rollback: {keep_failed: 1h}\nstrategy:",
            "hosts of a worker that are kept would go on",
        ),
        ("run: ./work", "run: ./work $PORT", "host.run: $PORT is not set for a worker whose health.command"),
        ("run: ./work", "run: ./work, stop_grace: 1h", "host.stop_grace: at most 9m"),
    ],
)
def test_what_needs_requests_is_refused_with_its_place(before: str, after: str, said: str) -> None:
    with pytest.raises(SpecError) as caught:
        read((before, after))
    assert said in str(caught.value)


def test_requests_are_given_their_time_by_the_drain() -> None:
    with pytest.raises(SpecError) as caught:
        read(
            ("traffic: none", "traffic: {port: 80}"),
            ("run: ./alive", "port: 8080, run: ./alive"),
            ("run: ./work", "run: ./work, stop_grace: 1m"),
        )
    assert "host.stop_grace: requests have traffic.drain to finish" in str(caught.value)


@pytest.mark.parametrize(("word", "told"), [("workers", []), ("weights", ["traffic"])])
def test_an_agent_from_before_there_were_workers_gets_none(word: str, told: list[str]) -> None:
    words = capability_words(ProviderAbilities(), BalancerAbilities())
    known = tuple(each for each in words if each != "workers")
    hello = Hello(OSLO, PROTOCOL_VERSION, "0.1.0", "local", "haproxy", (*known, word))
    assert [each.field for each in disagreements(read(), {OSLO: hello})] == told


def test_a_cloud_runs_no_command_inside_a_host() -> None:
    words = capability_words(ProviderAbilities(runs_commands=False), BalancerAbilities())
    hello = Hello(OSLO, PROTOCOL_VERSION, "0.1.0", "aws", "aws_alb", words)
    (found,) = disagreements(read(), {OSLO: hello})
    assert str(found.text).endswith("use health.http or health.tcp")


def test_editors_are_told_of_none() -> None:
    assert {"const": "none"} in schema()["properties"]["traffic"]["anyOf"]
