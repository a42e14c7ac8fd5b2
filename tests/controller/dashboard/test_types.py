"""The dashboard's modules under TypeScript's eyes, and its vendored files made anew. Where npm is there."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from repave_controller.dashboard.serving import FILES
from tests.support.paths import ROOT

TOOLS = ROOT / "deploy" / "dashboard"
pytestmark = [
    pytest.mark.rig,
    pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed: apt install npm"),
]


def npm(directory: Path) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copy(TOOLS / name, directory / name)
    command = ["npm", "ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund"]
    subprocess.run(command, cwd=directory, check=True, timeout=200)


def test_types_agree(tmp_path: Path) -> None:
    npm(tmp_path)
    shutil.copytree(FILES, tmp_path / "files")
    options = json.loads((TOOLS / "tsconfig.json").read_text())
    found = {"include": ["files/**/*.js", "files/**/*.d.ts"], "exclude": ["files/vendor/*.js"]}
    (tmp_path / "tsconfig.json").write_text(json.dumps({**options, **found}))
    checked = subprocess.run(
        ["node_modules/.bin/tsc", "-p", "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


def test_what_is_vendored_is_what_its_packages_give(tmp_path: Path) -> None:
    subprocess.run([TOOLS / "vendor", tmp_path], check=True, timeout=250)
    made = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    assert made == {each.name: each.read_bytes() for each in (FILES / "vendor").iterdir()}
