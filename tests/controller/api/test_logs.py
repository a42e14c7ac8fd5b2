"""The stream of what hosts print: merged over regions, followed by cursors, bounded, ended by the client."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from repave_controller.api.resources.logs import LINES_OF_NEW_HOSTS
from repave_controller.api.web import streams
from repave_protos.protocol import wire
from repave_protos.protocol.capabilities import BalancerAbilities, ProviderAbilities, capability_words
from repave_protos.protocol.queries import Answer, HostOutput, Output, Query, ReadOutput, Refusal
from repave_protos.protocol.values import ApplicationName, GroupName, HostName, RegionName
from tests.controller.api.conftest import release
from tests.fakes.controller.api_rig import RealController
from tests.fakes.waiting import until

HELLO = ApplicationName("hello")
GROUP = GroupName("hello-v001")
ALL = BalancerAbilities()


class Printing:
    """A region whose one host prints a line for each question."""

    def __init__(self, host: str) -> None:
        self.host = HostName(host)
        self.asked: list[ReadOutput] = []

    def answer(self, query: Query) -> bytes | None:
        assert isinstance(query.question, ReadOutput)
        self.asked.append(query.question)
        number = len(self.asked)
        output = HostOutput(self.host, GROUP, f"line {number}\n", f"c{number}")
        gone = HostOutput(HostName("dead"), GROUP, "its end\n", gone_at=60.0)
        hosts = (output, gone) if query.question.with_gone else (output,)
        return wire.encode_from_agent(Answer(query.query_id, Output(hosts)))


async def items(answer: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    async for line in answer.content:
        if line.startswith(b"data: "):
            yield json.loads(line[6:])


async def prints(real: RealController) -> dict[str, Printing]:
    await release(real)
    regions = {name: Printing(f"{name}-1") for name in real.agents}
    for name, each in regions.items():
        real.agents[name].answers_all = each.answer
    return regions


async def test_the_last_lines_of_every_region_come_and_the_stream_ends(real: RealController) -> None:
    await prints(real)
    async with real.client.get("applications/hello/logs/stream") as answer:
        assert answer.status == 200
        found = [(each["region"], each["host"], each["lines"]) async for each in items(answer)]
    assert sorted(found) == [("oslo", "oslo-1", ["line 1"]), ("paris", "paris-1", ["line 1"])]


async def test_following_goes_on_behind_the_cursor_until_the_client_leaves(real: RealController) -> None:
    regions = await prints(real)
    query = {"region": "oslo", "follow": "1", "gone": "1", "lines": "7"}
    async with real.client.get("applications/hello/logs/stream", params=query) as answer:
        found: list[str] = []
        async for each in items(answer):
            found += each["lines"]
            if len(found) == 4:
                break
    assert found == ["line 1", "its end", "line 2", "line 3"]
    first, second, *_ = regions["oslo"].asked
    assert (first.lines, first.with_gone, first.cursors) == (7, True, ())
    assert (second.with_gone, second.cursors) == (False, ((HostName("oslo-1"), "c1"),))
    assert regions["paris"].asked == []
    await until(lambda: not readers())


async def test_a_stream_that_broke_goes_on_where_it_had_come_to(real: RealController) -> None:
    regions = await prints(real)
    after = {"after": [{"region": "oslo", "host": "oslo-1", "position": "c1"}]}
    regions["oslo"].asked.append(ReadOutput(HELLO))  # it was read elsewhere
    path = "applications/hello/logs/stream?follow=1&lines=7&gone=1"
    async with real.client.post(path, json=after) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        found: dict[str, Any] = {}
        async for each in items(answer):
            found.setdefault(each["region"], each)
            if len(found) == 2:
                break
    assert (found["oslo"]["lines"], found["oslo"]["position"]) == (["line 2"], "c2")
    assert regions["oslo"].asked[1].cursors == ((HostName("oslo-1"), "c1"),)
    for region, place in (("oslo", 1), ("paris", 0)):
        asked = regions[region].asked[place]
        assert (asked.lines, asked.with_gone) == (LINES_OF_NEW_HOSTS, False), (
            "also of hosts that came meanwhile"
        )
    assert regions["paris"].asked[0].cursors == ()


async def test_who_follows_hears_of_a_quiet_host_how_far_it_was_read(real: RealController) -> None:
    await prints(real)
    quiet = Output((HostOutput(HostName("oslo-1"), GROUP, "", "c0"),))
    real.agents["oslo"].answers_all = lambda query: wire.encode_from_agent(Answer(query.query_id, quiet))
    heard_of: dict[str, list[Any]] = {"1": [([], "c0")], "0": []}
    for follow, heard in heard_of.items():
        query = {"region": "oslo", "follow": follow}
        async with real.client.get("applications/hello/logs/stream", params=query) as answer:
            found = []
            async for each in items(answer):
                found.append((each["lines"], each["position"]))
                break
        assert found == heard


@pytest.mark.parametrize(
    ("host", "position"),
    [("", "c"), ("a b", "c"), ("../etc", "c"), ("h", ""), ("h", "x" * 201), ("h", "a\nb")],
)
async def test_a_position_that_is_none_is_refused_before_the_stream(
    real: RealController, host: str, position: str
) -> None:
    await prints(real)
    after = {"after": [{"region": "oslo", "host": host, "position": position}]}
    async with real.client.post("applications/hello/logs/stream", json=after) as answer:
        assert (answer.status, "after.0." in await answer.text()) == (400, True)


def readers() -> list[str]:
    return [text for task in asyncio.all_tasks() if "Logs._read" in (text := repr(task.get_coro()))]


async def test_a_stream_that_is_quiet_ends_cleanly_with_its_client(
    real: RealController, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two lines the next one is waited for: that ends first, else the stream can't be closed."""
    monkeypatch.setattr(streams, "HEARTBEAT_SECONDS", 0.01)
    await prints(real)
    for agent in real.agents.values():
        agent.answers_all = lambda query: wire.encode_from_agent(Answer(query.query_id, Output(())))
    async with real.client.get("applications/hello/logs/stream?follow=1") as answer:
        assert (await answer.content.readline()) == b": still here\n"
        assert readers()
    await until(lambda: not readers())
    assert "request.failed" not in capsys.readouterr().out


