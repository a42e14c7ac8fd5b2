"""The examples of docs/examples.md, from empty folders and by that page alone: built, released, and released
again while clients ask."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.clients import asking
from tests.support.paths import ROOT
from tests.support.stage import Stage, staged

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

PAGE = (ROOT / "docs" / "examples.md").read_text()
FILE = re.compile(r"^`(?P<name>[\w./-]+)`:\n\n```\w+\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
COMMANDS = re.compile(r"^```sh\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
SHOWN_ADDRESS = "127.0.81.1"
QUICKER = (("min_healthy_time: 3s", "min_healthy_time: 0s"), ("warm: 10s", "warm: 1s"))
"""What the page has for people to watch."""


@dataclass(frozen=True, slots=True)
class Example:
    heading: str
    files: dict[str, str]
    commands: tuple[str, ...]

    def __str__(self) -> str:
        return self.heading

    @property
    def port(self) -> int:
        found = re.search(r"^traffic:\s(?:\{|\s+)port: (\d+)", self.files["repave.yaml"], re.MULTILINE)
        assert found is not None, self.heading
        return int(found[1])

    @property
    def building(self) -> list[str]:
        return [line for line in self.commands if line.split()[0] not in ("repave", "curl")]

    def lacks(self) -> str:
        """A program that builds or runs it, and is not installed; "" when all are."""
        run = re.search(r"^  run: \[?([\w./-]+)", self.files["repave.yaml"], re.MULTILINE)
        assert run is not None, self.heading
        programs = {*(line.split()[0] for line in self.building), *({run[1]} - {"./serve"})}
        return next((each for each in sorted(programs) if shutil.which(each) is None), "")


def examples() -> list[Example]:
    sections = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
    return [
        Example(
            text.split("\n", 1)[0],
            {found["name"]: found["text"] for found in FILE.finditer(text)},
            tuple(line for found in COMMANDS.finditer(text) for line in found["text"].splitlines()),
        )
        for text in sections
    ]


EXAMPLES = examples()


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    if shutil.which("haproxy") is None and not Path("/usr/sbin/haproxy").exists():
        pytest.skip("haproxy is not installed: apt install haproxy")
    with (
        tempfile.TemporaryDirectory(prefix="rp") as directory,
        staged(Path(directory), regions=("local-1",)) as started,
    ):
        yield started


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_an_example_is_released_by_its_page_and_again_without_a_lost_request(
    example: Example, stage: Stage, tmp_path: Path
) -> None:
    if lacking := example.lacks():
        pytest.skip(f"{lacking} is not installed")
    for name, text in example.files.items():
        place = tmp_path / name
        place.parent.mkdir(exist_ok=True)
        place.write_text(text)
    spec = tmp_path / "repave.yaml"
    for shown, quicker in QUICKER:
        assert shown in example.files["repave.yaml"]
        spec.write_text(spec.read_text().replace(shown, quicker))

    said = run(stage, tmp_path, *example.commands)
    assert re.search(r"^shop .+|^chat .+|weekdays", said, re.MULTILINE), said

    with asking(stage, [("local-1", example.port)]) as results:
        run(stage, tmp_path, "repave release --version again")
    result = results["local-1", example.port]
    assert result.failures == (), result.summary()
    assert len(result.requests) > 10


def run(stage: Stage, place: Path, *lines: str) -> str:
    """As typed, with this checkout's commands; what was printed."""
    text = "\n".join(("set -e", *lines)).replace(SHOWN_ADDRESS, stage.traffic_address("local-1"))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    # A virtual environment's Python has no pip: the examples are built by the one that users have.
    python = next((each for each in ("/usr/bin/python3", shutil.which("python3")) if has_pip(each)), None)
    if "pip install" in text:
        if python is None:
            pytest.skip("python3 has no pip: apt install python3-pip")
        text = text.replace("python3 -m", f"{python} -m")
    done = subprocess.run(
        ["bash", "-c", text],
        cwd=place,
        env={**os.environ, "PATH": path, "REPAVE_URL": f"http://127.0.0.1:{stage.http_port}"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{stage.logs()}"
    return done.stdout


def has_pip(python: str | None) -> bool:
    return python is not None and (
        subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0
    )


def test_every_example_is_read_whole() -> None:
    assert len(EXAMPLES) >= 7
    for example in EXAMPLES:
        assert "repave.yaml" in example.files, example.heading
        assert "repave release" in example.commands, example.heading
