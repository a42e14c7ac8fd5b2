"""The real CLI in this process, as a user in a folder with an application would run it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from repave_cli.main import main

SPEC = """\
repave: 1
app: hello
artifact: {uri: ./app}
host: {image: local, run: ./serve}
health: {http: {port: 8080, path: /}, min_healthy_time: 0s}
traffic: {frontend: hello, port: 8000}
regions:
  - {name: paris, size: 2}
  - {name: oslo, size: 3}
strategy: {blue_green: {warm: 0s}}
"""


@dataclass(frozen=True)
class Ran:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class CommandLine:
    """Runs commands in `folder`, the present one."""

    folder: Path
    capture: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str) -> Ran:
        self.capture.readouterr()
        try:
            code = main(arguments)
        except SystemExit as ended:  # argparse ends so
            code = int(ended.code or 0)
        out, err = self.capture.readouterr()
        return Ran(code, out, err)

    def release(self, version: str, *arguments: str) -> Ran:
        """Another build, released."""
        build(self.folder, version)
        return self("release", "--version", version, *arguments)


def build(folder: Path, content: str) -> None:
    """Another build of the application, not released."""
    (folder / "app").mkdir(exist_ok=True)
    serve = folder / "app" / "serve"
    serve.write_text(content)
    serve.chmod(0o755)
