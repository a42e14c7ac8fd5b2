"""Promotion between stacks: what has soaked is proposed, once, and is released when a person says so."""

import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from repave_controller.core.domain.application import Event, Instant
from repave_controller.operations.promotion import (
    Candidate,
    Promotions,
    Proposal,
    candidate,
    next_proposal,
)
from repave_controller.operations.releasing import Deed
from repave_controller.runtime.clock import SteadyClock
from repave_controller.settings import ControllerSettings, PromotionSettings
from repave_protos.protocol.values import ApplicationName
from tests.controller.api.conftest import SPEC, a_package
from tests.fakes.controller.api_rig import RealController, real_controller
from tests.fakes.waiting import until

DAY = 86_400.0
PORTS = {"staging": 8001, "prod": 8002}
BLANK = Proposal("web-prod", "web-staging", "to-prod", "", "", 0)
FOUND = Candidate("2.0", "d" * 64, 7)


@pytest.fixture
async def real(tmp_path: Path) -> AsyncIterator[RealController]:
    given = {"to-prod": {"from": "staging", "to": "prod", "soak_hours": 24}}
    settings = ControllerSettings.model_validate({"promotions": given})
    async with real_controller(tmp_path, SteadyClock(Instant(0.0)), settings=settings) as started:
        await until(lambda: len(started.sessions.views()) == 2)
        yield started


async def release(real: RealController, stack: str, content: str) -> str:
    """Its digest, once it serves."""
    spec = SPEC.replace("app: hello\n", f"app: hello\nstack: {stack}\n").replace("8000", str(PORTS[stack]))
    spec = spec.replace("frontend: hello", f"frontend: hello-{stack}")
    async with real.client.post("images", data=a_package(content)) as pushed:
        digest = str((await pushed.json())["digest"])
    body = {"spec": spec, "digest": digest, "version": content}
    async with real.client.post(f"applications/hello-{stack}/releases", json=body) as accepted:
        assert accepted.status == 202, await accepted.json()
    name = ApplicationName(f"hello-{stack}")
    await until(lambda: real.scheduler.applications()[name].running is None)
    return digest


def watching(real: RealController, ago: float = 0.0, **more: Any) -> Promotions:
    """The same as the controller's own, at another time."""
    given = {"from": "staging", "to": "prod", **more}
    return Promotions(
        {"to-prod": PromotionSettings.model_validate(given)},
        real.scheduler.store,
        lambda: real.scheduler.clock() + ago,
        real.scheduler.applications,
        lambda _: True,
        real.scheduler.event_log.tell,
    )


async def items(real: RealController) -> list[dict[str, Any]]:
    async with real.client.get("promotions") as answer:
        found: list[dict[str, Any]] = (await answer.json())["items"]
        return found


async def test_what_has_soaked_is_proposed_and_released_when_a_person_approves(real: RealController) -> None:
    await release(real, "prod", "v1")
    digest = await release(real, "staging", "v2")
    await watching(real, DAY - 60).look()
    assert await items(real) == []
    for _ in range(2):
        await watching(real, DAY + 60).look()
    (item,) = await items(real)
    assert (item["application"], item["version"], item["state"]) == ("hello-prod", "v2", "proposed")
    assert item["digest"] == digest
    async with real.client.post("applications/hello-prod/promotion/approve", json={"by": "ann"}) as answer:
        told = await answer.json()
        assert answer.status == 202, told
    assert told["proposal"]["state"] == "approved"
    prod = ApplicationName("hello-prod")
    await until(lambda: real.scheduler.applications()[prod].running is None)
    application = real.scheduler.applications()[prod]
    serving = application.group(application.serving)
    assert serving is not None
    assert (serving.version, serving.digest) == ("v2", digest)
    await watching(real, 2 * DAY).look()
    assert [each["state"] for each in await items(real)] == ["approved"]
    async with real.client.post("applications/hello-prod/promotion/approve", json={}) as answer:
        assert (answer.status, (await answer.json())["rule"]) == (409, "no-promotion")


async def test_what_its_source_has_left_can_not_be_approved_even_before_that_was_looked_at(
    real: RealController,
) -> None:
    await release(real, "prod", "v1")
    await release(real, "staging", "v2")
    await watching(real, DAY + 60).look()
    await release(real, "staging", "v3")
    async with real.client.post("applications/hello-prod/promotion/approve", json={}) as answer:
        assert (answer.status, (await answer.json())["rule"]) == (409, "no-promotion")


async def test_what_was_dismissed_comes_back_only_with_another_release(real: RealController) -> None:
    await release(real, "prod", "v1")
    await release(real, "staging", "v2")
    await watching(real, DAY + 60).look()
    body = {"by": "ann", "reason": "waits for the sale"}
    async with real.client.post("applications/hello-prod/promotion/dismiss", json=body) as answer:
        assert (await answer.json())["text"] == "waits for the sale"
    await watching(real, 5 * DAY).look()
    assert [each["state"] for each in await items(real)] == ["dismissed"]
    await release(real, "staging", "v3")
    await watching(real, DAY + 60).look()
    assert [(each["version"], each["state"]) for each in await items(real)] == [("v3", "proposed")]
    await release(real, "staging", "v4")
    await watching(real, 60).look()
    assert [(each["version"], each["state"]) for each in await items(real)] == [("v3", "superseded")]


