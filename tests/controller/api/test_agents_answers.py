"""Whatever a region's agent makes of a question, no route fails, and nothing that runs behind them ends."""

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from repave_controller.core.domain.application import Instant
from repave_controller.fleet.sessions import Sessions
from repave_controller.runtime.clock import SteadyClock
from repave_protos.protocol import fleet_pb2 as pb
from repave_protos.protocol import wire
from repave_protos.protocol.queries import (
    Accepted,
    Answer,
    Bakes,
    Content,
    Done,
    Failure,
    Hosts,
    Machines,
    Query,
    Refusal,
    Room,
    WayIn,
)
from repave_protos.protocol.values import (
    ApplicationName,
    Applied,
    DesiredGroup,
    DesiredState,
    Digest,
    Epoch,
    GroupName,
    HostDetail,
    HostName,
    HostPhase,
    RegionName,
)
from tests.controller.api.conftest import SPEC, a_package, release, routes, sha256
from tests.fakes.controller.api_rig import ObedientAgent, RealController, real_controller
from tests.fakes.templates import a_template
from tests.fakes.waiting import until

LATE_SECONDS = 0.05
HELLO = ApplicationName("hello")
LOST = ApplicationName("lost")
DIGEST = Digest("d" * 64)
DIGEST_OF_V1 = sha256(a_package("v1"))
A_HOST = HostDetail(
    HostName("odd"),
    GroupName("no_group"),
    ApplicationName("unheard"),
    HostPhase.FAILED,
    "",
    0,
    DIGEST,
    age_seconds=1e9,
    healthy_seconds=1e9,
    gone_at=1e11,
)


def a_state(name: str, *weights_bp: int) -> DesiredState:
    groups = (
        DesiredGroup(GroupName(f"{name}{number}"), DIGEST, 1, weight, a_template())
        for number, weight in enumerate(weights_bp)
    )
    return DesiredState(ApplicationName("unheard"), Epoch(9, 9, 9), 8000, tuple(groups))


Say = Callable[[Query], bytes | None]


class Impatient(Sessions):
    """Gives agents little time."""

    async def _ask(self, region: RegionName, query: Query, timeout_seconds: float) -> Answer:
        return await super()._ask(region, query, LATE_SECONDS)


def always(content: Content) -> Say:
    return lambda query: wire.encode_from_agent(Answer(query.query_id, content))


def of_a_later_version(query: Query) -> bytes:
    """The field of an answer that this version has not heard of."""
    return pb.FromAgent(answer=pb.Answer(query_id=query.query_id)).SerializeToString()


def with_a_later_phase(query: Query) -> bytes:
    host = pb.HostDetail(host="h", group="g", application="a", digest=DIGEST, phase=99)  # type: ignore[arg-type]
    return pb.FromAgent(
        answer=pb.Answer(query_id=query.query_id, hosts=pb.Hosts(hosts=[host]))
    ).SerializeToString()


def out_of_bounds(query: Query) -> bytes:
    machine = pb.Machine(name="m", state=pb.Machine.STATE_FRESH, since=float("nan"))
    return pb.FromAgent(
        answer=pb.Answer(query_id=query.query_id, machines=pb.Machines(machines=[machine]))
    ).SerializeToString()


ANSWERS: dict[str, Say | None] = {
    "refuses": always(Refusal("not here")),
    "fails": always(Failure("its disk is full")),
    "has not begun": always(Failure("it has not begun, as repave doctor tells")),
    "says hosts": always(Hosts((A_HOST,))),
    "says it accepted nothing": always(Accepted(a_state(""))),
    "says it accepted no names": always(Accepted(a_state("é", 10_000, 10_000))),
    "says it accepted others' names": always(Accepted(a_state("other-v00", 10_000))),
    "says it accepted too much": always(Accepted(a_state(f"hello-v{'9' * 150}", 1, 1))),
    "says none accepted": always(Accepted()),
    "says machines": always(Machines()),
    "says done": always(Done("yes")),
    "says room": always(Room("none left")),
    "says way in": always(WayIn("no port")),
    "says bakes": always(Bakes()),
    "is of a later version": of_a_later_version,
    "has later values": with_a_later_phase,
    "is out of bounds": out_of_bounds,
    "is silent": lambda _: None,
    "is cut off": None,
    "is no message": lambda _: b"\xff\xff",
}


BODIES: Mapping[str, Any] = {
    "images": a_package("v9"),
    "plan": {"spec": SPEC, "digest": DIGEST_OF_V1},
    "applications/{application}/releases": {"spec": SPEC, "digest": DIGEST_OF_V1},
    "applications/{application}/override": {"rule": "capacity", "reason": "known"},
    "applications/{application}/sizes": {"sizes": {"paris": 4}},
    "applications/{application}/sizes/plan": {"sizes": {"paris": 4}},
    "applications/{application}/retire-group": {"group": "hello-v001"},
    "applications/{application}/leave-region": {"region": "nowhere"},
    "applications/{application}/drain-region": {"region": "paris"},
    "applications/{application}/drain-last-region": {"region": "paris", "reason": "flood"},
    "applications/{application}/undrain-region": {"region": "paris"},
    "applications/{application}/jobs/settle": {"job": "migrate", "outcome": "done"},
    "applications/{application}/queue/drop": {"all": True},
    "applications/{application}/queue/move": {"name": "1", "place": 1},
    "freezes": {"from": "2999-12-20", "to": "2999-12-31", "applications": ["web-*"]},
    "freezes/all": {"reason": "prices are wrong"},
    "baked-images": {"digest": DIGEST_OF_V1, "name": "shop-1", "regions": ["paris"]},
}
LAST = {
    "recovery": {},
    "applications/{application}/delete": {},
    "regions/{region}/remove": {"lost": True},
}


