"""Runs the examples of docs/api.md, in their order, against a controller."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.controller.api.conftest import SPEC, Asked, a_package
from tests.docs.markdown import blocks
from tests.fakes.controller.scheduler import served
from tests.support.paths import ROOT

PAGE = "api.md"
SECONDS = 60


def test_the_examples_of_the_api_page_run_as_they_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "app.tar.gz").write_bytes(a_package("v1"))
    (tmp_path / "repave.yaml").write_text(SPEC)
    shown = [block for block in blocks() if block.document == PAGE and block.language in ("bash", "python")]
    assert len(shown) >= 12
    with served(tmp_path / "state") as controller:
        monkeypatch.setenv("REPAVE_URL", controller.url)
        monkeypatch.setenv("REPAVE_TOKEN", "")
        monkeypatch.delenv("REPAVE_CA", raising=False)
        monkeypatch.chdir(tmp_path)
        for block in shown:
            if block.language == "python":
                exec(compile(block.text, str(block), "exec"), {"__name__": "__main__"})
            else:
                _run(block.text, is_refused="nothing" in block.text)
            _wait(Asked(controller.url))


def _run(text: str, *, is_refused: bool) -> None:
    ran = subprocess.run(
        ["bash", "-euc", text],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env={**os.environ},
    )
    assert ran.stdout, (text, ran.stderr)
    assert ("urn:repave:problem" in ran.stdout) is is_refused, ran.stdout


def _wait(api: Asked) -> None:
    """Until nothing is rolled out: a reader takes longer than the test from one example to the next."""
    if api.get("applications").json["items"]:
        api.ended()


def test_the_page_is_linked() -> None:
    assert "docs/api.md" in (ROOT / "README.md").read_text()
