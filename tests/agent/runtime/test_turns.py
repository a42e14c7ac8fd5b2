"""Which of several controllers an agent dials."""

import pytest
from pydantic import ValidationError

from repave_agent.runtime.turns import Turns
from repave_agent.settings import AgentSettings
from repave_protos.protocol.channel import Late, Link
from tests.fakes.controller.links import MemoryLink

THREE = ("c1:7443", "c2:7443", "c3:7443")


class Controllers:
    """Those that answer; who was dialled."""

    def __init__(self, *away: str, error: type[ConnectionError] = ConnectionError) -> None:
        self.away, self.error = set(away), error
        self.dialled: list[str] = []

    async def dial(self, address: str) -> Link:
        self.dialled.append(address)
        if address in self.away:
            raise self.error(f"{address} is away")
        return MemoryLink()


async def test_each_time_another_one_is_dialled() -> None:
    turns, controllers = Turns(THREE, 0.0), Controllers()
    for address in (*THREE, THREE[0]):
        await turns.dial(controllers.dial)
        assert turns.at == address
    assert controllers.dialled == [*THREE, THREE[0]]


async def test_those_that_are_away_are_passed_over_at_once() -> None:
    turns, controllers = Turns(THREE, 0.0), Controllers("c1:7443", "c2:7443")
    await turns.dial(controllers.dial)
    assert turns.at == "c3:7443"
    assert controllers.dialled == list(THREE)


@pytest.mark.parametrize("error", [ConnectionError, Late])
async def test_where_none_answers_each_is_named(error: type[ConnectionError]) -> None:
    turns, controllers = Turns(THREE, 0.0), Controllers(*THREE, error=error)
    with pytest.raises(error, match="c1:7443 is away; c2:7443 is away; c3:7443 is away"):
        await turns.dial(controllers.dial)
    assert len(controllers.dialled) == 3, "each once; then the session waits"


async def test_a_new_channel_goes_to_the_same_controller() -> None:
    turns, controllers = Turns(THREE, 0.5), Controllers()
    await turns.dial(controllers.dial)
    assert turns.at == "c2:7443"
    await turns.dial(controllers.dial, again=True)
    assert controllers.dialled == ["c2:7443", "c2:7443"]


def test_a_fleet_begins_spread_over_all() -> None:
    first = {chance: Turns(THREE, chance).at for chance in (0.0, 0.34, 0.67, 1.0)}
    assert set(first.values()) == set(THREE)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("c1:7443", ("c1:7443",)),
        ("c1:7443 c2:7443", ("c1:7443", "c2:7443")),
        ("c1:7443,c2:7443", ("c1:7443", "c2:7443")),
        (["c1:7443", "c2:7443"], ("c1:7443", "c2:7443")),
    ],
)
def test_the_setting_is_a_list_or_words(given: object, found: tuple[str, ...]) -> None:
    assert AgentSettings.model_validate({"region": "paris", "controller": given}).controller == found


@pytest.mark.parametrize("given", ["", "c1", "c1:7443 c1:7443", "c1:7443 c2", [f"c{n}:1" for n in range(17)]])
def test_what_names_no_controllers_is_refused(given: object) -> None:
    with pytest.raises(ValidationError, match="controller"):
        AgentSettings.model_validate({"region": "paris", "controller": given})
