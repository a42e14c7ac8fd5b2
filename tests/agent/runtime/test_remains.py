"""What is kept of hosts that failed and are gone: a few of each group, over a restart, and never more."""

from dataclasses import replace
from pathlib import Path

from repave_agent.core.host_phase import Judgement
from repave_agent.core.host_records import Record
from repave_agent.runtime.remains import HOSTS_MAX, OF_A_GROUP_MAX, Remain, Remains, remain_of
from repave_protos.protocol.values import ApplicationName, Digest, GroupName, HostName, HostPhase

SHOP = ApplicationName("shop")


def a_remain(number: int, group: int = 1, phase: HostPhase = HostPhase.FAILED) -> Remain:
    name = GroupName(f"shop-v{group:03}")
    return Remain(
        HostName(f"{name}-{number}"), name, SHOP, Digest("d" * 64), "127.0.0.9", 8080, phase, "exited", 1.0,
        1_790_000_000.0 + number, "line 1\nline 2",
    )  # fmt: skip


def names(remains: Remains, group: str = "") -> list[str]:
    return [each.host for each in remains.details(SHOP, group, 0)]


def test_the_worst_and_newest_of_a_group_are_kept() -> None:
    remains = Remains()
    for number in range(5):
        remains.keep(a_remain(number))
    remains.keep(a_remain(9, phase=HostPhase.STARTING))
    assert names(remains) == ["shop-v001-4", "shop-v001-3", "shop-v001-2"]
    remains.keep(a_remain(1, group=2))
    assert names(remains, "shop-v002") == ["shop-v002-1"]


def test_they_outlive_the_agent_and_are_bounded(tmp_path: Path) -> None:
    remains = Remains(tmp_path / "remains.json")
    for group in range(HOSTS_MAX):
        for number in range(OF_A_GROUP_MAX):
            remains.keep(a_remain(number, group))
    assert len(remains.kept) == HOSTS_MAX
    heir = Remains(tmp_path / "remains.json")
    heir.recall()
    assert heir.kept == remains.kept
    assert (tmp_path / "remains.json").stat().st_mode & 0o777 == 0o600
    (newest, *_) = heir.details(SHOP, "", 1)
    assert (newest.log_tail, newest.gone_at) == ("line 2", 1_790_000_002.0)


def test_a_file_that_can_not_be_read_or_written_costs_only_what_it_holds(tmp_path: Path) -> None:
    remains = Remains(tmp_path / "remains.json")
    (tmp_path / "remains.json").write_text('[{"host": 1}]')
    remains.recall()
    assert not remains.kept
    lost = Remains(tmp_path / "missing" / "remains.json")
    lost.keep(a_remain(1))
    assert names(lost) == ["shop-v001-1"]


def test_what_a_host_was_when_its_end_began_is_told_and_nothing_of_one_that_was_well() -> None:
    record = Record(HostName("h"), GroupName("g"), SHOP, Digest("d"), 80, 5.0, 5.0, address="127.0.0.1")
    record.launch_time = 1_790_000_000.0
    for phase in (HostPhase.HEALTHY, HostPhase.VERIFIED, HostPhase.LAUNCHING):
        record.judgement = Judgement(phase)
        assert remain_of(record, 9.0) is None
    record.judgement = Judgement(HostPhase.UNHEALTHY, "answered 500")
    ill = remain_of(record, 9.0)
    assert ill is not None
    assert (ill.phase, ill.trouble, ill.age_seconds, ill.gone_at) == (
        HostPhase.UNHEALTHY,
        "answered 500",
        4.0,
        1_790_000_004.0,
    )
    record.judgement, record.failure = Judgement(HostPhase.DESTROYING), "exited with code 1"
    failed = remain_of(record, 9.0)
    assert failed is not None
    assert replace(failed, log_tail="") == replace(ill, phase=HostPhase.FAILED, trouble="exited with code 1")
