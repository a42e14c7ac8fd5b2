"""What a receiver over HTTP gets, and what each of its answers, or its place in the network, leads to."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from repave_controller.core.domain.application import Event, Instant
from repave_controller.notices import http_target
from repave_controller.notices.http_target import HttpTarget
from repave_controller.notices.ports import Notice, NotTaken
from repave_controller.notices.progress import Failure
from repave_controller.notices.targets import targets_of
from repave_controller.security.addresses import allowed_of
from repave_controller.security.standard_webhooks import NotSigned, check
from repave_controller.settings import ControllerSettings

NOTICE = Notice("i1-7", "i1", Event("release.failed", "it failed", "web", at=Instant(5.0), sequence=7))
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # of the specification's own example
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    return file


@asynccontextmanager
async def receiving(answer: Answer) -> AsyncIterator[str]:
    """A server on loopback; its address."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/in"
    finally:
        await runner.cleanup()


def target(url: str, secret: Path, **more: object) -> HttpTarget:
    tls = ssl.create_default_context()
    return HttpTarget("audit", url, secret, ("release.*",), ("*",), tls, **more)  # type: ignore[arg-type]


async def failure_of(sent: Awaitable[None]) -> Failure:
    with pytest.raises(NotTaken) as caught:
        await sent
    return caught.value.failure


async def test_it_gets_a_cloud_event_that_is_signed_with_each_secret(secret: Path) -> None:
    secret.write_text(f"{SECRET}\n\nanother one\n")
    got: list[tuple[dict[str, str], bytes]] = []

    async def answer(request: web.Request) -> web.Response:
        got.append(({name.lower(): value for name, value in request.headers.items()}, await request.read()))
        return web.Response(status=204)

    async with receiving(answer) as url:
        await target(url, secret).send(NOTICE, 1000.7)
    ((headers, body),) = got
    assert headers["content-type"] == "application/cloudevents+json"
    assert json.loads(body)["id"] == headers["webhook-id"] == "i1-7"
    for each in (SECRET, "another one"):
        assert check([each], headers, body, 1200.0) == "i1-7"
    with pytest.raises(NotSigned):
        check(["wrong"], headers, body, 1200.0)


@pytest.mark.parametrize(
    ("status", "headers", "is_refused", "wait_seconds"),
    [
        (500, {}, False, 0.0),
        (503, {"Retry-After": "120"}, False, 120.0),
        (429, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, False, 0.0),
        (408, {}, False, 0.0),
        (400, {}, True, 0.0),
        (401, {}, True, 0.0),
        (410, {}, True, 0.0),
        (302, {"Location": "http://169.254.169.254/"}, True, 0.0),
        (307, {"Location": "/elsewhere"}, True, 0.0),
    ],
)
async def test_what_an_answer_leads_to(
    status: int, headers: dict[str, str], is_refused: bool, wait_seconds: float, secret: Path
) -> None:
    paths: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        paths.append(request.path)
        return web.Response(status=status, headers=headers)

    async with receiving(answer) as url:
        failure = await failure_of(target(url, secret).send(NOTICE, 0.0))
    assert (failure.is_refused, failure.wait_seconds) == (is_refused, wait_seconds)
    assert f"answered {status}" in failure.text
    assert paths == ["/in"], "no redirect is followed"


async def test_one_that_is_slow_is_not_waited_for_for_ever(
    secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_target, "ANSWER_SECONDS", 0.05)
    let_go = asyncio.Event()

    async def answer(_: web.Request) -> web.Response:
        await let_go.wait()
        return web.Response()

    async with receiving(answer) as url:
        failure = await failure_of(target(url, secret).send(NOTICE, 0.0))
        let_go.set()
    assert "no answer within" in failure.text
    assert not failure.is_refused


async def test_one_that_is_not_there(secret: Path) -> None:
    async def answer(_: web.Request) -> web.Response:
        raise AssertionError("it has ended")

    async with receiving(answer) as url:
        pass
    assert not (await failure_of(target(url, secret).send(NOTICE, 0.0))).is_refused


@pytest.mark.parametrize(
    ("addresses", "allow", "text"),
    [
        (["169.254.169.254"], "", "which is private"),
        (["fe80::1"], "", "which is private"),
        (["127.0.0.1"], "", ""),  # the host is named by the settings
        (["10.0.0.9", "169.254.169.254"], "", "which is private"),
    ],
)
async def test_where_its_name_leads(addresses: list[str], allow: str, text: str, secret: Path) -> None:
    async def look_up(host: str, port: int) -> list[str]:
        return addresses

    async def answer(_: web.Request) -> web.Response:
        return web.Response()

    async with receiving(answer) as url:
        named = url.replace("127.0.0.1", "hooks.example")
        sent = target(named, secret, allowed=allowed_of(allow), lookup=look_up).send(NOTICE, 0.0)
        if text:
            assert text in (await failure_of(sent)).text
        else:
            await sent


@pytest.mark.parametrize("content", [b"", b"\n \n", b"whsec_%%%", b"\xff\xfe"])
async def test_a_secret_that_is_none_sends_nothing(content: bytes, secret: Path) -> None:
    secret.write_bytes(content)
    failure = await failure_of(target("http://127.0.0.1:1/", secret).send(NOTICE, 0.0))
    assert str(secret) in failure.text
    assert "%%%" not in failure.text


async def test_a_secret_file_that_is_not_there(tmp_path: Path) -> None:
    failure = await failure_of(target("http://127.0.0.1:1/", tmp_path / "no").send(NOTICE, 0.0))
    assert "No such file" in failure.text


def test_what_is_secret_in_its_address_is_shown_nowhere(secret: Path) -> None:
    shown = target("https://hooks.example/T0/B1?token=s3cret", secret)
    assert shown.place == "https://hooks.example/T0/B1"
    assert "s3cret" not in shown.place


@pytest.mark.parametrize(
    ("kinds", "apps", "event", "is_wanted"),
    [
        ((), ("*",), Event("release.failed", application="web"), True),
        ((), ("*",), Event("freeze.added"), True),
        ((), ("*",), Event("host.failed", application="web"), False),
        (("host.*",), ("*",), Event("host.failed", application="web"), True),
        ((), ("web-*",), Event("release.failed", application="web-prod"), True),
        ((), ("web-*",), Event("release.failed", application="shop"), False),
        ((), ("web-*",), Event("freeze.added"), False),
    ],
)
def test_what_it_wants(
    kinds: tuple[str, ...], apps: tuple[str, ...], event: Event, is_wanted: bool, secret: Path
) -> None:
    given = {"url": "https://a.example/x", "secret": secret, "kinds": kinds, "apps": apps}
    settings = ControllerSettings.model_validate({"cloudevents": {"audit": given}})
    (made,) = targets_of(settings)
    assert made.wants(event) == is_wanted
