"""What all clouds' load balancers are read by. Pure."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from repave_agent.core.ports import Frontend
from repave_protos.protocol.fronts import FrontProtocol, TrafficFront, plain_front

Name = TypeVar("Name", bound=str)
Thing = TypeVar("Thing")


def in_order(things: Mapping[Name, Thing], known: list[Name]) -> list[tuple[Name, Thing]]:
    """Clouds keep no order: those that are known come as they were, then the others by name."""
    places = {name: place for place, name in enumerate(known)}
    return sorted(things.items(), key=lambda each: (places.get(each[0], len(places)), each[0]))


def fronts_at(port: int, protocol: FrontProtocol, known: Frontend | None) -> tuple[TrafficFront, ...]:
    """Those of an application that has one port: as `known`, where that is what was made there."""
    fronts = known.fronts if known is not None else ()
    if [(each.port, each.protocol) for each in fronts] == [(port, protocol)]:
        return fronts
    return () if protocol == "http" else (replace(plain_front(port), protocol=protocol),)
