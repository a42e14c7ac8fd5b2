"""The windows and freezes of a spec: how people write them, what they become, what is wrong with them.

What they mean is domain/windows.py's. The API takes a freeze in the same words.
"""

import difflib
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Self
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from repave_controller.core.domain.instants import Instant, instant_of, reached
from repave_controller.core.domain.windows import DAY_MINUTES, DAYS, Day, Freeze, Window
from repave_controller.spec.quantities import PositiveDuration, Unquoted, wrong
from repave_controller.spec.sections import Line, Section, contradiction

WINDOWS_MAX = 20
FREEZES_MAX = 100
DURATION_SECONDS_MAX = 31 * 86_400.0  # of a window by cron
CRON_FIELDS = 5
CRON_LENGTH_MAX = 200
CLOCK_PATTERN = r"([01][0-9]|2[0-3]):[0-5][0-9]|24:00"
MOMENT_PATTERN = (
    r"2[0-9]{3}-[01][0-9]-[0-3][0-9]([T ][0-2][0-9]:[0-5][0-9](:[0-5][0-9])?(Z|[+-][0-2][0-9]:[0-5][0-9])?)?"
)
MACHINE_ZONES = ("localtime", "posix", "right/", "Factory")  # differ from machine to machine

DATE_LENGTH = len("2026-12-20")

_CLOCK = re.compile(CLOCK_PATTERN)
_MOMENT = re.compile(MOMENT_PATTERN)


# ---------------------------------------------------------------------------------------------- readers


def read_clock(written: object) -> int:
    """`"09:00"` -> 540, the minute of the day; `"24:00"` is the end of the day."""
    if not isinstance(written, str) or _CLOCK.fullmatch(written) is None:
        raise wrong('write a time of the day such as "09:00", up to "24:00"')
    hours, _, minutes = written.partition(":")
    return int(hours) * 60 + int(minutes)


def read_days(written: object) -> tuple[Day, ...]:
    """`["mon-wed", "sat"]` -> mon, tue, wed, sat; one word may stand without a list."""
    words = [written] if isinstance(written, str) else written
    if not isinstance(words, list | tuple) or not words:
        raise wrong("write a list of days such as [mon, tue, sat] or [mon-fri]")
    chosen = {day for word in words for day in _read_some_days(word)}
    return tuple(day for day in DAYS if day in chosen)


def _read_some_days(word: object) -> tuple[Day, ...]:
    first, dash, last = word.partition("-") if isinstance(word, str) else ("", "", "")
    last = last if dash else first
    if first not in DAYS or last not in DAYS:
        raise wrong(f"days are {', '.join(DAYS)}, or some in a row such as mon-fri")
    start, length = DAYS.index(first), (DAYS.index(last) - DAYS.index(first)) % len(DAYS) + 1
    return tuple(
        DAYS[(start + step) % len(DAYS)] for step in range(length)
    )  # sat-mon goes over the week's end


def read_moment(written: object) -> str:
    """A date, or a date and time, as text; `Moment` of the file that may be without quotes."""
    text = written.text if isinstance(written, Unquoted) else written
    if not isinstance(text, str) or _MOMENT.fullmatch(text) is None:
        raise wrong("write a date such as 2026-12-20, or a date and time such as 2026-12-20T18:00")
    try:
        datetime.fromisoformat(text)
    except ValueError as error:
        raise wrong(f"{text} is no day or time: {error}") from None
    return text


_OFFSET = re.compile(r"[A-Za-z]{0,5}\s?[+-]\d{1,2}(:?\d\d)?")


def check_zone(name: str) -> str:
    """`name`, when it is an IANA zone."""
    try:
        if name.startswith(MACHINE_ZONES):
            raise ValueError(name)
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        if _OFFSET.fullmatch(name):
            raise wrong(
                f"{name[:60]!a} is an offset, which changes where clocks do; "
                "write a place such as Europe/Berlin"
            ) from None
        near = _similar_zone(name)
        hint = f"did you mean {near}?" if near else "write one such as Europe/Berlin or UTC"
        raise wrong(f"{name[:60]!a} is no time zone; {hint}") from None
    return name


def _similar_zone(name: str) -> str:
    """By the whole name, or by its city alone; whatever the case."""
    known = sorted(each for each in available_timezones() if not each.startswith(MACHINE_ZONES))
    by_name = {each.lower(): each for each in known}
    by_city = {each.rpartition("/")[2].lower(): each for each in known}
    wanted = name[:60].lower().replace(" ", "_")
    for names, text in ((by_name, wanted), (by_city, wanted.rpartition("/")[2])):
        near = difflib.get_close_matches(text, list(names), n=1, cutoff=0.75)
        if near:
            return names[near[0]]
    return ""


def check_cron(expression: str) -> str:
    """`expression`, when it has five fields that cron would take."""
    example = 'write minute, hour, day of month, month, day of week, such as "0 9 * * mon-fri"'
    if len(expression.split()) != CRON_FIELDS:
        raise wrong(f"cron has five fields; {example}")
    try:
        next(CronSim(expression, datetime(2026, 1, 1, tzinfo=UTC)))
    except (CronSimError, ValueError) as error:
        raise wrong(f"{str(error).lower()}; {example}") from None
    except StopIteration:
        raise wrong("there is no such day in any year") from None
    return " ".join(expression.split())


