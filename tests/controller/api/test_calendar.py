"""When releases may move, as times; and what each region has, as the dashboard follows it."""

from datetime import datetime

from repave_controller.api.answers.live import FleetRows, World
from repave_controller.api.answers.live_regions import TOPICS
from repave_protos.protocol.queries import FindRoom, Room
from tests.controller.api.conftest import SPEC, Asked
from tests.fakes.controller.scheduler import ServedController

WINDOWS = """
windows: [{days: [mon, tue], from: "09:00", to: "16:00", zone: UTC}]
freezes: [{from: "2999-12-20", to: "2999-12-31", reason: holidays}]
"""


def test_a_spec_s_windows_and_freezes_are_told_as_times(api: Asked) -> None:
    answer = api.post("applications/hello/releases", {"spec": SPEC + WINDOWS, "digest": api.push()})
    assert answer.status == 202, answer.json
    calendar = api.get("calendar?days=14").json
    (item,) = calendar["items"]
    assert item["application"] == "hello"
    assert item["windows"] == ["mon-tue 09:00-16:00 UTC"]
    assert len(item["open"]) in (4, 5)
    for each in item["open"]:
        begin, end = (datetime.fromisoformat(each[name]) for name in ("begins_at", "ends_at"))
        assert begin.strftime("%a %H:%M") in ("Mon 09:00", "Tue 09:00")
        assert end.strftime("%H:%M") == "16:00"
    assert item["freezes"][0]["reason"] == "holidays"
    assert api.get("calendar?days=32").status == 400


def test_an_application_that_may_always_move_is_left_out(api: Asked) -> None:
    api.release("v1")
    assert api.get("calendar").json["items"] == []


def test_room_is_what_the_provider_says(api: Asked, controller: ServedController) -> None:
    controller.sessions.tells["paris", FindRoom] = lambda asked: Room(f"9 of 10, not {asked.hosts}")
    assert api.get("regions/paris/room?hosts=10").json == {
        "region": "paris",
        "hosts": 10,
        "lack": "9 of 10, not 10",
    }
    assert api.get("regions/oslo/room").json["lack"] == ""
    assert api.get("regions/moon/room").status == 404
    controller.connect("paris", False)
    assert api.get("regions/paris/room").status == 503


def test_a_region_s_topic_has_its_agent_and_each_application_there(
    api: Asked, controller: ServedController
) -> None:
    api.release("v1")
    api.ended()
    scheduler, sessions = controller.scheduler, controller.sessions

    def world() -> World:
        return World(
            applications=scheduler.applications(),
            seen=scheduler.fence.seen,
            because=scheduler.because,
            regions=sessions.views(),
            ahead=scheduler.fence.ahead,
            freezes=scheduler.freezes,
            now=scheduler.clock(),
            rows=FleetRows(),
        )

    regions = controller.in_loop(lambda: TOPICS["regions"].make(world(), "")).head
    assert regions is not None
    rows = regions.model_dump()["regions"]
    assert [(each["name"], each["connected"], each["applications"]) for each in rows] == [
        ("oslo", True, 1),
        ("paris", True, 1),
    ]
    parts = controller.in_loop(lambda: TOPICS["region"].make(world(), "paris"))
    assert parts.head is not None
    assert parts.head.model_dump()["region"]["certificate_until"] is None
    (there,) = [each.model_dump() for each in parts.items.values()]
    assert (there["name"], there["state"], there["version"], there["rollout"]) == ("hello", "u", "v1", 0)
    assert [each["wanted_weight_bp"] for each in there["groups"]] == [10_000]
