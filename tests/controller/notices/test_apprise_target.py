"""What people get in Slack, in Teams, by mail, by PagerDuty and by a webhook, from real apprise at receivers
on this machine; and what a receiver that is ill, or is in a place of its own choosing, leads to."""

import asyncio
import email
import json
import sys
from collections.abc import AsyncIterator
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiosmtpd.smtp import SMTP

from repave_controller.core.domain.application import Event, Instant
from repave_controller.core.domain.audience import USUAL, Hearer
from repave_controller.notices import apprise_target
from repave_controller.notices.apprise_target import SENDING, AppriseTarget, incident_id
from repave_controller.notices.ports import Notice, NotTaken
from repave_controller.notices.progress import Failure
from repave_controller.notices.sending import secrets_of, without
from tests.support.paths import ROOT

EVIL = (
    "<!channel> <script>alert(1)</script> [here](http://evil.example) *b* & <at>all</at>"
    "\r\nBcc: x@evil.example"
)
EVENT = Event(
    "release.failed", f"web-v007 failed: {EVIL}", "web", region="paris", at=Instant(5.0), sequence=7
)
NOTICE = Notice("i1-7", "i1", EVENT)
SLACK = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/"
TEAMS = "workflows://prod.example.com:443/w0rkflow7/s1gnature/"
PAGERDUTY = "pagerduty://A1BRTD4JDTIiajkdnlazkcOXrIdevi7FQ@r0utingkey77"


class Receiver:
    """A server on loopback that answers as it is told to, and keeps what it got."""

    def __init__(self) -> None:
        self.got: list[tuple[web.Request, dict[str, Any]]] = []
        self.status, self.text, self.headers, self.port = 200, "ok", dict[str, str](), 0

    async def answer(self, request: web.Request) -> web.Response:
        self.got.append((request, await request.json()))
        return web.Response(status=self.status, text=self.text, headers=self.headers)

    @property
    def body(self) -> dict[str, Any]:
        ((_, body),) = self.got
        return body


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver, app = Receiver(), web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.port = runner.addresses[0][1]
    yield receiver
    await runner.cleanup()


def target(place: Path, address: str, port: int = 0, **more: Any) -> AppriseTarget:
    (place / "address").write_text(f"{address}\n")
    command = SENDING
    if port:  # what goes to a service whose address apprise has comes here
        command = (sys.executable, str(ROOT / "tests/support/sending_here.py"), str(port))
        more = {"allow": "127.0.0.1", **more}
    usual = {"on": USUAL, "applications": ("*",), "hearers": lambda _: (), "command": command}
    return AppriseTarget("ops", place / "address", **{**usual, **more})


async def failure_of(there: AppriseTarget) -> Failure:
    with pytest.raises(NotTaken) as caught:
        await there.send(NOTICE, 0.0)
    return caught.value.failure


# ------------------------------------------------------------------------------------- what each kind gets


async def test_slack_shows_names_as_they_are_and_calls_nobody(tmp_path: Path, receiver: Receiver) -> None:
    await target(tmp_path, SLACK, receiver.port, url="https://repave.corp.example").send(NOTICE, 0.0)
    ((request, body),) = receiver.got
    assert request.headers["X-Meant-For"] == "hooks.slack.com"
    (attached,) = body["attachments"]
    assert attached["title"] == "web: release failed"
    assert "&lt;!channel&gt; &lt;script&gt;" in attached["text"]
    assert "<" not in attached["text"]
    assert "https://repave.corp.example/apps/web" in attached["text"]
    assert "github" not in json.dumps(body), "no pictures from elsewhere"


async def test_teams_shows_no_link_that_somebody_wrote_into_a_name(
    tmp_path: Path, receiver: Receiver
) -> None:
    await target(tmp_path, TEAMS, receiver.port).send(NOTICE, 0.0)
    text = json.dumps(receiver.body)
    assert "web: release failed" in text
    assert "\\\\[here\\\\]\\\\(http" in text, "no link"
    assert "*b*" not in text
    assert receiver.got[0][0].headers["X-Meant-For"] == "prod.example.com:443"


