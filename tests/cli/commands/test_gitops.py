"""repave gitops: plans as Markdown for a pull request, and what differs from git."""

import subprocess
from pathlib import Path

import pytest

from repave_cli.commands.gitops import escaped, version_of
from repave_cli.transport.exit_codes import CHANGES, DONE, REFUSED, USAGE
from tests.fakes.controller.api import fake_api
from tests.fakes.controller.command_line import SPEC, CommandLine
from tests.fakes.controller.scheduler import ServedController

INSIDE = SPEC.replace("./app", "../app")


@pytest.fixture
def here(run: CommandLine, controller: ServedController, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.setenv("REPAVE_URL", controller.url)
    return run


def specs(run: CommandLine, **texts: str) -> None:
    (run.folder / "apps").mkdir(exist_ok=True)
    for name, text in texts.items():
        (run.folder / "apps" / f"{name}.yaml").write_text(text)


def test_each_file_has_its_plan_and_a_wrong_one_spoils_no_other(here: CommandLine) -> None:
    specs(here, a=f"# version: 2.0\n{INSIDE}", b=INSIDE.replace("size: 2", "size: two"))
    ran = here("gitops", "plan")
    assert ran.code == REFUSED
    assert "| apps/a.yaml | hello | nothing | hello-v001 (2.0) | +5 -0 |" in ran.out
    assert "| apps/b.yaml | | | | | would be refused |" in ran.out
    assert "regions.0.size" in ran.out.replace("\\", "") or "apps/b.yaml:" in ran.out
    assert "apps/b.yaml: it would be refused" in ran.err


def test_what_ci_goes_by(here: CommandLine) -> None:
    assert here("gitops", "plan").code == USAGE
    specs(here, a=INSIDE)
    assert here("gitops", "plan").code == DONE
    assert here("gitops", "plan", "apps/a.yaml", "--exit-code").code == CHANGES
    (item,) = here("gitops", "plan", "-o", "json").json["items"]
    assert item["plan"]["version"] == version_of(INSIDE.encode())
    assert here("gitops", "plan", "apps/none.yaml").code == REFUSED


def test_nothing_is_followed_without_settings(here: CommandLine) -> None:
    assert here("gitops", "status").code == DONE
    assert here("gitops", "status", "-o", "json").json == {"items": []}
    assert here("hooks", "list", "-o", "json").json == {"items": []}
    assert here("hooks", "deliveries", "-o", "json").json["items"] == []
    assert here("notify", "list", "-o", "json").json == {"items": []}
    assert "no hook is called 'ci'" in here("hooks", "redeliver", "ci", "b-1").err
    assert "no target of notices is called 'x'" in here("notify", "replay", "x", "--from", "1").err


def test_what_differs_is_shown(run: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    file = {"path": "apps/web.yaml", "application": "web", "state": "drifted", "text": "git has 2, 1 serves"}
    file |= {
        "version": "2",
        "digest": "d",
        "runs_version": "1",
        "runs_digest": "c",
        "at": "2026-01-01T00:00:00Z",
    }
    with fake_api() as api:
        api.answers["GET", "gitops"] = [
            {"items": [{"name": "fleet", "error": "git fetch: no", "files": [file]}]}
        ]
        monkeypatch.setenv("REPAVE_URL", api.url)
        ran = run("gitops", "status")
    assert [
        word for word in ("fleet", "apps/web.yaml", "drifted", "git has 2, 1 serves") if word not in ran.out
    ] == []
    assert "fleet: git fetch: no" in ran.err


@pytest.mark.parametrize("content", [b"", b"app: web\n", b"\xff\xfe", "ü".encode()])
def test_a_version_of_content_is_the_one_that_git_knows(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(content)
    done = subprocess.run(["git", "hash-object", tmp_path / "f"], capture_output=True, text=True, check=True)
    assert version_of(content) == f"git-{done.stdout[:12]}"


def test_what_others_wrote_stays_text() -> None:
    assert escaped("a|b\n<script> [x](y) `c` \x1b[31m") == r"a\|b \<script\> \[x\](y) \`c\` ?\[31m"
