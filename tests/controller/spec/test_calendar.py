"""The windows and freezes of a spec, as people write them: what they become, and what is wrong with them."""

import contextlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from repave_controller.core.domain.application import Policy
from repave_controller.core.domain.windows import DAYS, Freeze, Window, describe
from repave_controller.spec.calendar import check_cron, check_zone, read_clock, read_days, read_moment
from repave_controller.spec.loader import SpecError, load
from repave_controller.spec.spec import compile_order
from tests.fakes.controller.specs import DIGEST, SMALLEST


def policy(text: str) -> Policy:
    return compile_order(load(SMALLEST + text, "repave.yaml")[0], DIGEST, "1.0").policy


def utc(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("written", "window", "words"),
    [
        (
            '{days: [mon, tue, wed, thu], from: "09:00", to: "16:00", zone: Europe/Berlin}',
            Window(("mon", "tue", "wed", "thu"), 540, 960, "Europe/Berlin"),
            "mon-thu 09:00-16:00 Europe/Berlin",
        ),
        ("{from: 09:00, to: 24:00}", Window(DAYS, 540, 1440), "mon-sun 09:00-24:00 UTC"),
        (
            "{days: [sat-mon, wed], from: 22:00, to: 04:00}",
            Window(("mon", "wed", "sat", "sun"), 1320, 240),
            "mon,wed,sat-sun 22:00-04:00 UTC",
        ),
        ("{days: fri, from: 00:00, to: 00:01}", Window(("fri",), 0, 1), "fri 00:00-00:01 UTC"),
        (
            "{cron: 0 9 * * MON-fri, for: 7h, zone: Asia/Tokyo}",
            Window((), 0, 0, "Asia/Tokyo", "0 9 * * MON-fri", 25_200.0),
            "cron 0 9 * * MON-fri for 7 h Asia/Tokyo",
        ),
        (
            '{cron: "*/5  * * * *", for: 90s}',
            Window((), 0, 0, "UTC", "*/5 * * * *", 90.0),
            "cron */5 * * * * for 90 s UTC",
        ),
    ],
)
def test_a_window_becomes_what_was_written(written: str, window: Window, words: str) -> None:
    assert policy(f"windows: [{written}]\n").windows == (window,)
    assert describe(window) == words


@pytest.mark.parametrize(
    ("written", "begins", "ends"),
    [
        ("{from: 2026-12-20, to: 2027-01-03}", "2026-12-20 00:00", "2027-01-04 00:00"),
        ('{from: "2026-12-20", to: "2026-12-20"}', "2026-12-20 00:00", "2026-12-21 00:00"),
        ("{from: 2026-12-20 18:00, to: 2026-12-20T18:30:15}", "2026-12-20 18:00", "2026-12-20 18:30:15"),
        ("{from: 2028-02-29, to: 2028-02-29}", "2028-02-29 00:00", "2028-03-01 00:00"),
        (
            "{from: 2026-12-20, to: 2027-01-03, zone: Europe/Berlin}",
            "2026-12-19 23:00",
            "2027-01-03 23:00",
        ),
        (
            "{from: 2026-07-01T10:00:00+02:00, to: 2026-07-01T10:00:00Z, zone: Asia/Tokyo}",
            "2026-07-01 08:00",
            "2026-07-01 10:00",
        ),
        # Clocks of Berlin are put back from 03:00 to 02:00 then: all of the doubled hour is within.
        (
            "{from: 2026-10-25 02:00, to: 2026-10-25 02:59, zone: Europe/Berlin}",
            "2026-10-25 00:00",
            "2026-10-25 01:59",
        ),
        # They are put forward from 02:00 to 03:00 then.
        (
            "{from: 2026-03-29 02:30, to: 2026-03-29 05:00, zone: Europe/Berlin}",
            "2026-03-29 01:00",
            "2026-03-29 03:00",
        ),
        (
            "{from: 2026-03-29 00:00, to: 2026-03-29 02:30, zone: Europe/Berlin}",
            "2026-03-28 23:00",
            "2026-03-29 01:00",
        ),
        # Midnight of Sunday is there twice: the first one ends Saturday.
        ("{from: 2026-10-31, to: 2026-10-31, zone: America/Havana}", "2026-10-31 04:00", "2026-11-01 04:00"),
        # Midnight does not exist there on that day: it begins at 01:00.
        (
            "{from: 2026-09-06, to: 2026-09-06, zone: America/Santiago}",
            "2026-09-06 04:00",
            "2026-09-07 03:00",
        ),
    ],
)
def test_a_freeze_begins_and_ends_by_the_clocks_of_its_zone(written: str, begins: str, ends: str) -> None:
    (freeze,) = policy(f"freezes: [{written}]\n").freezes
    assert (freeze.begins_at, freeze.ends_at) == (utc(begins), utc(ends))


def test_a_freeze_keeps_its_zone_and_its_reason() -> None:
    (freeze,) = policy(
        "freezes: [{from: 2026-01-01, to: 2026-01-02, zone: Asia/Tokyo, reason: new year}]\n"
    ).freezes
    assert freeze == Freeze(freeze.begins_at, freeze.ends_at, "Asia/Tokyo", "new year")


def test_a_spec_without_them_is_always_open() -> None:
    assert (policy("").windows, policy("").freezes) == ((), ())


