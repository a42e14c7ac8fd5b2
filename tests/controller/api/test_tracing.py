"""One id finds what came of a request: in the answer, in the log, and in the questions to agents."""

import re
from collections.abc import Iterator

import pytest
import structlog
from structlog.testing import LogCapture

from repave_protos.daemon.causes import cause, caused_by
from repave_protos.protocol import wire
from repave_protos.protocol.queries import Answer, Hosts, Query
from tests.controller.api.conftest import release
from tests.fakes.controller.api_rig import RealController


@pytest.fixture
def written() -> Iterator[LogCapture]:
    captured = LogCapture()
    structlog.configure(processors=[structlog.contextvars.merge_contextvars, captured])
    yield captured
    structlog.reset_defaults()


async def test_the_request_of_a_command_is_in_its_events_and_what_is_published(
    real: RealController, written: LogCapture
) -> None:
    real.client.headers["X-Request-Id"] = "ci-4711"
    await release(real)
    of = [each["event"] for each in written.entries if each.get("request") == "ci-4711"]
    assert {"release.started", "desired.published", "request.answered"} <= set(of)


async def test_an_answer_names_its_request_whose_id_is_taken_or_made(real: RealController) -> None:
    for given, taken in (("ci-4711", True), ("a b", False), ("x" * 65, False), ("", False)):
        async with real.client.get("applications", headers={"X-Request-Id": given}) as answer:
            told = answer.headers["X-Request-Id"]
        assert told == given if taken else re.fullmatch(r"[0-9a-f]{16}", told)


async def test_a_refusal_names_its_request_too(real: RealController) -> None:
    async with real.client.get("applications/none") as answer:
        assert answer.status == 404
        assert answer.headers["X-Request-Id"]


async def test_agents_hear_for_which_request_they_are_asked(real: RealController) -> None:
    await release(real)
    heard: list[str] = []

    def answer(query: Query) -> bytes:
        heard.append(query.cause)
        return wire.encode_from_agent(Answer(query.query_id, Hosts()))

    real.agents["oslo"].answers_all = answer
    async with real.client.get("hosts?region=oslo", headers={"X-Request-Id": "ci-4711"}) as answered:
        assert answered.status == 200
    assert heard == ["ci-4711"]


def test_a_cause_ends_with_its_block() -> None:
    with caused_by("a"):
        with caused_by("b"):
            assert cause() == "b"
        with caused_by(""):
            assert cause() == "a"
    assert cause() == ""