async def ask_everything(real: RealController) -> list[str]:
    """What came of each route that did not do its work, or say in the API's terms why not."""
    asked = [(route.method, route.path, BODIES.get(route.path, {})) for route in routes()]
    asked = [each for each in asked if each[1] not in LAST and not each[1].endswith("stream")]
    asked += [("GET", f"{path}?region=paris", {}) for path in ("pool", "orphans", "hosts")]
    asked += [("POST", "recovery", {"dry_run": True})]
    asked += [("POST", path, body) for path, body in LAST.items()]
    return [failed for each in asked if (failed := await failure_of(real, *each))]


async def failure_of(real: RealController, method: str, path: str, body: Any) -> str:
    named = {
        "application": "hello",
        "freeze": "F1",
        "host": "hello-v001-1",
        "region": "paris",
        "machine": "m1",
        "token": "0" * 12,
        "team": "sre",
        "trust": "t1",
        "person": "oidc:anna",
        "artifact": "0" * 64,
        "plan": "C81CFE1E",
        "target": "ops",
        "hook": "ci",
        "delivery": "d1",
    }
    address = path.format(**named, digest=DIGEST_OF_V1)
    sent = {} if method != "POST" else {"data": body} if isinstance(body, bytes) else {"json": body}
    async with real.client.request(method, address, **sent) as answer:
        content = await answer.read()
        told = json.loads(content) if "json" in answer.content_type else {}
        is_said = answer.status < 500 or told["rule"] == "region"
        return "" if is_said else f"{method} {address}: {answer.status} {content!r}"


@pytest.mark.parametrize("name", ANSWERS)
async def test_no_answer_of_an_agent_fails_a_route(tmp_path: Path, name: str) -> None:
    behind = ObedientAgent("lima", Applied(LOST, Epoch(9, 9, 9), "f" * 16))
    async with real_controller(tmp_path, SteadyClock(Instant(0.0)), guests=(behind,), kind=Impatient) as real:
        await until(lambda: len(real.sessions.views()) == 3)
        await release(real)
        say = ANSWERS[name]
        for agent in real.agents.values():
            agent.answers_all = say or agent.cut
        assert await ask_everything(real) == []
        assert not real.scheduling.done()
        if name not in ("is cut off", "is no message"):
            assert all(each.is_connected for each in real.sessions.views().values())


ARGUMENTS = ("x" * 5000, "a\ud800b", "\x1b[31m", "a\nb", "\u202e")


@pytest.mark.parametrize("odd", ARGUMENTS)
async def test_nothing_that_a_person_says_is_too_odd_to_be_asked(real: RealController, odd: str) -> None:
    await release(real)
    bodies: dict[str, Any] = {
        "regions/paris/pool/m1/quarantine": {"reason": odd, "by": odd},
        f"regions/paris/pool/{quote(odd[:300], errors='replace')}/return": {},
        "hosts/hello-v001-1/taint": {"reason": odd, "by": odd, "region": "paris"},
        "baked-images": {
            "digest": DIGEST_OF_V1,
            "name": odd,
            "by": odd,
            "check": [odd],
            "regions": ["paris"],
        },
        "plan": {"spec": SPEC.replace("size: 2", "size: 99999"), "digest": DIGEST_OF_V1},
        "recovery": {"application": odd, "serving": odd, "dry_run": True},
    }
    for address, body in bodies.items():
        async with real.client.post(address, json=body) as answer:
            assert answer.status < 500, (address, await answer.text())
    for query in ("hosts?group=", "hosts?region=", "orphans?region=", "pool?region=", "baked-images?region="):
        async with real.client.get(query + quote(odd, errors="replace")) as answer:
            assert answer.status < 500, (query, await answer.text())
    assert all(each.is_connected for each in real.sessions.views().values())


async def test_an_application_may_go_while_its_regions_are_asked(real: RealController) -> None:
    await release(real)
    agent = real.agents["paris"]
    asked = asyncio.Queue[Query]()
    agent.answers_all = asked.put_nowait
    asking = [
        asyncio.ensure_future(real.client.get("hosts")),
        asyncio.ensure_future(real.client.get("applications/hello/hosts")),
        asyncio.ensure_future(real.client.post("hosts/hello-v001-1/taint", json={"region": "paris"})),
    ]
    queries = [await asked.get() for _ in asking]
    async with real.client.get("applications/hello/stream") as stream:
        async with real.client.post("applications/hello/delete", json={"by": "ann"}) as deleted:
            assert deleted.status == 202
        await until(lambda: HELLO not in real.scheduler.applications())
        for query in queries:
            agent.say_raw(wire.encode_from_agent(Answer(query.query_id, Hosts((A_HOST,)))))
        assert [answer.status for answer in await asyncio.gather(*asking)] == [200, 200, 404]
        assert (await stream.read()).startswith(b"id: ")
