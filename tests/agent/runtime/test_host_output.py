"""Reading on where there are only last lines, and what is kept of hosts that are gone."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repave_agent.runtime import kept_logs
from repave_agent.runtime.host_output import OVERLAP_LINES, following
from repave_agent.runtime.kept_logs import KEPT_SECONDS, KeptLogs
from repave_agent.runtime.remains import Remain
from repave_protos.protocol.values import ApplicationName, Digest, GroupName, HostName, HostPhase

HELLO = ApplicationName("hello")
DAY = KEPT_SECONDS


@given(
    counts=st.lists(st.integers(0, 20), max_size=10),
    words=st.lists(st.sampled_from(["tick", "tock"]), min_size=230, max_size=230),
)
def test_lines_that_differ_come_once(counts: list[int], words: list[str]) -> None:
    every = [f"{number} {word}" for number, word in enumerate(words)]
    until, cursor, had = 5, following(every[:5], "").cursor, every[:5]
    for count in counts:
        until += count
        piece = following(every[max(0, until - 60) : until], cursor)
        assert not piece.is_cut
        cursor, had = piece.cursor, had + piece.text.splitlines()
    assert had == every[:until]


def test_what_is_not_among_the_last_lines_any_more_is_told() -> None:
    cursor = following([f"old {number}" for number in range(OVERLAP_LINES)], "").cursor
    piece = following(["new 1", "new 2"], cursor)
    assert (piece.text, piece.is_cut) == ("new 1\nnew 2\n", True)


def test_no_lines_change_nothing() -> None:
    cursor = following(["a"], "").cursor
    assert following([], cursor).cursor == cursor


def remain(host: str, application: str = "hello") -> Remain:
    return Remain(
        HostName(host),
        GroupName(f"{application}-v001"),
        ApplicationName(application),
        Digest("d" * 64),
        "127.0.0.1",
        80,
        HostPhase.FAILED,
        "exited",
        1.0,
        1.0,
    )


class Kept:
    def __init__(self, directory: Path) -> None:
        self.now = 1_790_000_000.0
        self.logs = KeptLogs(directory / "logs", lambda: self.now)

    def keep(self, host: str, text: str, application: str = "hello") -> None:
        self.logs.keep(remain(host, application), text)
        for path in self.logs.directory.glob(f"*/*/{host}.log"):
            os.utime(path, (self.now, self.now))

    def names(self, application: str = "hello", host: str = "") -> list[str]:
        return [each.host for each in self.logs.read(ApplicationName(application), "", host, 10, 1000)]


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


def test_logs_are_kept_for_a_day_and_no_longer(kept: Kept) -> None:
    kept.keep("h1", "one\ntwo\n")
    kept.now += DAY - 1
    (found,) = kept.logs.read(HELLO, "", "", 1, 1000)
    assert (found.host, found.group, found.text) == ("h1", "hello-v001", "two\n")
    assert found.gone_at == kept.now - DAY + 1
    kept.now += 1
    assert kept.names() == []
    assert not list(kept.logs.directory.rglob("*.log"))


def test_an_application_has_its_bound_and_takes_nothing_from_others(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_logs, "APPLICATION_BYTES_MAX", 250)
    kept.keep("other-1", "x" * 200, "other")
    for number in range(5):
        kept.now += 1
        kept.keep(f"h{number}", "x" * 100)
    kept.logs.prune()
    assert kept.names() == ["h4", "h3"]
    assert kept.names("other") == ["other-1"]


def test_a_host_has_its_bound_and_its_end_is_kept(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_logs, "HOST_BYTES_MAX", 10)
    kept.keep("h1", "x" * 100 + "\nthe end\n")
    (path,) = kept.logs.directory.rglob("*.log")
    assert path.read_text().endswith("the end\n")
    assert path.stat().st_size == 10


def test_one_host_can_be_asked_for(kept: Kept) -> None:
    kept.keep("h1", "a\n")
    kept.keep("h2", "b\n")
    assert kept.names(host="h2") == ["h2"]


def test_a_disk_that_is_full_is_no_reason_to_stop(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file in the way")
    KeptLogs(tmp_path / "logs", lambda: 0.0).keep(remain("h1"), "x")