def test_a_date_without_quotes_survives_several_files() -> None:
    override = ("more.yaml", "freezes: [{from: 2026-12-20, to: 2027-01-03}]\n")
    spec, text = load(SMALLEST, "repave.yaml", [override])
    assert load(text, "merged.yaml")[0] == spec
    assert spec.freezes[0].begins == "2026-12-20"


# Each entry: the last line of a spec, and the problems after "repave.yaml:".
BAD = {
    "a zone that is none": (
        'windows: [{from: "09:00", to: "16:00", zone: europe/berlin}]',
        ["9:46: windows.0.zone: 'europe/berlin' is no time zone; did you mean Europe/Berlin?"],
    ),
    "a zone by its city": (
        "freezes: [{from: 2026-01-01, to: 2026-01-02, zone: Tokyo}]",
        ["9:52: freezes.0.zone: 'Tokyo' is no time zone; did you mean Asia/Tokyo?"],
    ),
    **{
        f"the offset {offset}": (
            f'freezes: [{{from: 2026-01-01, to: 2026-01-02, zone: "{offset}"}}]',
            [
                f"9:52: freezes.0.zone: '{offset}' is an offset, which changes where clocks do; "
                "write a place such as Europe/Berlin"
            ],
        )
        for offset in ("GMT+1", "UTC+02:00", "+0530", "CET-1", "-03")
    },
    "a zone of this machine": (
        "freezes: [{from: 2026-01-01, to: 2026-01-02, zone: localtime}]",
        ["9:52: freezes.0.zone: 'localtime' is no time zone; write one such as Europe/Berlin or UTC"],
    ),
    "a zone that leads out of their folder": (
        "freezes: [{from: 2026-01-01, to: 2026-01-02, zone: ../../etc/passwd}]",
        ["9:52: freezes.0.zone: '../../etc/passwd' is no time zone; write one such as Europe/Berlin or UTC"],
    ),
    "a time that is none": (
        'windows: [{from: 9, to: "24:30"}]',
        [
            '9:18: windows.0.from: write a time of the day such as "09:00", up to "24:00"',
            '9:25: windows.0.to: write a time of the day such as "09:00", up to "24:00"',
        ],
    ),
    "days that are none": (
        'windows: [{days: [monday], from: "09:00", to: "16:00"}]',
        [
            "9:18: windows.0.days: days are mon, tue, wed, thu, fri, sat, sun, or some in a row such as "
            "mon-fri"
        ],
    ),
    "a window of no length": (
        'windows: [{from: "09:00", to: "09:00"}]',
        [
            '9:31: windows.0.to: from and to are the same; the whole day is from: "00:00" to: "24:00"',
        ],
    ),
    "half a window": (
        'windows: [{days: [mon], from: "09:00"}]',
        ['9:11: windows.0: write from: "09:00" and to: "16:00", or cron: "0 9 * * mon-fri" and for: 7h'],
    ),
    "a window by cron and by days": (
        'windows: [{cron: 0 9 * * mon, for: 1h, from: "09:00"}]',
        ["9:46: windows.0.from: a window is by cron or by days, not both; leave out cron or from"],
    ),
    "a cron without an end": (
        "windows: [{cron: 0 9 * * mon}]",
        ["9:18: windows.0.cron: cron says when a window opens; add for: 7h, how long it stays so"],
    ),
    "a cron that cron would not take": (
        "windows: [{cron: 0 25 * * mon, for: 1h}]",
        [
            "9:18: windows.0.cron: bad hour; write minute, hour, day of month, month, day of week, such as "
            '"0 9 * * mon-fri"'
        ],
    ),
    "a cron of a day that never comes": (
        "windows: [{cron: 0 9 30 2 *, for: 1h}]",
        [
            "9:18: windows.0.cron: bad day-of-month; write minute, hour, day of month, month, day of week, "
            'such as "0 9 * * mon-fri"'
        ],
    ),
    "a freeze that ends before it begins": (
        "freezes: [{from: 2026-12-20, to: 2026-01-03}]",
        ["9:34: freezes.0.to: 2026-01-03 is not after 2026-12-20: a freeze ends after it begins"],
    ),
    "a day that is none": (
        "freezes: [{from: 2026-02-29, to: 2026-03-01}]",
        ["9:18: freezes.0.from: 2026-02-29 is no day or time: day is out of range for month"],
    ),
    "a freeze without an end": (
        "freezes: [{from: 2026-02-28}]",
        ["9:11: freezes.0.to: is missing; add it"],
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_told_at_its_place_with_the_way_out(name: str) -> None:
    line, expected = BAD[name]
    with pytest.raises(SpecError) as caught:
        load(f"{SMALLEST}{line}\n", "repave.yaml")
    assert str(caught.value).splitlines() == [f"repave.yaml:{each}" for each in expected]


ANYTHING = st.none() | st.integers() | st.text(max_size=20) | st.lists(st.text(max_size=8), max_size=3)
LIKELY = st.from_regex(r"[0-9*/,#L-]{1,6}( [0-9*/,#LW-]{1,6}){4}", fullmatch=True)


@given(ANYTHING)
def test_whatever_is_written_is_read_or_refused_and_nothing_else(written: object) -> None:
    for read in (read_clock, read_days, read_moment):
        with contextlib.suppress(PydanticCustomError):
            read(written)


@given(st.text(max_size=20) | LIKELY)
def test_whatever_zone_or_cron_is_written_is_taken_or_refused(written: str) -> None:
    for check in (check_zone, check_cron):
        with contextlib.suppress(PydanticCustomError):
            assert check(written) == " ".join(written.split())
