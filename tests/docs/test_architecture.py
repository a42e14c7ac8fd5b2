"""Holds ARCHITECTURE.md to the code: its rooms, phases, promises and the files it names."""

import ast
import io
import re
import tokenize
import tomllib
from pathlib import Path

import pytest

from repave_controller.core.domain.application import GroupState
from repave_controller.core.domain.rollout import Phase, TrackPhase
from repave_protos.protocol.values import HostPhase
from tests.docs.markdown import PACKAGES, code_in, rows, section, sources
from tests.support.paths import ROOT


def rooms_shown(package: str) -> list[str]:
    return [code_in(row[0])[0] for row in rows(section("ARCHITECTURE.md", f"### {package}"))]


@pytest.mark.parametrize("package", PACKAGES)
def test_the_architecture_names_every_room_and_no_other(package: str) -> None:
    modules = [path for path in sources() if path.name != "__init__.py" and ROOT / package in path.parents]
    folders = {str(path.parent.relative_to(ROOT / package)) for path in modules}
    assert set(rooms_shown(package)) == folders - {"."}


@pytest.mark.parametrize("package", PACKAGES)
def test_the_rooms_are_shown_in_the_order_of_their_import_contracts(package: str) -> None:
    for above, layers in contracts_of(Path(package).name):
        levels = [
            layers[room.name]
            for room in map(Path, rooms_shown(package))
            if room.parent == above and room.name in layers
        ]
        assert levels == sorted(levels), f"{package}/{above}"


def contracts_of(package: str) -> list[tuple[Path, dict[str, int]]]:
    """(folder within the package, level of each room in it) of every contract that puts rooms into layers."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    found = []
    for contract in settings["contracts"]:
        for container in map(str, contract.get("containers", ())):
            name, _, folder = container.partition(".")
            if name == package:
                layers = [layer.split("|") for layer in contract["layers"]]
                levels = {room.strip(): level for level, layer in enumerate(layers) for room in layer}
                found.append((Path(folder.replace(".", "/")), levels))
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_every_file_opens_by_saying_what_it_answers(package: str) -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in sources()
        if ROOT / package in path.parents and (text := path.read_text().strip()) and not opening_of(text)
    ]
    assert silent == []


def opening_of(module: str) -> str:
    """Its docstring, read without the rest."""
    words = tokenize.generate_tokens(io.StringIO(module).readline)
    first = next(each for each in words if each.type not in (tokenize.COMMENT, tokenize.NL))
    return str(ast.literal_eval(first.string)) if first.type == tokenize.STRING else ""


def test_a_module_opens_with_its_docstring_and_nothing_else() -> None:
    assert opening_of('# x\n\n"""What\nit answers."""\n1 +') == "What\nit answers."
    assert opening_of('import ast\n"""What it answers."""') == ""


@pytest.mark.parametrize(
    ("heading", "known"),
    [
        ("### Of a rollout", Phase),
        ("### Of a region in a rollout", TrackPhase),
        ("### Of a server group", GroupState),
        ("### Of a host", HostPhase),
    ],
)
def test_the_phases_shown_are_those_that_exist(heading: str, known: type[Phase]) -> None:
    shown = [code_in(row[0])[0] for row in rows(section("ARCHITECTURE.md", heading))]
    assert shown == [str(phase) for phase in known]


def test_ends_of_a_rollout_are_shown_as_ends() -> None:
    for phase, entered, following in rows(section("ARCHITECTURE.md", "### Of a rollout")):
        is_over = Phase(code_in(phase)[0]).is_over
        assert is_over == (following == ""), phase
        assert is_over == entered.startswith("an end"), phase


def test_the_promises_said_to_be_checked_by_safety_are_those_it_checks() -> None:
    promises = rows(section("ARCHITECTURE.md", "## The promises"))
    said = {int(row[0]) for row in promises if "`rules/safety.py`" in row[2]}
    text = (ROOT / "controller/repave_controller/core/rules/safety.py").read_text()
    checked = {int(number) for number in re.findall(r"Broken\(\s*(\d+)", text)}
    assert checked
    assert said == checked
    assert [int(row[0]) for row in promises] == list(range(1, 15))


def test_every_file_that_the_architecture_names_is_there() -> None:
    known = [
        *sources(),
        *(ROOT / "tests").rglob("*.py"),
        *(ROOT / "protos").rglob("*.proto"),
        ROOT / "hatch_build.py",
    ]
    for name in re.findall(r"`([\w/]+\.(?:py|proto))`", (ROOT / "ARCHITECTURE.md").read_text()):
        assert any(str(path).endswith(f"/{name}") for path in known), name
    for name in re.findall(r"`(tests/[\w/]+\.py)`", (ROOT / "ARCHITECTURE.md").read_text()):
        assert (ROOT / name).is_file(), name
