"""What the API asks of regions' providers: pools, room, images to bake."""

from dataclasses import replace
from typing import Any

import pytest

from repave_controller.fleet.questions import AgentRefused, RegionUnreachable
from repave_protos.protocol.queries import (
    BakeOrder,
    Bakes,
    ChangeMachine,
    Done,
    FindRoom,
    FindWayIn,
    Front,
    ListBakes,
    ListMachines,
    Machines,
    PoolVerb,
    Room,
    WayIn,
)
from repave_protos.protocol.values import ApplicationName, Digest, RegionName
from tests.controller.api.conftest import SPEC, Asked
from tests.fakes.controller.api_rig import BAKE, IMAGE
from tests.fakes.controller.api_rig import MACHINE as A_MACHINE
from tests.fakes.controller.scheduler import ServedController

DIGEST = "d" * 64
MACHINE = replace(A_MACHINE, state="quarantined", reason="disk")


def pooled(controller: ServedController, *regions: str) -> None:
    for name in regions:
        view = controller.sessions.known[RegionName(name)]
        view.hello = replace(view.hello, provider="ssh_pool")


def test_machines_of_all_pools_are_told_and_regions_without_one_are_left_out(
    api: Asked, controller: ServedController
) -> None:
    pooled(controller, "paris")
    controller.sessions.tells["paris", ListMachines] = Machines(
        (MACHINE, replace(MACHINE, name="m2", since=0.0))
    )
    answer = api.get("pool").json
    assert answer["items"][0] == {
        "region": "paris", "name": "m1", "address": "10.0.0.1", "state": "quarantined", "host": "",
        "since": "1970-01-01T00:01:00Z", "reason": "disk",
    }  # fmt: skip
    assert answer["items"][1]["since"] is None
    assert (answer["asked"], answer["unreachable"]) == (["paris"], {})


def test_a_region_that_is_away_or_has_no_pool_is_named_with_the_reason(
    api: Asked, controller: ServedController
) -> None:
    pooled(controller, "paris")
    controller.connect("paris", False)
    assert list(api.get("pool").json["unreachable"]) == ["paris"]
    controller.sessions.tells["oslo", ListMachines] = AgentRefused(
        "provider is local: only ssh_pool has a pool"
    )
    assert "only ssh_pool has a pool" in api.get("pool?region=oslo").json["unreachable"]["oslo"]
    moon = api.get("pool?region=moon")
    assert (moon.status, moon.json["detail"]) == (404, "no region moon; there are: oslo, paris")


@pytest.mark.parametrize("verb", ["quarantine", "return", "release"])
def test_what_is_done_to_a_machine_is_passed_on_with_who_and_why(
    api: Asked, controller: ServedController, verb: PoolVerb
) -> None:
    controller.sessions.tells["paris", ChangeMachine] = Done("m1 is quarantined: it smells")
    answer = api.post(f"regions/paris/pool/m1/{verb}", {"reason": "it smells", "by": "ann"})
    assert (answer.status, answer.json) == (200, {"text": "m1 is quarantined: it smells"})
    assert controller.sessions.questions == [("paris", ChangeMachine(verb, "m1", "it smells, ann"))]


def test_all_machines_are_returned_at_once(api: Asked, controller: ServedController) -> None:
    controller.sessions.tells["paris", ChangeMachine] = Done("m1, m2: back")
    answer = api.post("regions/paris/pool/return", {"reason": "key mended", "by": "ann"})
    assert (answer.status, answer.json) == (200, {"text": "m1, m2: back"})
    assert controller.sessions.questions == [("paris", ChangeMachine("return", "", "key mended, ann"))]


def test_what_a_region_refuses_is_told_in_its_words(api: Asked, controller: ServedController) -> None:
    controller.sessions.tells["paris", ChangeMachine] = AgentRefused("no machine is called m9; there are: m1")
    refused = api.post("regions/paris/pool/m9/return", {})
    assert (refused.status, refused.json["detail"]) == (409, "paris: no machine is called m9; there are: m1")
    controller.connect("paris", False)
    assert api.post("regions/paris/pool/m1/return", {}).status == 503


# ------------------------------------------------------------------------------------------------------ room


def plan(api: Asked) -> dict[str, Any]:
    answer: dict[str, Any] = api.post("plan", {"spec": SPEC, "digest": api.push()}).json
    return answer


