"""A rollout as text: many regions take few lines, and what is waited for is said once."""

from typing import Any

import pytest

from repave_cli.render.progress import awaited, group_line, person_awaited, rollout_line, status_lines

NAMES = [f"eu-{number}" for number in range(1, 21)]
STEPS = [{"kind": kind, "text": "", "state": "waiting"} for kind in ("scale", "verify", "weight", "soak")]


def a_track(region: str, phase: str = "running", step: int = 1) -> dict[str, Any]:
    return {"region": region, "phase": phase, "step": step, "kind": "", "since": None, "reason": ""}


def a_wave(tracks: list[dict[str, Any]], approve: str | None = None) -> dict[str, Any]:
    return {"regions": tracks, "bake_seconds": 0.0, "approve": approve, "parallel": 0, "lockstep": True}


def a_rollout(*waves: dict[str, Any], **changes: object) -> dict[str, Any]:
    rollout = {
        "number": 2,
        "kind": "release",
        "group": "shop-v002",
        "phase": "running",
        "steps": STEPS,
        "step": 1,
        "waves": list(waves),
        "passes": [],
        "paused_by": "",
        "ended_at": None,
        "outcome": "",
    }
    return {**rollout, **changes}


def a_region(name: str, trouble: str = "", connected: bool = True) -> dict[str, Any]:
    counts = dict.fromkeys(
        ("launching", "starting", "healthy", "unhealthy", "failed", "destroying", "weight_bp"), 0
    )
    group = {
        "name": "shop-v002",
        "state": "new",
        "size": 4,
        "verified": 4,
        "wanted_weight_bp": 0,
        "trouble": trouble,
    }
    return {
        "name": name,
        "connected": connected,
        "ahead": "",
        "troubles": [],
        "current": True,
        "traffic_address": "127.0.1.1:8000",
        "groups": [{**counts, **group}],
    }


def test_what_is_wrong_with_a_region_stands_in_its_line() -> None:
    rollout = a_rollout(a_wave([a_track("paris")]))
    ill = a_region("paris") | {"troubles": ["Nova: 503"]}
    assert "TROUBLE: Nova: 503" in "\n".join(status_lines(a_status(rollout, [ill])))
    noted = a_region("paris") | {"troubles": ["note: hosts have no sandbox"]}
    assert "  NOTE: hosts have no sandbox" in "\n".join(status_lines(a_status(rollout, [noted])))
    away = ill | {"connected": False}
    assert "AGENT NOT READY  TROUBLE: Nova: 503" in "\n".join(status_lines(a_status(rollout, [away])))


def test_connections_left_on_a_group_without_traffic_are_shown() -> None:
    phases = ("launching", "starting", "healthy", "verified", "unhealthy", "failed", "destroying")
    group = dict.fromkeys(phases, 0) | {"name": "shop-v001", "state": "warm", "size": 2, "verified": 2}
    group |= {"weight_bp": 0, "wanted_weight_bp": 0, "trouble": "", "in_flight": 3}
    assert group_line(group).endswith("traffic 0 %, 3 connections left")
    assert group_line(group | {"in_flight": 1}).endswith("1 connection left")
    assert group_line(group | {"weight_bp": 10_000, "wanted_weight_bp": 10_000}).endswith("traffic 100 %")


def a_status(rollout: dict[str, Any], regions: list[dict[str, Any]], **changes: object) -> dict[str, Any]:
    status = {
        "name": "shop",
        "serving": "shop-v001",
        "version": "1.0",
        "port": 8000,
        "phase": rollout["phase"],
        "current_rollout": rollout,
        "gates": [],
        "waits": [],
        "queue": {"items": [], "stands": "", "since": None, "remedy": None},
        "because": [],
        "region_items": regions,
    }
    return {**status, **changes}


def a_because(region: str, kind: str, text: str, *, then: str = "", remedy: str = "") -> dict[str, Any]:
    return {
        "kind": kind,
        "text": text,
        "region": region,
        "since": None,
        "until": None,
        "then": then,
        "remedy": {"text": remedy} if remedy else None,
    }


