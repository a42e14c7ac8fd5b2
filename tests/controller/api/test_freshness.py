"""Each request to one of several controllers is answered by what any of them saved before it came, though no
hint of the store arrives."""

import asyncio
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from repave_controller.api.web import freshness
from repave_controller.api.web.freshness import Freshness
from repave_controller.core.ports import StoreError
from tests.controller.api.test_relay import HELLO, is_idle, post, released
from tests.fakes.controller.api_rig import ObedientAgent
from tests.fakes.controller.plural_api import peers
from tests.fakes.waiting import until


async def answered(client: aiohttp.ClientSession, path: str, token: str = "") -> int:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with client.get(path, headers=headers) as response:
        return response.status


async def test_what_one_controller_acknowledged_every_other_one_knows(tmp_path: Path) -> None:
    async with peers(tmp_path, "ann", "ben", "cleo") as (ann, ben, cleo):
        for each in (ben, cleo):
            each.mirroring.cancel()
        await ann.take(HELLO)
        for each, region in ((ann, "paris"), (ann, "oslo")):
            each.serve(ObedientAgent(region))
        await until(lambda: all(len(each.sessions.views()) == 2 for each in (ann, ben, cleo)))
        assert (await released(ben))[0] == 202  # ben passes it on to ann
        for each in (ben, cleo):
            for path in ("applications/hello", "applications/hello/why", "applications/hello/history"):
                assert await answered(each.client, path) == 200, (each.name, path)
        await until(lambda: is_idle(ann))
        async with cleo.client.get("applications/hello") as response:
            assert (await response.json())["current_rollout"]["phase"] == "succeeded"


async def test_a_token_counts_everywhere_once_it_is_made_and_nowhere_once_it_is_revoked(
    tmp_path: Path,
) -> None:
    async with peers(tmp_path, "ann", "ben", has_accounts=True) as (ann, ben):
        ben.mirroring.cancel()
        status, made = await post(ann, "tokens", {"name": "ci"})
        assert status == 201, made
        assert (await post(ann, "roles/grant", {"to": "ci", "role": "viewer"}))[0] == 200
        assert await answered(ben.client, "applications", made["token"]) == 200
        status, revoked = await post(ann, f"tokens/{made['item']['id']}/revoke", {"reason": "leaked"})
        assert status == 200, revoked
        assert await answered(ben.client, "applications", made["token"]) == 401


async def handled(_: web.Request) -> web.Response:
    return web.Response(text="as it was known")


async def test_a_store_that_can_not_be_asked_does_not_keep_what_is_known_from_people() -> None:
    async def fails() -> None:
        raise StoreError("the database is gone")

    request = make_mocked_request("GET", "/v1/applications")
    assert (await Freshness(fails).check(request, handled)).status == 200


async def test_only_one_request_waits_for_a_store_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freshness, "SECONDS", 0.0)
    asked, end = 0, asyncio.Event()

    async def hangs() -> None:
        nonlocal asked
        asked += 1
        await end.wait()

    fresh, request = Freshness(hangs), make_mocked_request("GET", "/v1/applications")
    for _ in range(5):
        assert (await fresh.check(request, handled)).status == 200
    assert asked == 1
    end.set()
    await until(lambda: not fresh.is_hanging)
    await fresh.check(request, handled)
    assert asked == 2