def test_a_plan_says_where_its_hosts_do_not_fit(api: Asked, controller: ServedController) -> None:
    def room(question: FindRoom) -> Room:
        return Room(f"instances: 9 of 10 are used, {question.hosts} more are needed")

    controller.sessions.tells["oslo", FindRoom] = room
    guards = [each for each in plan(api)["guards"] if each["rule"] == "room"]
    assert [(each["refuses"], each["text"]) for each in guards] == [
        (
            True,
            "oslo needs 3 more hosts at its peak, and has no room: instances: 9 of 10 are used, 3 more are "
            "needed",
        )
    ]


FULL = Room("instances: 10 of 10 are used, 3 more are needed")
GIVES_WAY = SPEC + "rollback: {keep: {give_way: true}}\n"


def full_after_two(api: Asked, controller: ServedController) -> None:
    """v1 is kept, v2 serves, and oslo has no room for anything more."""
    for version in ("v1", "v2"):
        assert api.release(version).status == 202
        api.ended()
    controller.sessions.tells["oslo", FindRoom] = FULL


def test_a_release_that_does_not_fit_is_refused_with_the_group_that_can_go(
    api: Asked, controller: ServedController
) -> None:
    full_after_two(api, controller)
    refused = api.release("v3")
    assert (refused.status, refused.json["rule"]) == (409, "no-room")
    assert "oslo needs 3 more hosts at its peak, and has no room" in refused.json["detail"]
    assert "repave groups retire hello hello-v001" in refused.json["detail"]
    (guard,) = [each for each in plan(api)["guards"] if each["rule"] == "room"]
    assert guard["refuses"]
    assert guard["remedy"]["text"].endswith("end a group that is kept: repave groups retire hello hello-v001")
    assert [each["name"] for each in api.get("applications/hello/groups").json["items"]] == [
        "hello-v001",
        "hello-v002",
    ]


def test_a_release_may_be_tried_all_the_same(api: Asked, controller: ServedController) -> None:
    full_after_two(api, controller)
    assert api.release("v3", force=True).status == 202


MISFIT = Room("", "host.size: there is no xxl; there are: l, xl")


def test_a_release_of_hosts_that_can_not_be_made_is_refused_whatever_would_make_room(
    api: Asked, controller: ServedController
) -> None:
    """Neither --force nor kept groups that give way change what machines there are."""
    full_after_two(api, controller)
    controller.sessions.tells["oslo", FindRoom] = MISFIT
    for spec, force in ((SPEC, False), (SPEC, True), (GIVES_WAY, False)):
        refused = api.release("v3", spec=spec, force=force)
        assert (refused.status, refused.json["rule"]) == (409, "no-such-host")
        assert refused.json["detail"] == (
            "oslo can't make such hosts: host.size: there is no xxl; there are: l, xl"
        )
    (guard,) = [each for each in plan(api)["guards"] if each["rule"] == "host"]
    assert (guard["refuses"], guard["facts"]) == (True, {"region": "oslo", "why": MISFIT.misfit})


def test_a_repeated_release_is_the_one_before_though_it_has_filled_its_room(
    api: Asked, controller: ServedController
) -> None:
    first = api.release("v1", key="k")
    api.ended()
    controller.sessions.tells["oslo", FindRoom] = FULL
    assert api.release("v1", key="k").json["rollout"] == first.json["rollout"]


def test_kept_groups_give_way_where_the_spec_says_so(api: Asked, controller: ServedController) -> None:
    full_after_two(api, controller)
    answer = api.post("plan", {"spec": GIVES_WAY, "digest": api.push()}).json
    (guard,) = [each for each in answer["guards"] if each["rule"] == "room"]
    assert (guard["refuses"], guard["text"]) == (
        False,
        "oslo: hello-v001 make room, as the spec says: they end before it begins there",
    )
    assert api.release("v3", spec=GIVES_WAY).status == 202
    api.ended()
    events = [each for each in api.get("events?limit=1000").json["items"] if each["kind"] == "group.retiring"]
    assert events[0]["text"] == "hello-v001 gives way to hello-v003 in oslo: drained and destroyed"


