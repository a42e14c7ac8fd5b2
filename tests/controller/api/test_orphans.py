"""What the API tells of hosts that nobody wants."""

import pytest

from tests.controller.api.conftest import Asked
from tests.fakes.agent.orphans import an_orphan
from tests.fakes.controller.scheduler import ServedController


def test_orphans_are_told_with_what_becomes_of_them(api: Asked, controller: ServedController) -> None:
    controller.sessions.unwanted["paris"] = [an_orphan()]
    assert api.get("orphans").json == {
        "items": [
            {
                "name": "ghost-v001-1",
                "region": "paris",
                "group": "ghost-v001",
                "application": "ghost",
                "phase": "starting",
                "age_seconds": 7200.0,
                "unclaimed_seconds": 6.0,
                "state": "seen once, looked at again in 4 s",
            }
        ],
        "asked": ["oslo", "paris"],
        "unreachable": {},
        "next": "",
    }


def test_one_region_can_be_asked(api: Asked, controller: ServedController) -> None:
    controller.sessions.unwanted["paris"] = [an_orphan()]
    assert api.get("orphans?region=oslo").json == {
        "items": [],
        "asked": ["oslo"],
        "unreachable": {},
        "next": "",
    }


def test_regions_that_could_not_be_asked_are_named(api: Asked, controller: ServedController) -> None:
    controller.connect("oslo", False)
    answer = api.get("orphans").json
    assert answer["asked"] == ["paris"]
    assert answer["unreachable"] == {
        "oslo": "the agent of oslo is not connected; is repave-agent running there?"
    }
    assert api.get("orphans?region=rome").json["rule"] == "unknown-region"


def test_orphans_are_described(api: Asked) -> None:
    described = api.get("openapi.json").json
    answer = described["paths"]["/v1/orphans"]["get"]["responses"]["200"]["content"]["application/json"]
    name = answer["schema"]["$ref"].rpartition("/")[2]
    assert set(described["components"]["schemas"][name]["required"]) == {
        "items",
        "asked",
        "unreachable",
    }


@pytest.mark.parametrize(
    ("ages", "state", "text"),
    [
        ((6.0, 60.0), "ok", "none older than 60 s"),
        ((6.0, 61.0), "warn", "1 orphaned host is still there after 60 s, in paris"),
        ((61.0, 90.0), "warn", "2 orphaned hosts are still there after 60 s, in paris"),
    ],
)
def test_doctor_warns_of_orphans_that_stay(
    api: Asked, controller: ServedController, ages: tuple[float, ...], state: str, text: str
) -> None:
    controller.sessions.unwanted["paris"] = [an_orphan(*each) for each in enumerate(ages, start=1)]
    (check,) = [check for check in api.get("doctor").json["items"] if check["name"] == "orphans"]
    assert (check["state"], check["text"]) == (state, text)
    assert check["remedy"] == ("repave orphans says what keeps them" if state == "warn" else "")
