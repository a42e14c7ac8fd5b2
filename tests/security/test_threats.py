"""Each row of the threat model names a test that is there, and each actor has rows."""

import re

import pytest

from tests.support.paths import ROOT

PAGE = ROOT / "docs" / "threats.md"
ROW = re.compile(
    r"^\| (?P<tried>[^|]+) \| (?P<holds>[^|]+) \| \[\w+\]\((?P<file>[^)]+)\) `(?P<test>test_\w+)` \|$"
)


def lines() -> list[str]:
    told = (line for line in PAGE.read_text().splitlines() if line.startswith("| "))
    return [line for line in told if line != "| tried | what holds | test |"]


def test_every_row_is_a_threat_with_what_holds_and_a_test() -> None:
    assert [line for line in lines() if ROW.match(line) is None] == []
    assert len(lines()) > 60


@pytest.mark.parametrize("line", lines())
def test_the_test_of_a_row_is_there(line: str) -> None:
    row = ROW.match(line)
    assert row is not None
    source = (PAGE.parent / row["file"]).resolve()
    assert source.is_relative_to(ROOT / "tests")
    assert re.search(rf"^(async )?def {row['test']}\(", source.read_text(), re.MULTILINE), row["test"]


def test_every_actor_has_rows() -> None:
    for section in PAGE.read_text().split("\n## ")[1:]:
        assert section.count("\n| ") > 1, section.splitlines()[0]
