"""Which release is blamed for errors: by where it is, when it came there, and how each group fares."""

from collections.abc import Mapping
from random import Random

import pytest

from repave_controller.core.analysis.rises import Rise, rise_of
from repave_controller.core.domain.instants import Instant
from repave_controller.core.planning.suspects import Move, Suspect, Trouble, ranked
from repave_protos.protocol.values import ApplicationName, GroupName, RegionName

WEB, AUTH = ApplicationName("web"), ApplicationName("auth")
OLD, NEW = GroupName("web-v001"), GroupName("web-v002")
NOW, SLACK = 10_000.0, 6.5
ALL = ("oslo", "paris", "rome")


def move(
    app: ApplicationName, came: Mapping[str, float], left: Mapping[str, float] | None = None, number: int = 2
) -> Move:
    reached = {RegionName(each): (at,) for each, at in came.items()}
    gone = {RegionName(each): at for each, at in (left or {}).items()}
    group = GroupName(f"{app}-v{number:03}")
    begun = Instant(min(came.values(), default=NOW) - 60)
    return Move(app, number, "release", group, f"{number}.0", begun, reached, gone)


def trouble(region: str, at: float, *, new: float = 0.2, old: float = 0.0, until: float = NOW) -> Trouble:
    """1,000 requests to each group, of which such parts failed."""
    groups = {NEW: (1000, round(1000 * new)), OLD: (1000, round(1000 * old))}
    rise = Rise(at, until, 0.0, (new + old) / 2, 2000, round(1000 * (new + old)), 50.0)
    return Trouble(WEB, RegionName(region), rise, groups, goes_on=until == NOW)


def kinds(suspect: Suspect) -> list[str]:
    return [str(each.kind) for each in suspect.clues]


def rank(*moves: Move, troubles: list[Trouble], quiet: tuple[str, ...] = ()) -> list[Suspect]:
    return ranked(moves, troubles, {(WEB, RegionName(each)) for each in quiet}, SLACK, NOW)


def test_of_two_releases_the_one_is_blamed_that_was_wherever_errors_rose() -> None:
    guilty = move(WEB, {"oslo": 9000, "paris": 9100, "rome": 9200})
    other = move(AUTH, {"paris": 9095})
    troubles = [trouble("oslo", 9010), trouble("paris", 9105), trouble("rome", 9205)]
    first, second = rank(other, guilty, troubles=troubles)
    assert (first.move, first.verdict) == (guilty, "likely")
    assert kinds(first) == ["rose-after", "in-its-group"]
    assert second.verdict == "possible"
    assert kinds(second) == ["rose-after", "rose-elsewhere", "other-application"]
    assert first.score > 3 * second.score


def test_one_that_coincides_in_a_single_region_is_cleared_by_the_others() -> None:
    """It came to three regions; errors rose in one of them, by chance just then."""
    innocent = move(AUTH, dict.fromkeys(ALL, 9000.0))
    guilty = move(WEB, {"paris": 9001})
    first, second = rank(innocent, guilty, troubles=[trouble("paris", 9008)], quiet=("oslo", "rome"))
    assert first.move is guilty
    assert "quiet-there" in kinds(second)
    assert second.score < first.score / 4


def test_errors_that_began_before_any_release_are_blamed_on_none() -> None:
    moves = [move(WEB, dict.fromkeys(ALL, 9000.0)), move(AUTH, dict.fromkeys(ALL, 9100.0))]
    found = rank(*moves, troubles=[trouble(each, 8000) for each in ALL])
    assert {(each.score, each.verdict) for each in found} == {(0.0, "unlikely")}
    assert {tuple(kinds(each)) for each in found} == {("rose-before",)}


def test_a_release_whose_group_fares_as_the_old_one_is_less_likely_than_what_both_depend_on() -> None:
    both = [trouble(each, 9010, new=0.2, old=0.21) for each in ALL]
    first, second = rank(
        move(WEB, dict.fromkeys(ALL, 9000.0)), move(AUTH, dict.fromkeys(ALL, 9004.0)), troubles=both
    )
    assert first.move.application == AUTH
    assert "in-all-groups" in kinds(second)


def test_blame_fades_with_the_time_between() -> None:
    scores = [
        rank(move(WEB, {"paris": 9000 - lag}), troubles=[trouble("paris", 9000)])[0].score
        for lag in (0, 600, 3600, 6 * 3600)
    ]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == 1.0
    assert scores[-1] < 0.01


def test_of_two_that_came_to_the_same_regions_the_later_one_before_the_errors_is_blamed() -> None:
    early, late = move(AUTH, {"paris": 8000.0}), move(ApplicationName("db"), {"paris": 8990.0})
    assert [each.move for each in rank(early, late, troubles=[trouble("paris", 9000)])] == [late, early]


def test_errors_that_fall_when_a_release_has_left_speak_against_it_and_that_go_on_for_it() -> None:
    came, left = {"paris": 9000.0}, {"paris": 9300.0}
    (fell,) = rank(move(AUTH, came, left), troubles=[trouble("paris", 9010, until=9310)])
    (stays,) = rank(move(AUTH, came, left), troubles=[trouble("paris", 9010)])
    (neither,) = rank(move(AUTH, came), troubles=[trouble("paris", 9010)])
    assert fell.score > neither.score > stays.score
    assert ("fell-after" in kinds(fell), "went-on" in kinds(stays)) == (True, True)


def test_a_clock_that_is_a_little_behind_clears_none() -> None:
    (suspect,) = rank(move(WEB, {"paris": 9003.0}), troubles=[trouble("paris", 9000)])
    assert suspect.verdict == "likely"


def test_without_troubles_there_are_no_suspects() -> None:
    assert rank(move(WEB, {"paris": 9000.0}), troubles=[]) == []


# ---------------------------------------------------------------------------------------------- rises


def test_a_rise_is_found_when_it_began_and_when_it_ended() -> None:
    errors = [0] * 300
    errors[201:240] = [2] * 39
    rise = rise_of(5, 1000.0, [100] * 300, errors)
    assert rise is not None
    assert (rise.at, rise.until) == (1000.0 + 201 * 5, 1000.0 + 240 * 5)
    assert (rise.before, rise.during, rise.errors) == (0.0, 0.02, 78)


@pytest.mark.parametrize(
    ("requests", "errors"),
    [
        ([], []),
        ([100] * 60, [0] * 60),
        ([100] * 60, [3] * 60),  # as ever
        ([100] * 60, [5] * 30 + [0] * 30),  # it falls
        ([100] * 60, [0] * 58 + [1, 1]),  # too few
        ([0] * 50 + [10] * 10, [0] * 50 + [9] * 10),  # nothing is known from before
        ([100_000] * 60, [10] * 30 + [90] * 30),  # under a thousandth
    ],
)
def test_what_is_no_rise(requests: list[int], errors: list[int]) -> None:
    assert rise_of(5, 0.0, requests, errors) is None


def test_chance_is_no_rise() -> None:
    """A hundred regions in each of which one request of a hundred fails."""
    chance = Random(7)
    found = 0
    for _ in range(100):
        errors = [sum(chance.random() < 0.01 for _ in range(20)) for _ in range(96)]
        found += rise_of(5, 0.0, [20] * 96, errors) is not None
    assert found <= 1
