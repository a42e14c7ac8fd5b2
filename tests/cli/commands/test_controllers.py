"""repave controllers: which there are, and what each decides for."""

import json
from pathlib import Path

import pytest

from repave_controller.peers.ports import Seen
from tests.fakes.controller.company import A, B, company_of
from tests.fakes.controller.scheduler import served
from tests.support.cli_types import Run


def test_a_controller_alone_is_one_row(repave: Run) -> None:
    ran = repave("controllers")
    titles, row = ran.out.splitlines()
    assert titles.split() == ["CONTROLLER", "STATE", "SINCE", "VERSION", "SHARDS", "APPS", "REGIONS", "URL"]
    assert row.split()[1:3] == ["live,", "answers"]
    assert (ran.code, ran.err) == (0, "")
    assert json.loads(repave("controllers", "-o", "json").out)["items"][0]["asked"]


def test_several_are_shown_with_what_is_wrong(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    company = company_of(Seen(A, True, True, 1.4), Seen(B, False, False, -90.0))
    with served(tmp_path / "controller", company=company) as controller:
        monkeypatch.setenv("REPAVE_URL", controller.url)
        ran = run("controllers", "-o", "wide")
        names = run("controllers", "-o", "name").out.split()
    assert names == ["a", "b"]
    assert ran.code == 0
    assert [line.split()[0] for line in ran.out.splitlines()] == ["CONTROLLER", "a", "b"]
    assert "oslo, paris" in ran.out
    assert ran.err.startswith("b: its lease ended 90 s ago: start it again")
