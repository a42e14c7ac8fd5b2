"""A command may be given to any controller: the one that decides for the application carries it out, once."""

import asyncio
from pathlib import Path
from typing import Any

from repave_controller.fleet.holders import Holder
from repave_protos.protocol.values import ApplicationName, RegionName
from tests.controller.api.conftest import SPEC, a_package
from tests.fakes.controller.api_rig import ObedientAgent
from tests.fakes.controller.plural_api import Peer, peers
from tests.fakes.waiting import until

HELLO, WEB = ApplicationName("hello"), ApplicationName("web")
PARIS = RegionName("paris")


async def post(peer: Peer, path: str, body: object, **headers: str) -> tuple[int, dict[str, Any]]:
    given = {"Authorization": f"Bearer {peer.token}"} if peer.token else {}
    async with peer.client.post(path, json=body, headers={**given, **headers}) as response:
        return response.status, await response.json()


async def push(peer: Peer, content: str = "v1") -> str:
    given = {"Authorization": f"Bearer {peer.token}"} if peer.token else {}
    async with peer.client.post("images", data=a_package(content), headers=given) as response:
        digest: str = (await response.json())["digest"]
        return digest


async def begun(ann: Peer, ben: Peer) -> None:
    """Ann decides for hello, has Paris, and Ben has Oslo."""
    await ann.take(HELLO)
    ann.serve(ObedientAgent("paris"))
    ben.serve(ObedientAgent("oslo"))
    await until(lambda: all(len(each.sessions.views()) == 2 for each in (ann, ben)))


async def released(peer: Peer, version: str = "v1", **headers: str) -> tuple[int, dict[str, Any]]:
    body = {"spec": SPEC, "digest": await push(peer, version), "version": version}
    return await post(peer, "applications/hello/releases", body, **headers)


async def both_released(ann: Peer) -> None:
    assert (await released(ann))[0] == 202
    spec = SPEC.replace("hello", WEB).replace("8080", "8090").replace("8000", "8001")
    body = {"spec": spec, "digest": await push(ann), "version": "v1"}
    assert (await post(ann, f"applications/{WEB}/releases", body))[0] == 202
    await until(lambda: all(is_idle(ann, each) for each in (HELLO, WEB)))


def kinds(peer: Peer) -> list[str]:
    return [event.kind for event in peer.shelf.events]


def is_idle(peer: Peer, name: ApplicationName = HELLO) -> bool:
    application = peer.scheduler.applications().get(name)
    return application is not None and application.running is None


async def test_a_release_given_to_another_controller_is_carried_out_in_the_regions_of_both(
    tmp_path: Path,
) -> None:
    async with peers(tmp_path, "ann", "ben") as (ann, ben):
        await begun(ann, ben)
        status, accepted = await released(ben)
        assert (status, accepted["application"]) == (202, "hello"), accepted
        await until(lambda: is_idle(ann) and is_idle(ben))
        assert kinds(ann).count("release.succeeded") == 1
        async with ben.client.get("regions") as response:
            shown = {each["name"]: each["connected"] for each in (await response.json())["items"]}
        assert shown == {"paris": True, "oslo": True}


async def test_an_agent_that_one_controller_refused_is_shown_by_each(tmp_path: Path) -> None:
    async with peers(tmp_path, "ann", "ben") as (ann, ben):
        ann.serve(ObedientAgent("paris", instance="one"))
        await until(lambda: all(len(each.sessions.views()) == 1 for each in (ann, ben)))
        ben.sessions.hear_holder(PARIS, Holder(PARIS, "one", 1))  # as its record in the store tells
        ben.serve(ObedientAgent("paris", instance="two"))
        await until(lambda: bool(ben.sessions.rivals()))
        for peer in (ann, ben):
            async with peer.client.get("regions") as response:
                (paris,) = (await response.json())["items"]
            assert (paris["connected"], paris["instance"], paris["rival"]) == (True, "one", "two")
            async with peer.client.get("doctor") as response:
                found = [each["name"] for each in (await response.json())["items"]]
            assert "agents of paris" in found


