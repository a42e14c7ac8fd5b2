"""init: the start command that it finds in a folder, and a spec that is valid at once whatever it found."""

import stat
from pathlib import Path

import pytest

from repave_controller.spec.loader import load
from repave_controller.spec.spec import Spec
from tests.fakes.controller.command_line import CommandLine

SERVES_FOLDER = ("python3", "-m", "http.server", "--bind", "$HOST", "$PORT")


@pytest.mark.parametrize(
    ("files", "run_words"),
    [
        ({}, SERVES_FOLDER),
        ({"app.py": ""}, ("python3", "app.py")),
        ({"server.js": ""}, ("node", "server.js")),
        ({"package.json": '{"scripts": {"start": "next start"}}'}, ("npm", "start")),
        ({"package.json": '{"scripts": {"test": "jest"}}', "index.js": ""}, ("node", "index.js")),
        ({"package.json": "not json", "main.py": ""}, ("python3", "main.py")),
        ({"package.json": '{"scripts": []}'}, SERVES_FOLDER),
        (
            {"Procfile": "worker: celery\nweb: gunicorn app:app --bind $HOST:$PORT\n", "app.py": ""},
            ("gunicorn", "app:app", "--bind", "$HOST:$PORT"),
        ),
        ({"Procfile": 'web: serve --title "two words"\n'}, ("serve", "--title", "two words")),
        ({"Procfile": "web: migrate && serve\n"}, ("sh", "-c", "migrate && serve")),
        ({"Procfile": "web: MODE=fast serve\n"}, ("sh", "-c", "MODE=fast serve")),
        ({"Procfile": "worker: celery\n"}, SERVES_FOLDER),
    ],
)
def test_the_start_command_is_what_the_folder_tells(
    run: CommandLine, files: dict[str, str], run_words: tuple[str, ...]
) -> None:
    for name, content in files.items():
        (run.folder / name).write_text(content)
    assert _written(run).host.run == run_words


@pytest.mark.parametrize(("mode", "first_word"), [(0o755, "./run"), (0o644, "python3")])
def test_a_program_called_run_counts_only_when_it_can_be_run(
    run: CommandLine, mode: int, first_word: str
) -> None:
    program = run.folder / "run"
    program.write_text("#!/bin/sh\n")
    program.chmod(stat.S_IMODE(mode))
    assert _written(run).host.run[0] == first_word


def test_name_port_regions_and_size_are_as_asked(run: CommandLine) -> None:
    spec = _written(run, "--name", "shop", "--port", "9000", "--region", "paris", "--region", "oslo")
    assert (spec.application, spec.traffic.port) == ("shop", 9000)
    assert [(region.name, region.size) for region in spec.regions] == [("paris", 2), ("oslo", 2)]


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (["--name", "Web_Shop"], "app"),
        (["--port", "70000"], "traffic.port"),
        (["--region", "A"], "regions.0"),
    ],
)
def test_what_no_spec_can_hold_is_refused_and_nothing_written(
    run: CommandLine, arguments: list[str], field: str
) -> None:
    (run.folder / "repave.yaml").unlink()
    ran = run("init", *arguments)
    assert ran.code == 2
    assert ran.err.startswith("repave.yaml:")
    assert f": {field}" in ran.err
    assert list(run.folder.glob("repave.yaml*")) == []


def _written(run: CommandLine, *arguments: str) -> Spec:
    """The spec that init writes in the folder."""
    path: Path = run.folder / "repave.yaml"
    path.unlink()
    ran = run("init", *arguments)
    assert (ran.code, ran.out) == (0, "")
    assert run("validate").code == 0
    return load(path.read_text(), "repave.yaml")[0]
