"""Every route once over the real parts: SQLite, packages on disk, sessions with agents that obey. What comes
must have exactly the shape that the OpenAPI document promises."""

import asyncio
import json
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pydantic import BaseModel

from repave_controller.api.web import streams
from repave_controller.api.web.openapi import EVENTS, JSON
from repave_controller.core.domain.application import Instant
from repave_controller.runtime.clock import SteadyClock
from repave_protos.protocol.certificates import new_key, request_for
from tests.controller.api.conftest import SPEC, a_package, release, routes, sha256
from tests.fakes.controller.api_rig import RealController, real_controller
from tests.fakes.waiting import until

FUTURE = 4_000_000_000.0
HOLIDAYS = {"from": "2999-12-20", "to": "2999-12-31", "applications": ["web-*"]}


def exactly(model: type[BaseModel], body: Any) -> None:
    """No field is missing, none is too many, all have their types; a list that is whole has no next page."""
    told = {"next": "", **body} if "items" in body and "next" in model.model_fields else body
    assert model.model_validate(body).model_dump(mode="json") == told


ELSEWHERE = {
    "applications/{application}/adopt",
    "simulations",
    "notices/{target}/replay",
    "notices/{target}/test",
}
"""Commands that take seconds, a target to be told, or a fleet to be found: their own tests ask for them."""


async def join(real: RealController) -> None:
    word, _ = await real.enrolment.invite("oslo", "ann")
    await real.enrolment.join(word.secret, request_for(new_key()), "192.0.2.7")


EMPTY = (
    "applications/{application}/queue",
    "applications/{application}/traffic",
    "applications/{application}/analyses",
    "applications/{application}/suspects",
    "regions/{region}/suspects",
    "calendar",
    "notices",
    "plans",
    "hooks",
    "deliveries",
    "gitops",
    "promotions",
)
"""Lists in which nothing is while all is well."""
READS = [
    route
    for route in routes()
    if route.method == "GET" and route.answer is not None and route.gives == JSON
    if route.path
    not in ("tokens", "roles", "audit", "trusts", "people")  # those of accounts: test_accounts.py
    and not route.path.endswith(
        ("{plan}", "{artifact}", "{delivery}")
    )  # what is being fetched: tests/cli/commands/test_artifacts.py
]


async def test_every_read_answers_as_described_before_and_after_a_release(real: RealController) -> None:
    for is_released in (False, True):
        if is_released:
            await release(real)
            await release(real, "v2")
            async with real.client.post("freezes", json=HOLIDAYS) as added:
                assert added.status == 201
            await join(real)
        for route in READS:
            if "{application}" in route.path and not is_released:
                continue
            address = route.path.replace("{application}", "hello").replace("{region}", "oslo")
            if address == "pool":  # only regions with one are asked, unless they are named
                address = "pool?region=oslo"
            async with real.client.get(address) as answer:
                body = await answer.json()
                assert answer.status == 200, body
                assert answer.content_type == "application/json"
                assert route.answer is not None
                exactly(route.answer, body)
                if is_released and "items" in body and route.path not in EMPTY:
                    assert body["items"], route.path


