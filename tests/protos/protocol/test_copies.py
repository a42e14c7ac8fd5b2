"""Copies are those that `dataclasses.replace` makes."""

import dataclasses

import pytest

from repave_protos.protocol.copies import replace


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    street: str
    number: int = 1
    names: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Flat(Place):
    floor: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Measured:
    length: int
    double: int = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "double", 2 * self.length)


@dataclasses.dataclass
class Open:
    number: int


def test_a_copy_has_what_was_changed_and_shares_the_rest() -> None:
    flat = Flat("here", names=("a", "b"), floor=2)
    copy = replace(flat, number=7)
    assert copy == Flat("here", 7, ("a", "b"), 2)
    assert type(copy) is Flat
    assert copy.names is flat.names
    assert flat.number == 1, "a value stays as it is"
    assert hash(replace(copy, number=1)) == hash(flat)


def test_what_is_worked_out_from_fields_is_worked_out_again() -> None:
    assert replace(Measured(2), length=3).double == 6


def test_values_without_slots_are_copied_too() -> None:
    known = Open(1)
    assert replace(known, number=2) == Open(2)
    assert known.number == 1


@pytest.mark.parametrize("value", [Place("here"), Open(1)])
def test_a_field_that_there_is_not_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="colour"):
        replace(value, colour="red")  # type: ignore[type-var]