def _pattern(pattern: str, example: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^({pattern})$", "examples": [example]})


DAY_WORD = f"({'|'.join(DAYS)})(-({'|'.join(DAYS)}))?"
Clock = Annotated[int, BeforeValidator(read_clock), _pattern(CLOCK_PATTERN, "09:00")]
Days = Annotated[
    tuple[Day, ...],
    BeforeValidator(read_days),
    WithJsonSchema({"type": "array", "minItems": 1, "items": {"type": "string", "pattern": f"^{DAY_WORD}$"}}),
]
Moment = Annotated[str, BeforeValidator(read_moment), _pattern(MOMENT_PATTERN, "2026-12-20")]
Zone = Annotated[str, Field(max_length=100), AfterValidator(check_zone)]
Cron = Annotated[str, Field(max_length=CRON_LENGTH_MAX), AfterValidator(check_cron)]


# --------------------------------------------------------------------------------------------- sections


class WindowSection(Section):
    """A time in which releases may move: days with from and to, or cron with for."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["from", "to"]}, {"required": ["cron", "for"]}]}
    )

    days: Days | None = Field(None, description="[mon, tue] or [mon-fri]; every day if left out.")
    begins: Clock | None = Field(None, alias="from", description='From this time of the day on: "09:00".')
    ends: Clock | None = Field(
        None, alias="to", description='Until this time: "16:00"; not after `from`: on the following day.'
    )
    cron: Cron | None = Field(None, description='Instead of days: "0 9 * * mon-fri" opens the window.')
    seconds: PositiveDuration | None = Field(
        None, alias="for", description="With cron: how long it stays open."
    )
    zone: Zone = Field("UTC", description="IANA zone whose clocks count, such as Europe/Berlin.")

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> Self:
        if self.cron is not None:
            self._check_cron_window()
        else:
            self._check_day_window()
        return self

    def _check_cron_window(self) -> None:
        others = [
            name
            for name, value in (("days", self.days), ("from", self.begins), ("to", self.ends))
            if value is not None
        ]
        if others:
            raise contradiction(
                f"a window is by cron or by days, not both; leave out cron or {', '.join(others)}",
                ("cron",),
                *((name,) for name in others),
            )
        if self.seconds is None:
            raise contradiction("cron says when a window opens; add for: 7h, how long it stays so", ("cron",))
        if self.seconds > DURATION_SECONDS_MAX:
            raise contradiction("at most 31d", ("for",))

    def _check_day_window(self) -> None:
        if self.seconds is not None:
            raise contradiction("for goes with cron; write from and to", ("for",))
        if self.begins is None or self.ends is None:
            raise wrong('write from: "09:00" and to: "16:00", or cron: "0 9 * * mon-fri" and for: 7h')
        if self.begins == self.ends:
            raise contradiction(
                'from and to are the same; the whole day is from: "00:00" to: "24:00"', ("from",), ("to",)
            )
        if self.begins == DAY_MINUTES:
            raise contradiction('nothing begins at 24:00; write "00:00"', ("from",))

    @property
    def window(self) -> Window:
        if self.cron is not None:
            return Window((), 0, 0, self.zone, self.cron, self.seconds or 0.0)
        assert self.begins is not None, "checked above"
        assert self.ends is not None, "checked above"
        return Window(self.days or DAYS, self.begins, self.ends, self.zone)


class FreezeSection(Section):
    """A time in which nothing is released."""

    begins: Moment = Field(
        alias="from", description="The date on which it begins, or date and time: 2026-12-20T18:00."
    )
    ends: Moment = Field(
        alias="to", description="Its last day, which belongs to it; or the date and time at which it ends."
    )
    zone: Zone = Field("UTC", description="IANA zone of these times, such as Europe/Berlin.")
    reason: Line | None = Field(None, description="Why, for who meets it.")

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> Self:
        if self.freeze.ends_at <= self.freeze.begins_at:
            told = f"{self.ends} is not after {self.begins}: a freeze ends after it begins"
            raise contradiction(told, ("from",), ("to",))
        return self

    @property
    def freeze(self) -> Freeze:
        """From the first second of `from` to the last of `to`: a `to` that is a date is within, a doubled
        hour is within both times."""
        return Freeze(
            _begin(self.begins, self.zone), _end(self.ends, self.zone), self.zone, self.reason or ""
        )


def _begin(written: str, zone: str) -> Instant:
    moment = datetime.fromisoformat(written)
    return Instant(moment.timestamp()) if moment.tzinfo else reached(moment, zone)


def _end(written: str, zone: str) -> Instant:
    moment = datetime.fromisoformat(written)
    if moment.tzinfo:
        return Instant(moment.timestamp())
    if len(written) == DATE_LENGTH:
        return reached(moment + timedelta(days=1), zone)
    return max(reached(moment, zone), instant_of(moment, zone, is_second=True))
