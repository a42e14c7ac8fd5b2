"""A sum of digests says the same as one digest of all, and costs only the applications that have changed."""

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from repave_protos.protocol.values import (
    ApplicationName,
    ApplicationReport,
    Epoch,
    GroupName,
    GroupReport,
    Observations,
    Report,
)

NAMES = [ApplicationName(name) for name in ("cart", "news", "shop")]
Seen = dict[ApplicationName, int]


def report_of(name: ApplicationName, verified: int) -> ApplicationReport:
    group = GroupReport(GroupName(f"{name}-v001"), verified=verified)
    return ApplicationReport(name, Epoch(1, 1, 1), (group,))


def observations_of(seen: Seen) -> Observations:
    return Observations({name: report_of(name, verified) for name, verified in seen.items()})


moments = st.lists(st.dictionaries(st.sampled_from(NAMES), st.integers(0, 2)), min_size=1, max_size=8)


def reports(agent: Observations, moments: list[Seen]) -> Iterator[Report]:
    """As an agent reports: whole where an application has gone, else what has changed."""
    before: dict[ApplicationName, ApplicationReport] = {}
    for number, seen in enumerate(moments):
        agent.applications = {name: report_of(name, verified) for name, verified in seen.items()}
        is_full = number == 0 or not before.keys() <= seen.keys()
        changed = tuple(
            each for name, each in agent.applications.items() if is_full or before.get(name) != each
        )
        before = dict(agent.applications)
        yield Report(number + 1, is_full, changed, "", sum=agent.sum())


@given(moments)
def test_both_ends_count_the_same_after_any_reports(moments: list[Seen]) -> None:
    controller = Observations()
    for report, seen in zip(reports(Observations(), moments), moments, strict=True):
        assert controller.merge(report)
        assert controller.sum() == observations_of(seen).sum()


@given(moments, st.integers(1, 7))
def test_a_report_that_was_lost_is_noticed(moments: list[Seen], lost: int) -> None:
    controller = Observations()
    for number, report in enumerate(reports(Observations(), moments)):
        if number != lost:
            is_same = controller.merge(report)
            assert is_same == (controller.applications == observations_of(moments[number]).applications)


@given(moments, moments)
def test_other_observations_have_another_sum(some: list[Seen], others: list[Seen]) -> None:
    one, other = observations_of(some[-1]), observations_of(others[-1])
    assert (one.sum() == other.sum()) == (one.digest() == other.digest())
