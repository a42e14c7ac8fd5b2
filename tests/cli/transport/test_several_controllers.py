"""Several controllers that share a store: the next one is asked when one does not answer."""

import argparse
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import pytest

from repave_cli.main import main
from repave_cli.transport import credentials
from repave_cli.transport.client import Client
from repave_cli.transport.credentials import Credentials
from repave_cli.transport.errors import CliError, UnreachableError
from repave_cli.transport.exit_codes import USAGE
from repave_cli.transport.streaming import lasting
from repave_cli.transport.terminal import Terminal
from repave_client import connection
from repave_client.places import urls_in
from tests.fakes.controller.api import BROKEN, fake_api
from tests.support.ports import free_port


@contextmanager
def hanging_up() -> Iterator[str]:
    """A controller that takes a request, and is gone."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                connection.recv(1)
                connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def away() -> str:
    return f"http://127.0.0.1:{free_port()}"


def test_urls_have_commas_or_spaces_between() -> None:
    assert urls_in("https://a:1,https://b:2") == urls_in(" https://a:1  https://b:2 ")


def test_the_next_controller_is_asked_when_one_does_not_answer() -> None:
    with fake_api() as api, hanging_up() as broken:
        api.answers["GET", "applications"] = [{"items": []}]
        client = Client(f"{away()},{broken},{api.url}")
        assert client.get("applications") == {"items": []}
        assert client.url == api.url
        client.get("applications")
        assert api.requests == [("GET", "applications")] * 2, "and from then on at once"


@pytest.mark.parametrize(
    "url",
    ["http://a:76x", "http://a:99999", "http://[::1", "http://a:1;http://b:2", "http//a:1", "https://:7400"],
)
def test_one_address_that_is_none_is_named(url: str) -> None:
    with pytest.raises(CliError) as refused:
        Client(f"https://first:7400,{url}")
    assert refused.value.text == f"{url} is no address of a controller; write https://HOST:PORT"
    assert refused.value.exit_code == USAGE


def test_where_none_answers_each_is_named() -> None:
    urls = [away(), away()]
    with pytest.raises(UnreachableError) as refused:
        Client(" ".join(urls)).get("applications")
    assert all(f"{url}: connection refused" in refused.value.text for url in urls)


def test_what_may_have_been_done_is_asked_of_another_one_only_with_a_key() -> None:
    with fake_api() as api, hanging_up() as broken:
        with pytest.raises(UnreachableError):
            Client(f"{broken},{api.url}").post("freezes", {})
        with pytest.raises(CliError, match="501"):  # this one takes no commands, but was asked
            Client(f"{broken},{api.url}").post("freezes", {}, key="one")
        with pytest.raises(CliError, match="501"):
            Client(f"{away()},{api.url}").post("freezes", {})


def test_a_stream_goes_on_at_another_controller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "NEXT_SECONDS", 0.0)
    with fake_api() as first, fake_api() as second:
        first.answers["GET", "events/stream"] = [[{"n": 1}], BROKEN]
        second.answers["GET", "events/stream"] = [[{"n": 2}], [{"n": 3}]]
        monkeypatch.setattr(connection, "RECONNECT_SECONDS", 0.0)
        terminal = Terminal(argparse.Namespace(url=f"{first.url},{second.url}", output="json"))
        found = list(islice(lasting(terminal, "events/stream"), 2))
        assert found == [{"n": 1}, {"n": 2}]
        assert (len(first.requests), len(second.requests)) == (2, 1)


def test_a_log_in_is_kept_for_all_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("REPAVE_TOKEN", raising=False)
    both = "https://a:1,https://b:2"
    credentials.keep(both, Credentials("secret", "pem"))
    for url in ("https://a:1", "https://b:2/", both, "https://c:3 https://b:2"):
        assert credentials.credentials_for(url) == Credentials("secret", "pem")
    assert credentials.forget("https://a:1")
    assert credentials.credentials_for(both).token == "secret"
    assert credentials.forget(both)
    assert credentials.credentials_for(both) == Credentials("", "pem")


def test_logs_are_followed_at_another_controller_from_where_they_were(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for pause in ("NEXT_SECONDS", "RECONNECT_SECONDS"):
        monkeypatch.setattr(connection, pause, 0.0)
    monkeypatch.setattr(connection, "RECONNECTS_MAX", 2)
    item = {"region": "oslo", "host": "h-1", "cut": False, "trouble": "", "gone_at": None}
    quiet = {**item, "host": "h-2", "lines": [], "position": "p7"}
    path = "applications/shop/logs/stream"
    with fake_api() as first, fake_api() as second:
        first.answers["GET", path] = [[quiet, {**item, "lines": ["one"], "position": "p1"}]]
        first.answers["POST", path] = [BROKEN]
        second.answers["POST", path] = [[{**item, "lines": ["two"], "position": "p2"}], BROKEN]
        assert main(["logs", "shop", "-f", "--url", f"{first.url},{second.url}"]) == 1
        at = {"region": "oslo", "host": "h-1"}
        other = {"region": "oslo", "host": "h-2", "position": "p7"}
        assert first.bodies[0] == second.bodies[0] == {"after": [other, {**at, "position": "p1"}]}
        assert second.bodies[-1] == {"after": [other, {**at, "position": "p2"}]}
    told = capsys.readouterr()
    assert told.out.splitlines() == ["[oslo/h-1] one", "[oslo/h-1] two"]
    assert "cannot reach the controller" in told.err


def test_a_message_that_breaks_off_is_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "RECONNECT_SECONDS", 0.0)
    with fake_api() as api:
        api.answers["GET", "events/stream"] = [
            (200, b'id: 1\ndata: {"n": 1}\n\nid: 2\ndata: {"n'),
            [{"n": 2}],
        ]
        assert list(islice(Client(api.url).follow("events/stream", resumes=True), 2)) == [{"n": 1}, {"n": 2}]
