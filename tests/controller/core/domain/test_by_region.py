"""One entry a region, found at once, and still the tuple that is stored and compared."""

import pickle
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from repave_controller.core.domain.by_region import ByRegion
from repave_protos.protocol.values import RegionName

OSLO, PARIS, ROME = map(RegionName, ("oslo", "paris", "rome"))


@dataclass(frozen=True, slots=True)
class Place:
    region: RegionName
    size: int = 1


@dataclass(frozen=True, slots=True)
class Shop:
    places: ByRegion[Place]
    owners: ByRegion[tuple[RegionName, str]] = ByRegion()


def test_values_and_pairs_are_found_by_their_region() -> None:
    places = ByRegion((Place(PARIS, 2), Place(OSLO, 3)))
    assert places.find(OSLO) == Place(OSLO, 3)
    assert places.find(ROME) is None
    assert ByRegion(((OSLO, "ann"), (PARIS, "bo"))).find(PARIS) == (PARIS, "bo")


def test_an_entry_takes_the_place_of_its_region_or_the_end() -> None:
    places = ByRegion((Place(PARIS), Place(OSLO)))
    assert places.put(Place(PARIS, 5)) == (Place(PARIS, 5), Place(OSLO))
    assert places.put(Place(ROME)) == (Place(PARIS), Place(OSLO), Place(ROME))
    assert places.sorted() == (Place(OSLO), Place(PARIS))
    assert places.without({OSLO}) == (Place(PARIS),)
    assert places == (Place(PARIS), Place(OSLO)), "the former one has not changed"


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers())))
def test_it_is_a_dictionary_that_remembers_its_order(entries: list[tuple[str, int]]) -> None:
    made: ByRegion[tuple[RegionName, int]] = ByRegion()
    for region, size in entries:
        made = made.put((RegionName(region), size))
        assert made.find(RegionName(region)) == (region, size)
    assert made == tuple(dict(entries).items())
    assert all(made.find(region) == (region, size) for region, size in made)


@given(
    st.lists(st.tuples(st.integers(0, 200), st.integers())),
    st.lists(st.tuples(st.integers(0, 200), st.integers())),
)
def test_many_entries_are_put_as_one_after_the_other(
    before: list[tuple[int, int]], entries: list[tuple[int, int]]
) -> None:
    known = ByRegion((RegionName(f"{number:03}"), size) for number, size in dict(before).items())
    put = [(RegionName(f"{number:03}"), size) for number, size in entries]
    one_by_one = known
    for entry in put:
        one_by_one = one_by_one.put(entry)
    assert known.put_all(put) == one_by_one
    assert known == tuple((f"{number:03}", size) for number, size in dict(before).items()), "not changed"


def test_it_is_stored_as_a_list_and_read_back() -> None:
    adapter = TypeAdapter(Shop)
    shop = Shop(ByRegion((Place(OSLO, 2),)), ByRegion(((OSLO, "ann"),)))
    text = adapter.dump_json(shop)
    assert text == b'{"places":[{"region":"oslo","size":2}],"owners":[["oslo","ann"]]}'
    read = adapter.validate_json(text)
    assert read == shop
    assert read.places.find(OSLO) == Place(OSLO, 2)
    assert pickle.loads(pickle.dumps(shop)) == shop


def test_replacing_an_entry_copies_few_of_many() -> None:
    many = ByRegion(Place(RegionName(f"r{number:04}")) for number in range(5_000))
    changed = many.put(Place(RegionName("r2500"), 9))
    assert changed.find(RegionName("r2500")) == Place(RegionName("r2500"), 9)
    assert len(changed) == len(many) == 5_000
    assert sum(now is not was for now, was in zip(changed._chunks, many._chunks, strict=True)) == 1


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 200), st.integers()), max_size=30))
def test_what_comes_of_a_sequence_changes_none_that_it_came_of(steps: list[tuple[int, int, int]]) -> None:
    """Each is put into any of those that there are, which share what they have in common."""
    made: list[ByRegion[tuple[RegionName, int]]] = [ByRegion((RegionName(f"r{n}"), n) for n in range(100))]
    expected = [dict(made[0])]
    for base, region, size in steps:
        name = RegionName(f"r{region}")
        made.append(made[base % len(made)].put((name, size)))
        expected.append({**expected[base % len(expected)], name: size})
    for each, known in zip(made, expected, strict=True):
        assert each == tuple(known.items())
        assert [each.find(name) for name in (*known, RegionName("r201"))] == [*known.items(), None]


def test_it_is_read_as_a_tuple_is() -> None:
    plain = tuple((RegionName(f"r{number}"), number) for number in range(130))
    places = ByRegion(plain)
    assert (places[0], places[-1], places[64], places[2:70]) == (plain[0], plain[-1], plain[64], plain[2:70])
    assert plain[129] in places
    assert (RegionName("r129"), 0) not in places
    assert (hash(places), repr(places), list(reversed(places))) == (hash(plain), repr(plain), [*plain[::-1]])
    assert places != plain[1:]
    assert ByRegion(plain[:64]) != ByRegion(plain[:65])
