"""Whole controllers that share a real PostgreSQL: each takes its part, the others go on with that of one that
was killed or stopped, and one that does not fit the others does not start."""

import asyncio
import json
import signal
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from repave_controller.peers.ports import SHARDS
from tests.fakes.processes import begun
from tests.fakes.waiting import until_async
from tests.support.ports import free_port
from tests.support.preloaded import Forked

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


@dataclass
class Running:
    name: str
    port: int
    process: Forked

    async def rows(self) -> dict[str, Any]:
        """The controllers as this one tells; none while it does not answer."""

        def get() -> dict[str, Any]:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/v1/controllers") as answer:
                    return {each["name"]: each for each in json.load(answer)["items"]}
            except OSError:
                return {}

        return await asyncio.to_thread(get)

    async def ask(self, path: str, token: str, body: object = None) -> tuple[int, Any]:
        """A command where there is a body; status 0 while it does not answer."""

        def ask() -> tuple[int, Any]:
            content = None if body is None else json.dumps(body).encode()
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            request = urllib.request.Request(f"http://127.0.0.1:{self.port}/v1/{path}", content, headers)
            try:
                with urllib.request.urlopen(request) as answer:
                    return answer.status, json.load(answer)
            except urllib.error.HTTPError as error:
                return error.code, json.load(error)
            except OSError:
                return 0, None

        return await asyncio.to_thread(ask)

    async def shares(self) -> list[int]:
        """How many shards each controller has that is live."""
        return sorted(len(row["shards"]) for row in (await self.rows()).values() if row["state"] == "live")


@dataclass
class Controllers:
    directory: Path
    url: str
    started: list[Running] = field(default_factory=list)

    async def start(self, name: str, folder: str = "", **settings: str) -> Running:
        port, place = free_port(), self.directory / (folder or name)
        place.mkdir(parents=True, exist_ok=True)
        given = {
            "STATE": str(place),
            "NAME": name,
            "HTTP__LISTEN": f"127.0.0.1:{port}",
            "GRPC__LISTEN": f"127.0.0.1:{free_port()}",
            "AGENTS__LISTEN": f"127.0.0.1:{free_port()}",
            "STORE__URL": self.url,
            **settings,
        }
        with (place / "log").open("wb") as log:
            named = {f"REPAVE_CONTROLLER_{key}": value for key, value in given.items()}
            process = begun("repave_controller", log, **named)
        made = Running(name, port, process)
        self.started.append(made)
        return made

    def log(self, folder: str) -> str:
        return (self.directory / folder / "log").read_text()

    async def refusal(self, name: str, folder: str, **settings: str) -> str:
        refused = await self.start(name, folder, **settings)
        assert await asyncio.to_thread(refused.process.wait) == 1
        return self.log(folder)


@pytest.fixture
async def controllers(tmp_path: Path, database_url: str) -> AsyncIterator[Controllers]:
    made = Controllers(tmp_path, database_url)
    yield made
    for each in made.started:
        each.process.kill()
        await asyncio.to_thread(each.process.wait)


async def test_controllers_share_the_applications_and_outlive_each_other(controllers: Controllers) -> None:
    a, b = await asyncio.gather(controllers.start("a"), controllers.start("b"))

    async def are_even() -> bool:
        return await a.shares() == await b.shares() == [SHARDS // 2, SHARDS // 2]

    await until_async(are_even)
    namesake, other_tls = await asyncio.gather(
        controllers.refusal("a", "namesake"),
        controllers.refusal("c", "tls", TLS__ENABLED="true"),
    )
    assert "another controller calls itself 'a' and is there at http://127.0.0.1" in namesake
    assert "tls.enabled: this controller does TLS and a does not" in other_tls
    await until_async(are_even)  # neither has anything
    a.process.kill()

    async def is_left_with_all() -> bool:
        return await b.shares() == [SHARDS]

    await until_async(is_left_with_all)
    assert (await b.rows())["a"]["state"] == "away"
    again = await controllers.start("a")

    async def has_some() -> bool:
        return len(await again.shares()) == 2

    await until_async(has_some)
    again.process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(again.process.wait) == 0
    assert list(await b.rows()) == ["b"], "it took its leave"
    await until_async(is_left_with_all)


@pytest.mark.rig
async def test_controllers_of_two_authorities_do_not_share_a_store(controllers: Controllers) -> None:
    first = await controllers.start("a", TLS__ENABLED="true")

    async def is_there() -> bool:
        return await first.shares() == [SHARDS]

    await until_async(is_there)
    refused = await controllers.refusal("b", "other", TLS__ENABLED="true")
    assert "tls.ca: the certificate authority of this controller" in refused
    assert "Give all the same tls.ca and tls.ca_key" in refused


@pytest.mark.rig
async def test_people_may_ask_any_controller_and_a_token_that_one_revokes_is_refused_by_all(
    controllers: Controllers,
) -> None:
    first = await controllers.start("a", ACCOUNTS="true")

    async def is_there() -> bool:
        return "controller.started" in controllers.log("a")

    await until_async(is_there)
    admin = next(line for line in controllers.log("a").splitlines() if line.startswith("rp"))
    second = await controllers.start("b", ACCOUNTS="true")

    async def has_its_part() -> bool:
        status, found = await second.ask("controllers", admin)
        return status == 200 and {len(each["shards"]) for each in found["items"]} == {SHARDS // 2}

    await until_async(has_its_part)
    names = [f"app-{n}" for n in range(4)]
    for name in names:  # some are the other one's: it says the same, by letter
        for each in (first, second):
            status, refused = await each.ask(f"applications/{name}/pause", admin, {})
            assert (status, refused["rule"]) == (404, "unknown-application"), refused
    status, made = await first.ask("tokens", admin, {"name": "eve"})
    assert status == 201, made

    async def is_known() -> bool:
        return (await second.ask("whoami", made["token"]))[0] == 200

    await until_async(is_known)
    status, ended = await second.ask(f"tokens/{made['item']['id']}/revoke", admin, {})
    assert status == 200, ended

    async def is_refused() -> bool:
        return (await first.ask("whoami", made["token"]))[0] == 401

    await until_async(is_refused)
    status, audit = await first.ask("audit", admin)
    rows = [json.loads(each["text"]) for each in audit["items"]]
    asked = [each for each in rows if each["outcome"] == "asked"]
    assert len([each for each in asked if each["action"].endswith("/pause")]) == 2 * len(names)
