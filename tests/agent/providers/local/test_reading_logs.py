"""Reading on in a local host's log gives every whole line once, whatever is written and turned meanwhile."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repave_agent.core.ports import LogPiece
from repave_agent.providers.local.logs import NEWEST, OLDER, read


class Log:
    """A host's log as its writer makes it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.written = b""

    def write(self, text: bytes) -> None:
        with (self.folder / NEWEST).open("ab") as file:
            file.write(text)
        self.written += text

    def turn(self) -> None:
        (self.folder / NEWEST).rename(self.folder / OLDER)
        (self.folder / NEWEST).touch()

    def read(self, after: str, size: int = 1000) -> LogPiece:
        return read(self.folder, after, 10, size)


WORDS = (b"one\n", b"two\nthree\n", b"half", b" a line\n", b"\xff\xfe\n", b"turn", b"read")


@given(steps=st.lists(st.sampled_from(WORDS), max_size=30), size=st.integers(1, 40))
def test_every_whole_line_comes_once_and_in_order(
    steps: list[bytes], size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("log")
    log = Log(folder)
    log.write(b"begun\n")
    cursor, had = log.read("").cursor, ""
    is_turned = False
    for step in [*steps, *[b"read"] * 200]:
        if step == b"turn":
            if not is_turned:  # the second one would take what was not read yet
                log.turn()
            is_turned = True
        elif step == b"read":
            piece = log.read(cursor, size)
            assert not piece.is_cut
            had, cursor = had + piece.text, piece.cursor
        else:
            log.write(step)
    whole = log.written[len(b"begun\n") :]
    end = whole.rfind(b"\n") + 1
    text = whole.decode(errors="replace")
    assert text.startswith(had)
    assert len(had) >= len(whole[:end].decode(errors="replace"))


def test_the_first_look_gives_the_last_lines_over_both_files(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.write(b"".join(b"line %d\n" % number for number in range(8)))
    log.turn()
    log.write(b"line 8\nline 9\nhalf")
    assert log.read("").text == "".join(f"line {number}\n" for number in range(1, 10))
    log.write(b" no more\n")
    assert log.read(log.read("").cursor).text == ""


def test_a_line_that_was_half_written_comes_when_it_is_whole(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.write(b"a\nhal")
    first = log.read("")
    assert first.text == "a\n"
    assert log.read(first.cursor).text == ""
    log.write(b"f\n")
    assert log.read(first.cursor).text == "half\n"


def test_what_was_turned_away_meanwhile_is_told(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.write(b"a\n")
    cursor = log.read("").cursor
    for text in (b"b\n", b"c\n"):
        (tmp_path / NEWEST).rename(tmp_path / f"gone-{text[:1].decode()}")  # its number is not given again
        (tmp_path / NEWEST).write_bytes(text)
    piece = log.read(cursor)
    assert (piece.text, piece.is_cut) == ("c\n", True)


def test_a_host_that_has_printed_nothing_has_nothing(tmp_path: Path) -> None:
    assert Log(tmp_path).read("") == LogPiece("", "")
