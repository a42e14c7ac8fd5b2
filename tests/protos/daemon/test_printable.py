"""What a terminal is never sent."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repave_protos.daemon.printable import is_printable, printable

HIDDEN = "\x1b\n\r\t\x00\x7f\x9b\u202e\u2066\u200b\u2028\ufeff\ud800"


@pytest.mark.parametrize("character", HIDDEN, ids=ascii)
def test_a_hidden_character_is_escaped(character: str) -> None:
    text = f"web{character}[31m"
    assert not is_printable(text)
    assert is_printable(printable(text))
    assert re.fullmatch(r"web\\[a-z0-9]+\[31m", printable(text))


@pytest.mark.parametrize("text", ["", "web-1", "Zürich", "東京", "⚠ 3 hosts", "a\\nb"])
def test_what_shows_itself_stays(text: str) -> None:
    assert printable(text) == text


def test_characters_can_be_kept() -> None:
    assert printable("a\nb\x1b", keeps="\n") == "a\nb\\x1b"


@given(st.text())
def test_the_result_never_controls_a_terminal(text: str) -> None:
    assert is_printable(printable(text))
    assert not set(printable(text, keeps="\n")) & {"\x1b", "\r", "\x9b", "\u202e"}
