"""What a region's agent is asked, and what its answer amounts to.

`Questions` are those of one stream: they wait to be sent, then for their answer, and fail with the stream.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TypeVar

from repave_protos.protocol.queries import Answer, Content, Failure, Query, Refusal
from repave_protos.protocol.values import RegionName

QUERIES_IN_FLIGHT_MAX = 16  # of one region


class RegionUnreachable(Exception):
    """The region's agent gave no answer. The text is shown to people."""


class AgentRefused(RegionUnreachable):
    """The agent has understood the question, and says why it can't be done."""


class BadQuestion(ValueError):
    """No agent can be asked this: it has more than a question may. The text names the field."""


AnswerContent = TypeVar("AnswerContent", bound=Content)


@dataclass(slots=True)
class Questions:
    """Those that one agent has still to answer."""

    region: RegionName
    unsent: deque[Query] = field(default_factory=deque)  # bounded by unanswered
    unanswered: dict[int, asyncio.Future[Answer]] = field(default_factory=dict)

    @property
    def is_full(self) -> bool:
        return len(self.unanswered) >= QUERIES_IN_FLIGHT_MAX

    async def ask(self, query: Query, wake: asyncio.Event) -> Answer:
        """Raises RegionUnreachable when the stream ends before the answer."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.unanswered[query.query_id] = future
        self.unsent.append(query)
        wake.set()
        try:
            return await future
        finally:
            del self.unanswered[query.query_id]
            if query in self.unsent:
                self.unsent.remove(query)

    def take(self, answer: Answer) -> None:
        """An answer to a query that has been given up is ignored."""
        future = self.unanswered.get(answer.query_id)
        if future is not None and not future.done():
            future.set_result(answer)

    def fail(self, reason: str) -> None:
        for future in self.unanswered.values():
            if not future.done():
                text = f"the agent of {self.region} went away before it answered: {reason}"
                future.set_exception(RegionUnreachable(text))


def content_of(answer: Answer, region: RegionName, kind: type[AnswerContent]) -> AnswerContent:
    """What it says, which is of this kind. Raises RegionUnreachable; AgentRefused where the agent won't."""
    match answer.content:
        case Failure(why):
            raise RegionUnreachable(f"the agent of {region} could not answer: {why}")
        case Refusal(why):
            raise AgentRefused(why)
        case content if isinstance(content, kind):
            return content
        case content:
            text = f"the agent of {region} answered {type(content).__name__} instead of {kind.__name__}"
            raise RegionUnreachable(f"{text}: is it of another version?")