async def test_pagerduty_gets_one_incident_for_what_is_sent_twice(tmp_path: Path, receiver: Receiver) -> None:
    receiver.status = 202
    there = target(tmp_path, PAGERDUTY, receiver.port)
    await there.send(NOTICE, 0.0)
    assert receiver.body["dedup_key"] == "i1-web-rollout"
    assert receiver.body["payload"]["severity"] == "critical"
    assert receiver.body["event_action"] == "trigger"
    assert receiver.body["payload"]["summary"].startswith("web: release failed")


async def test_pagerduty_has_one_incident_until_it_is_over(tmp_path: Path, receiver: Receiver) -> None:
    receiver.status = 202
    there = target(tmp_path, PAGERDUTY, receiver.port)
    kinds = ("release.failed", "release.rolled-back")
    for number, kind in enumerate(kinds):
        event = Event(kind, "web-v007", "web", sequence=number)
        assert there.wants(event)
        await there.send(Notice(f"i1-{number}", "i1", event), 0.0)
    bodies = [body for _, body in receiver.got]
    assert [each["event_action"] for each in bodies] == ["trigger", "resolve"]
    assert {each["dedup_key"] for each in bodies} == {"i1-web-rollout"}


@pytest.mark.parametrize(
    ("kind", "on", "is_wanted"),
    [
        ("release.succeeded", ("failures",), True),
        ("rollback.succeeded", ("failures",), True),
        ("release.aborted", ("rollbacks",), True),
        ("gate.approved", ("approvals",), True),
        ("queue.resumed", ("failures",), True),
        ("application.deleted", ("failures",), True),
        ("release.succeeded", ("starts", "regions"), False),  # never told that something is wrong
        ("release.started", ("failures",), False),
        ("region.done", ("failures",), False),
    ],
)
def test_pagerduty_hears_of_the_end_whatever_it_is_told_of(
    kind: str, on: tuple[str, ...], is_wanted: bool, tmp_path: Path
) -> None:
    event = Event(kind, "", "web")
    assert target(tmp_path, PAGERDUTY, on=on).wants(event) is is_wanted
    assert not target(tmp_path, PAGERDUTY, on=on, applications=("shop",)).wants(event)
    assert not target(tmp_path, SLACK, on=on).wants(event)
    asked: dict[str, Any] = {"applications": (), "hearers": lambda _: (Hearer("ops", on),)}
    assert target(tmp_path, PAGERDUTY, **asked).wants(event) is is_wanted


@pytest.mark.parametrize("begin", ["release.failed", "release.held", "gate.waiting", "rollback.failed"])
def test_incidents_of_applications_are_apart_and_others_have_their_own(begin: str) -> None:
    def id_of(kind: str, application: str) -> str:
        return incident_id(Notice("i1-7", "i1", Event(kind, "", application)))

    assert id_of(begin, "web") == id_of("release.succeeded", "web") != id_of(begin, "shop")
    assert id_of("hook.failed", "web") == id_of("freeze.all.added", "") == "i1-7"


async def test_a_webhook_gets_plain_json(tmp_path: Path, receiver: Receiver) -> None:
    await target(tmp_path, f"json://127.0.0.1:{receiver.port}/in").send(NOTICE, 0.0)
    assert receiver.body["title"] == "web: release failed"
    assert receiver.body["type"] == "failure"
    assert receiver.body["message"].splitlines()[-1] == "region paris"


class Mails:
    def __init__(self) -> None:
        self.got: list[tuple[list[str], Message]] = []

    async def handle_DATA(self, server: object, session: object, envelope: Any) -> str:
        self.got.append((envelope.rcpt_tos, email.message_from_bytes(envelope.content)))
        return "250 taken"