async def test_a_refusal_of_the_owner_is_that_of_the_controller_that_was_asked(tmp_path: Path) -> None:
    async with peers(tmp_path, "ann", "ben") as (ann, ben):
        await begun(ann, ben)
        assert (await released(ben))[0] == 202
        await until(lambda: is_idle(ann) and is_idle(ben))
        there = await post(ann, "applications/hello/promote", {})
        assert await post(ben, "applications/hello/promote", {}) == there
        assert there[0] == 409
        wrong = await post(ben, "applications/hello/pause", {"reason": 7})
        assert wrong[0] == 400
        assert wrong[1]["problems"][0]["field"] == "reason"


async def test_the_same_command_again_is_answered_as_before_whichever_controller_is_asked(
    tmp_path: Path,
) -> None:
    async with peers(tmp_path, "ann", "ben") as (ann, ben):
        await begun(ann, ben)
        key = {"Idempotency-Key": "one"}
        first = await released(ben, **key)
        await until(lambda: is_idle(ann) and is_idle(ben))
        for peer in (ann, ben):
            status, again = await released(peer, **key)
            assert status == 202
            assert again["rollout"] == first[1]["rollout"]
        assert kinds(ann).count("release.succeeded") == 1


async def test_a_command_to_an_owner_that_is_gone_is_carried_out_once_by_the_next_one(tmp_path: Path) -> None:
    async with peers(tmp_path, "ann", "ben") as (ann, ben):
        await begun(ann, ben)
        assert (await released(ben))[0] == 202
        await until(lambda: is_idle(ann) and is_idle(ben))
        ann.be_silent()
        asked = asyncio.create_task(post(ben, "applications/hello/sizes", {"sizes": {"oslo": 4}}))
        await until(lambda: bool(ben.shelf.letters))
        await ben.take(HELLO)
        status, answer = await asked
        assert status == 202, answer
        assert kinds(ben).count("sizes.changed") <= 1


async def test_an_answer_that_is_lost_does_not_do_it_twice(tmp_path: Path) -> None:
    async with peers(tmp_path, "ann", "ben") as (ann, ben):
        await begun(ann, ben)
        answer = ann.relay.answer
        done = asyncio.Event()

        async def lost(letter: bytes) -> bytes:
            await answer(letter)
            done.set()
            await asyncio.Event().wait()
            raise AssertionError("it waits for ever")

        ann.letters.answer_with("command", lost)
        asked = asyncio.create_task(released(ben))
        await done.wait()
        await until(lambda: is_idle(ann))
        await ann.lose(HELLO)
        await ben.take(HELLO)
        status, accepted = await asked
        assert (status, accepted["is_joined"]) == (202, True), accepted
        await until(lambda: is_idle(ben))
        assert kinds(ben).count("release.succeeded") == 1


async def test_one_row_of_the_audit_log_tells_of_it(tmp_path: Path) -> None:
    async with peers(tmp_path, "ann", "ben", has_accounts=True) as (ann, ben):
        await begun(ann, ben)
        status, accepted = await released(ben)
        assert status == 202, accepted
        rows = [link.text for link in ben.shelf.audit if "applications/hello/releases" in link.text]
        assert len(rows) == 2, "what was asked, and what came of it"
        assert "v1" in rows[1], "with the facts that the owner has read"
        assert '"who":"admin"' in rows[0].replace(" ", "")


async def test_no_one_gets_in_by_the_way_that_commands_of_others_take(tmp_path: Path) -> None:
    async with peers(tmp_path, "ann", "ben", has_accounts=True) as (ann, ben):
        await begun(ann, ben)
        async with ben.client.post(
            "applications/hello/pause", json={}, headers={"Repave-Ticket": "ben-1"}
        ) as response:
            assert response.status == 401


