"""What a command imports is most of what it costs: which modules it may, for commands of every kind."""

import os
import subprocess
import sys

import pytest

from repave_cli.main import MODULES, Parser, make_parser
from tests.fakes.controller.command_line import CommandLine
from tests.fakes.controller.scheduler import ServedController

HEAVY = frozenset(
    {
        "aiohttp",
        "asyncio",
        "asyncssh",
        "concurrent",
        "cryptography",
        "dataclasses",
        "difflib",
        "google",
        "grpc",
        "importlib.metadata",
        "inspect",
        "multiprocessing",
        "pydantic",
        "repave_agent",
        "repave_controller.core",
        "repave_controller.spec.loader",
        "repave_controller.spec.spec",
        "repave_protos.protocol",
        "repave_simulation",
        "rich",
        "ruamel",
        "sqlite3",
        "structlog",
    }
)
PACKING = frozenset({"gzip", "repave_protos.package", "tarfile"})
SPECS = frozenset({"repave_controller", "repave_cli.specs.packages", "repave_cli.specs.specs"})
COMMANDS = {
    "release --version 1.0 --detach": HEAVY,
    "plan --version 1.0": HEAVY,
    "rollback hello --dry-run": HEAVY | PACKING | SPECS,
    "watch hello --timeout 0s": HEAVY | PACKING | SPECS,
    "status": HEAVY | PACKING | SPECS,
    "status hello": HEAVY | PACKING | SPECS,
    "why hello": HEAVY | PACKING | SPECS,
    "regions": HEAVY | PACKING | SPECS,
    "hosts": HEAVY | PACKING | SPECS,
    "pause hello": HEAVY | PACKING | SPECS,
    "scale hello paris=3": HEAVY | PACKING | SPECS,
    "queue list": HEAVY | PACKING | SPECS,
    "freeze list": HEAVY | PACKING | SPECS,
    "image list": HEAVY | PACKING | SPECS,
    "doctor": HEAVY | PACKING | SPECS,
    "tokens list": HEAVY | PACKING | SPECS,
    "context list": HEAVY | PACKING | SPECS | {"http.client", "ssl"},
}
PROGRAM = """\
import sys
from repave_cli.__main__ import main
try:
    main()
finally:
    print("IMPORTED", *sys.modules, file=sys.stderr)
"""


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_imports_what_it_needs_and_no_more(
    repave: CommandLine, controller: ServedController, words: str
) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words.split()],
        env={**os.environ, "REPAVE_URL": controller.url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    imported = ran.stderr.rpartition("IMPORTED")[2].split()
    assert "repave_cli.main" in imported, ran.stderr
    below = {name.rsplit(".", depth)[0] for name in imported for depth in range(name.count(".") + 1)}
    assert not below & COMMANDS[words]
    commands = {name for name in imported if name.startswith("repave_cli.")}
    assert len(commands) <= 28, sorted(commands)


def test_the_table_of_modules_says_what_each_registers() -> None:
    for module, commands in MODULES.items():
        parser = Parser()
        words = parser.add_subparsers()
        __import__(f"repave_cli.{module}", fromlist=["register"]).register(words)
        assert tuple(words.choices) == commands, module


@pytest.mark.parametrize(
    ("words", "is_known"),
    [
        (["status"], False),
        (["-o", "status", "regions"], False),  # taken for a value
        (["--output=json", "status", "--url", "freeze"], False),
        (["--cont", "status", "freeze", "list"], True),  # options that are cut short take their value too
        (["completion", "bash"], True),
        (["--help"], True),
        ([], True),
        (["sttus"], True),
    ],
)
def test_of_the_tree_only_what_is_asked_for_is_made(words: list[str], is_known: bool) -> None:
    made = make_parser(words).format_help()
    assert ("Freeze" in made or "freeze" in made) is is_known
