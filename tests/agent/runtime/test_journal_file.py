"""The promises about the file of the journal: whatever moment process or machine end at, what was saved with
`durable` is there, and nothing that was saved only in part."""

import json
import os
import random
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repave_agent.runtime.journal_file import BLOCK_BYTES, FileDisk


@dataclass
class Calls:
    """What the file system was asked for."""

    names: list[str] = field(default_factory=list)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    counted = Calls()
    for name in ("fsync", "fdatasync", "rename", "replace"):
        real = getattr(os, name)

        def call(*arguments: object, name: str = name, real: object = real, **more: object) -> object:
            counted.names.append(name)
            return real(*arguments, **more)  # type: ignore[operator]

        monkeypatch.setattr(os, name, call)
    return counted


def content(number: int, length: int = 10) -> bytes:
    return b'{"number":%d,"rest":"%s"}' % (number, b"x" * length)


def a_disk(path: Path, length: int = 10) -> FileDisk:
    disk = FileDisk(path / "journal.json")
    disk.replace(content(0, length), durable=True)
    return disk


def test_a_durable_save_is_one_sync_and_moves_no_file(tmp_path: Path, calls: Calls) -> None:
    disk = a_disk(tmp_path)
    calls.names.clear()
    for number in range(1, 20):
        disk.replace(content(number), durable=True)
    assert calls.names == ["fdatasync"] * 19
    assert FileDisk(tmp_path / "journal.json").read() == content(19)


def test_a_save_that_need_not_be_durable_waits_for_no_disk(tmp_path: Path, calls: Calls) -> None:
    disk = a_disk(tmp_path)
    calls.names.clear()
    for number in range(1, 20):
        disk.replace(content(number), durable=False)
    assert calls.names == []
    assert FileDisk(tmp_path / "journal.json").read() == content(19)


def test_what_the_process_before_wrote_is_brought_to_the_disk_before_anyone_acts_on_it(
    tmp_path: Path, calls: Calls
) -> None:
    """It may have ended between its write and its sync, or its rename and the folder's."""
    a_disk(tmp_path).replace(content(1), durable=False)
    disk = FileDisk(tmp_path / "journal.json")
    calls.names.clear()
    assert disk.read() == content(1)
    assert calls.names == ["fdatasync", "fsync"]
    disk.replace(content(2), durable=False)
    disk.replace(content(3), durable=False)
    assert calls.names == ["fdatasync", "fsync"]


def test_a_file_that_cannot_be_brought_to_the_disk_is_not_acted_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = a_disk(tmp_path)

    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(OSError, match="Input/output error"):
        disk.read()


def test_people_can_read_it_as_json(tmp_path: Path) -> None:
    disk = a_disk(tmp_path)
    disk.replace(content(1), durable=True)
    places = json.loads((tmp_path / "journal.json").read_text())
    newest = max(filter(None, places), key=lambda place: int(place["saved"]))
    assert newest["entries"]["number"] == 1


def test_a_content_that_outgrows_its_place_gets_a_larger_one(tmp_path: Path) -> None:
    disk = a_disk(tmp_path)
    for length in (BLOCK_BYTES, 3, 100_000, 5):
        disk.replace(content(length, length), durable=False)
        assert FileDisk(tmp_path / "journal.json").read() == content(length, length)


def test_the_file_of_a_former_version_is_read_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "journal.json"
    path.write_bytes(content(1))
    disk = FileDisk(path)
    assert disk.read() == content(1)
    disk.replace(content(2), durable=False)
    assert FileDisk(path).read() == content(2)


@pytest.mark.parametrize("what", ["gone", "another", "link", "pipe"])
def test_a_file_that_was_changed_by_others_is_replaced_whole(tmp_path: Path, what: str) -> None:
    path, elsewhere = tmp_path / "journal.json", tmp_path / "elsewhere"
    disk = a_disk(tmp_path)
    elsewhere.write_bytes(path.read_bytes())
    before = elsewhere.read_bytes()
    path.unlink()
    match what:
        case "another":
            path.write_bytes(before)
        case "link":
            path.symlink_to(elsewhere)
        case "pipe":
            os.mkfifo(path)
    disk.replace(content(1), durable=False)
    assert not path.is_symlink()
    assert FileDisk(path).read() == content(1)
    assert elsewhere.read_bytes() == before


