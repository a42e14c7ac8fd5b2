"""Holds ARCHITECTURE.md to the code: its modules, phases, promises and the files it names."""

import re

import pytest

from repave_controller.core.domain.application import GroupState
from repave_controller.core.domain.rollout import Phase, TrackPhase
from repave_protos.protocol.values import HostPhase
from tests.docs.markdown import PACKAGES, code_in, rows, section, sources
from tests.support.paths import ROOT


@pytest.mark.parametrize("package", PACKAGES)
def test_the_architecture_names_every_module_and_no_other(package: str) -> None:
    named = {code_in(row[0])[0] for row in rows(section("ARCHITECTURE.md", f"### {package}"))}
    there = {
        str(path.relative_to(ROOT / package))
        for path in sources()
        if (ROOT / package) in path.parents and path.name != "__init__.py"
    }
    assert named == there


@pytest.mark.parametrize(
    ("heading", "known"),
    [
        ("### Of a rollout (`rollouts.Phase`)", Phase),
        ("### Of a region in a rollout (`rollouts.TrackPhase`)", TrackPhase),
        ("### Of a server group (`model.GroupState`)", GroupState),
        ("### Of a host (`HostPhase`, judged in `core/host_phase.py`)", HostPhase),
    ],
)
def test_the_phases_shown_are_those_that_exist(heading: str, known: type[Phase]) -> None:
    shown = [code_in(row[0])[0] for row in rows(section("ARCHITECTURE.md", heading))]
    assert shown == [str(phase) for phase in known]


def test_ends_of_a_rollout_are_shown_as_ends() -> None:
    for phase, entered, following in rows(section("ARCHITECTURE.md", "### Of a rollout (`rollouts.Phase`)")):
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
    assert [int(row[0]) for row in promises] == list(range(1, 11))


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