async def test_a_host_that_can_not_be_asked_about_is_refused_before_the_stream(real: RealController) -> None:
    await prints(real)
    for host in ("a b", "../etc", "x" * 201):
        query = {"follow": "1", "host": host}
        async with real.client.get("applications/hello/logs/stream", params=query) as answer:
            assert (answer.status, "host" in await answer.text()) == (400, True), host


async def test_a_region_that_can_not_be_read_ends_the_stream(
    real: RealController, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it the stream would look whole; a fault of ours must not keep the client waiting, either."""
    await prints(real)
    ask = real.sessions.ask

    async def failing(region: RegionName, *more: Any) -> Any:
        if region == "oslo":
            raise AssertionError("a fault of ours")
        return await ask(region, *more)

    monkeypatch.setattr(real.sessions, "ask", failing)
    async with asyncio.timeout(5.0), real.client.get("applications/hello/logs/stream?follow=1") as answer:
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()
    await until(lambda: not readers())


async def test_a_region_that_is_away_or_too_old_is_told_and_the_others_come(real: RealController) -> None:
    await prints(real)
    refused = "this agent does not know 'read_output': upgrade it"
    real.agents["oslo"].answers_all = lambda query: wire.encode_from_agent(
        Answer(query.query_id, Refusal(refused))
    )
    async with real.client.get("applications/hello/logs/stream") as answer:
        found = {each["region"]: each async for each in items(answer)}
    assert found["oslo"]["trouble"] == refused
    assert found["paris"]["lines"] == ["line 1"]


async def test_a_provider_that_keeps_no_output_says_so(real: RealController) -> None:
    await prints(real)
    view = real.sessions.views()[RegionName("oslo")]
    view.hello = replace(
        view.hello, capabilities=capability_words(ProviderAbilities(keeps_output=False), ALL)
    )
    async with real.client.get("applications/hello/logs/stream?region=oslo") as answer:
        (found,) = [each async for each in items(answer)]
    assert found["trouble"] == "the provider local keeps nothing of what hosts print"


async def test_an_application_or_a_region_that_is_not_there_is_refused(real: RealController) -> None:
    await release(real)
    refused = {"none/logs/stream": 404, "hello/logs/stream?region=none": 422, "hello/logs/stream?tail=3": 400}
    for path, status in refused.items():
        async with real.client.get(f"applications/{path}") as answer:
            assert answer.status == status, path


async def test_what_went_before_since_is_left_out(real: RealController) -> None:
    await prints(real)
    query = {"region": "oslo", "gone": "1", "since": "60"}
    async with real.client.get("applications/hello/logs/stream", params=query) as answer:
        found = [each["host"] async for each in items(answer)]
    assert found == ["oslo-1"]
