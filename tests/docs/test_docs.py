"""Holds the documents to the code: what they tell people to type, write, set and expect is so."""

import argparse
import ast
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import typing
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from repave_agent.__main__ import make_parser as make_agent_parser
from repave_agent.providers.ssh_pool.reset import SECRETS_OF_HOSTS
from repave_agent.registry import installed
from repave_cli.main import UsageError, make_parser
from repave_cli.transport import exit_codes
from repave_controller.__main__ import make_parser as make_controller_parser
from repave_controller.settings import ControllerSettings
from repave_controller.spec.loader import SpecError, load
from repave_controller.spec.spec import Spec
from repave_protos.daemon.settings import Settings, load_settings
from tests.docs.markdown import (
    DECISIONS,
    DOCUMENTS,
    Block,
    anchors,
    blocks,
    code_in,
    links,
    prose,
    rows,
    section,
    sources,
)
from tests.fakes.sigstore import Sigstore
from tests.support.paths import ROOT
from tests.support.preloaded import PRELOADED

AGENT_SETTINGS = installed().settings_model()
SHELL = [block for block in blocks() if block.language in ("sh", "console") and not block.machine]
"""What is for a machine is run there as it stands, by tests/e2e/test_install.py."""
SPECS = [block for block in blocks() if block.language == "yaml"]
RUNNABLE = [block for block in SHELL if block.runs_in]
FOREIGN = ("bash", "cc", "cp", "cd", "curl", "echo", "env", "jar", "javac", "mkdir", "python3", "ssh")


# ------------------------------------------------------------------------------------------ what people type


def commands(block: Block) -> Iterator[list[str]]:
    """The commands of a block as words; in a console block they follow a dollar sign."""
    for line in block.text.splitlines():
        if block.language == "sh":
            yield shlex.split(line)
        elif line.startswith("$ "):
            yield shlex.split(line[2:])


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_every_command_shown_is_one_that_exists(block: Block) -> None:
    shown = list(commands(block))
    assert shown, "a shell block with no command in it"
    for words in shown:
        check_command(words)


def check_command(words: list[str]) -> None:
    match words[0]:
        case "repave":
            commands_known().parse_args(words[1:])  # ends the test by UsageError when it is wrong
        case "repave-agent":
            make_agent_parser(installed()).parse_args(words[1:])
        case "repave-controller":
            make_controller_parser().parse_args(words[1:])
        case "make":
            assert set(words[1:]) <= targets(), f"make has no {words[1:]}"
        case ".venv/bin/python" | "python" if words[1] == "-m":
            assert importlib.util.find_spec(words[2]) is not None, f"there is no module {words[2]}"
        case ".venv/bin/prek":
            prek = [str(Path(sys.executable).with_name("prek")), *words[1:], "--help"]
            subprocess.run(prek, capture_output=True, timeout=60, check=True)
        case name:
            assert name in FOREIGN, f"{name}: nobody checks this command"


@cache
def commands_known() -> argparse.ArgumentParser:
    return make_parser()


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))


def test_a_wrong_command_would_be_noticed() -> None:
    with pytest.raises(UsageError):
        check_command(["repave", "release", "--no-such-option"])
    with pytest.raises(AssertionError):
        check_command(["make", "no-such-target"])


@pytest.mark.parametrize("block", RUNNABLE, ids=str)
def test_blocks_that_say_so_run_as_they_stand(block: Block, tmp_path: Path) -> None:
    place = tmp_path / block.runs_in
    shutil.copytree(ROOT / "deploy" / "examples" / block.runs_in, place)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REPAVE_")}
    for words in commands(block):
        assert words[0] == "repave"
        done = PRELOADED.run(
            ["repave_cli.main", *words[1:]],
            {**kept, "REPAVE_URL": "http://127.0.0.1:1"},  # none that runs on this machine
            place,
            timeout=60,
        )
        assert done.returncode == 0, f"{shlex.join(words)}: {done.stderr}"
    assert (place / "repave.yaml").exists()


def test_something_is_run() -> None:
    assert RUNNABLE, "no block of any document is run"


def test_the_commands_are_all_described() -> None:
    named = {
        code_in(row[0])[0] for row in rows(section("docs/commands.md", "## Commands")) if "`repave " in row[0]
    }
    commands = (each for each in commands_known()._actions if isinstance(each, argparse._SubParsersAction))
    assert named == {f"repave {shown.dest}" for shown in next(commands)._choices_actions}


def test_the_exit_codes_are_all_described() -> None:
    codes = {value for name, value in vars(exit_codes).items() if type(value) is int}
    named = {int(row[0]) for row in rows(section("docs/commands.md", "## Commands")) if row[0].isdecimal()}
    assert named == codes


# ----------------------------------------------------------------------------------------- what people write


@pytest.mark.parametrize("block", SPECS, ids=str)
def test_every_spec_shown_is_valid(block: Block) -> None:
    load(block.text, str(block))


def test_an_invalid_spec_would_be_noticed() -> None:
    with pytest.raises(SpecError):
        load(SPECS[0].text.replace("port", "prot"), "changed")


def test_the_spec_document_has_every_option_with_its_default() -> None:
    shown = {code_in(row[0])[0]: row[1] for row in rows(section("docs/spec.md", "## Every option"))}
    assert shown == dict(options(Spec))


def options(model: type[BaseModel], above: str = "") -> Iterator[tuple[str, str]]:
    """(path, default as the document writes it) of every option and section."""
    for name, field in model.model_fields.items():
        path = f"{above}{field.alias or name}"
        yield path, default_of(field)
        if name == "analyse":  # what is below it is what is below `analysis`
            continue
        for below in sections_in(field.annotation):
            yield from options(below, f"{path}.")


