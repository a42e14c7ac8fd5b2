"""Asks agents that are connected to other controllers, by letters to those, and answers theirs.

An answer may be that there is none: the agent went away, or refuses. A letter is not passed on: a controller
that has lost the agent meanwhile says so.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Protocol

from repave_controller.core.ports import StoreError
from repave_controller.fleet.questions import BadQuestion, RegionUnreachable
from repave_controller.peers.letters import TooLong
from repave_controller.peers.ports import ControllerId
from repave_protos.protocol import wire
from repave_protos.protocol.queries import Answer, Query
from repave_protos.protocol.values import RegionName

QUESTION, STAND_BY = "question", "stand-by"
ON_THE_WAY_SECONDS = 1.0
"""More than the agent has."""

AskHere = Callable[[RegionName, Query, float], Awaitable[Answer]]
"""Asks an agent that is connected to this controller. Raises RegionUnreachable, BadQuestion."""


class Ask(Protocol):
    async def __call__(
        self, recipient: ControllerId, kind: str, body: bytes, timeout_seconds: float
    ) -> bytes:
        """As peers.letters.Letters.ask."""


class Afar:
    """One for a controller."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    async def ask(
        self, home: ControllerId, region: RegionName, query: Query, timeout_seconds: float
    ) -> Answer:
        """Raises RegionUnreachable, BadQuestion."""
        head = json.dumps({"region": region, "seconds": timeout_seconds}).encode()
        body = head + b"\n" + wire.encode_from_controller(query)
        try:
            reply = await self._ask(home, QUESTION, body, timeout_seconds + ON_THE_WAY_SECONDS)
        except TimeoutError as error:
            text = f"controller {home}, which the agent of {region} is connected to, did not answer in time"
            raise RegionUnreachable(text) from error
        except (StoreError, TooLong) as error:
            text = f"the agent of {region} is connected to controller {home}, which can't be asked: {error}"
            raise RegionUnreachable(text) from error
        return _answer_in(reply)

    async def tell_stand_by(self, home: ControllerId, region: RegionName) -> None:
        """A stand-by of the region was heard here. Raises StoreError, TimeoutError."""
        await self._ask(home, STAND_BY, region.encode(), ON_THE_WAY_SECONDS)


async def answer(body: bytes, ask_here: AskHere) -> bytes:
    """The letter that answers one of `QUESTION`. Raises ValueError, KeyError: it is none."""
    text, _, message = body.partition(b"\n")
    head = json.loads(text)
    query = wire.decode_from_controller(message)
    if not isinstance(query, Query):
        raise ValueError(f"{type(query).__name__} in place of a query")
    try:
        found = await ask_here(RegionName(head["region"]), query, float(head["seconds"]))
    except RegionUnreachable as error:
        return b"unreachable\n" + str(error).encode()
    except BadQuestion as error:
        return b"bad\n" + str(error).encode()
    return b"answer\n" + wire.encode_from_agent(found)


def _answer_in(reply: bytes) -> Answer:
    kind, _, rest = reply.partition(b"\n")
    if kind == b"unreachable":
        raise RegionUnreachable(rest.decode(errors="replace"))
    if kind == b"bad":
        raise BadQuestion(rest.decode(errors="replace"))
    try:
        found = wire.decode_from_agent(rest)
    except wire.WireError as error:
        raise RegionUnreachable(f"the answer by letter can't be read: {error}") from error
    if not isinstance(found, Answer):
        raise RegionUnreachable(f"{type(found).__name__} came in place of an answer")
    return found
