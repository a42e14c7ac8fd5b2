"""Agents that any controller did not let in are known to all, until one of their region is let in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from repave_controller.fleet.certificates import Denial
from repave_controller.fleet.regions import KnownRegion, Rival
from repave_controller.fleet.turned_away import TurnedAwayAgents
from repave_protos.protocol.certificates import AgentIdentity
from repave_protos.protocol.values import Hello, RegionName

PARIS, OSLO = RegionName("paris"), RegionName("oslo")


def hello(region: RegionName, instance: str) -> Hello:
    return Hello(region, 1, "0.1.0", "local", "haproxy", instance=instance)


def a_rival(instance: str, at: float, region: RegionName = PARIS) -> Rival:
    identity = AgentIdentity("d", region, "agent", "01", "issuer", 0.0, 9.0)
    return Rival(hello(region, instance), at, "stands by", True, identity)


@dataclass
class Controller:
    """What one knows by itself."""

    regions: dict[RegionName, KnownRegion] = field(default_factory=dict)
    heard: list[Rival] = field(default_factory=list)
    denied: list[Denial] = field(default_factory=list)

    def views(self) -> Mapping[RegionName, KnownRegion]:
        return self.regions

    def rivals(self) -> Mapping[RegionName, Rival]:
        return {each.hello.region: each for each in self.heard}

    def denials(self) -> Sequence[Denial]:
        return self.denied


def known(region: RegionName, since: float, *, is_connected: bool = True) -> KnownRegion:
    return KnownRegion(region, is_connected, since, hello(region, "one"))


def beside(one: Controller, *others: Controller | bytes) -> TurnedAwayAgents:
    async def ask(letter: bytes) -> list[bytes]:
        return [
            each if isinstance(each, bytes) else await TurnedAwayAgents(each).answer(letter)
            for each in others
        ]

    return TurnedAwayAgents(one, ask)


async def test_of_a_region_the_newest_counts_whichever_controller_it_asked() -> None:
    one = Controller({PARIS: known(PARIS, 1.0)}, [a_rival("old", 5.0)], [Denial("oslo", "expired", 5.0)])
    other = Controller({}, [a_rival("new", 6.0)], [Denial("oslo", "revoked", 4.0)])
    found = await beside(one, other).everywhere()
    assert found.rivals == {PARIS: a_rival("new", 6.0)}
    assert found.denials == (Denial("oslo", "expired", 5.0),)


async def test_what_was_before_the_agent_was_let_in_elsewhere_is_past() -> None:
    one = Controller({PARIS: known(PARIS, 7.0), OSLO: known(OSLO, 7.0, is_connected=False)})
    other = Controller({}, [a_rival("two", 5.0)], [Denial("paris", "expired", 6.0), Denial("oslo", "x", 6.0)])
    found = await beside(one, other).everywhere()
    assert found.rivals == {}
    assert found.denials == (Denial("oslo", "x", 6.0),)


async def test_an_answer_that_can_not_be_read_is_left_out() -> None:
    one = Controller({}, [a_rival("two", 5.0)])
    assert (await beside(one, b"{}", Controller()).everywhere()).rivals == {PARIS: a_rival("two", 5.0)}
