"""What the API gives and takes of those who are told of what happens."""

from datetime import datetime

from pydantic import Field

from repave_controller.api.answers.answer import Answer
from repave_controller.api.answers.models import Body
from repave_controller.api.answers.queries import NUMBER_MAX


class DeadItem(Answer):
    """A notice that its target never took."""

    sequence: int
    kind: str
    at: datetime
    tries: int
    error: str


class NoticeTargetItem(Answer):
    """A target of the settings."""

    name: str
    kind: str = Field(description="What it is: cloudevents, ...")
    place: str = Field(description="Where it is, without what is secret.")
    state: str = Field(description="new, until it has begun; then well, behind or failing.")
    cursor: int = Field(description="All events up to this sequence number were dealt with.")
    waiting: int = Field(description="So many events of the log are newer.")
    delivered: int
    delivered_at: datetime | None
    tries: int = Field(description="Of the notice that is being tried; 0: none has failed.")
    retry_at: datetime | None
    error: str
    dead_total: int
    dead: list[DeadItem] = Field(description="The last ones that were never taken.")


class NoticeTargetsAnswer(Answer):
    """All of them, by name."""

    items: list[NoticeTargetItem]


class ReplayRequest(Body):
    """Send all notices from an event on again, under the ids that they had."""

    from_sequence: int = Field(ge=0, le=NUMBER_MAX, description="The first event's sequence number.")
    by: str = Field("", max_length=100)


class NoticeTestRequest(Body):
    """Send one notice that tells of nothing."""

    by: str = Field("", max_length=100)


class ReplayAnswer(Answer):
    """What was begun."""

    target: str
    from_sequence: int
    error: str = Field(description="Why a test was not taken.")
