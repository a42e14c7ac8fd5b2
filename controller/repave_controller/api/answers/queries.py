"""What the query of an address may hold: after ?, each name once, none that is not listed here."""

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationInfo

from repave_controller.api.answers.answer import Answer
from repave_protos.protocol.bounds import INSTANT_MAX, NAME_LENGTH_MAX, PROBE_SAMPLES_MAX, name_or_none

NUMBER_MAX = 1 << 53
EVENTS_MAX = 1000
REGIONS_MAX = 1000
HISTORY_MAX = 500
HOSTS_MAX = 10_000
LOG_LINES_MAX = 1000
LIVE_TOPICS_MAX = 20
ITEMS_MAX = 10_000
CURSOR_LENGTH_MAX = 1000
CALENDAR_DAYS_MAX = 31
HALF_HOUR_SECONDS, DAY_SECONDS = 1800, 86_400
FLAGS = {"1": True, "true": True, "0": False, "false": False}


def whole_number(text: object) -> object:
    """Digits alone; int() also takes signs, spaces, underscores and the digits of other scripts."""
    if isinstance(text, str) and not (text.isascii() and text.isdecimal() and len(text) <= 16):
        raise ValueError(f"expected a whole number, not {text[:40]!r}")
    return text


def flag(text: object, info: ValidationInfo) -> object:
    """1 and true, 0 and false; `?newest` alone is not clear."""
    if isinstance(text, str) and text not in FLAGS:
        raise ValueError(f"expected {info.field_name}=1 or {info.field_name}=0, not {text[:40]!r}")
    return FLAGS.get(text, text) if isinstance(text, str) else text


def name(text: str, info: ValidationInfo) -> str:
    """Of which agents may be asked; "" where none is meant."""
    return name_or_none(text, f"{info.field_name}")


Number = Annotated[int, BeforeValidator(whole_number), Field(ge=0, le=NUMBER_MAX)]
Flag = Annotated[bool, BeforeValidator(flag)]
Name = Annotated[str, Field(max_length=NAME_LENGTH_MAX), AfterValidator(name)]

Cursor = Annotated[str, Field(max_length=CURSOR_LENGTH_MAX)]
OFTEN = "`next` of the page before, as in every list; the same as `{}`, which wins."