def default_of(field: FieldInfo) -> str:
    default = field.default
    if default is PydanticUndefined:
        return "" if field.default_factory is not None else "**required**"
    if isinstance(default, bool):
        default = str(default).lower()
    if isinstance(default, tuple):
        default = f"[{', '.join(default)}]"
    return "" if default is None else f"`{default}`"


def sections_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from sections_in(argument)


# ------------------------------------------------------------------------------------------- what people set


@pytest.mark.parametrize(
    ("heading", "model", "prefix"),
    [
        ("### Of the controller", ControllerSettings, "REPAVE_CONTROLLER_"),
        ("### Of an agent", AGENT_SETTINGS, "REPAVE_AGENT_"),
    ],
)
def test_the_settings_shown_are_those_that_exist(heading: str, model: type[Settings], prefix: str) -> None:
    shown = {}
    for name, variable, default, _ in rows(section("docs/agent.md", heading)):
        shown[code_in(name)[0]] = (code_in(variable)[0], (code_in(default) or [""])[0])
    known = {}
    for name, default in settings_of(model):
        known[name] = (f"{prefix}{name.upper().replace('.', '__')}", default)
    assert shown == known


def settings_of(model: type[BaseModel], above: str = "") -> Iterator[tuple[str, str]]:
    for name, field in model.model_fields.items():
        is_table = typing.get_origin(field.annotation) is dict
        below = [] if is_table else list(sections_in(field.annotation))
        for each in below:
            yield from settings_of(each, f"{above}{name}.")
        if not below:
            default = field.default
            text = "" if default is PydanticUndefined else str(default)
            if isinstance(default, tuple) and default and all(isinstance(each, str) for each in default):
                text = " ".join(default)
            yield f"{above}{name}", text.lower() if isinstance(default, bool) else text


@pytest.mark.parametrize("block", [each for each in blocks() if each.language == "toml"], ids=str)
def test_the_settings_files_shown_are_taken(block: Block, tmp_path: Path) -> None:
    tomllib.loads(block.text)
    file, root = tmp_path / "settings.toml", tmp_path / "trusted_root.json"
    root.write_text(Sigstore().trusted_root())
    file.write_text(block.text.replace("/etc/repave/trusted_root.json", str(root)))
    of_controller = (
        "security.md",
        "artifacts.md",
        "login.md",
        "retention.md",
        "postgresql.md",
        "hooks.md",
        "notifications.md",
        "gitops.md",
        "promotion.md",
        "metrics-sources.md",
    )
    if block.document.rpartition("/")[2] in of_controller:
        load_settings(ControllerSettings, file, {}, "REPAVE_CONTROLLER_")
    else:
        load_settings(AGENT_SETTINGS, file, {}, "REPAVE_AGENT_")


def test_every_variable_named_anywhere_is_one_that_is_read() -> None:
    source = "\n".join(path.read_text() for path in sources())
    settings = {
        f"{prefix}{name.upper().replace('.', '__')}"
        for model, prefix in ((ControllerSettings, "REPAVE_CONTROLLER_"), (AGENT_SETTINGS, "REPAVE_AGENT_"))
        for name, _ in settings_of(model)
    }
    for document in DOCUMENTS:
        for variable in set(re.findall(r"\bREPAVE_[A-Z_]*[A-Z]\b", document.read_text())):
            is_operators = variable.startswith(SECRETS_OF_HOSTS)
            assert is_operators or variable in settings or f'"{variable}"' in source, (
                f"{document.name}: {variable}"
            )


# ------------------------------------------------------------------------------------------------- messages


def test_every_message_explained_is_one_that_is_said() -> None:
    said = "\1".join(texts())
    unsaid = [
        (fragment, message)
        for message in explained()
        for fragment in fragments(message)
        if fragment not in said
    ]
    assert unsaid == []


def explained() -> Iterator[str]:
    for heading in re.findall(r"^## .+$", (ROOT / "docs" / "troubles.md").read_text(), flags=re.MULTILINE):
        for row in rows(section("docs/troubles.md", heading)):
            yield from (code for code in code_in(row[0]) if code != "journal.json")


def fragments(message: str) -> list[str]:
    """The pieces between what differs each time: `...`, numbers, names in capitals."""
    pieces = re.split(r"\.\.\.|\b(?:[A-Z]{2,}|[NMK])\b|\b\d+\b", message)
    return [piece.strip(" :,;()$") for piece in pieces if len(piece.strip(" :,;()$")) >= 5]


def texts() -> Iterator[str]:
    """Every text in the sources; what is put into it stands as a blank character."""
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.JoinedStr):
                yield "".join(
                    str(each.value) if isinstance(each, ast.Constant) else "\0" for each in node.values
                )


# ------------------------------------------------------------------------------------------------------ links


def test_every_link_leads_somewhere() -> None:
    for document, target in links():
        name, _, anchor = target.partition("#")
        aim = (document.parent / name).resolve() if name else document
        assert aim.exists(), f"{document.name}: {target}"
        if anchor:
            assert anchor in anchors(aim), f"{document.name}: {target}"


def test_the_readme_names_every_document() -> None:
    readme = (ROOT / "README.md").read_text()
    for document in (each for each in DOCUMENTS if each not in DECISIONS):  # their index names those
        name = str(document.relative_to(ROOT))
        assert name == "README.md" or name in readme, f"README.md does not name {name}"


def test_no_document_promises_what_is_to_come() -> None:
    for document in DOCUMENTS:
        assert "coming soon" not in prose(document).lower(), document.name
