"""What all clouds' load balancers are read by. Pure."""

from collections.abc import Mapping
from typing import TypeVar

Name = TypeVar("Name", bound=str)
Thing = TypeVar("Thing")


def in_order(things: Mapping[Name, Thing], known: list[Name]) -> list[tuple[Name, Thing]]:
    """Clouds keep no order: those that are known come as they were, then the others by name."""
    places = {name: place for place, name in enumerate(known)}
    return sorted(things.items(), key=lambda each: (places.get(each[0], len(places)), each[0]))