async def test_without_an_owner_it_is_said_and_may_be_asked_again(tmp_path: Path) -> None:
    async with peers(tmp_path, "ann", "ben") as (_, ben):
        ben.relay.seconds = 0.2
        async with ben.client.post("applications/hello/pause", json={}) as response:
            answer = await response.json()
            assert (response.status, response.headers["Retry-After"]) == (503, "1")
        assert answer["rule"] == "no-owner"
        assert "hello" in answer["detail"]
        assert "repave controllers" in answer["detail"]


async def test_what_is_for_applications_of_several_controllers_each_does_for_its_own(tmp_path: Path) -> None:
    async with peers(tmp_path, "ann", "ben") as (ann, ben):
        await begun(ann, ben)
        await ben.take(WEB)
        await both_released(ann)
        ben.be_silent()
        ann.relay.seconds = 0.1
        status, answer = await post(ann, "regions/oslo/remove", {})
        assert (status, answer["rule"]) == (503, "no-owner"), answer
        assert "decides for web" in answer["detail"]
        assert "hello did what was asked before that: ask again" in answer["detail"]
        await ann.take(WEB)
        status, answer = await post(ann, "regions/oslo/remove", {})
        assert (status, answer["text"][:11]) == (200, "hello, web:"), answer
        assert kinds(ann).count("region.left") == 2


async def test_a_region_that_is_lost_is_left_by_asking_again_where_one_was_refused(tmp_path: Path) -> None:
    async with peers(tmp_path, "ann", "ben") as (ann, ben):
        await begun(ann, ben)
        await ben.take(WEB)
        await both_released(ann)
        ann.tasks[-1].cancel()  # the stream of the agent of paris
        await until(lambda: not ann.sessions.views()[PARIS].is_connected)
        ben.be_silent()
        ann.relay.seconds = 0.1
        status, answer = await post(ann, "regions/paris/remove", {"lost": True})
        assert (status, answer["rule"]) == (503, "no-owner"), answer
        assert "hello did what was asked before that" in answer["detail"]
        await ann.take(WEB)
        assert (await post(ann, "regions/paris/remove", {"lost": True}))[0] == 200
        assert PARIS not in ann.sessions.views()


async def test_a_region_is_removed_by_way_of_any_controller(tmp_path: Path) -> None:
    async with peers(tmp_path, "ann", "ben", has_accounts=True) as (ann, ben):
        await begun(ann, ben)
        await ben.take(WEB)
        await both_released(ann)
        assert (await post(ann, "regions/paris/remove", {"reason": "sold"}))[0] == 200
        left = [event.application for event in ann.shelf.events if event.kind == "region.left"]
        assert sorted(left) == [HELLO, WEB]
        for each in (HELLO, WEB):
            status, told = await post(ann, "regions/oslo/remove?application=" + each, {})
            assert (status, told["rule"]) == (409, "last-region"), told


async def test_a_plan_is_found_at_any_controller_while_the_one_that_has_shown_it_runs(tmp_path: Path) -> None:
    async def got(peer: Peer, path: str) -> tuple[int, dict[str, Any]]:
        async with peer.client.get(path) as response:
            return response.status, await response.json()

    async with peers(tmp_path, "ann", "ben") as (ann, ben):
        await begun(ann, ben)
        body = {"spec": SPEC, "digest": await push(ann), "version": "v1"}
        status, plan = await post(ann, "plan", body)
        assert status == 200, plan
        status, draft = await got(ben, f"plans/{plan['id'].lower()}")
        assert (status, draft["spec"], draft["version"]) == (200, SPEC, "v1")
        for each in (ann, ben):
            items = (await got(each, "plans"))[1]["items"]
            assert [(item["id"], item["application"]) for item in items] == [(plan["id"], "hello")]
        assert (await got(ben, "plans/p0"))[1]["rule"] == "unknown-plan"
        ann.be_silent()
        assert (await got(ben, f"plans/{plan['id']}"))[1]["rule"] == "unknown-plan"
        assert (await got(ben, "plans"))[1]["items"] == []
