"""Webhooks to a whole controller: from the signed request to the release, and all that is refused before."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from repave_controller.api.resources import hooks as routes
from repave_controller.core.domain.application import Instant
from repave_controller.hooks.verification import Arrived
from repave_controller.runtime.clock import SteadyClock
from repave_controller.settings import ControllerSettings
from tests.controller.api.conftest import a_package, release
from tests.controller.hooks.senders import SECRET, arrived, signed
from tests.fakes.controller.api_rig import RealController, real_controller
from tests.fakes.waiting import until, until_async


@pytest.fixture
async def real(tmp_path: Path) -> AsyncIterator[RealController]:
    (tmp_path / "secret").write_text(SECRET)
    given = {"from": "generic", "secret": tmp_path / "secret", "application": "hello"}
    hooks = {"ci": given, "gh": {**given, "from": "github", "policy": "plan", "events": ["push"]}}
    settings = ControllerSettings.model_validate({"hooks": hooks})
    async with real_controller(tmp_path, SteadyClock(Instant(0.0)), settings=settings) as started:
        await until(lambda: len(started.sessions.views()) == 2)
        yield started


async def post(real: RealController, hook: str, came: Arrived) -> tuple[int, dict[str, Any]]:
    url = real.client._base_url
    assert url is not None
    async with real.client.post(
        url.origin() / "hooks" / hook, data=came.body, headers=came.headers
    ) as answer:
        return answer.status, await answer.json()


async def digest_of(real: RealController, content: str) -> str:
    async with real.client.post("images", data=a_package(content)) as pushed:
        return str((await pushed.json())["digest"])


async def got(real: RealController, path: str) -> Any:
    async with real.client.get(path) as answer:
        return await answer.json()


async def test_a_build_is_released_by_the_hook(real: RealController) -> None:
    await release(real)
    digest = await digest_of(real, "v2")
    came = arrived("generic build", now=time.time(), digest=digest)
    status, answer = await post(real, "ci", came)
    assert (status, answer) == (202, {"id": "m-d-1", "state": "received", "is_new": True})
    await until_async(lambda: is_in(real, "released"))
    (item,) = (await got(real, "deliveries?hook=ci"))["items"]
    assert (item["version"], item["digest"], item["rollout"]) == ("2.0", digest, 2)
    status, answer = await post(real, "ci", came)
    assert (status, answer["is_new"]) == (202, False)
    events = (await got(real, "events?limit=1000"))["items"]
    assert [each["by"] for each in events if each["kind"] == "release.started"][-1] == "hook/ci"
    (hook, _) = (await got(real, "hooks"))["items"]
    assert (hook["name"], hook["deliveries"], hook["failed"]) == ("ci", 1, 0)
    everything = [await got(real, each) for each in ("hooks", "deliveries", "events?limit=1000", "doctor")]
    assert SECRET not in json.dumps(everything)


async def is_in(real: RealController, state: str) -> bool:
    items = (await got(real, "deliveries"))["items"]
    assert not items or items[0]["state"] != "failed", items
    return bool(items) and items[0]["state"] == state


async def test_a_plan_tells_and_releases_nothing(real: RealController) -> None:
    await release(real)
    await post(real, "gh", arrived("github push"))
    await until_async(lambda: has_ended(real))
    (item,) = (await got(real, "deliveries?hook=gh"))["items"]
    assert item["state"] == "failed"
    assert "digest" in item["text"]  # its spec has a path
    assert len((await got(real, "applications/hello/history"))["items"]) == 1
    path = f"hooks/gh/deliveries/{item['id']}"
    assert await got(real, path) == item
    async with real.client.post(f"{path}/redeliver", json={"by": "ann"}) as answer:
        assert (answer.status, (await answer.json())["asked"]) == (202, 1)


async def has_ended(real: RealController) -> bool:
    return any(each["ended_at"] for each in (await got(real, "deliveries"))["items"])


@pytest.mark.parametrize(
    ("hook", "came", "status", "rule"),
    [
        ("ci", Arrived({"content-type": "application/json"}, b"{}"), 401, "not-signed-in"),
        ("gh", signed("github push", b"{}", "wrong"), 401, "not-signed-in"),
        ("gh", signed("github push", b"{"), 400, "not-json"),
        ("gh", signed("github push", b"\xff\xfe"), 400, "not-json"),
        ("gh", Arrived({"content-type": "text/plain"}, b"{}"), 415, "not-json"),
        ("gh", Arrived({}, b""), 415, "not-json"),
        ("gh", signed("github push", b" " * (routes.BODY_BYTES_MAX + 1)), 413, "request-entity-too-large"),
        ("other", signed("github push", b"{}"), 404, "unknown-hook"),
        ("..%2fci", signed("github push", b"{}"), 404, "unknown-hook"),
        ("ünïcode", signed("github push", b"{}"), 404, "unknown-hook"),
    ],
    ids=lambda value: str(value)[:20] if isinstance(value, str | int) else "",
)
async def test_what_is_refused(
    hook: str, came: Arrived, status: int, rule: str, real: RealController
) -> None:
    found, answer = await post(real, hook, came)
    assert (found, answer["rule"]) == (status, rule)
    assert SECRET not in json.dumps(answer)
    assert (await got(real, "deliveries"))["items"] == []


async def test_one_who_guesses_is_slowed_down(real: RealController) -> None:
    wrong = signed("github push", b"{}", "wrong")
    statuses = [(await post(real, "gh", wrong))[0] for _ in range(int(routes.WRONG[1]) + 5)]
    assert statuses[0] == 401
    assert statuses[-1] == 429


async def test_other_methods_are_none(real: RealController) -> None:
    url = real.client._base_url
    assert url is not None
    async with aiohttp.ClientSession() as session, session.put(url.origin() / "hooks" / "ci") as answer:
        assert answer.status == 405
    await asyncio.sleep(0)
