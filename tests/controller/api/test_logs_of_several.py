"""Logs that are followed over two controllers: whichever is asked, and wherever the agent is connected, what
a host prints comes once."""

import json
from pathlib import Path
from typing import Any

import aiohttp

from repave_protos.protocol import wire
from repave_protos.protocol.queries import Answer, HostOutput, Output, Query, ReadOutput
from repave_protos.protocol.values import GroupName, HostName
from tests.controller.api.test_relay import HELLO, begun, is_idle, released
from tests.fakes.controller.plural_api import peers
from tests.fakes.waiting import until


class Printed:
    """What a host has printed so far; a cursor is the number of its lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def answer(self, query: Query) -> bytes | None:
        assert isinstance(query.question, ReadOutput)
        begin = int(dict(query.question.cursors).get(HostName("h1"), "0"))
        text = "".join(f"{line}\n" for line in self.lines[begin:])
        output = HostOutput(HostName("h1"), GroupName("hello-v001"), text, str(len(self.lines)))
        return wire.encode_from_agent(Answer(query.query_id, Output((output,))))


async def first_item(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    async for line in answer.content:
        if line.startswith(b"data: "):
            item: dict[str, Any] = json.loads(line[6:])
            return item
    raise AssertionError("the stream has ended")


async def test_a_stream_goes_on_at_another_controller_behind_what_it_gave(tmp_path: Path) -> None:
    printed, path = Printed(), "applications/hello/logs/stream?region=paris&follow=1"
    async with peers(tmp_path, "ann", "ben") as (ann, ben):
        await begun(ann, ben)
        assert (await released(ben))[0] == 202
        await until(lambda: is_idle(ann, HELLO) and is_idle(ben, HELLO))
        (paris,) = ann.agents
        paris.answers_all = printed.answer
        async with ann.client.get(path) as answer:
            quiet = await first_item(answer)
            assert (quiet["lines"], quiet["position"]) == ([], "0")
        printed.lines += ["one", "two"]
        for peer, position, lines in ((ben, "0", ["one", "two"]), (ann, "1", ["two"]), (ben, "1", ["two"])):
            after = {"after": [{"region": "paris", "host": "h1", "position": position}]}
            async with peer.client.post(path, json=after) as answer:
                item = await first_item(answer)
            assert (item["lines"], item["position"]) == (lines, "2")