async def test_what_went_back_is_not_proposed_and_neither_is_what_serves_there(real: RealController) -> None:
    await release(real, "prod", "v1")
    await release(real, "staging", "v1")
    apps = real.scheduler.applications()
    staging, prod = apps[ApplicationName("hello-staging")], apps[ApplicationName("hello-prod")]
    now = real.scheduler.clock()
    assert candidate(staging, prod, DAY, now + 9 * DAY) is None
    await release(real, "staging", "v2")
    staging = real.scheduler.applications()[staging.name]
    assert candidate(staging, prod, DAY, now + 9 * DAY) is not None
    assert candidate(staging, None, DAY, now + 9 * DAY) is None
    assert candidate(None, prod, DAY, now + 9 * DAY) is None
    async with real.client.post("applications/hello-staging/rollback", json={"by": "ann"}) as answer:
        assert answer.status == 202, await answer.json()
    await until(lambda: real.scheduler.applications()[staging.name].running is None)
    assert candidate(real.scheduler.applications()[staging.name], prod, DAY, now + 9 * DAY) is None


@pytest.mark.parametrize(
    ("known", "found", "state"),
    [
        (None, None, None),
        (None, FOUND, "proposed"),
        (Proposal("web-prod", "web-staging", "to-prod", "2.0", "d" * 64, 7), FOUND, None),
        (Proposal("web-prod", "web-staging", "to-prod", "2.0", "d" * 64, 7, "dismissed"), FOUND, None),
        (Proposal("web-prod", "web-staging", "to-prod", "2.0", "d" * 64, 7, "approved"), FOUND, None),
        (Proposal("web-prod", "web-staging", "to-prod", "1.0", "c" * 64, 6), FOUND, "proposed"),
        (Proposal("web-prod", "web-staging", "to-prod", "2.0", "d" * 64, 6, "dismissed"), FOUND, "proposed"),
        (Proposal("web-prod", "web-staging", "to-prod", "1.0", "c" * 64, 6), None, "superseded"),
        (Proposal("web-prod", "web-staging", "to-prod", "1.0", "c" * 64, 6, "failed"), None, "superseded"),
        (Proposal("web-prod", "web-staging", "to-prod", "1.0", "c" * 64, 6, "approved"), None, None),
    ],
)
def test_what_follows_a_proposal(known: Proposal | None, found: Candidate | None, state: str | None) -> None:
    made = next_proposal(known, found, BLANK, 5.0)
    assert (made.state if made is not None else None) == state


def test_a_stack_is_not_promoted_to_itself() -> None:
    for source, to in itertools.permutations(("a", "b")):
        PromotionSettings.model_validate({"from": source, "to": to})
    with pytest.raises(ValueError, match="the same stack"):
        PromotionSettings.model_validate({"from": "a", "to": "a"})


@pytest.mark.parametrize("status", [503, 202])
async def test_an_automatic_one_is_tried_again_and_gives_way_to_a_person(
    real: RealController, status: int
) -> None:
    """Whoever decides first: the other one's end is no fault, and nothing is released under another key."""
    await release(real, "prod", "v1")
    await release(real, "staging", "v2")
    watched, keys = watching(real, DAY + 60, approve="automatic"), list[str]()
    answers = [status, 202]

    async def act(deed: Deed) -> tuple[int, dict[str, Any]]:
        keys.append(deed.key)
        answered = answers.pop(0)
        if answered == 202 and status == 202:
            await watched.dismiss("hello-prod", "ann", "not now")
        return answered, {"detail": "no owner"}

    watched.act_with(act)
    for _ in range(3):
        await watched.look()
    assert [each["state"] for each in await items(real)] == ["approved" if status == 503 else "dismissed"]
    assert len(keys) == (2 if status == 503 else 1)
    assert len(set(keys)) == 1


async def test_of_two_ways_to_one_application_the_first_counts(real: RealController) -> None:
    await release(real, "prod", "v1")
    await release(real, "staging", "v2")
    ways = {name: PromotionSettings.model_validate({"from": "staging", "to": "prod"}) for name in ("a", "b")}
    told = list[Event]()
    watched = Promotions(
        ways,
        real.scheduler.store,
        lambda: real.scheduler.clock() + DAY + 60,
        real.scheduler.applications,
        lambda _: True,
        told.extend,
    )
    for _ in range(3):
        await watched.look()
    assert [each.kind for each in told] == ["promotion.proposed"]
    assert [each.promotion for each in await watched.all()] == ["a"]
