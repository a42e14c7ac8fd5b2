"""A fleet that is there already, adopted through the API: found, shown, adopted, or refused with why."""

from dataclasses import replace
from typing import Any

import pytest

from repave_controller.fleet.questions import AgentRefused
from repave_protos.protocol.queries import FindHosts, FindWayIn, FoundHost, FoundHosts, WayIn
from repave_protos.protocol.values import NO_PACKAGE, GivenHost, RegionName
from tests.controller.api.conftest import SPEC, Asked
from tests.fakes.controller.scheduler import ServedController

PATH = "applications/hello/adopt"
NAMED = {"region": "paris", "kind": "hosts", "hosts": [{"address": "10.0.0.1", "port": 8080}]}
BACKEND = {"region": "oslo", "kind": "haproxy", "name": "old-hello"}


def given(net: int, count: int, trouble: str = "") -> FoundHosts:
    """All but the first have this trouble."""
    hosts = (GivenHost(f"10.{net}.0.{number}", 8080, f"web{number}") for number in range(1, count + 1))
    return FoundHosts(tuple(FoundHost(host, trouble if number else "") for number, host in enumerate(hosts)))


@pytest.fixture
def adopting(api: Asked, controller: ServedController) -> Asked:
    """Agents that adopt, and know what is asked of them."""
    for name, net, count in (("paris", 0, 2), ("oslo", 1, 3)):
        view = controller.sessions.known[RegionName(name)]
        view.hello = replace(view.hello, capabilities=("weights", "way_in", "adopts"))
        controller.sessions.tells[name, FindHosts] = given(net, count)
        controller.sessions.tells[name, FindWayIn] = WayIn()
    return api


def adopt(api: Asked, **changes: Any) -> Any:
    return api.post(PATH, {"spec": SPEC, "fleets": [NAMED, BACKEND], **changes})


def test_a_dry_run_tells_what_is_found_and_changes_nothing(
    adopting: Asked, controller: ServedController
) -> None:
    controller.sessions.tells["oslo", FindHosts] = given(1, 4, "refused")
    answer = adopt(adopting, dry_run=True)
    assert answer.status == 200, answer.json
    shown = answer.json
    assert (shown["group"], shown["problems"], len(shown["hosts"])) == ("", [], 6)
    assert shown["hosts"][1] == {
        "region": "oslo", "name": "web2", "address": "10.1.0.2", "port": 8080, "trouble": "refused",
    }  # fmt: skip
    assert any("3 of 4 hosts do not pass the probe now" in note for note in shown["notes"])
    assert any("oslo: the fleet has 4 hosts; a release makes the spec's 3" in note for note in shown["notes"])
    assert adopting.get("applications/hello").status == 404


def test_how_adopted_hosts_would_be_reached_otherwise_than_they_were_probed_is_told(adopting: Asked) -> None:
    front = "{name: web, port: 8000, to: 9000, proxy_protocol: {send: true}}"
    spec = SPEC.replace("traffic: {frontend: hello, port: 8000}", f"traffic: {{fronts: [{front}]}}")
    answer = adopting.post(PATH, {"spec": spec, "fleets": [NAMED, BACKEND], "dry_run": True})
    assert answer.status == 200, answer.json
    said = "front web leads to port 9000 of the adopted hosts, too, with a header of the PROXY protocol"
    assert any(note.startswith(said) for note in answer.json["notes"])


def test_it_becomes_the_group_that_serves_and_is_published_without_traffic(
    adopting: Asked, controller: ServedController
) -> None:
    assert adopt(adopting).json["group"] == "hello-v001"
    group = adopting.get("applications/hello/groups").json["items"][0]
    assert (group["version"], group["digest"], group["adopted"]) == ("adopted", "", True)
    desired = controller.scheduler.applications()["hello"].desired_in(RegionName("paris"))  # type: ignore[index]
    assert desired is not None
    assert (desired.frontend_port, desired.groups[0].weight_bp, desired.groups[0].digest) == (
        0,
        0,
        NO_PACKAGE,
    )
    assert "only probed until the first release" in adopting.get("applications/hello/why").json["text"]
    again = adopt(adopting).json
    assert (again["group"], again["is_joined"]) == ("hello-v001", True)


