"""Windows and freezes: when an application may move. Each odd case by hand, everything by an oracle that asks
the clock on the wall every minute."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from repave_controller.core.domain.instants import Instant, instant_of, shifts, wall_clock
from repave_controller.core.domain.windows import (
    DAYS,
    Day,
    Freeze,
    Window,
    closed,
    is_open,
    openings,
    opens_at,
)
from repave_controller.wording.render import remedy_of, text_of

BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"
LORD_HOWE = "Australia/Lord_Howe"  # half an hour of daylight saving
SANTIAGO = "America/Santiago"  # put forward at midnight
HAVANA = "America/Havana"  # put back over midnight: an hour of Sunday is there twice
APIA = "Pacific/Apia"  # had no 30 December 2011
KIRITIMATI = "Pacific/Kiritimati"  # UTC+14
ZONES = (
    "UTC",
    BERLIN,
    NEW_YORK,
    LORD_HOWE,
    SANTIAGO,
    HAVANA,
    APIA,
    KIRITIMATI,
    "Asia/Kolkata",
    "Africa/Cairo",
)
HOUR = 3600.0


def at(text: str, zone: str = "UTC", *, second: bool = False) -> Instant:
    return instant_of(datetime.fromisoformat(text), zone, is_second=second)


def berlin(text: str, *, second: bool = False) -> Instant:
    return at(text, BERLIN, second=second)


def by_days(begins: str, ends: str, days: Iterable[Day] = DAYS, zone: str = "UTC") -> Window:
    def minute(text: str) -> int:
        return int(text[:2]) * 60 + int(text[3:])

    return Window(tuple(days), minute(begins), minute(ends), zone)


def by_cron(cron: str, hours: float, zone: str = "UTC") -> Window:
    return Window((), 0, 0, zone, cron, hours * HOUR)


OFFICE = by_days("09:00", "16:00", ("mon", "tue", "wed", "thu"), BERLIN)
NIGHT = by_days("22:00", "04:00", ("fri",), BERLIN)


# ------------------------------------------------------------------------------------------------ examples


def test_without_windows_and_freezes_it_is_always_open() -> None:
    assert closed((), (), at("2026-01-03 03:00")) is None


@pytest.mark.parametrize(
    ("window", "time", "zone", "expected"),
    [
        # 2026-01-05 is a Monday.
        (OFFICE, "2026-01-05 08:59:59", BERLIN, False),
        (OFFICE, "2026-01-05 09:00", BERLIN, True),
        (OFFICE, "2026-01-05 15:59:59", BERLIN, True),
        (OFFICE, "2026-01-05 16:00", BERLIN, False),
        (OFFICE, "2026-01-09 10:00", BERLIN, False),
        (OFFICE, "2026-01-05 08:30", "UTC", True),
        (OFFICE, "2026-07-06 07:30", "UTC", True),  # the same clock, an hour earlier
        (NIGHT, "2026-01-09 21:59", BERLIN, False),
        (NIGHT, "2026-01-09 22:00", BERLIN, True),
        (NIGHT, "2026-01-10 03:59", BERLIN, True),  # belongs to the Friday on which it began
        (NIGHT, "2026-01-10 04:00", BERLIN, False),
        (NIGHT, "2026-01-10 22:00", BERLIN, False),
        (NIGHT, "2026-01-09 03:00", BERLIN, False),  # that would be Thursday's
        (by_days("22:00", "04:00", ("sun",)), "2026-01-05 03:00", "UTC", True),
        (by_days("00:00", "24:00", ("tue",)), "2026-01-06 23:59:59", "UTC", True),
        (by_days("00:00", "24:00", ("tue",)), "2026-01-07 00:00", "UTC", False),
        (by_days("12:00", "24:00", ("tue",)), "2026-01-07 00:00", "UTC", False),
        (by_days("00:00", "24:00", ("tue",)), "2028-02-29 12:00", "UTC", True),
        (by_cron("0 9 * * mon-fri", 7, BERLIN), "2026-01-05 08:59:59", BERLIN, False),
        (by_cron("0 9 * * mon-fri", 7, BERLIN), "2026-01-05 09:00", BERLIN, True),
        (by_cron("0 9 * * mon-fri", 7, BERLIN), "2026-01-05 15:59:59", BERLIN, True),
        (by_cron("0 9 * * mon-fri", 7, BERLIN), "2026-01-05 16:00", BERLIN, False),
        (by_cron("0 9 * * mon-fri", 72, BERLIN), "2026-01-11 12:00", BERLIN, True),  # since Friday
        (by_cron("0 9 29 2 *", 1), "2028-02-29 09:30", "UTC", True),
        (by_cron("0 9 29 2 *", 1), "2027-03-01 09:30", "UTC", False),
        (by_cron("* * * * *", 1), "2026-01-05 09:30:30.5", "UTC", True),
    ],
)
def test_a_window_is_open_by_the_clocks_of_its_zone(
    window: Window, time: str, zone: str, expected: bool
) -> None:
    assert is_open([window], at(time, zone)) is expected


@pytest.mark.parametrize(
    ("window", "now", "expected"),
    [
        # Berlin, 29 March 2026: 02:00 is followed by 03:00.
        (
            by_days("02:00", "03:00", zone=BERLIN),
            berlin("2026-03-29 01:59"),
            berlin("2026-03-30 02:00"),
        ),
        (
            by_days("02:30", "05:00", zone=BERLIN),
            berlin("2026-03-29 01:59"),
            berlin("2026-03-29 03:00"),
        ),
        (
            by_days("02:00", "02:30", ("sun",), BERLIN),
            berlin("2026-03-23 00:00"),
            berlin("2026-04-05 02:00"),
        ),
        # 25 October 2026: 03:00 is followed by 02:00; the hour before it is there twice.
        (
            by_days("02:15", "02:45", zone=BERLIN),
            berlin("2026-10-25 01:00"),
            berlin("2026-10-25 02:15"),
        ),
        (
            by_days("02:15", "02:45", zone=BERLIN),
            berlin("2026-10-25 02:50"),
            berlin("2026-10-25 02:15", second=True),
        ),
        (
            by_days("01:00", "02:30", zone=BERLIN),
            berlin("2026-10-25 02:45"),
            berlin("2026-10-25 02:00", second=True),
        ),
        # By cron it opens once in a doubled hour, and after a skipped one.
        (by_cron("30 2 * * *", 0.25, BERLIN), berlin("2026-10-25 02:50"), berlin("2026-10-26 02:30")),
        (by_cron("30 2 * * *", 0.25, BERLIN), berlin("2026-03-29 01:50"), berlin("2026-03-29 03:00")),
        # Lord Howe, 7 April 2024: 02:00 is followed by 01:30.
        (
            by_cron("*/20 2 * * *", 0.1, LORD_HOWE),
            at("2024-04-07 01:49", LORD_HOWE),
            at("2024-04-07 02:00", LORD_HOWE),
        ),
        # Santiago, 6 September 2026: midnight is followed by 01:00.
        (
            by_days("00:00", "06:00", ("sun",), SANTIAGO),
            at("2026-09-05 20:00", SANTIAGO),
            at("2026-09-06 04:00"),
        ),
        # Apia went from 29 to 31 December 2011.
        (
            by_days("10:00", "11:00", ("fri",), APIA),
            at("2011-12-29 12:00", APIA),
            at("2012-01-06 10:00", APIA),
        ),
        (by_cron("0 9 29 2 *", 1), at("2027-06-01 00:00"), at("2028-02-29 09:00")),
    ],
)
def test_it_opens_when_clocks_show_its_beginning_or_jump_into_it(
    window: Window, now: Instant, expected: Instant
) -> None:
    assert opens_at([window], [], now) == expected


def test_a_doubled_hour_is_open_both_times() -> None:
    window = by_days("02:00", "03:00", zone=BERLIN)
    assert is_open([window], berlin("2026-10-25 02:30"))
    assert is_open([window], berlin("2026-10-25 02:30", second=True))
    opened = sum(is_open([window], berlin("2026-10-25 00:00") + 60.0 * n) for n in range(300))
    assert opened == 120


def test_of_several_windows_any_will_do_and_the_next_one_is_told_in_its_own_zone() -> None:
    tokyo = by_days("09:00", "10:00", ("sat",), "Asia/Tokyo")
    now = berlin("2026-01-09 20:00")  # Friday evening
    found = closed([OFFICE, tokyo], [], now)
    assert found is not None
    assert (found.reason.kind.root, found.opens_at) == ("window", at("2026-01-10 09:00", "Asia/Tokyo"))
    assert text_of(found.reason) == (
        "outside of mon-thu 09:00-16:00 Europe/Berlin, sat 09:00-10:00 Asia/Tokyo; "
        "it opens Sat 2026-01-10 09:00 Asia/Tokyo; it is Sat 2026-01-10 04:00 Asia/Tokyo"
    )
    assert closed([OFFICE, tokyo], [], at("2026-01-10 09:30", "Asia/Tokyo")) is None


def test_a_freeze_wins_over_every_window_and_tells_when_it_is_over() -> None:
    freeze = Freeze(at("2026-12-20"), at("2027-01-04"), "UTC", "holidays")
    found = closed([OFFICE], [freeze], at("2026-12-21 09:30"))
    assert found is not None
    assert (found.reason.kind.root, found.opens_at, remedy_of(found.reason)) == (
        "freeze",
        at("2027-01-04 08:00"),
        "",
    )
    assert text_of(found.reason) == (
        "a freeze until Mon 2027-01-04 00:00 UTC (holidays); it opens Mon 2027-01-04 08:00 UTC; "
        "it is Mon 2026-12-21 09:30 UTC"
    )
    assert closed([OFFICE], [freeze], at("2026-12-17 09:30")) is None
    assert closed([], [freeze], at("2027-01-04")) is None


def test_a_freeze_of_a_person_names_the_command_that_lifts_it() -> None:
    freeze = Freeze(at("2026-01-05"), at("2026-01-06"), name="F3")
    found = closed([], [freeze], at("2026-01-05 12:00"))
    assert found is not None
    assert text_of(found.reason).startswith("freeze F3 until Tue 2026-01-06 00:00 UTC; it is Mon")
    assert (found.opens_at, remedy_of(found.reason)) == (at("2026-01-06"), "repave unfreeze F3")


def test_freezes_that_follow_each_other_are_one_and_windows_within_them_do_not_open() -> None:
    freezes = [
        Freeze(at("2026-01-04"), at("2026-01-06 12:00")),
        Freeze(at("2026-01-06 12:00"), at("2026-01-07 15:30")),
        Freeze(at("2026-01-05"), at("2026-01-05 01:00")),
        Freeze(at("2026-01-08 00:00"), at("2026-01-08 10:00")),
    ]
    assert opens_at([OFFICE], freezes, at("2026-01-04 12:00")) == at("2026-01-08 10:00")
    assert opens_at([], freezes, at("2026-01-04 12:00")) == at("2026-01-07 15:30")


def test_a_window_that_opens_in_no_year_to_come_is_told_as_that() -> None:
    yearly = by_cron("0 9 29 2 *", 1)
    found = closed([yearly], [], at("2026-03-01"))
    assert found is not None
    assert found.opens_at is None
    assert "no window opens within a year" in text_of(found.reason)
    frozen = closed([yearly], [Freeze(at("2026-03-01"), at("2026-03-02"))], at("2026-03-01"))
    assert frozen is not None
    assert (frozen.reason.kind.root, frozen.opens_at) == ("freeze", None)


def test_many_windows_are_not_all_told() -> None:
    windows = [by_days(f"{hour:02}:00", f"{hour:02}:01") for hour in range(5)]
    found = closed(windows, [], at("2026-01-05 12:00"))
    assert found is not None
    assert "02:00-02:01 UTC and 2 more; it opens Tue 2026-01-06 00:00 UTC" in text_of(found.reason)


# ------------------------------------------------------------------------------------------------ properties


def shows(window: Window, now: float) -> bool:
    """The oracle: reads the clock as a person would, on the day that it shows and on the day before."""
    shown = datetime.fromtimestamp(now, UTC).astimezone(ZoneInfo(window.zone)).replace(tzinfo=None)
    is_night = window.to_minute <= window.from_minute
    for begun in (shown.date(), shown.date() - timedelta(days=1)):
        midnight = datetime(begun.year, begun.month, begun.day)
        begins = midnight + timedelta(minutes=window.from_minute)
        ends = midnight + timedelta(days=int(is_night), minutes=window.to_minute)
        if DAYS[begun.weekday()] in window.days and begins <= shown < ends:
            return True
    return False


minutes = st.integers(0, 95).map(lambda quarter: quarter * 15) | st.integers(0, 1439)
day_windows = st.builds(
    Window,
    st.sets(st.sampled_from(DAYS), min_size=1).map(lambda days: tuple(day for day in DAYS if day in days)),
    minutes,
    minutes | st.just(1440),
    st.sampled_from(ZONES),
).filter(lambda window: window.from_minute != window.to_minute)
cron_windows = st.builds(
    Window,
    st.just(()),
    st.just(0),
    st.just(0),
    st.sampled_from(ZONES),
    st.sampled_from(
        ["0 9 * * mon-fri", "30 2 * * *", "*/20 2 * * *", "0 */5 * * sun", "15 0 1 * *", "0 0 29 2 *"]
    ),
    st.sampled_from([60.0, 1800.0, 7 * HOUR, 26 * HOUR]),
)
begin_2024, end_2028 = int(at("2024-01-01")), int(at("2028-12-31"))
times = st.integers(begin_2024, end_2028)
near_shifts = st.builds(
    lambda shift, seconds: int(shift) + seconds,
    st.sampled_from([shift for zone in ZONES for shift in shifts(zone, begin_2024, end_2028)]),
    st.integers(-7200, 7200),
)
instants = (times | near_shifts).map(lambda seconds: Instant(float(seconds)))
freezes = st.lists(
    st.builds(
        lambda begins, length: Freeze(Instant(float(begins)), Instant(float(begins + length))),
        times,
        st.integers(1, 20 * 86_400),
    ),
    max_size=3,
)
windows_of_both_kinds = st.lists(day_windows | cron_windows, min_size=1, max_size=3)


@given(day_windows, instants)
@settings(max_examples=300)
def test_a_window_is_open_exactly_when_the_clock_on_the_wall_says_so(window: Window, now: Instant) -> None:
    assert is_open([window], now) is shows(window, now)


@given(st.sampled_from(ZONES), day_windows, st.integers(2024, 2028))
@settings(max_examples=15, deadline=None)
def test_every_quarter_of_an_hour_of_a_year_is_as_the_clock_on_the_wall_says(
    zone: str, window: Window, year: int
) -> None:
    window = Window(window.days, window.from_minute, window.to_minute, zone)
    begin = at(f"{year}-01-01")
    for step in range(0, 366 * 96, 5):  # 75 minutes: through all minutes of the day that are quarters
        now = begin + step * 900.0
        assert is_open([window], now) is shows(window, now), wall_clock(now, zone)


@pytest.mark.parametrize("zone", ZONES)
def test_every_minute_around_each_shift_is_as_the_clock_on_the_wall_says(zone: str) -> None:
    windows = [by_days("01:30", "02:30", zone=zone), by_days("23:30", "00:45", ("sat",), zone)]
    for shift in shifts(zone, at("2024-01-01"), at("2028-12-31")):
        for minute in range(-150, 150):
            now = shift + 60.0 * minute
            for window in windows:
                assert is_open([window], now) is shows(window, now), wall_clock(now, zone)


@given(windows_of_both_kinds, freezes, instants)
@settings(max_examples=300, deadline=None)
def test_what_is_said_to_open_is_open_then_and_not_before(
    windows: list[Window], frozen: list[Freeze], now: Instant
) -> None:
    found = closed(windows, frozen, now)
    assume(found is not None)
    assert found is not None
    if found.opens_at is None:
        assert all(window.cron == "0 0 29 2 *" for window in windows)
        return
    assert found.opens_at > now
    assert closed(windows, frozen, found.opens_at) is None
    assert closed(windows, frozen, Instant(found.opens_at - 0.001)) is not None


@given(windows_of_both_kinds, freezes, instants, st.floats(0, 1))
@settings(max_examples=300, deadline=None)
def test_nothing_is_open_between_now_and_what_is_said_to_open_next(
    windows: list[Window], frozen: list[Freeze], now: Instant, share: float
) -> None:
    found = closed(windows, frozen, now)
    assume(found is not None and found.opens_at is not None)
    assert found is not None
    assert found.opens_at is not None
    between = Instant(now + (found.opens_at - now) * share)
    assume(between < found.opens_at)
    later = closed(windows, frozen, between)
    assert later is not None
    assert later.opens_at == found.opens_at


@given(st.sampled_from(ZONES), instants)
def test_an_instant_is_found_by_what_clocks_show_then(zone: str, now: Instant) -> None:
    shown = wall_clock(now, zone)
    assert now in {instant_of(shown, zone), instant_of(shown, zone, is_second=True)}


@pytest.mark.parametrize("zone", ["UTC", BERLIN, NEW_YORK])
@pytest.mark.parametrize("window", [("09:00", "16:00"), ("22:30", "05:10"), ("00:00", "24:00")])
def test_openings_are_the_times_in_which_it_is_open(zone: str, window: tuple[str, str]) -> None:
    """Over a change of clocks; a quarter of an hour is as short as a window may be to be seen."""
    windows = (by_days(*window, days=("mon", "thu", "sun"), zone=zone),)
    begin, end = at("2026-10-22 00:00"), at("2026-11-05 00:00")
    found = list(openings(windows, begin, end))
    assert found, "it opens thrice a week"
    for moment in range(int(begin), int(end), 600):
        is_in = any(opened <= moment < closing for opened, closing in found)
        assert is_in == is_open(windows, moment), moment
    assert all(one[1] < other[0] for one, other in pairwise(found))


def test_openings_by_cron_last_as_long_as_they_say() -> None:
    windows = (Window(cron="0 9 * * mon", duration_seconds=2 * HOUR),)
    begin = at("2026-11-30 00:00")  # a Monday
    found = list(openings(windows, begin, Instant(begin + 14 * 24 * HOUR)))
    assert [(opened - begin, closing - opened) for opened, closing in found] == [
        (9 * HOUR, 2 * HOUR),
        (9 * HOUR + 7 * 24 * HOUR, 2 * HOUR),
    ]
    assert list(openings((), begin, Instant(begin + HOUR))) == [(begin, begin + HOUR)]
