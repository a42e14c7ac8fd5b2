"""What is put into another form is put into it once; the fingerprint of many reports is the same for it."""

import pytest

from repave_protos.protocol.encoded import Encoded
from repave_protos.protocol.values import (
    ApplicationName,
    ApplicationReport,
    Epoch,
    GroupName,
    GroupReport,
    Observations,
    fingerprint,
)


def a_report(number: int, verified: int = 1) -> ApplicationReport:
    name = ApplicationName(f"app{number}")
    return ApplicationReport(
        name, Epoch(1, 1, 1), (GroupReport(GroupName(f"{name}-v001"), verified=verified),)
    )


class Upper:
    """Notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, value: str) -> str:
        self.asked.append(value)
        return value.upper()


def test_the_same_object_is_encoded_once() -> None:
    upper = Upper()
    encoded: Encoded[str, str, str] = Encoded(upper)
    asked = [("a", "x"), ("a", "x"), ("a", "y"), ("b", "x")]
    assert [encoded.of(*each) for each in asked] == ["X", "X", "Y", "X"]
    assert upper.asked == ["x", "y", "x"]


def test_what_is_gone_is_forgotten() -> None:
    upper = Upper()
    encoded: Encoded[str, str, str] = Encoded(upper)
    for key in "abc":
        encoded.of(key, "x")
    encoded.keep({"a"})
    encoded.of("a", "x")
    encoded.of("b", "x")
    assert len(upper.asked) == 4


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_the_digest_of_a_region_is_that_of_its_reports_in_order(count: int) -> None:
    """Agents and controllers of other versions make it so."""
    seen = Observations({each.application: each for each in map(a_report, reversed(range(count)))})
    assert seen.digest() == fingerprint(tuple(map(a_report, range(count))))
    if count:
        seen.applications[ApplicationName("app0")] = a_report(0, verified=2)
        assert seen.digest() == fingerprint((a_report(0, verified=2), *map(a_report, range(1, count))))
        del seen.applications[ApplicationName("app0")]
        assert seen.digest() == fingerprint(tuple(map(a_report, range(1, count))))
