"""Holds the decisions together: their numbers, their form and their index."""

import re
from pathlib import Path

import pytest

from tests.docs.markdown import DECISIONS
from tests.support.paths import ROOT

INDEX = ROOT / "docs" / "decisions" / "README.md"


def test_the_numbers_are_unique() -> None:
    numbers = [int(page.name[:4]) for page in DECISIONS]
    assert sorted(set(numbers)) == numbers


def test_the_index_names_each_page_once_in_order_by_its_title() -> None:
    shown = re.findall(r"^- \[(\d{4})\]\((\S+)\) (.+)$", INDEX.read_text(), flags=re.MULTILINE)
    assert [f"# {number} {title}" for number, _, title in shown] == [
        page.read_text().splitlines()[0] for page in DECISIONS
    ]
    assert [name for _, name, _ in shown] == [page.name for page in DECISIONS]


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.name)
def test_a_page_is_short_and_has_context_decision_and_consequences(page: Path) -> None:
    text = page.read_text()
    assert re.findall(r"^## (.+)$", text, flags=re.MULTILINE) == ["Context", "Decision", "Consequences"]
    assert len(text.split()) < 300
