"""Which answers of a host are good, however they come in pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from repave_agent.health.answer import BODY_BYTES_MAX, HEADER_BYTES_MAX, Answer

GOOD = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.0 200\r\n\r\nas long as it is open",
    b"HTTP/1.1 200 OK\nServer: old\n\nok",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0;last\r\nX-Sum: 1\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
]
BAD = [
    (b"", "answered nothing and hung up"),
    (b"SSH-2.0-OpenSSH\r\n", "answered 'SSH-2.0-OpenSSH', which is not HTTP/1.1"),
    (b"HTTP/1.1 20 OK\r\n\r\n", "answered 'HTTP/1.1 20 OK', which is not HTTP/1.1"),
    (b"HTTP/1.1 200 OK", "answered 200 and hung up before its end"),
    (b"HTTP/1.1 200 OK\r\nServer: x\r\n", "answered 200 and hung up before its end"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", "answered 200 and hung up before its end"),
    (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
        "answered 200 and hung up before its end",
    ),
    (b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno", "answered 500, expected 200"),
    (b"HTTP/1.1 500 Oh\r\nContent-Length: 9\r\n\r\nno", "answered 500, expected 200"),
    (b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", "answered 302, expected 200"),
    (b"HTTP/1.1 103 Early Hints\r\n\r\n", "answered nothing and hung up"),
]
pieces = some.lists(some.integers(1, 60), max_size=4)


def told(said: bytes, sizes: list[int], expected: int = 200, how: str = "") -> Answer:
    """What is made of it when it comes in pieces of these sizes, and the connection ends then."""
    answer = Answer(expected)
    for size in sizes:
        answer.take(said[:size])
        said = said[size:]
    if said:
        answer.take(said)
    answer.end(how)
    return answer


@pytest.mark.parametrize("said", GOOD)
@given(sizes=pieces)
def test_an_answer_that_comes_to_its_end_is_good(said: bytes, sizes: list[int]) -> None:
    assert told(said, sizes).fault == ""


@pytest.mark.parametrize(("said", "fault"), BAD)
@given(sizes=pieces)
def test_what_is_wrong_with_an_answer_is_told(said: bytes, fault: str, sizes: list[int]) -> None:
    assert told(said, sizes).fault == fault


@pytest.mark.parametrize("said", [GOOD[1], GOOD[0][:-1], b"HTTP/1.1 200 OK\r\nA: b"])
def test_a_reset_before_the_end_is_no_end(said: bytes) -> None:
    assert told(said, [], how="and reset the connection").fault == "answered 200 and reset the connection"


def test_an_answer_is_over_as_soon_as_its_end_is_there() -> None:
    for said in (GOOD[0], GOOD[3], GOOD[4], GOOD[5], b"HTTP/1.1 204 No\r\n\r\n"):
        answer = Answer(204 if b"204" in said else 200)
        answer.take(said[:-1])
        assert not answer.is_over
        answer.take(said[-1:])
        assert (answer.is_over, answer.fault) == (True, "")


def test_headers_have_a_bound_and_so_has_what_is_read_of_a_body() -> None:
    head = b"HTTP/1.1 200 OK\r\n"
    endless = Answer(200)
    endless.take(head + b"X: y\r\n" * HEADER_BYTES_MAX)
    assert endless.fault == f"answered 200 and more than {HEADER_BYTES_MAX} bytes of headers"
    just = head + b"X: " + b"y" * (HEADER_BYTES_MAX - len(head) - 7) + b"\r\n\r\n"
    assert (len(just), told(just, []).fault) == (HEADER_BYTES_MAX, "")
    page = Answer(200)
    page.take(head + b"\r\n" + b"x" * BODY_BYTES_MAX)
    assert not page.is_over
    page.take(b"x")
    assert (page.is_over, page.fault) == (True, "")


def test_only_an_answer_that_may_be_a_stream_may_take_longer() -> None:
    head = b"HTTP/1.1 200 OK\r\n"
    for said, fault in {
        head + b"\r\ndata: 1": "",
        head: "answered 200 and did not end its answer within 2 s",
        head + b"Content-Length: 3\r\n\r\nok": "answered 200 and did not end its answer within 2 s",
        head.replace(b"200", b"500"): "answered 500, expected 200",
    }.items():
        answer = Answer(200)
        answer.take(said)
        answer.time_out(2.0)
        assert (answer.is_over, answer.fault) == (True, fault)
