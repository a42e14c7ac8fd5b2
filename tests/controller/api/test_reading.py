"""What the API tells of a fleet that two regions are."""

from dataclasses import replace

from repave_controller.api.answers.views import group_item
from repave_controller.core.domain.instants import Instant
from repave_controller.runtime.gaps import record_of_dropped
from repave_protos.protocol.values import RegionName
from tests.controller.api.conftest import Asked
from tests.fakes.controller.scheduler import ServedController
from tests.fakes.controller.stepping import released


def test_empty_lists_are_lists(api: Asked) -> None:
    for path in ("applications", "groups", "hosts", "events", "images"):
        assert api.get(path).json["items"] == [], path


def test_the_controller_says_that_it_lives(api: Asked) -> None:
    assert api.get("/healthz").content == b"ok\n"


def test_a_released_application_shows_its_groups_weights_and_steps(api: Asked) -> None:
    api.release()
    assert api.ended()["phase"] == "succeeded"
    status = api.get("applications/hello").json
    assert (status["serving"], status["version"], status["hosts"], status["verified"]) == (
        "hello-v001",
        "v1",
        5,
        5,
    )
    assert {region["name"]: region["groups"][0]["weight_bp"] for region in status["region_items"]} == {
        "oslo": 10_000,
        "paris": 10_000,
    }
    assert [step["state"] for step in status["current_rollout"]["steps"]] == ["done"] * 4
    assert status["region_items"][0]["traffic_address"] == "127.0.2.1:8000"


def test_history_names_who_why_and_how_it_ended(api: Asked) -> None:
    api.release(by="ann", reason="first")
    api.ended()
    (item,) = api.get("applications/hello/history").json["items"]
    assert (item["group"], item["phase"], item["started_by"], item["reason"]) == (
        "hello-v001",
        "succeeded",
        "ann",
        "first",
    )


def test_hosts_of_a_region_that_is_away_are_no_error(api: Asked, controller: ServedController) -> None:
    api.release()
    api.ended()
    controller.connect("oslo", False)
    answer = api.get("applications/hello/hosts")
    assert answer.status == 200
    assert {host["region"] for host in answer.json["items"]} == {"paris"}
    assert answer.json["unreachable"] == {
        "oslo": "the agent of oslo is not connected; is repave-agent running there?"
    }


def test_hosts_can_be_asked_for_by_region_and_group_with_their_logs(api: Asked) -> None:
    api.release()
    api.ended()
    answer = api.get("hosts?region=paris&group=hello-v001&log_lines=2").json
    assert [host["name"] for host in answer["items"]] == ["hello-v001-1", "hello-v001-2"]
    assert answer["items"][0]["log_tail"] == "line 0\nline 1"


def test_why_says_which_region_is_waited_for_and_what_a_person_could_do(
    api: Asked, controller: ServedController
) -> None:
    controller.sessions.sick.add("hello-v001")
    api.release()
    with api.stream("applications/hello/stream") as snapshots:
        for _, status in snapshots:
            if any(because["kind"] == "verify" for because in status["because"]):
                break
    answer = api.get("applications/hello/why").json
    assert answer["text"] == "the release of hello-v001 is in step verify"
    assert [
        (because["region"], because["text"], because["remedy"]["text"]) for because in answer["because"]
    ] == [
        (
            region,
            f"verify: 0 of {size} hosts verified and up behind the balancer (answered 500)",
            "repave hosts hello shows each host; repave abort hello ends it",
        )
        for region, size in (("paris", 2), ("oslo", 3))
    ]
    assert all(because["since"] for because in answer["because"])


def test_why_says_why_the_last_rollout_went_back(api: Asked, controller: ServedController) -> None:
    api.release()
    api.ended()
    assert api.get("applications/hello/why").json["text"] == (
        "nothing is being rolled out; hello-v001 serves"
    )
    controller.sessions.sick.add("hello-v002")
    api.release(version="v2")
    api.post("applications/hello/abort", {"by": "ann", "reason": "wrong branch"})
    assert api.ended()["phase"] == "aborted"
    assert api.get("applications/hello/why").json["text"] == (
        "nothing is being rolled out; hello-v001 serves; the release of hello-v002 went back: aborted by ann:"
        " wrong branch"
    )


def test_events_are_read_from_a_sequence_on_or_from_the_end(api: Asked) -> None:
    api.release()
    api.ended()
    everything = api.get("events").json["items"]
    numbers = [event["sequence"] for event in everything]
    assert numbers == sorted(numbers)
    assert everything[0]["kind"] == "release.started"
    later = api.get(f"events?after={numbers[1]}&application=hello&limit=1").json["items"]
    assert [event["sequence"] for event in later] == [numbers[2]]
    newest = api.get("events?newest=1&limit=2").json["items"]
    assert [event["sequence"] for event in newest] == numbers[-2:]


