"""The judge of histories: it forgives what some order explains, and finds what none does."""

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.history import FOREVER, Asked, Read, Write, lost_or_doubled, violations

R = "paris/shop"


def wrote(rev: int, value: str, begin: float, end: float = FOREVER, term: int = 1) -> Write:
    return Write(R, (1, term, rev), value, begin, end)


def read(value: str, begin: float, end: float) -> Read:
    return Read(R, value, begin, end)


SOUND: dict[str, tuple[Sequence[Write], Sequence[Read]]] = {
    "nothing": ((), ()),
    "in turn": ([wrote(1, "a", 0, 1), wrote(2, "b", 2, 3)], [read("a", 1, 2), read("b", 3, 4)]),
    "a read beside a write finds either": (
        [wrote(1, "a", 0, 1), wrote(2, "b", 2, 6)],
        [read("a", 3, 4), read("b", 3, 5), read("b", 5.5, 7)],
    ),
    "back to a group of before": (
        [wrote(1, "a", 0, 1), wrote(2, "b", 2, 3), wrote(3, "a", 4, 5)],
        [read("a", 1, 1.5), read("b", 3, 3.5), read("a", 4, 6)],
    ),
    "a write without a known end": (
        [wrote(1, "a", 0, 1), wrote(2, "b", 2)],
        [read("a", 90, 91), read("b", 92, 93)],
    ),
    "accepted twice, as by an agent that was started again": (
        [wrote(1, "a", 0, 1), wrote(1, "a", 5, 6)], [read("a", 2, 3)],
    ),
}  # fmt: skip
BROKEN: dict[str, tuple[Sequence[Write], Sequence[Read], str]] = {
    "an older epoch after a newer one": (
        [wrote(2, "b", 0, 1), wrote(1, "a", 2, 3)], (), "1.1.1 (a) is accepted at 2.000, after 1.1.2 (b)",
    ),
    "a zombie's write under an older term": ([wrote(1, "b", 0, 1, term=2), wrote(9, "a", 2, 3)], (), "1.1.9"),
    "one epoch with two values": ([wrote(1, "a", 0, 5), wrote(1, "b", 0, 5)], (), "both a and b"),
    "a stale read": ([wrote(1, "a", 0, 1), wrote(2, "b", 2, 3)], [read("a", 4, 5)], "a is read at 4.000"),
    "a read from the future": (
        [wrote(1, "a", 0, 1), wrote(2, "b", 6, 7)], [read("b", 2, 3)], "b is read at 2.000",
    ),
    "back and forth between reads": (
        [wrote(1, "a", 0, 1), wrote(2, "b", 2, 9)],
        [read("b", 3, 4), read("a", 5, 6)],
        "a is read at 5.000",
    ),
    "a value that no write has": ([wrote(1, "a", 0, 1)], [read("c", 2, 3)], "c is read"),
}  # fmt: skip


@pytest.mark.parametrize("name", SOUND)
def test_what_an_order_explains_is_sound(name: str) -> None:
    assert violations(*SOUND[name]) == []


@pytest.mark.parametrize("name", BROKEN)
def test_what_no_order_explains_is_found(name: str) -> None:
    writes, reads, text = BROKEN[name]
    (found,) = violations(writes, reads)
    assert found.startswith(f"{R}: ")
    assert text in found


def test_registers_are_judged_each_for_itself() -> None:
    other = Write("oslo/shop", (1, 1, 1), "a", 2, 3)
    assert violations([wrote(2, "b", 0, 1), other], [read("b", 2, 3), Read("oslo/shop", "a", 3, 4)]) == []


spans = st.tuples(st.integers(0, 8), st.integers(1, 6)).map(lambda each: (each[0], each[0] + each[1] - 0.5))
values = st.sampled_from("ab")


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(values, spans), max_size=3), st.lists(st.tuples(values, spans), max_size=3))
def test_it_judges_as_a_search_through_all_orders(
    writes: list[tuple[str, tuple[float, float]]], reads: list[tuple[str, tuple[float, float]]]
) -> None:
    wrote_all = [wrote(rev, value, *span) for rev, (value, span) in enumerate(writes)]
    read_all = [read(value, *span) for value, span in reads]
    assert (violations(wrote_all, read_all) == []) == is_explained(wrote_all, read_all)


def is_explained(writes: Sequence[Write], reads: Sequence[Read]) -> bool:
    """Whether one of all orders keeps the times, the epochs and what was read."""
    operations: list[Write | Read] = [*writes, *reads]
    for order in itertools.permutations(operations):
        keeps_times = all(
            not later.end < earlier.begin for earlier, later in itertools.combinations(order, 2)
        )
        epochs = [each.epoch for each in order if isinstance(each, Write)]
        if keeps_times and epochs == sorted(epochs) and _reads_what_is_there(order):
            return True
    return False


def _reads_what_is_there(order: Sequence[Write | Read]) -> bool:
    there = ""
    for each in order:
        if isinstance(each, Read) and each.value != there:
            return False
        there = each.value
    return True


# ------------------------------------------------------------------------------------------------ commands


def test_an_acknowledged_command_is_there_once_and_in_its_order() -> None:
    asked = [Asked("shop", "k1", 0, 1, 1), Asked("shop", "k2", 2, 3, 2), Asked("shop", "k3", 4)]
    assert lost_or_doubled(asked, {"shop": [(1, "k1"), (2, "k2")]}) == []
    assert lost_or_doubled(asked, {"shop": [(1, "k1"), (2, "k2"), (3, "k3")]}) == []


@pytest.mark.parametrize(
    ("asked", "saved", "text"),
    [
        ([Asked("shop", "k1", 0, 1, 1)], [], "which is none"),
        ([Asked("shop", "k1", 0, 1, 1)], [(1, "k9")], "which is k9"),
        ([Asked("shop", "k1", 0)], [(1, "k1"), (2, "k1")], "carried out 2 times"),
        (
            [Asked("shop", "k1", 0, 1, 2), Asked("shop", "k2", 2, 3, 1)],
            [(1, "k2"), (2, "k1")],
            "k2 was asked after k1",
        ),
    ],
    ids=["lost", "another's", "twice", "out of order"],
)
def test_a_command_that_is_lost_doubled_or_out_of_order_is_found(
    asked: list[Asked], saved: list[tuple[int, str]], text: str
) -> None:
    (found,) = lost_or_doubled(asked, {"shop": saved})
    assert text in found
