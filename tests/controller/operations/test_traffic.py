"""Figures of several regions meet on one grid of time."""

from repave_controller.operations.traffic import GroupFigures, together
from repave_protos.protocol.queries import Flip, GroupTraffic, Traffic
from repave_protos.protocol.values import GroupName, RegionName

PARIS, OSLO = RegionName("paris"), RegionName("oslo")
BLUE, GREEN = GroupName("shop-v001"), GroupName("shop-v002")
FLIP = Flip(1013.0, ((GREEN, 10_000),))


def test_regions_are_added_up_slot_by_slot() -> None:
    paris = Traffic(
        5,
        (
            GroupTraffic(BLUE, (200, 201), (10, 10), (0, 1), (1000, 3000)),
            GroupTraffic(GREEN, (203,), (7,), (7,), (500,)),
        ),
        (FLIP,),
        900.0,
    )
    oslo = Traffic(5, (GroupTraffic(BLUE, (201,), (30,), (0,), (7000,)),), kept_since=950.0)
    figures = together({PARIS: paris, OSLO: oslo}, {}, 990.0, 1021.6)
    assert figures.at == (1000, 1005, 1010, 1015)
    assert figures.groups == {
        BLUE: GroupFigures((10, 40, 0, 0), (0, 1, 0, 0), (0.001, 0.006, None, None)),
        GREEN: GroupFigures((0, 0, 0, 7), (0, 0, 0, 7), (None, None, None, 0.0005)),
    }
    assert figures.flips == ((PARIS, FLIP),)
    assert figures.kept_since == {PARIS: 900.0, OSLO: 950.0}
    assert [figures.total(slot) for slot in range(4)] == [10, 40, 0, 7]


def test_a_slot_that_is_not_over_is_left_out_for_it_would_look_like_a_fall() -> None:
    traffic = Traffic(5, (GroupTraffic(BLUE, (200, 201), (10, 1), (0, 0), (1, 1)),))
    assert together({PARIS: traffic}, {}, 0.0, 1009.0).at == (1000,)
    assert together({PARIS: traffic}, {}, 0.0, 1011.5).at == (1000, 1005)


def test_the_coarsest_grid_is_that_of_all() -> None:
    fine = Traffic(5, (GroupTraffic(BLUE, (240, 251), (1, 2), (0, 0), (0, 0)),))
    coarse = Traffic(60, (GroupTraffic(BLUE, (20,), (10,), (0,), (0,)),))
    figures = together({PARIS: fine, OSLO: coarse}, {}, 0.0, 1400.0)
    assert (figures.step_seconds, figures.at) == (60, (1200, 1260, 1320))
    assert figures.groups[BLUE].requests == (13, 0, 0)


def test_without_any_request_there_is_no_slot() -> None:
    figures = together({PARIS: Traffic(5)}, {OSLO: "it is away"}, 0.0, 1000.0)
    assert (figures.at, dict(figures.groups), figures.unknown) == ((), {}, {OSLO: "it is away"})
