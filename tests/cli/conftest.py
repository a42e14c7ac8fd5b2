"""A folder with an application, the CLI there, and a controller for it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.controller.command_line import SPEC, CommandLine, build
from tests.fakes.controller.scheduler import ServedController, served


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The present folder: a spec, and the application that it names."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / ".git").mkdir()  # the search for repave.yaml ends here
    (folder / "repave.yaml").write_text(SPEC)
    build(folder, "v1")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def run(
    app: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> CommandLine:
    """The CLI without any settings of this machine."""
    for name in [name for name in os.environ if name.startswith("REPAVE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return CommandLine(app, capsys)


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[ServedController]:
    with served(tmp_path / "controller") as started:
        yield started


@pytest.fixture
def repave(run: CommandLine, controller: ServedController, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """The CLI with the controller at hand."""
    monkeypatch.setenv("REPAVE_URL", controller.url)
    return run