def test_a_disk_that_fails_leaves_the_former_content_and_is_not_believed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux reports a failed write once: the next sync succeeds, and nothing is on the disk."""
    disk, path = a_disk(tmp_path), tmp_path / "journal.json"
    was = path.stat().st_ino

    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(OSError, match="Input/output error"):
        disk.replace(content(1), durable=True)
    monkeypatch.undo()
    disk.replace(content(2), durable=True)
    assert path.stat().st_ino != was
    assert FileDisk(path).read() == content(2)


@pytest.mark.parametrize("kept", [0, 1, BLOCK_BYTES, 3 * BLOCK_BYTES - 1])
def test_a_file_of_which_a_part_is_missing_is_not_guessed_at(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "journal.json"
    a_disk(tmp_path)
    path.write_bytes(path.read_bytes()[:kept] or b"[")
    with pytest.raises(ValueError, match=r"of its places there are only|none of its contents is whole"):
        FileDisk(path).read()


LONG = 9_000
"""So that a place has several blocks."""


@pytest.fixture(scope="module")
def fast_disk() -> Iterator[None]:
    """For many saves of which each only shall be where it belongs."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("fsync", "fdatasync"):
            patch.setattr(os, name, lambda _: None)
        yield


SAVES = st.lists(st.tuples(st.booleans(), st.sampled_from([5, 4_000, LONG, 20_000])), max_size=12)


@pytest.mark.usefixtures("fast_disk")
@settings(deadline=None, max_examples=60)
@given(saves=SAVES, restarts=st.sets(st.integers(0, 11)), cut=st.integers(0, 3 * BLOCK_BYTES))
def test_a_process_that_ends_in_the_middle_of_a_write_leaves_the_former_content_or_the_new_one(
    saves: list[tuple[bool, int]], restarts: set[int], cut: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        disk, path = a_disk(Path(folder), LONG), Path(folder) / "journal.json"
        last = content(0, LONG)
        for number, (is_durable, length) in enumerate(saves, 1):
            if number in restarts:
                disk = FileDisk(path)
                assert disk.read() == last
            before = path.read_bytes()
            disk.replace(content(number, length), durable=is_durable)
            after = path.read_bytes()
            if len(before) == len(after):
                path.write_bytes(torn(before, after, cut))
                assert FileDisk(path).read() in (last, content(number, length))
                path.write_bytes(after)
            last = content(number, length)


def torn(before: bytes, after: bytes, cut: int) -> bytes:
    """As a write leaves the file whose first `cut` bytes only were written."""
    first = next((at for at in range(len(after)) if before[at] != after[at]), 0)
    until = first + cut
    return after[:until] + before[until:]


@pytest.mark.usefixtures("fast_disk")
@settings(deadline=None, max_examples=100)
@given(saves=SAVES, restarts=st.sets(st.integers(0, 11)), chance=st.randoms(use_true_random=False))
def test_a_machine_that_ends_leaves_what_was_durable_or_a_later_content(
    saves: list[tuple[bool, int]], restarts: set[int], chance: random.Random
) -> None:
    """Blocks that were written since the last sync may have reached the disk, each of them or not."""
    with tempfile.TemporaryDirectory() as folder:
        disk, path = a_disk(Path(folder), LONG), Path(folder) / "journal.json"
        images, durable = [path.read_bytes()], 0
        for number, (is_durable, length) in enumerate(saves, 1):
            if number in restarts:
                disk = FileDisk(path)
                disk.read()
                images, durable = images[-1:], number - 1  # it is on the disk then
            disk.replace(content(number, length), durable=is_durable)
            image = path.read_bytes()
            if is_durable or len(image) != len(images[-1]):  # a file that is written anew is durable
                images, durable = [], number
            images.append(image)
        blocks = range(0, len(images[0]), BLOCK_BYTES)
        path.write_bytes(b"".join(chance.choice(images)[at : at + BLOCK_BYTES] for at in blocks))
        found = json.loads(FileDisk(path).read() or b"")["number"]
        assert durable <= found <= len(saves)
