"""What a dashboard follows: each topic made once a change for all tabs, and told to those who may read it."""

import asyncio
import json
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from repave_controller.api.answers.live import TOPICS
from repave_controller.api.resources import live
from repave_controller.api.resources.live import Live
from repave_controller.api.web.streams import Streams
from repave_controller.core.domain.instants import Instant
from repave_controller.runtime.clock import SteadyClock
from repave_controller.security.principals import LOCAL, Grant, Kind, Principal, Role
from repave_protos.protocol.values import RegionName
from tests.controller.api.conftest import SPEC, Asked, release
from tests.controller.api.test_accounts import UNBOUNDED, Signed, made
from tests.controller.api.test_relay import begun, released
from tests.fakes.controller.api_rig import RealController
from tests.fakes.controller.plural_api import peers
from tests.fakes.controller.scheduler import ServedController, served
from tests.fakes.waiting import until

TABS = 5
OTHER = SPEC.replace("hello", "other").replace("8000", "8001")


class Tab:
    """Takes what it is sent, as it comes."""

    def __init__(self, hub: Live, *topics: str, principal: Principal = LOCAL, is_ours: bool = True) -> None:
        self.snapshots: list[tuple[str, Any]] = []
        self._task = asyncio.ensure_future(self._read(hub, topics, principal, is_ours))

    async def _read(self, hub: Live, topics: tuple[str, ...], principal: Principal, is_ours: bool) -> None:
        async for frame in hub.frames(topics, principal, is_ours):
            lines = dict(line.split(": ", 1) for line in frame.decode().splitlines() if line)
            self.snapshots.append((lines["event"], json.loads(lines["data"])))

    def of(self, topic: str) -> list[Any]:
        return [data for name, data in self.snapshots if name == topic]

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})


@pytest.fixture
async def hub(real: RealController, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Live]:
    monkeypatch.setattr(live, "WINDOW_SECONDS", 0.0)
    hub = Live(real.scheduler, real.sessions, SteadyClock(Instant(0.0)), Streams(real.scheduler), "boot")
    yield hub
    assert hub.followed == 0, "a tab that has left is still counted"


async def settled(real: RealController, hub: Live) -> None:
    """All that has changed was told."""
    await until(lambda: hub.told == real.scheduler.version)


async def test_many_tabs_cost_one_computation_a_change(real: RealController, hub: Live) -> None:
    await release(real)
    tabs = [Tab(hub, "fleet", "app:hello") for _ in range(TABS)]
    await until(lambda: all(len(tab.snapshots) == 2 for tab in tabs))
    await release(real, "v2")
    await until(lambda: all(tab.of("app:hello")[-1]["version"] == "v2" for tab in tabs))
    assert max(hub.makes.values()) <= 1 + hub.beats
    for tab in tabs:
        await tab.close()


async def test_changes_within_a_window_are_told_once(
    real: RealController, hub: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "WINDOW_SECONDS", 3600.0)
    await release(real)
    tab = Tab(hub, "fleet")
    await until(lambda: tab.snapshots)
    for _ in range(50):
        real.scheduler.region_changed(RegionName("paris"), set())
        await asyncio.sleep(0)
    await until(lambda: hub.makes["fleet"] == 2)
    for _ in range(50):
        real.scheduler.region_changed(RegionName("paris"), set())
        await asyncio.sleep(0)
    assert (hub.beats, hub.makes["fleet"]) == (1, 2)
    await tab.close()


async def test_nothing_runs_without_a_change_and_nothing_is_sent_without_a_difference(
    real: RealController, hub: Live
) -> None:
    await release(real)
    tab = Tab(hub, "shell", "fleet", "app:hello")
    await until(
        lambda: tab.of("app:hello") and all(each["current"] for each in tab.of("app:hello")[-1]["columns"])
    )
    await until(lambda: not real.scheduler.event_log.waiting)
    await settled(real, hub)
    rows, makes, beats = hub.rows_made, hub.makes["fleet"], hub.beats
    real.scheduler.region_changed(RegionName("paris"), set())
    await until(lambda: hub.makes["fleet"] > makes)
    assert hub.makes["fleet"] - makes <= hub.beats - beats
    assert hub.rows_made == rows, "no row has read anything that changed"
    for topic in ("shell", "fleet", "app:hello"):
        told = tab.of(topic)
        assert all(one != other for one, other in pairwise(told)), topic
    await tab.close()


async def test_a_change_between_the_first_snapshot_and_the_next_is_not_lost(
    real: RealController, hub: Live
) -> None:
    await release(real)
    frames = hub.frames(("app:hello",), LOCAL)
    assert b'"version":"v1"' in await anext(frames)
    await release(real, "v2")  # while the tab reads nothing
    while b'"version":"v2"' not in await anext(frames):
        pass
    await frames.aclose()


