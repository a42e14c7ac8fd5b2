"""The traffic of server groups: regions are asked, added up, and named where nothing is known of them."""

import time
from dataclasses import replace

import pytest

from repave_protos.protocol.queries import Flip, GroupTraffic, Traffic, TrafficOf
from repave_protos.protocol.values import GroupName, RegionName
from tests.controller.api.conftest import Asked
from tests.fakes.controller.scheduler import ServedController

GROUP, OTHER = GroupName("hello-v001"), GroupName("hello-v002")


def can(controller: ServedController, region: str, *words: str) -> None:
    view = controller.sessions.known[RegionName(region)]
    view.hello = replace(view.hello, capabilities=(*view.hello.capabilities, *words))


def counting(controller: ServedController) -> None:
    """Paris and Oslo have counted the same, a minute ago."""
    slot = int(time.time()) // 5 - 12
    traffic = Traffic(
        5,
        (
            GroupTraffic(GROUP, (slot, slot + 1), (30, 10), (0, 5), (2000, 3000)),
            GroupTraffic(OTHER, (slot + 1,), (10,), (0,), (1500,)),
        ),
        (Flip(slot * 5.0 + 4, ((GROUP, 5000), (OTHER, 5000))),),
        slot * 5.0 - 100,
    )
    for region in ("paris", "oslo"):
        can(controller, region, "requests=counted")
        controller.sessions.tells[region, TrafficOf] = traffic


def test_what_balancers_have_counted_is_added_up(api: Asked, controller: ServedController) -> None:
    api.release("v1")
    counting(controller)
    answer = api.get("applications/hello/traffic").json
    first, second, *rest = answer["at"]
    assert second - first == 5
    assert len(rest) >= 9
    groups = {each["name"]: each for each in answer["items"]}
    assert groups[GROUP]["version"] == "v1"
    assert (groups[GROUP]["requests"][:3], groups[GROUP]["errors"][:2]) == ([60, 20, 0], [0, 10])
    assert [groups[name]["share"][1] for name in (GROUP, OTHER)] == [0.5, 0.5]
    assert groups[GROUP]["response_ms"][:3] == [2.0, 3.0, None]
    assert (groups[OTHER]["version"], groups[OTHER]["share"][:3]) == ("", [0, 0.5, None])
    flips = [(each["region"], each["weights_bp"]) for each in answer["flips"]]
    assert flips == [(region, {GROUP: 5000, OTHER: 5000}) for region in ("oslo", "paris")]
    one = api.get("applications/hello/traffic?region=oslo").json
    assert one["items"][0]["requests"][:2] == [30, 10]
    assert list(one["kept_since"]) == ["oslo"]


def test_from_when_on_is_passed_to_agents(api: Asked, controller: ServedController) -> None:
    api.release("v1")
    counting(controller)
    for query, since in (
        ("since=1700000000", 1_700_000_000),
        ("last=60", time.time() - 60),
        ("last=86400", time.time() - 86_400),
    ):
        api.get(f"applications/hello/traffic?region=oslo&{query}")
        _, question = controller.sessions.questions[-1]
        assert isinstance(question, TrafficOf)
        assert question.since == pytest.approx(since, abs=5)


def test_regions_of_which_nothing_is_known_are_named(api: Asked, controller: ServedController) -> None:
    api.release("v1")
    can(controller, "oslo", "requests=not_counted")
    assert api.get("applications/hello/traffic").json["unknown"] == {
        "oslo": "its balancer, haproxy, does not count the requests of each server group",
        "paris": "its agent is of an earlier version, which counts no requests: upgrade it",
    }
    counting(controller)
    controller.connect("paris", False)
    answer = api.get("applications/hello/traffic").json
    assert "is not connected" in answer["unknown"]["paris"]
    assert list(answer["kept_since"]) == ["oslo"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("applications/moon/traffic", 404),
        ("applications/hello/traffic?region=moon", 404),
        ("applications/hello/traffic?last=86401", 400),
        ("applications/hello/traffic?last=0", 400),
        ("applications/hello/traffic?since=-1", 400),
    ],
)
def test_what_is_asked_wrongly_is_refused(api: Asked, path: str, status: int) -> None:
    api.release("v1")
    assert api.get(path).status in (status, 422)
