"""What a stream of hosts' output gives, and where one goes on that broke."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from repave_controller.api.answers.answer import Answer
from repave_controller.api.answers.models import Body
from repave_controller.api.answers.queries import Name
from repave_protos.protocol.bounds import NAME_LENGTH_MAX, OUTPUTS_MAX

POSITIONS_MAX = 10_000
Called = Annotated[Name, Field(min_length=1)]


class LogItem(Answer):
    """Lines that one host printed. `cut`: something is missing before them. `trouble`: why there are none, of
    the host or of its region. A stream that follows tells of a host first, though it has no lines."""

    region: str
    host: str = ""
    group: str = ""
    lines: list[str] = Field(default=[])
    gone_at: datetime | None = None
    cut: bool = False
    trouble: str = ""
    position: str = Field(default="", description="How far the host was read, to go on `after` it.")


class LogPosition(Body):
    """How far a host was read, as the newest item of it tells."""

    region: Called
    host: Called
    position: str = Field(min_length=1, max_length=NAME_LENGTH_MAX)


class LogsRequest(Body):
    """Go on with what hosts print from where a stream that broke has come to, at whichever controller."""

    after: list[LogPosition] = Field(
        min_length=1,
        max_length=POSITIONS_MAX,
        description=f"Of a region the last {OUTPUTS_MAX} count. Of hosts that are not named comes all that "
        "they have printed, within bounds.",
    )
