"""What a health check may ask: what no balancer could misread."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from repave_protos.protocol.health_requests import (
    HEADERS_MAX,
    header_fault,
    headers_fault,
    host_fault,
    path_fault,
)


@pytest.mark.parametrize("path", ["/", "/health?full=1&of=a,b;c", "/-/ready:@!*~.%20%", "//x"])
def test_paths_that_can_be_asked_for(path: str) -> None:
    assert path_fault(path) == ""


@given(some.text(max_size=20))
def test_a_path_that_passes_is_one_word_without_a_meaning_to_haproxy(text: str) -> None:
    path = f"/{text}"
    if not path_fault(path):
        assert path.isascii()
        assert path.isprintable()
        assert not set(path) & set(" '\"\\#$[]{}<>|^`")


@pytest.mark.parametrize(
    "host", ["shop", "shop.example.com", "shop_1.example:8443", "10.0.0.1:80", "[::1]", "[2001:db8::1]:443"]
)
def test_hosts_that_a_request_can_name(host: str) -> None:
    assert host_fault(host) == ""


@pytest.mark.parametrize(
    "host",
    [
        "",
        "a b",
        "a:b",
        "a:0",
        "a:65536",
        "a:",
        ":80",
        "a/b",
        "é.example",
        "a\n",
        "http://a",
        "[::1",
        "x" * 256,
        "-a",
    ],
)
def test_hosts_that_it_can_not(host: str) -> None:
    assert host_fault(host) != ""


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("X A", "1", "can't name a header"),
        ("", "1", "can't name a header"),
        ("X:", "1", "can't name a header"),
        ("X%", "1", "can't name a header"),
        ("X" * 65, "1", "can't name a header"),
        ("HOST", "a", "has a field of its own: health.http.host"),
        ("Content-Length", "3", "belongs to the connection"),
        ("te", "trailers", "belongs to the connection"),
        ("X", "", "must neither be empty"),
        ("X", " a", "nor begin or end with a space"),
        ("X", "a\r\nY: b", r"can't hold '\r' (U+000D)"),
        ("X", "é", r"can't hold '\xe9' (U+00E9)"),
        ("X", "a\tb", r"can't hold '\t' (U+0009)"),
        ("X", "a" * 1001, "has 1001 characters"),
    ],
)
def test_headers_that_a_request_can_not_have(name: str, value: str, words: str) -> None:
    assert words in header_fault(name, value)
    assert headers_fault(((name, value),)).endswith(header_fault(name, value))


def test_headers_have_one_value_each_and_are_few() -> None:
    assert headers_fault((("User-Agent", 'it\'s "$HOME" %d #1'), ("X-A", "b"))) == ""
    assert "is there twice" in headers_fault((("X-A", "1"), ("x-a", "2")))
    assert "at most" in headers_fault(tuple((f"X-{number}", "1") for number in range(HEADERS_MAX + 1)))
