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


def test_it_is_stored_as_a_list_and_read_back() -> None:
    adapter = TypeAdapter(Shop)
    shop = Shop(ByRegion((Place(OSLO, 2),)), ByRegion(((OSLO, "ann"),)))
    text = adapter.dump_json(shop)
    assert text == b'{"places":[{"region":"oslo","size":2}],"owners":[["oslo","ann"]]}'
    read = adapter.validate_json(text)
    assert read == shop
    assert read.places.find(OSLO) == Place(OSLO, 2)
    assert pickle.loads(pickle.dumps(shop)) == shop
