"""Freezes in the API: of everything, and for a time; added, lifted, and how what is wrong is told."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.controller.api.conftest import Asked
from tests.fakes.controller.scheduler import ServedController

HOLIDAYS = {"from": "2999-12-20", "to": "2999-12-31", "zone": "Europe/Berlin", "reason": "holidays"}


def test_at_first_everything_may_move(api: Asked) -> None:
    assert api.get("freezes").json == {"everything": None, "items": []}


def test_a_freeze_of_everything_tells_who_when_and_why_until_it_is_lifted(
    api: Asked, controller: ServedController
) -> None:
    answer = api.post("freezes/all", {"by": "ann", "reason": "prices are wrong"})
    assert answer.status == 200
    assert answer.json == api.get("freezes").json
    full = answer.json["everything"]
    assert (full["by"], full["reason"]) == ("ann", "prices are wrong")
    assert abs(datetime.fromisoformat(full["at"]) - datetime.now(UTC)) < timedelta(minutes=5)
    assert controller.store.shelf.freezes.full is not None
    assert api.post("freezes/all/lift", {"by": "bob", "reason": "mended"}).json["everything"] is None
    events = api.get("events").json["items"]
    assert [(each["kind"], each["by"]) for each in events] == [
        ("freeze.all.added", "ann"),
        ("freeze.all.lifted", "bob"),
    ]
    assert "prices are wrong" in events[0]["text"]


def test_freezing_and_unfreezing_everything_may_be_repeated(api: Asked) -> None:
    first = api.post("freezes/all", {"by": "ann"}).json
    again = api.post("freezes/all", {"by": "bob"})
    assert (again.status, again.json) == (200, first)
    for _ in range(2):
        assert api.post("freezes/all/lift", {}).status == 200
    assert len(api.get("events").json["items"]) == 2


def test_a_freeze_is_answered_as_it_is_kept(api: Asked) -> None:
    answer = api.post("freezes", {**HOLIDAYS, "applications": ["web-*", "shop"], "by": "ann"})
    assert answer.status == 201
    freeze = answer.json
    added_at = freeze.pop("added_at")
    assert freeze == {
        "id": "F1",
        "begins_at": "2999-12-19T23:00:00Z",
        "ends_at": "2999-12-31T23:00:00Z",
        "zone": "Europe/Berlin",
        "is_on": False,
        "applications": ["web-*", "shop"],
        "reason": "holidays",
        "by": "ann",
    }
    assert api.get("freezes").json["items"] == [{**freeze, "added_at": added_at}]


def test_a_freeze_may_be_asked_for_twice_and_is_there_once(api: Asked) -> None:
    first = api.post("freezes", {**HOLIDAYS, "by": "ann"}).json
    api.post("freezes", {**HOLIDAYS, "applications": ["shop"]})
    again = api.post("freezes", {**HOLIDAYS, "by": "bob"})
    assert (again.status, again.json) == (201, first)
    assert [each["id"] for each in api.get("freezes").json["items"]] == ["F1", "F2"]


def test_a_freeze_that_is_on_is_told_as_on(api: Asked) -> None:
    freeze = api.post("freezes", {"from": "2026-01-01", "to": "2999-12-31"}).json
    assert (freeze["is_on"], freeze["applications"], freeze["zone"]) == (True, [], "UTC")


def test_a_lifted_freeze_is_gone(api: Asked) -> None:
    api.post("freezes", HOLIDAYS)
    assert api.post("freezes/F1/lift", {"by": "ann"}).json == {"everything": None, "items": []}
    assert [each["kind"] for each in api.get("events").json["items"]] == ["freeze.added", "freeze.lifted"]
    again = api.post("freezes/F1/lift", {})
    assert (again.status, again.json["rule"]) == (404, "unknown-freeze")
    assert again.json["detail"] == "no freeze is called 'F1'; there are: none"


@pytest.mark.parametrize(
    ("change", "field", "text"),
    [
        ({"zone": "europe/berlin"}, "zone", "did you mean Europe/Berlin?"),
        ({"from": "tomorrow"}, "from", "write a date such as 2026-12-20"),
        ({"to": "2999-02-30"}, "to", "2999-02-30 is no day or time"),
        ({"to": "2998-12-31"}, "", "2998-12-31 is not after"),
        ({"applications": ["web prod"]}, "applications.0", "pattern"),
        ({"applications": "web"}, "applications", "tuple"),
        ({"reason": "two\nlines"}, "reason", "one line of printable characters"),
        ({"untill": "2999-01-01"}, "untill", "not permitted"),
    ],
)
def test_a_wrong_freeze_is_refused_with_its_field(
    api: Asked, change: dict[str, Any], field: str, text: str
) -> None:
    answer = api.post("freezes", {**HOLIDAYS, **change})
    assert (answer.status, answer.json["rule"]) == (400, "bad-request")
    (problem,) = answer.json["problems"]
    assert problem["field"] == field
    assert text in problem["message"]
    assert api.get("freezes").json["items"] == []


def test_a_freeze_that_is_over_is_refused(api: Asked) -> None:
    answer = api.post("freezes", {"from": "2020-01-01", "to": "2020-01-02"})
    assert (answer.status, answer.json["rule"]) == (409, "freeze-over")
    assert "2020-01-03 00:00 UTC" in answer.json["detail"]


def test_what_cannot_be_saved_is_told_and_has_not_happened(api: Asked, controller: ServedController) -> None:
    def fill() -> None:
        controller.store.trouble = "the disk is full"

    controller.in_loop(fill)
    answer = api.post("freezes/all", {"by": "ann"})
    assert (answer.status, answer.json["rule"]) == (503, "store")
    assert api.get("freezes").json["everything"] is None
