"""What becomes of a region's record in DNS, by what is desired and what is seen."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from repave_agent.core.records import (
    Awaited,
    Change,
    Seen,
    Settled,
    Unfit,
    Wanted,
    decide,
    mark_text,
    read_mark,
    wanted_of,
)
from tests.fakes.agent.region_values import a_group, a_state

MINE, OTHER, STRANGER = "192.0.2.1", "192.0.2.2", "203.0.113.7"
ADDRESSES = some.frozensets(some.sampled_from([MINE, "192.0.2.9", OTHER, STRANGER]))
MARKS = some.none() | some.lists(some.sampled_from([MINE, "192.0.2.9"]), unique=True, max_size=2).map(
    lambda found: tuple(sorted(found))
)
WANTED = some.builds(
    Wanted,
    some.just("shop.example.com"),
    some.just((MINE,)),
    some.sampled_from(["none", "unless_last", "even_last"]),
    some.booleans(),
    some.booleans(),
)


def a_wish(**changes: object) -> Wanted:
    usual: dict[str, object] = {"name": "shop.example.com", "addresses": (MINE,), "drain": "none"}
    usual |= {"is_serving": True, "is_served": True}
    return Wanted(**{**usual, **changes})  # type: ignore[arg-type]  # of a test's own keywords


def seen(*addresses: str, mark: tuple[str, ...] | None = None, obstacle: str = "") -> Seen:
    return Seen(frozenset(addresses), mark, 60, obstacle)


@pytest.mark.parametrize(
    ("wish", "there", "kind"),
    [
        (a_wish(), seen(OTHER), Change),
        (a_wish(), seen(MINE, mark=(MINE,)), Settled),
        (a_wish(), seen(mark=(MINE,)), Change),  # a person has removed the address
        (a_wish(is_served=False), seen(OTHER), Awaited),
        (a_wish(is_served=False), seen(MINE, mark=(MINE,)), Settled),  # health changes nothing
        (a_wish(addresses=()), seen(), Unfit),
        (a_wish(), seen(MINE), Unfit),
        (a_wish(), seen(obstacle="an alias"), Unfit),
        (a_wish(drain="unless_last"), seen(MINE, OTHER, mark=(MINE,)), Change),
        (a_wish(drain="unless_last"), seen(MINE, mark=(MINE,)), Unfit),
        (a_wish(drain="even_last"), seen(MINE, mark=(MINE,)), Change),
        (a_wish(drain="unless_last"), seen(OTHER), Settled),
        (a_wish(drain="unless_last"), seen(MINE, OTHER), Unfit),
        (a_wish(is_serving=False), seen(MINE, mark=(MINE,)), Change),  # the application has ended here
    ],
)
def test_what_is_done(wish: Wanted, there: Seen, kind: type) -> None:
    assert isinstance(decide(wish, there), kind)


@given(wish=WANTED, addresses=ADDRESSES, mark=MARKS)
def test_nothing_but_the_marked_is_removed_and_it_comes_to_rest(
    wish: Wanted, addresses: frozenset[str], mark: tuple[str, ...] | None
) -> None:
    there = Seen(addresses, mark)
    change = decide(wish, there)
    if not isinstance(change, Change):
        return
    assert set(change.remove) <= there.ours
    assert set(change.add) <= {MINE}
    after = Seen(addresses.difference(change.remove) | set(change.add), change.mark)
    assert after.addresses >= {each for each in addresses if each in (OTHER, STRANGER)}
    assert not isinstance(decide(wish, after), Change)
    if wish.drain == "unless_last" and wish.is_serving and there.ours:
        assert after.addresses


def test_a_mark_says_whose_it_is() -> None:
    text = mark_text("home", (MINE, OTHER))
    assert read_mark([], "home", "paris") == (None, "")
    assert read_mark([text], "home", "paris") == ((MINE, OTHER), "")
    assert read_mark([text], "elsewhere", "paris")[0] is None
    assert "home" in read_mark([text], "elsewhere", "paris")[1]
    for texts in (["v=spf1 -all"], [text, text], [text, "v=spf1 -all"], [""]):
        mark, why = read_mark(texts, "home", "paris")
        assert (mark, "which repave has not written" in why) == (None, True)


def test_addresses_are_compared_as_services_write_them() -> None:
    state = a_state(a_group(weight_bp=10_000))
    wish = wanted_of(state, "shop.example.com", ("2001:DB8:0::7", "LB.Example.com."), is_served=True)
    assert wish.addresses == ("2001:db8::7", "lb.example.com")