class Query(Answer):
    """Unknown names are refused: they are misspelt ones."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PageQuery(Query):
    """Which page of a list."""

    limit: Annotated[Number, Field(le=ITEMS_MAX)] = Field(0, description="At most so many items; 0: all.")
    cursor: Cursor = Field("", description="`next` of the page before; empty: from the first.")


class ApplicationsQuery(PageQuery):
    """Which applications."""

    phase: Name = Field("", description="Those alone in this phase, such as running; empty: all.")
    prefix: Name = Field("", description="Those alone whose names begin so; empty: all.")


class GroupsQuery(PageQuery):
    """Which server groups."""

    state: Name = Field("", description="Those alone in this state, such as warm; empty: all.")


class RegionQuery(Query):
    """Only one region."""

    region: Name = Field("", description="Empty: all.")


class RegionPageQuery(Query):
    """Which page."""

    after: Name = Field("", description="The last region of the page before; empty: from the first.")
    limit: Annotated[Number, Field(ge=1, le=REGIONS_MAX)] = Field(100, description="At most so many regions.")
    cursor: Name = Field("", description=OFTEN.format("after"))


class RegionsQuery(PageQuery):
    """Which regions."""

    troubled: Flag = Field(False, description="Those alone of which there is something to be told.")


class StreamQuery(Query):
    """How much of it."""

    summary: Flag = Field(False, description="As .../summary says it.")


class HistoryQuery(Query):
    """Which page of it, and how much of each rollout."""

    before: Number = Field(0, description="Rollouts of lower numbers than this; 0: the newest.")
    limit: Annotated[Number, Field(ge=1, le=HISTORY_MAX)] = Field(50, description="At most so many rollouts.")
    cursor: Number = Field(0, description=OFTEN.format("before"))
    brief: Flag = Field(False, description="Without what each region did.")


class HostsQuery(RegionQuery):
    """Which hosts, and how much of their logs."""

    after: Name = Field("", description="The region in which the page before ended; empty: from the first.")
    limit: Annotated[Number, Field(le=HOSTS_MAX)] = Field(
        0, description="Regions are asked until there are so many; 0: all regions."
    )
    cursor: Name = Field("", description=OFTEN.format("after"))

    group: Name = Field("", description="Empty: all.")
    log_lines: Annotated[Number, Field(le=LOG_LINES_MAX)] = Field(
        0, description="Of each host's log, the last."
    )
    host: Name = Field("", description="Only the one of this name; empty: all.")
    probes: Annotated[Number, Field(le=PROBE_SAMPLES_MAX)] = Field(
        0, description="Of each host, so many of its last probes."
    )
    gone: Flag = Field(False, description="Also what is kept of hosts that failed and are gone.")


class LogsQuery(RegionQuery):
    """Whose output, how much of it, and whether more is waited for."""

    group: Name = Field("", description="Empty: all.")
    host: Name = Field("", description="Empty: all.")
    lines: Annotated[Number, Field(le=LOG_LINES_MAX)] = Field(100, description="Of each host, the last.")
    gone: Flag = Field(False, description="Also of hosts that failed and are gone, for a day.")
    since: Number = Field(0, description="Of gone ones, those that went in these seconds; 0: all.")
    follow: Flag = Field(False, description="Goes on with what hosts print.")


class PartQuery(Query):
    """For which of a region's applications."""

    application: Name = Field("", description="For this one alone; empty: for all.")


class TrafficQuery(RegionQuery):
    """From when on, and where."""

    last: Annotated[Number, Field(ge=1, le=DAY_SECONDS)] = Field(
        HALF_HOUR_SECONDS,
        description="Seconds, up to now. Half an hour is kept by five seconds, a day by minutes.",
    )
    since: Annotated[Number, Field(le=INSTANT_MAX)] = Field(
        0, description="Unix time, instead: to go on after what is known."
    )


class AnalysesQuery(Query):
    """Of which rollout, and with how much."""

    rollout: Number = Field(0, description="Its number; 0: the newest that has any.")
    numbers: Flag = Field(True, description="Also the numbers of the last look of each analysis.")


class EventStreamQuery(Query):
    """Where to go on."""

    after: Number = Field(0, description="The number of the last event that is known; Last-Event-ID wins.")
    application: Name = Field("", description="Empty: all.")


class EventsQuery(EventStreamQuery):
    """Which events, how many."""

    limit: Annotated[Number, Field(le=EVENTS_MAX)] = Field(100, description="At most so many events.")
    cursor: Number = Field(0, description=OFTEN.format("after"))
    kind: Name = Field("", description="Those alone of this kind, such as rollout.ended; empty: all.")
    region: Name = Field("", description="Those alone of this region; empty: all.")
    newest: Flag = Field(False, description="The last ones instead of those that follow `after`.")


class RoomQuery(Query):
    """For how many."""

    hosts: Annotated[Number, Field(ge=1, le=HOSTS_MAX)] = Field(1, description="How many more.")


class CalendarQuery(Query):
    """How far it looks ahead."""

    days: Annotated[Number, Field(ge=1, le=CALENDAR_DAYS_MAX)] = Field(
        14, description="From today on, by UTC."
    )


class LiveQuery(Query):
    """What a tab shows."""

    topics: str = Field(
        max_length=LIVE_TOPICS_MAX * (NAME_LENGTH_MAX + 10), description="With commas between: fleet,app:web."
    )


class BakedQuery(Query):
    """Several regions."""

    region: str = Field("", max_length=NAME_LENGTH_MAX * 100, description="With commas between; empty: all.")