def test_who_reads_events_from_before_those_that_are_kept_is_told_of_the_gap(
    api: Asked, controller: ServedController
) -> None:
    api.release()
    api.ended()
    shelf = controller.store.shelf
    del shelf.events[:4]
    shelf.records["retention", "events"] = record_of_dropped(4, Instant(7.0))
    page = api.get("events?after=2&limit=3").json["items"]
    assert [each["sequence"] for each in page] == [4, 5, 6, 7]
    assert (page[0]["kind"], page[0]["text"].split(" are ")[0]) == ("events.dropped", "events 3 to 4")
    for silent in ("events?newest=1", "events?after=4"):
        assert "events.dropped" not in {each["kind"] for each in api.get(silent).json["items"]}, silent
    with api.stream("events/stream", **{"Last-Event-ID": "1"}) as events:
        told = [next(events) for _ in range(2)]
    assert [(number, each["kind"] == "events.dropped") for number, each in told] == [(4, True), (5, False)]
    with api.stream("events/stream?application=hello", **{"Last-Event-ID": "4"}) as events:
        assert next(events)[0] == 5


def test_history_says_up_to_which_rollout_it_is_no_longer_kept(
    api: Asked, controller: ServedController
) -> None:
    for version in ("v1", "v2", "v3"):
        api.release(version)
        api.ended()
    assert api.get("applications/hello/history").json["dropped_through"] == 0
    shelf = controller.store.shelf
    shelf.rollouts = {key: each for key, each in shelf.rollouts.items() if key[1] > 2}
    history = api.get("applications/hello/history").json
    assert ([each["number"] for each in history["items"]], history["dropped_through"]) == ([3], 2)


def test_doctor_finds_the_region_that_is_away_and_says_what_to_start(
    api: Asked, controller: ServedController
) -> None:
    api.release()
    controller.connect("oslo", False)
    checks = {check["name"]: check for check in api.get("doctor").json["items"]}
    assert checks["region paris"]["state"] == "ok"
    assert checks["region oslo"]["state"] == "fail"
    assert checks["region oslo"]["remedy"] == "start repave-agent in oslo"
    assert checks["store"]["state"] == "ok"


def test_what_is_wrong_with_a_region_is_shown_where_one_looks(
    api: Asked, controller: ServedController
) -> None:
    api.release()
    api.ended()
    dead, note = (
        "Nova: compute: GET /servers: 503",
        "note: 1 of 4 machines of the pool quarantined (m1): full",
    )
    controller.sessions.views()[RegionName("paris")].troubles = (dead, note)
    found = [check for check in api.get("doctor").json["items"] if check["name"] == "region paris"]
    assert [(check["state"], check["text"]) for check in found[1:]] == [
        ("fail", dead),
        ("warn", note.removeprefix("note: ")),
    ]
    assert api.get("applications/hello/why").json["troubles"] == {"paris": [dead, note]}
    regions = {each["name"]: each for each in api.get("applications/hello").json["region_items"]}
    assert regions["paris"]["troubles"] == [dead, note]
    assert regions["oslo"]["troubles"] == []
    assert {each["name"]: each["troubles"] for each in api.get("regions").json["items"]}["oslo"] == []


def test_a_region_whose_agent_can_not_begin_is_away_for_decisions_and_says_why(
    api: Asked, controller: ServedController
) -> None:
    api.release()
    api.ended()
    region = controller.sessions.views()[RegionName("paris")]
    region.troubles, region.is_starting = ("its agent can't begin yet: Keystone 503",), True
    status = {each["name"]: each for each in api.get("applications/hello").json["region_items"]}["paris"]
    assert (status["connected"], status["troubles"]) == (False, ["its agent can't begin yet: Keystone 503"])


def test_every_route_is_described(api: Asked) -> None:
    described = api.get("openapi.json").json
    assert described["openapi"] == "3.1.0"
    assert "/v1/applications/{application}/releases" in described["paths"]
    body = described["paths"]["/v1/plan"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    name = body["$ref"].rpartition("/")[2]
    assert "spec" in described["components"]["schemas"][name]["properties"]


def test_a_group_says_of_which_machines_its_hosts_are() -> None:
    application = released("a").application
    (group,) = application.groups
    usual = group_item(group, application, {})
    assert (usual.machine_image, usual.machine_sizes, usual.spot) == ("", [], False)
    template = replace(group.template, machine_image="debian-12", machine_sizes=("xl", "l"), is_spot=True)
    chosen = group_item(replace(group, template=template), application, {})
    assert (chosen.machine_image, chosen.machine_sizes, chosen.spot) == ("debian-12", ["xl", "l"], True)


def test_the_regions_of_an_application_come_in_pages(api: Asked) -> None:
    api.release()
    api.ended()
    whole = api.get("applications/hello").json["region_items"]
    first = api.get("applications/hello/regions?limit=1").json
    rest = api.get(f"applications/hello/regions?limit=1&after={first['next']}").json
    assert [*first["items"], *rest["items"]] == whole
    assert (first["next"], rest["next"]) == (whole[0]["name"], "")
    unknown = api.get("applications/hello/regions?after=rome")
    assert (unknown.status, unknown.json["detail"]) == (400, "after: rome is no region of hello")


def test_of_many_regions_the_summary_says_as_much_as_the_whole(api: Asked) -> None:
    api.release()
    api.ended()
    whole, told = api.get("applications/hello").json, api.get("applications/hello/summary").json
    assert {name: told[name] for name in whole if name != "current_rollout"} == {
        name: whole[name] for name in whole if name != "current_rollout"
    }
    assert (told["alike"], told["regions_left"]) == ([], 0)
