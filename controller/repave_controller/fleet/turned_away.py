"""The agents that were not let in of late, by whichever controller: those that stand by, and those whose
certificate was refused. Each controller knows of those that asked it; it asks the others for theirs."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

import structlog
from pydantic import TypeAdapter

from repave_controller.fleet.certificates import Denial
from repave_controller.fleet.regions import KnownRegion, Rival
from repave_protos.protocol.values import RegionName

LETTER: Final = "turned-away"
"""The kind of letters that ask for them."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """Of each region the newest."""

    rivals: Mapping[RegionName, Rival]
    denials: Sequence[Denial]


class Here(Protocol):
    """What this controller knows: fleet.sessions.Sessions."""

    def views(self) -> Mapping[RegionName, KnownRegion]: ...

    def rivals(self) -> Mapping[RegionName, Rival]: ...

    def denials(self) -> Sequence[Denial]: ...


Told = TypeVar("Told", Rival, Denial)
AskOthers = Callable[[bytes], Awaitable[Sequence[bytes]]]
"""Sends a letter to all other controllers; those that don't answer in time are left out."""


async def _alone(_: bytes) -> Sequence[bytes]:
    return ()


class TurnedAwayAgents:
    """One for a controller."""

    def __init__(self, here: Here, ask_others: AskOthers = _alone) -> None:
        self._here, self._ask_others = here, ask_others

    async def everywhere(self) -> TurnedAway:
        told = [(list(self._here.rivals().values()), list(self._here.denials()))]
        for each in await self._ask_others(b""):
            try:
                told.append(_TOLD.validate_json(each))
            except ValueError as error:  # of another version
                log.warning("turned_away.unreadable", why=str(error))
        return TurnedAway(
            self._newest((each.hello.region, each) for rivals, _ in told for each in rivals),
            tuple(self._newest((each.region, each) for _, denials in told for each in denials).values()),
        )

    async def answer(self, _: bytes) -> bytes:
        """What another controller asks."""
        return _TOLD.dump_json((list(self._here.rivals().values()), list(self._here.denials())))

    def _newest(self, told: Iterable[tuple[str, Told]]) -> dict[RegionName, Told]:
        """What was before the region's agent was let in, by whichever controller, is past."""
        found: dict[RegionName, Told] = {}
        for name, each in sorted(told, key=lambda pair: pair[1].at):
            region = RegionName(name)
            view = self._here.views().get(region)
            if view is None or not view.is_connected or view.since <= each.at:
                found[region] = each
        return found


_TOLD = TypeAdapter(tuple[list[Rival], list[Denial]])