async def test_a_tab_of_another_life_of_the_controller_is_told_to_begin_anew(hub: Live) -> None:
    kept, new = Tab(hub, "shell", is_ours=False), Tab(hub, "shell")
    await until(lambda: len(kept.snapshots) == 2 and len(new.snapshots) == 1)
    assert [name for name, _ in kept.snapshots] == ["reset", "shell"]
    await kept.close()
    await new.close()


async def test_a_person_sees_the_rows_of_the_applications_that_they_may_read(
    real: RealController, hub: Live
) -> None:
    await release(real)
    await release(real, application="other", spec=OTHER)
    principal = Principal(Kind.TOKEN, "anna", grants=(Grant(Role.VIEWER, "oth*"),))
    tab, all_of_it = Tab(hub, "fleet", "app:hello", "app:none", principal=principal), Tab(hub, "fleet")
    await until(lambda: len(tab.snapshots) == 3 and all_of_it.snapshots)
    assert [row["name"] for row in tab.of("fleet")[0]["items"]] == ["other"]
    assert [row["name"] for row in all_of_it.of("fleet")[0]["items"]] == ["hello", "other"]
    assert tab.of("app:hello")[0]["problem"]["status"] == 403
    assert tab.of("app:none")[0]["problem"]["status"] == 404
    assert hub.makes["fleet"] <= 1 + hub.beats
    await tab.close()
    await all_of_it.close()


async def test_a_region_s_letter_says_how_an_application_is_there(real: RealController, hub: Live) -> None:
    await release(real)
    real.agents["oslo"].leave()
    await until(lambda: not real.sessions.views()[RegionName("oslo")].is_connected)
    tab = Tab(hub, "fleet")
    await until(lambda: tab.snapshots)
    fleet = tab.of("fleet")[0]
    assert (fleet["regions"], fleet["connected"]) == (["oslo", "paris"], 1)
    assert [(row["states"], row["versions"], row["known"]) for row in fleet["items"]] == [
        ("xu", "00", ["v1"])
    ]
    await tab.close()


async def test_each_of_several_controllers_tells_the_same(tmp_path: Path) -> None:
    async with peers(tmp_path, "ann", "ben") as (ann, ben):
        await begun(ann, ben)
        tabs = []
        for peer in (ann, ben):
            hub = Live(peer.scheduler, peer.sessions, peer.clock, Streams(peer.scheduler), peer.name)
            tabs.append(Tab(hub, "fleet", "app:hello"))
        await released(ben)
        told = {("v1", "succeeded", "uu")}
        await until(lambda: all(set(map(_row, tab.of("fleet"))) >= told for tab in tabs))
        await until(lambda: all(tab.of("app:hello")[-1].get("version") == "v1" for tab in tabs))
        for tab in tabs:
            await tab.close()


def _row(fleet: dict[str, Any]) -> tuple[str, ...]:
    return tuple(row[name] for row in fleet["items"] for name in ("version", "phase", "states"))


def test_the_stream_names_its_events_and_refuses_what_is_no_topic(api: Asked) -> None:
    for wrong in ("", ",", "moon", "fleet:x", "app", "app:", ",".join(f"app:a{n}" for n in range(21))):
        answer = api.get(f"live?topics={wrong}")
        assert (answer.status, answer.json["rule"]) == (400, "bad-request"), wrong
    assert api.get("live").status == 400


def test_the_stream_ends_with_the_right_to_it(tmp_path: Path) -> None:
    with served(tmp_path, has_accounts=True, bounds=UNBOUNDED) as controller:
        admin = Signed(controller.url, controller.admin)
        anna = made(admin, "anna", ("viewer", "*"))
        token = anna.get("whoami").json["token"]
        with anna.stream("live?topics=shell", Authorization=f"Bearer {anna.token}") as events:
            next(events)
            assert admin.post(f"tokens/{token}/revoke", {}).status == 200
            assert not list(events)
        assert anna.get("live?topics=shell").status == 401


def test_every_topic_that_is_there_can_be_made(controller: ServedController, api: Asked) -> None:
    """Those of other files too: with an application, a region and a host as their arguments."""
    api.release()
    api.ended()
    arguments = {"application": "hello", "region": "paris", "": ""}
    for name, kind in TOPICS.items():
        topic = f"{name}:{arguments[kind.takes]}" if kind.takes else name
        with api.stream(f"live?topics={topic}") as events:
            assert "problem" not in next(events)[1], topic
