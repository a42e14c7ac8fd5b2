"""What is said of each controller."""

import pytest

from repave_controller.core.domain.reasons import Concern
from repave_controller.peers.condition import State, conditions
from repave_controller.peers.ports import SHARDS, Held, Member, Seen, Standing

ME = Member("a", "a-1", "http://a", "a:7443", "2.0", 0.0)


def other(version: str = "2.0") -> Member:
    return Member("b", "b-1", "http://b", "b:7443", version, 0.0)


@pytest.mark.parametrize(
    ("seen", "state", "concerns"),
    [
        (Seen(other(), True, True, 1.2), State.LIVE, []),
        (Seen(other("1.0"), True, True, 1.2), State.LIVE, [Concern.OTHER_VERSION]),
        (Seen(other(), True, None, 1.2), State.LIVE, [Concern.LEASE_ONLY]),
        (Seen(other(), False, True, -3.0), State.FROZEN, [Concern.FROZEN]),
        (Seen(other("1.0"), False, False, -7200.0), State.AWAY, [Concern.AWAY]),
        (Seen(other(), False, None, -1.0), State.AWAY, [Concern.AWAY]),
        (Seen(other(), True, False, 0.9), State.AWAY, [Concern.AWAY]),
    ],
)
def test_each_state_has_what_there_is_to_say(seen: Seen, state: State, concerns: list[Concern]) -> None:
    rows = tuple(Held(number, "ab"[number % 2], 1) for number in range(SHARDS))
    first, second = conditions(Standing(1, (seen, Seen(ME, True, True, 1.4)), rows), ME)
    assert (first.member.id, first.state, first.concerns) == ("a", State.LIVE, ())
    assert (second.state, [each.kind for each in second.concerns]) == (state, concerns)
    assert second.shards == tuple(range(1, SHARDS, 2))
