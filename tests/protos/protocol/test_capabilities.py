"""What an agent says of its balancer is understood, and what it does not say is not guessed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repave_protos.protocol.capabilities import (
    nearest_shares,
    said_precision,
    said_split,
    tells_users_apart,
    traffic_precision_bp,
)


@given(st.integers(1, 10_000))
def test_the_precision_of_a_balancer_arrives_as_it_was_said(precision_bp: int) -> None:
    said = ("weights", said_precision(precision_bp), "other=1")
    assert traffic_precision_bp(said) == precision_bp


def test_it_is_said_in_words_that_may_be_sent() -> None:
    assert said_precision(1) == "traffic_precision=1bp"


@pytest.mark.parametrize(
    "word",
    [
        "traffic_precision",
        "traffic_precision=",
        "traffic_precision=0bp",
        "traffic_precision=10001bp",
        "traffic_precision=-1bp",
        "traffic_precision=²bp",
        "traffic_precision=much",
    ],
)
def test_what_can_not_be_meant_is_as_if_nothing_was_said(word: str) -> None:
    assert traffic_precision_bp((word,)) is None
    assert traffic_precision_bp(()) is None


@given(st.integers(0, 10_000), st.integers(1, 10_000))
def test_the_nearest_shares_lie_around_the_wanted_one(weight_bp: int, precision_bp: int) -> None:
    below, above = nearest_shares(weight_bp, precision_bp)
    assert 0 <= below <= weight_bp <= above <= 10_000
    assert below % precision_bp == 0
    assert (below == above) == (weight_bp % precision_bp == 0)


def test_a_balancer_of_1_bp_gives_every_share() -> None:
    assert nearest_shares(1, 1) == (1, 1)
    assert nearest_shares(500, 200) == (400, 600)


def test_a_balancer_that_can_not_tell_users_apart_says_so_and_an_older_agent_can() -> None:
    assert not tells_users_apart(("weights", *said_split(tells_users_apart=False)))
    assert tells_users_apart(said_split(tells_users_apart=True))
    assert tells_users_apart(())
