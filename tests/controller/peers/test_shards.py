"""Which shards controllers take and hand over: balance, no two takers, and an end to it."""

import math
from collections.abc import Mapping, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from repave_controller.peers import shards
from repave_controller.peers.ports import SHARDS, Held, Member, Seen, Standing
from repave_controller.peers.shards import Moves


def a_member(name: str, instance: str = "", version: str = "1.0") -> Member:
    return Member(name, instance or f"{name}-1", f"http://{name}", f"{name}:7443", version, 0.0)


def seen(name: str, is_live: bool = True, holds_lock: bool | None = True, version: str = "1.0") -> Seen:
    return Seen(a_member(name, version=version), is_live, holds_lock, 1.0 if is_live else 0.0)


def standing(members: Sequence[Seen], owners: Mapping[int, str | None] | None = None) -> Standing:
    known = owners or {}
    return Standing(1, tuple(members), tuple(Held(n, known.get(n), 1) for n in range(SHARDS)))


def held_of(name: str, view: Standing) -> dict[int, int]:
    return {each.shard: each.term for each in view.shards if each.owner == name}


def moves_of(name: str, view: Standing) -> Moves:
    return shards.moves(view, a_member(name), held_of(name, view))


def turn(view: Standing) -> tuple[Standing, int]:
    """Every controller acts on one view. Returns how all stand then, and how many shards were handed over."""
    rows = {each.shard: each for each in view.shards}
    takers: dict[int, str] = {}
    handed_over = 0
    for member in view.members:
        if not shards.is_present(member):
            continue
        name = member.member.id
        chosen = moves_of(name, view)
        assert not (chosen.take and chosen.hand_over)
        for each in chosen.take:
            assert each not in takers, f"{name} and {takers[each]} take shard {each}"
            takers[each] = name
            rows[each] = Held(each, name, rows[each].term + 1)
        for each in chosen.hand_over:
            assert rows[each].owner == name
            rows[each] = Held(each, None, rows[each].term)
            handed_over += 1
    return Standing(view.incarnation, view.members, tuple(rows[n] for n in sorted(rows))), handed_over


def test_the_first_controller_takes_all_at_once() -> None:
    assert moves_of("a", standing([seen("a")])) == Moves(take=tuple(range(SHARDS)))


def test_what_one_lost_the_others_take_at_once_in_equal_parts() -> None:
    view = standing(
        [seen("a", holds_lock=False), seen("b"), seen("c")], {n: "abc"[n % 3] for n in range(SHARDS)}
    )
    of_b, of_c = moves_of("b", view).take, moves_of("c", view).take
    assert sorted((*of_b, *of_c)) == [n for n in range(SHARDS) if n % 3 == 0]
    assert abs(len(of_b) - len(of_c)) <= 1


def test_a_newcomer_is_given_one_shard_at_a_time() -> None:
    view = standing([seen("a"), seen("b")], dict.fromkeys(range(SHARDS), "a"))
    assert moves_of("a", view) == Moves(hand_over=(SHARDS - 1,))
    on_the_way = standing([seen("a"), seen("b")], {**dict.fromkeys(range(SHARDS), "a"), 63: None})
    assert moves_of("a", on_the_way) == Moves(), "the last one was not taken yet"
    assert moves_of("b", on_the_way) == Moves(take=(63,))


def test_one_that_could_not_reach_the_store_takes_at_first_only_what_it_had() -> None:
    view = standing([seen("a"), seen("b", is_live=False)], {n: "ab"[n % 2] for n in range(SHARDS)})
    chosen = shards.moves(view, a_member("a"), {}, is_returning=True)
    assert chosen == Moves(take=tuple(range(0, SHARDS, 2)))


def test_a_restarted_controller_takes_what_its_former_process_had_under_new_terms() -> None:
    view = standing([seen("a"), seen("b")], {n: "ab"[n % 2] for n in range(SHARDS)})
    assert shards.moves(view, a_member("a"), {}) == Moves(take=tuple(range(0, SHARDS, 2)))