def test_a_queued_release_is_asked_for_when_its_turn_comes(api: Asked, controller: ServedController) -> None:
    gated = SPEC.replace("{warm: 0s}", "{warm: 0s, approve: ops}")
    assert api.release("v1", spec=gated).status == 202
    assert api.release("v2", queue=True).status == 202
    controller.sessions.tells["oslo", FindRoom] = FULL
    assert api.post("applications/hello/promote", {"role": "ops", "full": True}).status == 202
    stands = standing_queue(api)
    assert "v2: oslo needs 3 more hosts at its peak, and has no room" in stands
    assert [each["version"] for each in api.get("applications/hello/queue").json["items"]] == ["v2"]
    controller.sessions.tells["oslo", FindRoom] = Room("")
    assert api.post("applications/hello/queue/resume", {}).status == 202
    api.ended()
    assert api.get("applications/hello").json["queue"]["items"] == []


def standing_queue(api: Asked) -> str:
    """Why the queue stands still, once it does."""
    with api.stream("applications/hello/stream") as snapshots:
        for _, status in snapshots:
            if status["queue"]["stands"]:
                return str(status["queue"]["stands"])
    raise AssertionError("the stream ended before the queue stood still")


def test_a_region_that_can_not_say_is_told_and_one_that_is_away_is_not_asked(
    api: Asked, controller: ServedController
) -> None:
    controller.sessions.tells["oslo", FindRoom] = RegionUnreachable(
        "the agent of oslo did not answer within 3 s"
    )
    controller.connect("paris", False)
    (guard,) = [each for each in plan(api)["guards"] if each["rule"] == "room"]
    assert not guard["refuses"]
    assert guard["text"].startswith(
        "oslo: whether there is room for 3 more hosts is not known: the agent of oslo"
    )
    assert [region for region, _ in controller.sessions.questions] == ["oslo"]


# --------------------------------------------------------------------------------------------- ways in

SHUT = WayIn("hello has no frontend for port 8000", (Front(ApplicationName("blog"), 80),))


def shut(controller: ServedController, region: str, answer: WayIn | Exception) -> None:
    """The region's agent can be asked, and says this."""
    view = controller.sessions.known[RegionName(region)]
    view.hello = replace(view.hello, capabilities=("weights", "way_in"))
    controller.sessions.tells[region, FindWayIn] = answer


def test_a_port_at_which_no_client_comes_in_is_refused_at_plan_and_release(
    api: Asked, controller: ServedController
) -> None:
    shut(controller, "oslo", SHUT)
    text = "traffic.port: oslo: hello has no frontend for port 8000"
    digest = api.push()
    assert api.post("plan", {"spec": SPEC, "digest": digest}).json["problems"] == [text]
    refused = api.post("applications/hello/releases", {"spec": SPEC, "digest": digest})
    assert (refused.status, refused.json["rule"], refused.json["detail"]) == (409, "no-way-in", text)
    assert refused.json["facts"] == {
        "regions": ["oslo"],
        "lack": SHUT.lack,
        "port": 8000,
        "fronts": ["blog:80"],
    }
    assert FindWayIn(ApplicationName("hello"), 8000) in [each for _, each in controller.sessions.questions]
    shut(controller, "oslo", WayIn())
    assert api.post("applications/hello/releases", {"spec": SPEC, "digest": digest}).status == 202


def test_a_canary_where_a_balancer_only_switches_is_refused_at_plan_and_release(
    api: Asked, controller: ServedController
) -> None:
    view = controller.sessions.known[RegionName("oslo")]
    words = ("weights", "traffic_precision=10000bp")
    view.hello = replace(view.hello, balancer="azure_lb", capabilities=words)
    text = (
        "strategy: the balancer of oslo (azure_lb) only switches: a group gets all of the traffic there or "
        "none, not 5 %; use blue_green, or have repave's HAProxy split it in front of the same hosts: "
        'balancer = "haproxy" in the agent\'s settings'
    )
    canary = SPEC.replace("{blue_green: {warm: 0s}}", "{canary: {steps: [{traffic: 5%}]}}")
    digest = api.push()
    foretold = api.post("plan", {"spec": canary, "digest": digest}).json
    assert foretold["problems"] == [text]
    assert [each for each in foretold["guards"] if each["rule"] == "traffic_precision"] == []
    refused = api.post("applications/hello/releases", {"spec": canary, "digest": digest})
    assert (refused.status, refused.json["rule"], refused.json["detail"]) == (409, "only-switches", text)
    assert refused.json["facts"] == {"regions": ["oslo"], "balancers": ["azure_lb"], "weight_bp": 500}
    assert api.post("applications/hello/releases", {"spec": SPEC, "digest": digest}).status == 202


