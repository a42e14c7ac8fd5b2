"""The load generator sees failures, and counts only what is one."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.waiting import until
from tests.fakes.web import Web
from tests.support.load import Load
from tests.support.load_result import LoadResult, Request
from tests.support.ports import free_port

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nv1\n"


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    web = Web("v1")
    await web.start()
    yield web
    await web.stop()


async def load_on(port: int, answers: int, **lanes: int) -> LoadResult:
    load = Load(f"http://127.0.0.1:{port}/", rate=500, **lanes)
    await load.start()
    await until(lambda: load.answers >= answers)
    return await load.stop()


async def load_on_answers(*answers: bytes, **lanes: int) -> LoadResult:
    """Load on a server that sends these answers in turn on each connection, then closes it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        return await load_on(server.sockets[0].getsockname()[1], 20, **lanes)


@pytest.mark.parametrize("lanes", [{"closing": 0}, {"keepalive": 0}, {}])
async def test_good_answers_are_recorded_with_their_version(web: Web, lanes: dict[str, int]) -> None:
    result = await load_on(web.port, 50, **lanes)
    assert result.failures == ()
    assert {request.version for request in result.requests} == {"v1"}
    assert all(request.begun <= request.ended for request in result.requests)


async def test_a_server_that_is_not_there_is_a_failure() -> None:
    result = await load_on(free_port(), 10)
    assert len(result.failures) == len(result.requests)
    assert all("refused" in request.failure for request in result.failures)


async def test_a_close_without_an_answer_is_a_failure() -> None:
    result = await load_on_answers(b"")
    assert {request.failure for request in result.requests} <= {
        "closed without an answer",
        "Connection reset by peer without an answer",
    }


async def test_half_an_answer_is_a_failure() -> None:
    result = await load_on_answers(GOOD[:-1])
    assert len(result.failures) == len(result.requests)
    assert all("in the middle" in request.failure for request in result.failures)


async def test_a_status_of_the_servers_fault_is_a_failure() -> None:
    result = await load_on_answers(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
    assert {request.failure for request in result.requests} == {"status 503"}


async def test_a_polite_close_is_no_failure() -> None:
    polite = GOOD.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    result = await load_on_answers(GOOD, polite, keepalive=4, closing=0)
    assert result.failures == ()
    assert len(result.requests) >= 20


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nv1\n\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nv1\n",
    ],
)
async def test_bodies_without_a_length_are_read_to_their_end(answer: bytes) -> None:
    assert (await load_on_answers(answer)).failures == ()


async def test_a_server_that_never_answers_is_a_failure(web: Web) -> None:
    load = Load(f"http://127.0.0.1:{web.port}/slow", rate=500, keepalive=2, closing=2, timeout_seconds=0.2)
    await load.start()
    await until(lambda: load.answers >= 4)
    result = await load.stop()
    assert {request.failure for request in result.requests} == {"timeout"}


def test_results_survive_a_file_and_answer_questions(tmp_path: Path) -> None:
    requests = (
        Request(1.0, 1.5, 200, "v1", ""),
        Request(2.0, 2.1, 200, "v2", ""),
        Request(3.0, 3.5, 503, "", "status 503"),
        Request(4.0, 4.1, 200, "v1", ""),
    )
    LoadResult(requests, 7).write(tmp_path / "load")
    result = LoadResult.read(tmp_path / "load")
    assert result == LoadResult(requests, 7)
    assert result.answered_by("v1", after=1.0) == 1
    assert result.answered_by("v1", before=4.0) == 1
    assert (result.first_answer("v1", after=2.0), result.last_answer("v2")) == (4.1, 2.1)
    assert [request.failure for request in result.failures] == ["status 503"]
    assert result.summary()["failures"] == {"status 503": 1}
