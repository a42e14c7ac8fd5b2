"""Names become paths, lines of a configuration, log lines and headers: one that means something there is
refused wherever it comes in, and nothing outside is read or written.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import ValidationError

from repave_agent.providers.ssh_pool.inventory import Listed
from repave_agent.settings import AgentSettings
from repave_client.places import quoted, with_query
from repave_controller.core.domain.reasons import Refused
from repave_controller.fleet.packages import ImageDirectory
from repave_controller.security.roster import check_region
from repave_controller.security.tokens import parts_of_token
from repave_controller.spec.loader import SpecError, load
from repave_protos.protocol import wire
from repave_protos.protocol.queries import AcceptedOf, HostsOf, Query
from repave_protos.protocol.values import GroupReport, Hello, RegionName
from tests.controller.api.conftest import SPEC, Asked
from tests.fakes.controller.scheduler import served
from tests.protos.protocol.test_wire import DESIRED, GROUP, REPORT, WORN, _report_with

HOSTILE = (
    "..", ".", "../etc", "../../etc/passwd", "/etc/passwd", "a/b", "a\\..\\b\n", "a\r\nX: 1", "a\nb",
    "a\x00b", "\x1b[2J", "a\u202eb", "a\u200bb", "a b", "", "x" * 300,
)  # fmt: skip
HELLO = Hello(RegionName("paris"), 2, "0.1.0", "local", "haproxy")


def from_agent(value: object) -> None:
    wire.decode_from_agent(wire.encode_from_agent(value))  # type: ignore[arg-type]


def from_controller(value: object) -> None:
    wire.decode_from_controller(wire.encode_from_controller(value))  # type: ignore[arg-type]


def spec_with(old: str, new: str) -> Callable[[str], object]:
    """Quoted as JSON, which is YAML, so that any character comes through."""
    return lambda name: load(SPEC.replace(old, new.replace("NAME", json.dumps(name)), 1), "repave.yaml")


EDGES: dict[str, tuple[Callable[[Any], object], type[Exception]]] = {
    "spec: app": (spec_with("app: hello", "app: NAME"), SpecError),
    "spec: region": (spec_with("name: paris", "name: NAME"), SpecError),
    "spec: frontend": (spec_with("frontend: hello", "frontend: NAME"), SpecError),
    "agent's setting: region": (lambda name: AgentSettings.model_validate({"region": name}), ValidationError),
    "join token: region": (check_region, Refused),
    "pool: machine": (lambda name: Listed(name=name, address="10.0.0.1"), ValidationError),
    "hello: region": (lambda name: from_agent(replace(HELLO, region=name)), wire.WireError),
    "hello: capability": (lambda name: from_agent(replace(HELLO, capabilities=(name,))), wire.WireError),
    "report: application": (
        lambda name: from_agent(
            replace(REPORT, applications=(replace(REPORT.applications[0], application=name),))
        ),
        wire.WireError,
    ),
    "report: group": (lambda name: from_agent(_report_with(GroupReport(name))), wire.WireError),
    "report: host": (
        lambda name: from_agent(_report_with(GroupReport(GROUP.name, worn=(replace(WORN, host=name),)))),
        wire.WireError,
    ),
    "desired: application": (
        lambda name: from_controller(replace(DESIRED, application=name)),
        wire.WireError,
    ),
    "desired: group": (
        lambda name: from_controller(replace(DESIRED, groups=(replace(GROUP, name=name),))),
        wire.WireError,
    ),
    "desired: package": (
        lambda name: from_controller(replace(DESIRED, groups=(replace(GROUP, digest=name),))),
        wire.WireError,
    ),
    "desired: host to replace": (
        lambda name: from_controller(replace(DESIRED, groups=(replace(GROUP, replace=(name,)),))),
        wire.WireError,
    ),
    "question: application": (
        lambda name: from_controller(Query(1, HostsOf(name, "", 0))),
        wire.WireError,
    ),
    "question: accepted": (
        lambda name: from_controller(Query(1, AcceptedOf(name))),
        wire.WireError,
    ),
}


@pytest.mark.parametrize("edge", EDGES)
def test_a_name_that_means_something_elsewhere_is_refused(edge: str) -> None:
    enter, refusal = EDGES[edge]
    for name in HOSTILE:
        with pytest.raises(refusal):
            enter(name)


def test_no_address_of_the_api_leads_to_a_file_outside(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.write_text("canary5up3r")
    names = (*HOSTILE, "../canary", "../../canary", str(canary), "..%2fcanary", "%2e%2e/canary")
    with served(tmp_path / "state") as controller:
        api = Asked(controller.url)
        before = sorted(path for path in tmp_path.rglob("*") if path.is_file())
        for name in filter(None, names):
            for path in ("images/{}", "applications/{}", "applications/{}/history", "hosts?group={}"):
                answer = api.get(path.format(quote(name, safe="", errors="replace")))
                assert 400 <= answer.status < 500, (path, name)
                assert b"canary5up3r" not in answer.content
            for path in ("tokens/{}/revoke", "freezes/{}/lift", "applications/{}/delete", "hosts/{}/taint"):
                answer = api.post(path.format(quote(name, safe="", errors="replace")), {})
                assert 400 <= answer.status < 500, (path, name)
        raw = api.get("images/../../canary")
        assert raw.status == 404
        assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == before


def test_a_header_of_an_answer_holds_no_line_that_a_request_brought(tmp_path: Path) -> None:
    with served(tmp_path) as controller:
        api = Asked(controller.url)
        for name in ("a%0d%0aX-Evil: 1", "a%0aX-Evil:%201", "%0d%0a%0d%0a<script>"):
            for path in (f"applications/{name}", f"images/{name}", f"events?application={name}"):
                answer = api.ask("GET", path.replace(" ", "%20"))
                assert 400 <= answer.status < 500
                assert "X-Evil" not in answer.headers


def test_no_name_is_a_path_to_a_package(tmp_path: Path) -> None:
    images = ImageDirectory(tmp_path / "images", lambda: 0.0)  # type: ignore[arg-type,return-value]
    (tmp_path / "x.tar.gz").write_text("x")
    assert [name for name in (*HOSTILE, "../x", "A" * 64, "a" * 63 + "\n") if images.path(name)] == []  # type: ignore[arg-type]


def test_no_name_is_a_token() -> None:
    sound = f"rpv_{'0' * 12}_{'0' * 64}"
    assert parts_of_token(sound)
    for name in HOSTILE:
        assert parts_of_token(name) is None
        assert parts_of_token(f"{sound}{name}") is None or not name


def test_the_cli_sends_a_name_as_one_part_of_a_path() -> None:
    for name in filter(None, HOSTILE):
        sent = f"applications/{quoted(name)}/stream"
        assert sent.count("/") == 2
        assert sent.isascii()
        assert sent.isprintable()
        assert " " not in sent
        assert "\n" not in with_query("events", {"application": name})
