"""The client asks for what there is, as it is described, and gives what comes."""

import json
import os
import re
import subprocess
import sys
import urllib.parse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from repave_client import Client, NeverBegun, NotAController, Problem, Unreachable
from repave_client.client import OVER
from repave_client.places import with_query
from repave_controller.core.domain.rollout import Phase
from tests.controller.api.conftest import SPEC, Asked, a_package, routes
from tests.fakes.controller.scheduler import ServedController, served
from tests.support.openapi import ANSWERS, answers_of, described


def test_its_types_are_those_of_the_description() -> None:
    """Mend it by: python -m tests.support.openapi"""
    assert ANSWERS.read_text() == answers_of(described())


def test_it_knows_the_phases_in_which_a_rollout_has_ended() -> None:
    assert set(OVER) == {str(each) for each in Phase if each.is_over}


# --------------------------------------------------------------------------------- what is asked for


class Recording(Client):
    """Asks no one; keeps what it would have sent."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1")
        self.sent: list[tuple[str, str, dict[str, Any] | None, Mapping[str, str]]] = []

    def _ask(
        self, method: str, path: str, body: Any = None, headers: Any = None, *, is_exact: bool = False
    ) -> Any:
        self.sent.append((method, path, json.loads(body) if isinstance(body, bytes) else None, headers or {}))
        return {"items": [], "next": ""}

    def follow(self, path: str, **query: Any) -> Any:
        kept = {name: each for name, each in query.items() if name not in ("resumes", "said")}
        self.sent.append(("GET", with_query(path, kept), None, {}))
        return iter(())


CALLS: dict[str, Callable[[Client], Any]] = {
    "applications": lambda client: list(client.applications(phase="running", prefix="x")),
    "application": lambda client: client.application("a/b"),
    "summary": lambda client: client.summary("a"),
    "why": lambda client: client.why("a"),
    "history": lambda client: list(client.history("a", brief=True)),
    "queue": lambda client: client.queue("a"),
    "groups": lambda client: list(client.groups("a", state="warm")),
    "all groups": lambda client: list(client.groups()),
    "ages": lambda client: list(client.ages()),
    "hosts": lambda client: list(client.hosts("a", region="r", group="g", log_lines=3)),
    "regions": lambda client: list(client.regions(troubled=True)),
    "images": lambda client: list(client.images()),
    "freezes": lambda client: client.freezes(),
    "doctor": lambda client: client.doctor(),
    "whoami": lambda client: client.whoami(),
    "events": lambda client: list(client.events(after=3, application="a", kind="k", region="r")),
    "follow_events": lambda client: list(client.follow_events(after=3, application="a")),
    "follow_application": lambda client: list(client.follow_application("a", summary=True)),
    "plan": lambda client: client.plan(SPEC, "a" * 64, version="1", will_push=True),
    "release": lambda client: client.release("a", SPEC, "a" * 64, version="1", by="b", queue=True),
    "rollback": lambda client: client.rollback("a", to="1", regions=["r"], by="b", reason="c"),
    "abort": lambda client: client.abort("a", region="r"),
    "pause": lambda client: client.pause("a", reason="c", generation="1.a"),
    "resume": lambda client: client.resume("a"),
    "promote": lambda client: client.promote("a", role="ops", gates=["step 1.1"], skip=True),
    "resize": lambda client: client.resize("a", {"r": 3}),
    "renew": lambda client: client.renew("a"),
    "steer": lambda client: client.steer("a", "step-back"),
    "taint": lambda client: client.taint("a-v001-1", region="r"),
    "freeze_all": lambda client: client.freeze_all(by="b", reason="c"),
    "lift_freeze": lambda client: client.lift_freeze(),
}


@pytest.mark.parametrize("name", CALLS)
def test_each_method_asks_as_a_route_is_described(name: str) -> None:
    client = Recording()
    CALLS[name](client)
    ((method, address, body, headers),) = client.sent
    path, _, query = address.partition("?")
    (route,) = [each for each in routes() if each.method == method and _fits(each.path, path)]
    if query:
        assert route.query is not None
        route.query.model_validate(dict(urllib.parse.parse_qsl(query)))
    if body is not None:
        assert route.body is not None
        route.body.model_validate(body)
    if route.is_command:
        assert len(headers["Idempotency-Key"]) == 32
        assert headers.get("If-Match", '"1.a"') == '"1.a"'


def _fits(pattern: str, path: str) -> bool:
    return re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", pattern), path) is not None


def test_every_method_is_in_the_table() -> None:
    elsewhere = {"from_environment", "push", "wait"}
    methods = {name for name in vars(Client) if not name.startswith("_")}
    assert methods - elsewhere <= set(CALLS)


# ----------------------------------------------------------------------------------- with a controller


@pytest.fixture
def client(controller: ServedController) -> Client:
    return Client(controller.url)


def test_a_package_is_pushed_released_and_waited_for(client: Client, tmp_path: Path) -> None:
    file = tmp_path / "app.tar.gz"
    file.write_bytes(a_package("v1"))
    image = client.push(file)
    accepted = client.release("hello", SPEC, image["digest"], version="v1", by="ann")
    assert client.wait("hello", accepted["rollout"]) == "succeeded"
    assert [each["version"] for each in client.applications()] == ["v1"]
    assert [each["by"] for each in client.events(kind="release.started")] == ["ann"]
    assert {each["name"] for each in client.regions()} == {"paris", "oslo"}
    assert len(list(client.hosts("hello"))) == 5


def test_a_release_that_never_begins_is_not_waited_for(client: Client, api: Asked) -> None:
    api.release("v0")
    api.ended()
    assert api.release("v1", spec=SPEC.replace("warm: 0s", "warm: 1h")).status == 202
    queued = client.release("hello", SPEC, api.push("v2"), version="v2", queue=True)
    with pytest.raises(NeverBegun, match="waits in the queue"):
        client.wait("hello", queued["rollout"])
    (number,) = [each["number"] for each in client.queue("hello")["items"]]
    api.post("applications/hello/queue/drop", {"name": str(number)})
    client.abort("hello")
    with pytest.raises(NeverBegun, match="rollout 3 of hello never began"):
        client.wait("hello", 3)
    assert client.wait("hello", 2) in OVER


def test_pages_follow_each_other(client: Client, api: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("repave_client.client.PAGE", 1)
    for version in ("v1", "v2", "v3"):
        api.release(version)
        api.ended()
    assert [each["version"] for each in client.history("hello")] == ["v3", "v2", "v1"]
    numbers = [each["sequence"] for each in client.events()]
    assert numbers == sorted(set(numbers))
    assert "hello-v003" in [each["name"] for each in client.groups()]


def test_a_refusal_is_a_problem_with_all_that_was_said(client: Client) -> None:
    with pytest.raises(Problem) as caught:
        client.application("nothing")
    problem = caught.value
    assert (problem.status, problem.rule) == (404, "unknown-application")
    assert "nothing" in problem.detail == str(problem)
    with pytest.raises(Problem) as caught:
        client.plan("app: x", "a" * 64)
    assert {"file", "line", "field", "message"} <= set(caught.value.problems[0])


def test_a_command_on_what_has_changed_is_refused(client: Client, api: Asked) -> None:
    api.release("v1")
    api.ended()
    seen = client.application("hello")["generation"]
    client.resize("hello", {"paris": 3}, generation=seen)
    with pytest.raises(Problem) as caught:
        client.resize("hello", {"paris": 4}, generation=seen)
    assert caught.value.rule == "moved"
    assert caught.value.facts["expected"] == seen


def test_events_are_followed_through_a_restart_each_once(tmp_path: Path) -> None:
    with served(tmp_path) as first:
        api = Asked(first.url)
        api.release("v1")
        api.ended()
        followed = Client(first.url).follow_events()
        seen = [next(followed)["sequence"] for _ in range(3)]
    with served(tmp_path, former=first) as second:
        newest = Asked(second.url).get("events?newest=1&limit=1").json["items"][-1]["sequence"]
        while seen[-1] < newest:
            seen.append(next(followed)["sequence"])
    assert seen == list(range(1, seen[-1] + 1))


def test_a_token_goes_in_no_plaintext_and_nowhere_but_to_a_controller() -> None:
    with pytest.raises(NotAController, match="plaintext"):
        Client("http://repave.example:7400", token="t")
    with pytest.raises(NotAController, match="no address"):
        Client("repave.example")
    with pytest.raises(Unreachable, match="cannot reach"):
        Client("http://127.0.0.1:1").whoami()


def test_the_environment_says_where_and_who(
    controller: ServedController, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPAVE_URL", controller.url)
    monkeypatch.delenv("REPAVE_TOKEN", raising=False)
    monkeypatch.delenv("REPAVE_CA", raising=False)
    assert Client.from_environment().whoami()["kind"] == "local"


# --------------------------------------------------------------------------------------------- its weight


@pytest.mark.parametrize(
    ("statement", "without"),
    [
        ("import repave_client", {"http.client", "ssl", "repave_client.client", "typing_extensions"}),
        ("from repave_client.connection import Connection", {"repave_client.client"}),
        ("from repave_client import Client", {"repave_client.answers"}),
    ],
)
def test_it_imports_what_it_needs_and_nothing_of_repave(statement: str, without: set[str]) -> None:
    program = f"import sys\n{statement}\nprint(*sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={**os.environ}
    )
    imported = set(ran.stdout.split())
    heavy = {
        "aiohttp",
        "asyncio",
        "pydantic",
        "cryptography",
        "repave_protos",
        "repave_cli",
        "repave_controller",
    }
    assert not imported & (heavy | without)