def test_regions_alike_share_a_line_and_those_in_trouble_have_their_own() -> None:
    rollout = a_rollout(a_wave([a_track(name) for name in NAMES]), a_wave([a_track("us", "waiting")], "sre"))
    regions = [a_region(name) for name in NAMES[:18]]
    regions += [a_region(NAMES[18], trouble="answered 500"), a_region(NAMES[19], connected=False)]
    lines = status_lines(a_status(rollout, [*regions, a_region("us")]))
    assert lines[1:] == [
        "release of shop-v002: running, wave 1 of 2  [ scale] [ verify] [ weight] [ soak]",
        "|- wave 1  verify",
        "|  |- eu-19  127.0.1.1:8000  verify",
        "|  |    shop-v002            new       4 verified of 4  traffic 0 %  answered 500",
        "|  |- eu-20  127.0.1.1:8000  verify  AGENT AWAY",
        "|  |    shop-v002            new       4 verified of 4  traffic 0 %",
        "|  `- verify: eu-1, eu-2, eu-3, ... (18 regions)",
        "`- wave 2  waits, also for approval by sre: us",
    ]
    wide = status_lines(a_status(rollout, [*regions, a_region("us")]), is_wide=True)
    assert len(wide) == 2 + 2 + 2 * 21


def test_what_many_regions_wait_for_is_said_once_and_persons_come_first() -> None:
    found = awaited(
        [
            a_because("", "earlier-waves", "wave 2 waits for the waves before it"),
            *(a_because(name, "soak", "soak: it proves itself", then="then weight 50 %") for name in NAMES),
            a_because("rome", "approve", "approve: a person must say yes", remedy="repave promote shop"),
        ]
    )
    assert [each.text + each.way_on for each in found] == [
        "rome: approve: a person must say yes; repave promote shop",
        "eu-1, eu-2, eu-3, ... (20 regions): soak: it proves itself",
    ]
    assert found[1].then == ("then weight 50 %",)


def test_that_a_wave_waits_is_said_where_nothing_else_is() -> None:
    (only,) = awaited([a_because("", "earlier-waves", "wave 2 waits for the waves before it")])
    assert only.text == "wave 2 waits for the waves before it"


def test_many_steps_are_counted_not_listed() -> None:
    rollout = a_rollout(a_wave([a_track("paris", step=5)]), steps=STEPS * 3, step=5)
    assert rollout_line(rollout) == "release of shop-v002: running  step 6 of 12: verify"
    ended = {**rollout, "phase": "rolled-back", "ended_at": "2026-01-01T00:00:00Z", "outcome": "ill"}
    assert rollout_line(ended) == "release of shop-v002: rolled-back  ill"


def test_a_person_is_awaited_at_gates_and_in_a_pause_only() -> None:
    rollout = a_rollout(a_wave([a_track("paris")]), paused_by="ann")
    assert person_awaited(a_status(rollout, [])) == ""
    paused = a_status({**rollout, "phase": "paused"}, [])
    assert person_awaited(paused) == "paused by ann; it goes on with: repave resume shop"
    gate = {"gate": "wave 2", "role": "", "command": "repave promote shop"}
    assert person_awaited(a_status(rollout, [], gates=[gate])) == ("approval of wave 2: repave promote shop")


@pytest.mark.parametrize(
    ("shares", "text"),
    [
        ({"eu": 0, "us": 0}, "shop-v001 (1.0) serves,"),
        ({"eu": 500, "us": 500}, "shop-v001 (1.0) serves, shop-v002 (v002) has 5 % of its traffic,"),
        ({"eu": 10_000, "us": 0}, "shop-v001 (1.0) serves, shop-v002 (v002) has traffic in eu,"),
        ({"eu": 10_000, "us": 500}, "shop-v001 (1.0) serves, shop-v002 (v002) has traffic in eu, us,"),
        (
            {"eu": 10_000, "us": 10_000},
            "shop-v002 (v002) has all traffic, shop-v001 (1.0) is kept to go back",
        ),
    ],
)
def test_the_first_line_says_what_a_group_on_trial_has(shares: dict[str, int], text: str) -> None:
    regions = [a_region(name) for name in shares]
    for region in regions:
        region["groups"][0] |= {"weight_bp": shares[region["name"]], "version": "v002"}
    rollout = a_rollout(a_wave([a_track(name) for name in shares]))

    assert status_lines(a_status(rollout, regions))[0].startswith(f"shop: {text}")