async def test_mail_goes_to_whom_the_settings_say_and_to_no_other(tmp_path: Path) -> None:
    mails = Mails()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(mails, loop=loop), "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        address = f"mailto://127.0.0.1:{port}?from=repave@corp.example&to=ops@corp.example&format=text"
        await target(tmp_path, address).send(NOTICE, 0.0)
    finally:
        server.close()
    ((to, mail),) = mails.got
    assert to == ["ops@corp.example"]
    assert mail["Subject"] == "web: release failed"
    assert mail["Bcc"] is None
    (plain,) = [each for each in mail.walk() if not each.is_multipart()]
    assert plain.get_content_type() == "text/plain"
    assert "<script>" in str(plain.get_payload(decode=True))


# ------------------------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    ("status", "headers", "is_refused", "waits"),
    [(404, {}, True, 0.0), (503, {"Retry-After": "40"}, False, 40.0), (302, {"Location": "/in"}, True, 0.0)],
)
async def test_a_receiver_that_does_not_take_it(
    tmp_path: Path, receiver: Receiver, status: int, headers: dict[str, str], is_refused: bool, waits: float
) -> None:
    receiver.status, receiver.headers = status, headers
    failure = await failure_of(target(tmp_path, SLACK, receiver.port))
    assert (failure.is_refused, failure.wait_seconds) == (is_refused, waits)
    assert len(receiver.got) == 1, "no redirect is followed"
    assert "TIiajkdnlazkcOXrIdevi7FQ" not in failure.text


async def test_a_name_that_leads_into_the_network_is_not_followed(tmp_path: Path, receiver: Receiver) -> None:
    """The settings name no host here: Slack's has no private address."""
    failure = await failure_of(target(tmp_path, SLACK, receiver.port, allow=""))
    assert "127.0.0.1 is 127.0.0.1, which is private" in failure.text
    assert not receiver.got


@pytest.mark.parametrize("address", ["", "exec:///bin/true", "dbus://", "slack://a\nslack://b", "slack"])
async def test_an_address_that_is_none(tmp_path: Path, address: str) -> None:
    failure = await failure_of(target(tmp_path, address))
    assert str(tmp_path / "address") in failure.text
    assert target(tmp_path, address).kind == "apprise"


async def test_a_receiver_that_never_answers_holds_up_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apprise_target, "SEND_SECONDS", 0.2)
    there = target(tmp_path, SLACK, command=("/bin/sleep", "600"))
    assert await failure_of(there) == Failure("no answer within 0.2 s")


def test_words_of_an_address_are_not_told() -> None:
    for address, secret in (
        (SLACK, "TIiajkdnlazkcOXrIdevi7FQ"),
        (PAGERDUTY, "r0utingkey77"),
        ("mailtos://u:p%40ssword@mail.example?to=a@b.example", "p@ssword"),
        ("jsons://hooks.example/t0kent0ken", "t0kent0ken"),
    ):
        assert secret not in without(f"could not reach {secret} of {address}", secrets_of(address))
    assert without("no route to mail.example", secrets_of("mailtos://u:pass@mail.example")) == (
        "no route to mail.example"
    )


# ------------------------------------------------------------------------------------- who gets what


@pytest.mark.parametrize(
    ("kind", "is_told"),
    [
        ("release.failed", True),
        ("release.held", True),
        ("release.rolled-back", True),
        ("rollback.started", True),
        ("gate.waiting", True),
        ("release.succeeded", False),
        ("release.started", False),
        ("region.failed", False),
        ("step.entered", False),
        ("host.launched", False),
    ],
)
def test_it_is_quiet_unless_more_is_asked_for(tmp_path: Path, kind: str, is_told: bool) -> None:
    assert target(tmp_path, SLACK).wants(Event(kind, "", "web")) is is_told


def test_a_spec_may_name_a_target_that_settings_give_other_applications(tmp_path: Path) -> None:
    hearers = {"web": (Hearer("ops", ("successes",)), Hearer("others", ("starts",)))}
    there = target(tmp_path, SLACK, applications=("db",), hearers=lambda name: hearers.get(name, ()))
    told = {
        (name, kind)
        for name in ("web", "db", "")
        for kind in ("release.succeeded", "release.failed", "release.started")
        if there.wants(Event(kind, "", name))
    }
    assert told == {("web", "release.succeeded"), ("db", "release.failed")}
