"""Notices by a whole controller: a release tells a real receiver, and the API how far it is."""

import json
from pathlib import Path
from typing import Any

from aiohttp import web

from repave_controller.core.domain.application import Instant
from repave_controller.runtime.clock import SteadyClock
from repave_controller.settings import ControllerSettings
from tests.controller.api.conftest import SPEC, release
from tests.controller.notices.test_http_target import receiving
from tests.fakes.controller.api_rig import RealController, real_controller
from tests.fakes.waiting import until, until_async


async def got(real: RealController, path: str) -> Any:
    async with real.client.get(path) as answer:
        assert answer.status == 200
        return await answer.json()


def is_told_again(events: list[Any], before: list[Any]) -> bool:
    count = len(before)
    return any(events[at : at + count] == before for at in range(count, len(events)))


async def test_a_release_is_told_and_told_again_when_asked(tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    is_ill = False

    async def answer(request: web.Request) -> web.Response:
        if is_ill:
            return web.Response(status=400)
        events.append(json.loads(await request.read()))
        return web.Response()

    (tmp_path / "secret").write_text("s3cret")
    async with receiving(answer) as url:
        given = {"audit": {"url": f"{url}?key=k3y", "secret": tmp_path / "secret"}}
        settings = ControllerSettings.model_validate({"cloudevents": given})
        async with real_controller(tmp_path, SteadyClock(Instant(0.0)), settings=settings) as real:
            await until_async(lambda: tells(real, cursor=0))
            await release(real)
            await until(lambda: "dev.repave.release.succeeded" in {each["type"] for each in events})
            kinds = [each["type"].removeprefix("dev.repave.") for each in events]
            assert kinds[0] == "release.started"
            assert not {"step.entered", "host.launched"} & set(kinds)
            assert [each["data"]["sequence"] for each in events] == sorted(
                each["data"]["sequence"] for each in events
            )
            first, before = events[0]["data"]["sequence"], list(events)
            body = {"from_sequence": first, "by": "ann"}
            async with real.client.post("notices/audit/replay", json=body) as asked:
                assert asked.status == 202
            await until(lambda: is_told_again(events, before))  # what was under way may come twice
            async with real.client.post("notices/audit/test", json={}) as asked:
                assert (await asked.json())["error"] == ""
            assert events[-1]["type"] == "dev.repave.notices.test"
            is_ill = True
            async with real.client.post("notices/audit/test", json={}) as asked:
                assert "answered 400" in (await asked.json())["error"]
            told = [await got(real, path) for path in ("notices", "doctor", "events")]
            text = json.dumps(told)
            assert "s3cret" not in text
            assert "k3y" not in text
            checks = (await got(real, "doctor"))["items"]
            assert [each["state"] for each in checks if each["name"] == "notices to audit"] == ["ok"]


async def test_people_are_told_what_settings_and_the_spec_ask_for(tmp_path: Path) -> None:
    """By real apprise. The target of the settings is told of failures only; the spec asks for success."""
    told: list[dict[str, Any]] = []

    async def answer(request: web.Request) -> web.Response:
        told.append(await request.json())
        return web.Response()

    async with receiving(answer) as url:
        (tmp_path / "ops").write_text(url.replace("http://", "json://"))
        (tmp_path / "wrong").write_text("exec:///bin/true")
        given = {name: {"address": tmp_path / name} for name in ("ops", "wrong")}
        settings = ControllerSettings.model_validate({"notify": given})
        async with real_controller(tmp_path, SteadyClock(Instant(0.0)), settings=settings) as real:
            await until_async(lambda: has_begun(real, 2))
            spec = f"{SPEC}notify: [{{to: ops, on: [successes]}}, {{to: opps}}]\n"
            await release(real, spec=spec)
            await until(lambda: bool(told))
            ((title, level),) = [(each["title"], each["type"]) for each in told]
            assert (title.partition(": ")[2], level) == ("release succeeded", "success")
            async with real.client.post("notices/wrong/test", json={}) as asked:
                assert "exec is none of slack://" in (await asked.json())["error"]
            items = (await got(real, "notices"))["items"]
            assert [(each["name"], each["kind"]) for each in items] == [
                ("ops", "webhook"),
                ("wrong", "apprise"),
            ]
            body = {"spec": spec, "digest": "d" * 64, "version": "v2", "will_push": True}
            async with real.client.post("plan", json=body) as asked:
                guards = [each for each in (await asked.json())["guards"] if each["rule"] == "notify"]
            (guard,) = guards
            assert guard["refuses"] is False
            assert guard["text"].startswith("notify names opps, which is told of nothing")
            assert guard["text"].endswith("has ops, wrong")
            checks = {each["name"]: each for each in (await got(real, "doctor"))["items"]}
            assert checks["notices to opps"]["state"] == "warn"
            assert "the spec of hello names it" in checks["notices to opps"]["text"]


async def has_begun(real: RealController, targets: int) -> bool:
    return len([each for each in (await got(real, "notices"))["items"] if each["state"] == "well"]) == targets


async def tells(real: RealController, cursor: int) -> bool:
    (item,) = (await got(real, "notices"))["items"]
    return bool(item["cursor"] >= cursor and item["state"] == "well")


async def test_a_target_that_the_settings_do_not_have(tmp_path: Path) -> None:
    async with real_controller(tmp_path, SteadyClock(Instant(0.0)), ()) as real:
        assert await got(real, "notices") == {"items": []}
        for verb, body in (("replay", {"from_sequence": 1}), ("test", {})):
            async with real.client.post(f"notices/audit/{verb}", json=body) as asked:
                assert asked.status == 404
                assert "no target of notices is called 'audit'" in (await asked.json())["detail"]