def test_a_process_whose_name_another_one_has_by_now_moves_nothing() -> None:
    view = standing([seen("a")], {})
    assert shards.moves(view, a_member("a", instance="a-2"), {}) == Moves()
    assert shards.moves(standing([seen("b")]), a_member("a"), {}) == Moves()


def test_one_whose_own_lease_has_ended_moves_nothing() -> None:
    assert moves_of("a", standing([seen("a", is_live=False), seen("b")])) == Moves()


def test_a_frozen_controller_loses_its_shards_though_its_session_is_there() -> None:
    view = standing([seen("a", is_live=False), seen("b")], dict.fromkeys(range(SHARDS), "a"))
    assert moves_of("b", view) == Moves(take=tuple(range(SHARDS)))


def test_where_locks_do_not_tell_the_lease_alone_decides() -> None:
    members = [seen("a", holds_lock=None), seen("b", holds_lock=None)]
    view = standing(members, dict.fromkeys(range(SHARDS), "a"))
    assert moves_of("b", view) == Moves()
    assert moves_of("a", view).hand_over


def test_controllers_of_different_versions_share_as_equals() -> None:
    members = [seen("a", version="1.0"), seen("b", version="2.0")]
    assert (
        len(moves_of("a", standing(members)).take) == len(moves_of("b", standing(members)).take) == SHARDS / 2
    )


def test_what_another_has_by_now_or_under_a_later_term_is_lost() -> None:
    view = Standing(1, (seen("a"),), (Held(0, "a", 3), Held(1, "a", 3), Held(2, "b", 4), Held(3, None, 3)))
    assert shards.lost(view, a_member("a"), {0: 3, 1: 2, 2: 3, 3: 3, 9: 1}) == (1, 2, 3, 9)


NAMES = [f"controller-{n}" for n in range(7)]
PRESENT = st.lists(st.sampled_from(NAMES), min_size=1, unique=True)
GONE = st.sampled_from([(False, True), (False, False), (True, False), (False, None)])


@settings(deadline=None, max_examples=60)
@given(
    names=PRESENT,
    gone=st.dictionaries(st.sampled_from(NAMES), GONE),
    owners=st.lists(st.sampled_from([None, "left", *NAMES]), min_size=SHARDS, max_size=SHARDS),
)
def test_from_anywhere_they_come_to_balance_and_then_rest(
    names: list[str], gone: dict[str, tuple[bool, bool | None]], owners: list[str | None]
) -> None:
    members = [seen(each) for each in names]
    members += [seen(each, *gone[each]) for each in sorted(gone) if each not in names]
    view = standing(members, dict(enumerate(owners)))
    handed_over_in_all = 0
    for _ in range(3 * SHARDS):
        before = view
        view, handed_over = turn(view)
        assert handed_over <= 1, "one at a time"
        handed_over_in_all += handed_over
        if view == before:
            break
    else:
        raise AssertionError("they move shards without an end")
    sizes = [len(held_of(each, view)) for each in names]
    assert sum(sizes) == SHARDS
    assert max(sizes) <= math.ceil(SHARDS / len(names))
    assert max(sizes) - min(sizes) <= 1
    assert handed_over_in_all <= SHARDS, "no shard is handed over twice"


@settings(deadline=None, max_examples=60)
@given(names=PRESENT, owners=st.lists(st.sampled_from([None, *NAMES]), min_size=SHARDS, max_size=SHARDS))
def test_a_choice_depends_on_the_view_alone(names: list[str], owners: list[str | None]) -> None:
    forwards = standing([seen(each) for each in names], dict(enumerate(owners)))
    backwards = standing([seen(each) for each in reversed(names)], dict(enumerate(owners)))
    assert [moves_of(each, forwards) for each in names] == [moves_of(each, backwards) for each in names]
