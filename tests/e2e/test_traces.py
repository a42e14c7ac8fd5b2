"""A release is one trace over controller and agents, sent to a receiver of OTLP, whoever dies meanwhile."""

import http.client
import json
from pathlib import Path

from tests.support.otlp import Received, Receiver, receiving
from tests.support.stage import Stage, staged

CI = "0af7651916cd43dd8448eb211c80319c"


def test_a_release_is_one_trace_over_controller_and_agents(directory: Path) -> None:
    with receiving() as receiver:
        told = receiver.environment
        with staged(directory, controller_environment=told, agent_environment=told) as stage:
            stage.release("v1")
            assert stage.ended()["phase"] == "succeeded"
            first = root_of(stage, receiver, "release hello", 1)
            stage.wait(lambda: _flips(receiver, first.trace) == {"paris", "oslo"}, "what agents told")
            is_whole(receiver, first)

            stage.release("v2")
            stage.kill_controller()
            stage.start_controller()
            assert stage.ended()["phase"] == "succeeded"
            second = root_of(stage, receiver, "release hello", 2)
            stage.wait(lambda: _flips(receiver, second.trace) == {"paris", "oslo"}, "what agents told")
            is_whole(receiver, second)
            assert second.trace != first.trace

            _roll_back(stage)
            stage.ended()
            back = root_of(stage, receiver, "rollback hello", 3)
            stage.wait(lambda: [each for each in receiver.spans if each.trace == CI], "the request")
            (request,) = [each for each in receiver.spans if each.trace == CI]
            assert (request.parent, request.links) == ("b7ad6b7169203331", (back.trace,))


def root_of(stage: Stage, receiver: Receiver, name: str, rollout: int) -> Received:
    def found() -> list[Received]:
        return [each for each in receiver.named(name) if each.attributes["repave.rollout"] == rollout]

    stage.wait(found, f"the span of rollout {rollout}")
    (root,) = found()
    return root


def _flips(receiver: Receiver, trace: str) -> set[str]:
    return {each.attributes["repave.region"] for each in receiver.named("flip") if each.trace == trace}


def is_whole(receiver: Receiver, root: Received) -> None:
    spans = [each for each in receiver.spans if each.trace == root.trace]
    by_id = {each.id: each for each in spans}
    twice = [each for each in spans if each is not by_id[each.id]]
    assert twice == []
    assert (root.parent, root.service, root.is_error) == ("", "repave-controller", False)
    for each in spans:
        assert each is root or each.parent in by_id, each
        assert each.began <= each.ended
    assert {(each.name, each.service.removeprefix("repave-")) for each in spans} >= {
        ("wave 1", "controller"),
        ("region paris", "controller"),
        ("region oslo", "controller"),
        ("step weight", "controller"),
        ("launch", "agent"),
        ("verify", "agent"),
        ("flip", "agent"),
    }
    for each in spans:
        if each.service == "repave-agent":
            assert by_id[each.parent].name == f"region {each.attributes['repave.region']}"


def _roll_back(stage: Stage) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", stage.http_port, timeout=30)
    headers = {"Content-Type": "application/json", "traceparent": f"00-{CI}-b7ad6b7169203331-01"}
    connection.request("POST", "/v1/applications/hello/rollback", json.dumps({"by": "test"}), headers)
    assert connection.getresponse().status == 202
    connection.close()
