"""The promises about what an agent remembers when it dies, on a real disk."""

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from repave_agent.core.observation import GroupFact
from repave_agent.core.region import Entries
from repave_agent.runtime.journal import Journal, JournalError
from repave_agent.runtime.journal_file import FileDisk
from repave_protos.protocol.values import ApplicationName, GroupName, HostName
from tests.fakes.agent.region_values import BLUE, GREEN, a_group, a_state

FACT = GroupFact(is_proven=True, was_routed=True, failures=2, setbacks=1, next_ordinal=8, refused="no room")
ENTRIES = Entries(
    installation="ours",
    desired=(a_state(a_group(), a_group(GREEN, environment=(("A", "ä\n"),))),),
    verified=(HostName("shop-v001-7"),),
    groups={BLUE: FACT},
)


def test_a_first_start_knows_nothing(tmp_path: Path) -> None:
    assert Journal(FileDisk(tmp_path / "journal.json")).load() == Entries()


@pytest.mark.parametrize("durable", [True, False])
def test_what_was_saved_is_read_back_by_the_next_agent(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "journal.json"
    Journal(FileDisk(path)).save(ENTRIES, durable=durable)
    assert Journal(FileDisk(path)).load() == ENTRIES
    assert [each.name for each in tmp_path.iterdir()] == ["journal.json"]


TEXTS = st.text(max_size=5)
SECONDS = st.floats(0.0, 1e9)


@settings(deadline=None)  # on a busy machine
@given(
    run=st.tuples(TEXTS, TEXTS),
    environment=st.tuples(st.tuples(TEXTS, TEXTS)),
    drain_seconds=SECONDS,
    drain_since=st.none() | SECONDS,
    why=TEXTS,
)
def test_every_value_survives(
    run: tuple[str, ...],
    environment: tuple[tuple[str, str], ...],
    drain_seconds: float,
    drain_since: float | None,
    why: str,
) -> None:
    group = a_group(run=run, environment=environment, drain_seconds=drain_seconds)
    fact = replace(FACT, drain_since=drain_since, refused=why)
    entries = replace(ENTRIES, desired=(a_state(group),), groups={BLUE: fact})
    adapter = TypeAdapter(Entries)
    assert adapter.validate_json(adapter.dump_json(entries)) == entries


def test_a_damaged_journal_stops_the_start_and_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "journal.json"
    Journal(FileDisk(path)).save(ENTRIES, durable=True)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(JournalError) as error:
        Journal(FileDisk(path)).load()
    assert f"{path} is damaged" in str(error.value)
    assert "restore it, or move it away when every host of this region may be given up" in str(error.value)


def test_a_journal_of_another_format_is_not_guessed_at(tmp_path: Path) -> None:
    path = tmp_path / "journal.json"
    path.write_text(json.dumps({"format": 3}))
    with pytest.raises(JournalError, match="has format 3; this repave reads 2"):
        Journal(FileDisk(path)).load()


def test_a_journal_that_can_not_be_written_leaves_the_former_one(tmp_path: Path) -> None:
    path = tmp_path / "journal.json"
    journal = Journal(FileDisk(path))
    journal.save(ENTRIES, durable=True)
    (tmp_path / "journal.json.new").mkdir()
    longer = replace(ENTRIES, condemned=tuple(HostName(f"shop-v001-{number}") for number in range(1_000)))
    with pytest.raises(JournalError, match=f"{path} can't be written: Is a directory"):
        journal.save(longer, durable=False)
    assert Journal(FileDisk(path)).load() == ENTRIES
    (tmp_path / "journal.json.new").rmdir()
    journal.save(longer, durable=False)
    assert Journal(FileDisk(path)).load() == longer


def test_a_full_disk_is_said_with_the_remedy(tmp_path: Path) -> None:
    class FullDisk(FileDisk):
        def replace(self, content: bytes, *, durable: bool) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    journal = Journal(FullDisk(tmp_path / "journal.json"))
    with pytest.raises(JournalError, match=r"can't be written: No space left on device; free some space$"):
        journal.save(ENTRIES, durable=True)


def test_an_agent_cut_off_while_it_saved_starts_with_the_former_entries(tmp_path: Path) -> None:
    path = tmp_path / "journal.json"
    Journal(FileDisk(path)).save(ENTRIES, durable=True)
    (tmp_path / "journal.json.new").write_text('{"form')
    journal = Journal(FileDisk(path))
    assert journal.load() == ENTRIES
    journal.save(Entries(installation="ours"), durable=False)
    assert Journal(FileDisk(path)).load().installation == "ours"


def test_nothing_is_written_when_nothing_changed(tmp_path: Path) -> None:
    path = tmp_path / "journal.json"
    journal = Journal(FileDisk(path))
    journal.save(ENTRIES, durable=True)
    before = path.read_bytes()
    journal.save(ENTRIES, durable=False)
    assert path.read_bytes() == before


def test_entries_that_are_equal_to_the_saved_ones_are_not_even_encoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(FileDisk(tmp_path / "journal.json"))
    journal.save(ENTRIES, durable=True)
    monkeypatch.setattr(journal, "_encode", None)
    journal.save(replace(ENTRIES, groups=dict(ENTRIES.groups)), durable=False)


@pytest.mark.parametrize("beside", [1, 100])
def test_only_what_has_changed_is_written_anew(tmp_path: Path, beside: int) -> None:
    """However much there is beside it."""
    written: list[object] = []

    def write(value: object) -> bytes:
        written.append(value)
        return TypeAdapter(type(value)).dump_json(value)

    names = [GroupName(f"app{number}-v001") for number in range(1 + beside)]
    states = tuple(
        replace(a_state(a_group(name)), application=ApplicationName(name.partition("-")[0])) for name in names
    )
    entries = replace(ENTRIES, desired=states, groups={name: replace(FACT) for name in names})
    journal = Journal(FileDisk(tmp_path / "journal.json"), write, write)
    journal.save(entries, durable=False)
    written.clear()
    newer = replace(states[0], epoch=replace(states[0].epoch, rev=9))
    fact = replace(FACT, failures=3)
    changed = replace(entries, desired=(newer, *states[1:]), groups={**entries.groups, names[0]: fact})
    journal.save(changed, durable=True)
    assert written == [newer, fact]
    assert Journal(FileDisk(tmp_path / "journal.json")).load() == changed