async def test_every_command_answers_as_described(real: RealController) -> None:
    for version in ("v1", "v2"):
        await release(real, version)
    for agent in real.agents.values():
        agent.hold()
    posts = {each.path: each for each in routes() if each.method == "POST" and each.gives != EVENTS}

    async def refused(path: str, rule: str, status: int = 409, **sent: Any) -> None:
        named = {"application": "hello", "token": "0" * 12, "team": "sre", "trust": "t1", "person": "p1"}
        named |= {"target": "audit", "hook": "ci", "delivery": "d1"}
        async with real.client.post(path.format(**named), **sent) as answer:
            told = await answer.json()
            assert (answer.status, told["rule"]) == (status, rule), told
            posts.pop(path)

    async def post(path: str, **sent: Any) -> None:
        named = {"freeze": "F1", "host": "hello-v002-1", "region": "oslo", "machine": "m1"}
        address = path.format(application="hello", **named)
        async with real.client.post(address, **sent) as answer:
            told = await answer.json()
            assert answer.status in (200, 201, 202), told
            model = posts.pop(path).answer
            assert model is not None
            exactly(model, told)

    digest = sha256(a_package("v1"))
    await post("images", data=a_package("v3"))
    await post("outline", json={"files": [{"name": "repave.yaml", "text": SPEC}]})
    await post("plan", json={"spec": SPEC, "digest": digest})
    await post("applications/{application}/releases", json={"spec": SPEC, "digest": digest})
    one = "applications/{application}"
    inside = SPEC.replace("./app", "'https://127.0.0.1/{version}'")
    await refused(f"{one}/artifacts", "artifact-private", json={"spec": inside, "version": "1"})
    await refused(f"{one}/analyses/replay", "no-analysis", 404, json={"rollout": 1})
    await refused(f"{one}/retry", "not-held", json={})
    await refused(f"{one}/step-back", "first-step", json={})
    await refused(f"{one}/promote", "no-gate", json={"skip": True})
    await refused(f"{one}/object", "no-objection", json={})
    await refused(f"{one}/jobs/settle", "no-jobs", json={"job": "migrate", "outcome": "again"})
    await refused(f"{one}/queue/resume", "queue-empty", json={})
    await refused(f"{one}/queue/drop", "queue-empty", json={"all": True})
    await refused(f"{one}/queue/move", "queue-empty", json={"name": "v3", "place": 1})
    await post(f"{one}/pause", json={"by": "ann"})
    await post(f"{one}/resume", json={"by": "ann"})
    await post(f"{one}/override", json={"rule": "capacity", "reason": "known"})
    await post(f"{one}/sizes/plan", json={"sizes": {"paris": 4}})
    await post(f"{one}/sizes", json={"sizes": {"paris": 4}})
    await post(f"{one}/abort", json={"by": "ann"})
    for agent in real.agents.values():
        agent.let_go()
    await until(lambda: real.scheduler.applications()["hello"].running is None)  # type: ignore[index]
    await post("applications/{application}/rollback/plan", json={"by": "ann"})
    await post("applications/{application}/rollback", json={"by": "ann"})
    await until(lambda: real.scheduler.applications()["hello"].running is None)  # type: ignore[index]
    await post("applications/{application}/renew", json={"by": "ann"})
    await post("hosts/{host}/taint", json={"by": "ann", "region": "paris"})
    await post("recovery", json={"dry_run": True})
    await join(real)
    await post("agents/{region}/join-token", json={"by": "ann"})
    await post("agents/{region}/revoke", json={"by": "ann"})
    await post("agents/rotate", json={"by": "ann"})
    await post("freezes", json=HOLIDAYS)
    await post("freezes/all", json={"by": "ann", "reason": "prices are wrong"})
    await post("freezes/{freeze}/lift", json={"by": "ann"})
    await post("baked-images", json={"digest": digest, "name": "shop-1", "regions": ["paris"]})
    for verb in ("quarantine", "return", "release"):
        await post(f"regions/{{region}}/pool/{{machine}}/{verb}", json={"by": "ann"})
    await refused(f"{one}/drain-region", "no-record", json={"region": "oslo"})
    await refused(f"{one}/drain-last-region", "no-record", json={"region": "oslo", "reason": "flood"})
    await post(f"{one}/undrain-region", json={"region": "oslo"})
    await post("regions/{region}/drain", json={"by": "ann"})
    await post("regions/{region}/undrain", json={"by": "ann"})
    await post(f"{one}/retire-group", json={"group": "hello-v002"})
    await post(f"{one}/leave-region", json={"region": "oslo"})
    await post("regions/{region}/take-over", json={"by": "ann"})
    await until(lambda: "oslo" not in real.scheduler.applications()["hello"].regions)  # type: ignore[index]
    await post("regions/{region}/remove", json={"by": "ann"})
    await post(f"{one}/delete", json={"by": "ann"})
    await post("regions/{region}/pool/return", json={"by": "ann"})
    trust = {"name": "ci", "issuer": "https://gitlab.com", "claims": {"sub": "x"}}
    await refused("login", "no-accounts", json={"token": "x"})
    await refused("trusts", "no-accounts", json=trust)
    await refused("trusts/{trust}/remove", "no-accounts", json={})
    for path, sent in (("device", {}), ("device/poll", {"handle": "h"}), ("browser", {"port": 1})):
        await refused(f"login/{path}", "no-accounts", json=sent)
    await refused("login/browser/finish", "no-accounts", json={"handle": "h", "state": "s"})
    await refused("people/{person}/end", "no-accounts", json={})
    await refused("logout", "no-token", json={})
    await refused("tokens", "no-accounts", json={"name": "ann"})
    await refused("tokens/{token}/revoke", "no-accounts", json={})
    for verb in ("grant", "withdraw"):
        await refused(f"roles/{verb}", "no-accounts", json={"to": "ann", "role": "viewer"})
    for verb in ("join", "leave"):
        await refused(f"teams/{{team}}/{verb}", "no-accounts", json={"name": "ann"})
    for verb in ("approve", "dismiss"):
        await refused(f"{one}/promotion/{verb}", "no-promotion", json={})
    await refused("hooks/{hook}/deliveries/{delivery}/redeliver", "unknown-hook", 404, json={})
    await refused("login/session", "no-accounts", json={"token": "x"})
    assert posts.keys() == ELSEWHERE, "a command that nobody has asked"


async def test_a_package_comes_back_byte_for_byte_whatever_is_accepted(real: RealController) -> None:
    package = a_package("v1" * 100_000)
    async with real.client.post("images", data=package) as pushed:
        digest = (await pushed.json())["digest"]
    for accepted in ("identity", "gzip", "*"):
        async with real.client.get(
            f"images/{digest}", headers={"Accept-Encoding": accepted}, auto_decompress=False
        ) as answer:
            assert (answer.content_type, await answer.read()) == ("application/gzip", package)
            assert "Content-Encoding" not in answer.headers


