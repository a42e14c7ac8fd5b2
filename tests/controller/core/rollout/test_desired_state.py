"""What regions are told: one projection of all regions says of each what its own projection says."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from repave_controller.core.domain.application import GroupState, Part, Tenure
from repave_controller.core.domain.by_region import ByRegion
from repave_controller.core.rollout.desired_state import desired_state, is_published, publish
from repave_protos.protocol.values import RegionName
from tests.controller.core.rollout.test_step import released

PARTS = st.builds(
    Part,
    region=st.just(RegionName("")),
    size=st.integers(1, 3),
    state=st.sampled_from(GroupState),
    percent=st.sampled_from((0.0, 50.0, 100.0)),
    weight_bp=st.sampled_from((0, 2500, 10_000)),
    proven=st.integers(0, 3),
)


@given(st.lists(PARTS, min_size=2, max_size=12))
def test_regions_that_share_a_projection_are_told_what_they_would_be_told_alone(parts: list[Part]) -> None:
    application = released("a").application
    (group,) = application.groups
    placed = ByRegion(replace(part, region=RegionName(f"r{at:02}")) for at, part in enumerate(parts))
    application = replace(application, groups=(replace(group, parts=placed),), desired=ByRegion())
    told = publish(application, Tenure(1, 1))
    assert [region for region, _ in told] == [part.region for part in placed if is_published(part)]
    for region, state in told:
        assert state == desired_state(application, region, state.epoch)