def test_a_release_goes_from_it_and_a_rollback_back_to_it(
    adopting: Asked, controller: ServedController
) -> None:
    adopt(adopting)
    plan = adopting.post("plan", {"spec": SPEC, "digest": adopting.push()}).json
    assert plan["changes"][0] == "the first release: hello-v001 was adopted, and stays as it is"
    assert adopting.release("v1").status == 202
    assert adopting.ended()["phase"] == "succeeded"
    assert adopting.post("applications/hello/rollback", {}).status == 202
    assert adopting.ended()["phase"] == "succeeded"
    assert adopting.get("applications/hello").json["serving"] == "hello-v001"
    refused = adopt(adopting)
    assert (refused.status, refused.json["rule"]) == (409, "has-releases")


def test_served_at_once_it_has_its_port(adopting: Asked, controller: ServedController) -> None:
    assert adopt(adopting).status == 200
    assert adopt(adopting, serve=True).json["is_joined"] is False
    desired = controller.scheduler.applications()["hello"].desired_in(RegionName("oslo"))  # type: ignore[index]
    assert desired is not None
    assert (desired.frontend_port, desired.groups[0].weight_bp) == (8000, 10_000)


def test_a_way_in_that_is_missing_matters_once_it_is_served(
    adopting: Asked, controller: ServedController
) -> None:
    controller.sessions.tells["oslo", FindWayIn] = WayIn("hello has no frontend for port 8000")
    assert any("hello has no frontend" in note for note in adopt(adopting).json["notes"])
    refused = adopt(adopting, serve=True)
    assert (refused.status, refused.json["rule"]) == (409, "no-way-in")


@pytest.mark.parametrize(
    ("fleets", "said"),
    [
        ([NAMED, NAMED], "the fleet of paris is named twice"),
        ([{**NAMED, "region": "rome"}], "rome: the spec has no such region"),
        ([{**NAMED, "name": "x"}], "kind hosts takes hosts alone"),
        ([{"region": "paris", "kind": "haproxy"}], "kind haproxy takes name alone"),
        ([{**NAMED, "hosts": [{"address": "10.0.0.1", "port": 0}]}], "greater than or equal to 1"),
    ],
)
def test_what_can_not_be_meant_is_refused(adopting: Asked, fleets: list[Any], said: str) -> None:
    refused = adopting.post(PATH, {"spec": SPEC, "fleets": fleets})
    assert refused.status in (400, 409, 422)
    assert said in str(refused.json), refused.json


def test_a_fleet_that_can_not_be_adopted_is_refused_with_the_reason(
    adopting: Asked, controller: ServedController
) -> None:
    tells = controller.sessions.tells
    for answer, said in (
        (
            AgentRefused("there is no backend old-hello"),
            "oslo: its fleet can't be found: there is no backend",
        ),
        (FoundHosts((FoundHost(GivenHost("10.0.0.9", 80), "refused"),)), "none of its 1 hosts passes"),
        (FoundHosts((given(1, 1).hosts[0],) * 2), "is named twice"),
    ):
        tells["oslo", FindHosts] = answer
        assert said in adopt(adopting).json["detail"]
    command = SPEC.replace("{http: {port: 8080, path: /}", "{command: {run: ./ok, port: 8080}")
    assert "health.command" in adopting.post(PATH, {"spec": command, "fleets": [NAMED]}).json["detail"]
    view = controller.sessions.known[RegionName("oslo")]
    view.hello = replace(view.hello, capabilities=("weights",))
    assert adopt(adopting).json["rule"] == "agents-do-not-adopt"
