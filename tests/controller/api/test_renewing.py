"""What the API says of worn hosts, and how they are tainted and renewed."""

from typing import Any

import pytest

from repave_protos.protocol.values import HostName, Worn
from tests.controller.api.conftest import Asked
from tests.fakes.controller.scheduler import ServedController

GROUP = "hello-v001"


@pytest.fixture
def released(api: Asked) -> Asked:
    """hello-v001 serves: 2 hosts in paris, 3 in oslo."""
    assert api.release().status == 202
    assert api.ended()["phase"] == "succeeded"
    return api


def taint(api: Asked, host: str, **body: str) -> tuple[int, dict[str, Any]]:
    answer = api.post(f"hosts/{host}/taint", {"reason": "odd", "by": "ann", **body})
    return answer.status, answer.json


def kinds(api: Asked) -> list[tuple[str, str, str, str]]:
    events = api.get("events?limit=1000").json["items"]
    return [(event["kind"], event["region"], event["host"], event["by"]) for event in events]


def test_a_host_is_found_by_its_name_alone_and_is_replaced(released: Asked) -> None:
    status, answer = taint(released, f"{GROUP}-3")
    assert (status, answer) == (
        202,
        {
            "application": "hello",
            "region": "oslo",
            "group": GROUP,
            "host": f"{GROUP}-3",
            "is_joined": False,
        },
    )
    assert ("host.tainted", "oslo", f"{GROUP}-3", "ann") in kinds(released)


def test_a_host_of_a_name_that_two_regions_have_is_asked_for_again(released: Asked) -> None:
    status, problem = taint(released, f"{GROUP}-1")
    assert (status, problem["rule"]) == (409, "ambiguous-host")
    assert problem["detail"] == (
        f"oslo, paris each have a host called {GROUP}-1; say which one is meant: --region oslo"
    )
    status, answer = taint(released, f"{GROUP}-1", region="paris")
    assert (status, answer["region"]) == (202, "paris")


@pytest.mark.parametrize(
    ("host", "body", "text"),
    [
        ("hello-v009-1", {}, "no server group is called hello-v009; there are: hello-v001"),
        ("nonsense", {}, "no server group is called nonsense; there are: hello-v001"),
        (f"{GROUP}-9", {}, f"{GROUP} has no host called {GROUP}-9; it has: {GROUP}-1, {GROUP}-2, {GROUP}-3"),
        (f"{GROUP}-1", {"region": "rome"}, f"{GROUP} has no hosts in rome; it is in: oslo, paris"),
    ],
)
def test_errors_name_what_there_is(released: Asked, host: str, body: dict[str, str], text: str) -> None:
    status, problem = taint(released, host, **body)
    assert (status, problem["rule"]) == (404, "unknown-host")
    assert text in problem["detail"]
    assert not [kind for kind, *_ in kinds(released) if kind == "host.tainted"]


def test_a_host_that_can_not_be_looked_for_is_not_tainted(
    released: Asked, controller: ServedController
) -> None:
    controller.connect("oslo", False)
    status, problem = taint(released, f"{GROUP}-1")
    assert (status, problem["rule"]) == (409, "ambiguous-host")
    assert "paris has a host called hello-v001-1, oslo can't be asked" in problem["detail"]
    status, problem = taint(released, f"{GROUP}-3")
    assert (status, problem["rule"]) == (409, "region-unreachable")
    assert "the agent of oslo is not connected" in problem["detail"]
    assert taint(released, f"{GROUP}-1", region="paris")[0] == 202


def test_the_same_key_acts_once(released: Asked) -> None:
    key = {"Idempotency-Key": "k"}
    first = released.post("applications/hello/renew", {"by": "ann"}, **key).json
    again = released.post("applications/hello/renew", {"by": "ann"}, **key).json
    assert (first["group"], first["kind"], first["is_joined"]) == (GROUP, "renewal", False)
    assert again == {**first, "is_joined": True}
    assert [kind for kind, *_ in kinds(released)].count("group.renewing") == 1


def test_a_renewal_reaches_every_region(released: Asked, controller: ServedController) -> None:
    answer = released.post("applications/hello/renew", {"by": "ann", "reason": "new kernel"})
    assert answer.status == 202
    controller.in_loop(lambda: None)  # what was published before is heard by then
    generations = {
        region: [group.generation for group in desired["hello"].groups]  # type: ignore[index]  # a name
        for region, desired in controller.desired.items()
    }
    assert generations == {"paris": [1], "oslo": [1]}


def test_the_age_report_says_who_is_worn_and_what_is_done(
    released: Asked, controller: ServedController
) -> None:
    worn = Worn(HostName(f"{GROUP}-2"), "age", "older than 7.0 d")
    controller.sessions.worn = {GROUP: (worn,)}
    controller.connect("oslo", False)  # it keeps what it had reported
    assert taint(released, f"{GROUP}-1", region="paris")[0] == 202
    items = {item["region"]: item for item in released.get("applications/hello/ages").json["items"]}
    assert items["paris"]["oldest_at"] == "2023-11-14T22:13:20Z"
    assert (items["paris"]["hosts"], items["paris"]["state"]) == (2, "serving")
    assert items["oslo"]["worn"] == []
    assert released.get("ages").json["items"] == list(items.values())


def test_hosts_say_why_they_are_worn(released: Asked, controller: ServedController) -> None:
    controller.hold()  # nothing is replaced now
    taint(released, f"{GROUP}-1", region="paris")
    hosts = {
        (host["region"], host["name"]): host["worn"]
        for host in released.get("applications/hello/hosts").json["items"]
    }
    assert hosts["paris", f"{GROUP}-1"] == "tainted by ann: odd; being replaced"
    assert hosts["oslo", f"{GROUP}-1"] == ""
    (item,) = [each for each in released.get("ages").json["items"] if each["region"] == "paris"]
    assert (item["tainted"], item["replacing"]) == (1, 1)
    assert item["worn"] == [
        {"host": f"{GROUP}-1", "why": "tainted", "text": "odd", "by": "ann", "is_replaced": True}
    ]