async def test_what_an_agent_cannot_be_asked_is_a_bad_request(real: RealController) -> None:
    await release(real)
    for path in (f"hosts?group={'x' * 7000}", f"applications/hello/hosts?group={'x' * 7000}"):
        async with real.client.get(path) as answer:
            told = await answer.json()
            assert (answer.status, told["rule"]) == (400, "bad-request"), told
            assert "group" in told["detail"]


async def test_a_region_whose_agent_left_is_told_beside_the_hosts_of_the_others(real: RealController) -> None:
    await release(real)
    real.agents["oslo"].leave()
    await until(lambda: not real.sessions.views()[real.agents["oslo"].region].is_connected)
    async with real.client.get("hosts") as answer:
        told = await answer.json()
    assert {host["region"] for host in told["items"]} == {"paris"}
    assert "is repave-agent running there?" in told["unreachable"]["oslo"]
    async with real.client.get("doctor") as answer:
        checks = {each["name"]: each["state"] for each in (await answer.json())["items"]}
    assert (checks["region oslo"], checks["region paris"]) == ("fail", "ok")


async def test_a_push_that_breaks_off_leaves_nothing(real: RealController, tmp_path: Path) -> None:
    async def half() -> AsyncIterator[bytes]:
        yield a_package("v1")[:50]
        raise ConnectionResetError("the client's cable")

    with pytest.raises((aiohttp.ClientError, ConnectionResetError)):
        await real.client.post("images", data=half())
    await until(lambda: list((tmp_path / "images").iterdir()) == [])
    async with real.client.get("images") as answer:
        assert (await answer.json())["items"] == []


async def test_a_clock_that_was_set_back_is_told_by_the_doctor(tmp_path: Path) -> None:
    async with (
        real_controller(tmp_path, SteadyClock(Instant(FUTURE)), ()) as real,
        real.client.get("doctor") as answer,
    ):
        (clock,) = [each for each in (await answer.json())["items"] if each["name"] == "clock"]
    assert clock["state"] == "warn"
    assert "was set back" in clock["text"]
    assert "NTP" in clock["remedy"]


# ------------------------------------------------------------------------------------------------ streams


class Reader:
    """Takes down what a stream sends until it ends."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.numbers: list[int] = []
        self.messages: list[dict[str, Any]] = []
        self.ended = asyncio.create_task(self._read(answer))

    async def _read(self, answer: aiohttp.ClientResponse) -> None:
        async for line in answer.content:
            if line.startswith(b"id: "):
                self.numbers.append(int(line[4:]))
            elif line.startswith(b"data: "):
                self.messages.append(json.loads(line[6:]))


async def test_followers_get_each_event_once_and_their_streams_end_with_the_server(
    real: RealController,
) -> None:
    await release(real)
    async with (
        real.client.get("events/stream") as early,
        real.client.get("events/stream", headers={"Last-Event-ID": "3"}) as resumed,
        real.client.get("events/stream?after=5&application=hello") as later,
    ):
        readers = [Reader(each) for each in (early, resumed, later)]
        await release(real, "v2")
        await release(real, "v3")
        async with real.client.get("events?limit=1000") as answer:
            stored = [each["sequence"] for each in (await answer.json())["items"]]
        await until(lambda: all(each.numbers[-1:] >= stored[-1:] for each in readers))
        async with asyncio.timeout(20):
            await real.stop()
            await asyncio.gather(*(each.ended for each in readers))
    everything = readers[0].numbers
    assert everything[: len(stored)] == stored == list(range(1, len(stored) + 1))
    assert everything == list(range(1, len(everything) + 1))
    assert [each.numbers for each in readers[1:]] == [everything[3:], everything[5:]]


async def test_a_snapshot_is_always_a_whole_one_and_the_last_is_the_newest(real: RealController) -> None:
    await release(real)
    async with real.client.get("applications/hello/stream") as answer:
        reader = Reader(answer)
        await until(lambda: reader.messages)
        await release(real, "v2")
        async with real.client.get("applications/hello") as now:
            newest = await now.json()
        await until(lambda: reader.messages[-1]["serving"] == newest["serving"])
        await real.stop()
        await reader.ended
    (model,) = [route.answer for route in routes() if route.path.endswith("{application}/stream")]
    assert model is not None
    for snapshot in reader.messages:
        exactly(model, snapshot)
    assert reader.messages[0]["serving"] == "hello-v001"
    assert reader.messages[-1]["phase"] == newest["phase"] == "succeeded"
    assert all(one != other for one, other in pairwise(reader.messages))


async def test_streams_are_bounded_and_a_place_is_free_again_when_a_client_leaves(
    real: RealController, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "CLIENTS_MAX", 2)
    monkeypatch.setattr(streams, "HEARTBEAT_SECONDS", 0.02)
    async with real.client.get("events/stream"):
        async with real.client.get("events/stream"), real.client.get("events/stream") as refused:
            told = await refused.json()
            assert (refused.status, told["rule"]) == (503, "too-many-streams")

        async def is_free() -> bool:
            async with real.client.get("events/stream") as answer:
                return answer.status == 200

        async with asyncio.timeout(20):
            while not await is_free():
                pass