def test_a_fresh_baseline_where_a_balancer_splits_in_two_is_refused_at_plan_and_release(
    api: Asked, controller: ServedController
) -> None:
    for region in ("oslo", "paris"):
        view = controller.sessions.known[RegionName(region)]
        view.hello = replace(view.hello, capabilities=("weights", "baselines", "requests=counted"))
    steps = "{canary: {steps: [{traffic: 5%, hold: 10m, analyse: {baseline: fresh}}]}}"
    fresh = SPEC.replace("{blue_green: {warm: 0s}}", steps)
    digest = api.push()
    foretold = api.post("plan", {"spec": fresh, "digest": digest}).json
    assert foretold["problems"] == []
    view = controller.sessions.known[RegionName("oslo")]
    view.hello = replace(view.hello, balancer="octavia", capabilities=("weights", "requests=counted"))
    (problem,) = api.post("plan", {"spec": fresh, "digest": digest}).json["problems"]
    assert "the balancer of oslo (octavia) splits the traffic in two" in problem
    refused = api.post("applications/hello/releases", {"spec": fresh, "digest": digest})
    assert (refused.status, refused.json["rule"]) == (409, "no-baselines")


def test_a_region_that_can_not_say_where_clients_come_in_is_believed(
    api: Asked, controller: ServedController
) -> None:
    shut(controller, "oslo", RegionUnreachable("the agent of oslo did not answer within 3 s"))
    assert api.post("applications/hello/releases", {"spec": SPEC, "digest": api.push()}).status == 202


def test_a_plan_says_where_users_can_not_be_told_apart(api: Asked, controller: ServedController) -> None:
    view = controller.sessions.known[RegionName("oslo")]
    view.hello = replace(view.hello, capabilities=("weights", "split=request"))
    sticky = SPEC.replace("port: 8000}", "port: 8000, split: cookie, cookie: uid}")
    answer = api.post("plan", {"spec": sticky, "digest": api.push()}).json
    (guard,) = [each for each in answer["guards"] if each["rule"] == "traffic_split"]
    assert guard["refuses"]
    assert guard["text"].startswith("oslo: its balancer can't split by cookie")
    assert [each for each in plan(api)["guards"] if each["rule"] == "traffic_split"] == []


# ---------------------------------------------------------------------------------------------------- images


def test_images_and_those_under_way_are_told_by_region(api: Asked, controller: ServedController) -> None:
    for region in ("paris", "oslo"):
        controller.sessions.tells[region, ListBakes] = Bakes((IMAGE,), (BAKE,))
    answer = api.get("baked-images").json
    assert [(each["region"], each["name"], each["made_at"]) for each in answer["items"]] == [
        ("oslo", "shop-1", "1970-01-01T00:01:00Z"), ("paris", "shop-1", "1970-01-01T00:01:00Z"),
    ]  # fmt: skip
    assert [each["step"] for each in answer["bakes"]] == ["the server boots"] * 2


def test_a_bake_is_begun_in_each_region_that_is_named(api: Asked, controller: ServedController) -> None:
    controller.sessions.tells["paris", ListBakes] = Bakes(bakes=(BAKE,))
    digest = api.push()
    asked = {
        "digest": digest,
        "name": "shop-1",
        "regions": ["paris"],
        "check": ["./serve", "--test"],
        "by": "ann",
    }
    answer = api.post("baked-images", asked)
    assert (answer.status, len(answer.json["bakes"])) == (202, 1)
    assert controller.sessions.questions[0] == (
        "paris",
        BakeOrder(Digest(digest), "shop-1", ("./serve", "--test"), "ann"),
    )


@pytest.mark.parametrize(
    ("changed", "status", "text"),
    [
        ({"digest": DIGEST}, 422, f"no package {DIGEST} is stored"),
        ({"regions": []}, 422, "name the regions"),
        ({"regions": ["moon"]}, 404, "no region moon"),
        ({"regions": ["oslo"]}, 409, "oslo: provider local makes no machine images"),
    ],
)
def test_a_bake_that_can_not_be_is_refused(
    api: Asked, controller: ServedController, changed: dict[str, Any], status: int, text: str
) -> None:
    controller.sessions.tells["oslo", BakeOrder] = AgentRefused("provider local makes no machine images")
    asked = {"digest": api.push(), "name": "shop-1", "regions": ["paris"], **changed}
    refused = api.post("baked-images", asked)
    assert (refused.status, text in refused.json["detail"]) == (status, True)
