"""The next zone, then the next size: once each, until one has room."""

import pytest

from repave_agent.clients.faults import LostError
from repave_agent.core.ports import MisfitError, OutOfCapacityError, ProviderError, RefusedError
from repave_agent.providers.cloud.placement import NotOfferedError, Place, Placement
from repave_protos.protocol.values import HostName

HOST = HostName("shop-v001-1")
FULL, NEVER = OutOfCapacityError("full"), NotOfferedError("not here")


class Cloud:
    """Answers each place in turn; the last answer stays."""

    def __init__(self, *answers: ProviderError | None) -> None:
        self.answers, self.asked = list(answers), list[str]()

    async def make(self, place: Place) -> str:
        self.asked.append(str(place))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is not None:
            raise answer
        return str(place)


async def test_places_are_tried_by_size_and_in_turn_by_zone() -> None:
    placement, cloud = Placement(("a", "b", "c")), Cloud(FULL, FULL, FULL, NEVER, None)
    assert await placement.first_with_room(HOST, ("xl", "l"), cloud.make) == "l in b"
    assert cloud.asked == ["xl in a", "xl in b", "xl in c", "l in a", "l in b"]
    assert await placement.first_with_room(HOST, ("xl", "l"), cloud.make) == "xl in b", "the next zone"


@pytest.mark.parametrize(
    ("answers", "kind", "asked"),
    [
        ((FULL,), OutOfCapacityError, 4),
        ((FULL, NEVER), OutOfCapacityError, 4),
        ((NEVER,), MisfitError, 4),
        ((NEVER, LostError("no answer")), LostError, 2),
        ((FULL, RefusedError("no right")), RefusedError, 2),
    ],
    ids=["full", "full and never", "never", "lost", "refused"],
)
async def test_where_none_has_room_each_place_is_named(
    answers: tuple[ProviderError, ...], kind: type[ProviderError], asked: int
) -> None:
    cloud = Cloud(*answers)
    with pytest.raises(kind) as caught:
        await Placement(("a", "b")).first_with_room(HOST, ("xl", "l"), cloud.make)
    assert type(caught.value) is kind
    assert len(cloud.asked) == asked
    if asked == 4:
        assert all(place in str(caught.value) for place in cloud.asked)
