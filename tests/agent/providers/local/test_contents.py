"""What somebody does to the files of a host is found, and what is no change is not taken for one."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from repave_agent.providers.local import contents


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A package of three files and a link, noted down."""
    top = tmp_path / "app"
    (top / "lib").mkdir(parents=True)
    (top / "serve").write_text("#!/bin/sh\n")
    (top / "serve").chmod(0o555)
    (top / "lib" / "page.html").write_text("shop")
    (top / "lib" / "empty").touch()
    (top / "current").symlink_to("lib")
    contents.note(top, tmp_path / "contents.json")
    return top


def difference(top: Path) -> str:
    return contents.difference(top, top.parent / "contents.json")


def test_what_nobody_changed_is_the_same(top: Path) -> None:
    assert difference(top) == ""


def replace_link(top: Path) -> None:
    (top / "current").unlink()
    (top / "current").symlink_to("/tmp")


CHANGES: dict[str, Callable[[Path], object]] = {
    "lib/page.html has other content": lambda top: (top / "lib/page.html").write_text("ship"),
    "lib/empty has other content": lambda top: (top / "lib/empty").write_text("more"),
    "lib/page.html was removed": lambda top: (top / "lib/page.html").unlink(),
    "lib/new.py was added": lambda top: (top / "lib/new.py").touch(),
    "serve has mode 755, not 555": lambda top: (top / "serve").chmod(0o755),
    "current has other content": replace_link,
}


@pytest.mark.parametrize("expected", CHANGES)
def test_a_change_is_found_and_named(top: Path, expected: str) -> None:
    CHANGES[expected](top)
    assert difference(top) == expected


def test_a_file_that_was_made_to_look_as_before_is_found(top: Path) -> None:
    page = top / "lib" / "page.html"
    before = page.stat()
    page.write_text("ship")
    os.utime(page, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert difference(top) == "lib/page.html has other content"


def test_a_file_that_was_touched_or_put_back_is_the_same(top: Path) -> None:
    (top / "serve").touch()
    (top / "lib" / "page.html").write_text("shop")
    assert difference(top) == ""


def test_many_changes_are_counted(top: Path) -> None:
    for number in range(5):
        (top / f"new-{number}").touch()
    assert difference(top) == "new-0 was added, new-1 was added, new-2 was added and 2 more"


def test_a_host_that_was_made_before_anything_was_noted_has_no_difference(top: Path) -> None:
    (top.parent / "contents.json").unlink()
    assert difference(top) == ""


def test_the_note_itself_can_not_be_spoilt_unseen(top: Path) -> None:
    (top.parent / "contents.json").write_text("{")
    assert difference(top) == "contents.json was changed"
