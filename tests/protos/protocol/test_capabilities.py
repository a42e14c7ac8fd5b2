"""What an agent says of its balancer is understood, and what it does not say is not guessed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repave_protos.protocol.capabilities import (
    BalancerAbilities,
    ProviderAbilities,
    can_verify_bundles,
    capability_words,
    counts_requests,
    front_abilities,
    keeps_output,
    nearest_shares,
    runs_commands,
    secret_sources,
    supports_sticky_split,
    supports_testers,
    takes_baselines,
    takes_machine_images,
    takes_sizes,
    takes_spot,
    tells_health,
    traffic_precision_bp,
    verifies_signatures,
)
from repave_protos.protocol.fronts import ABILITIES


@given(
    st.builds(
        ProviderAbilities,
        *[st.booleans()] * 3,
        takes_secrets=st.booleans(),
        takes_sizes=st.booleans(),
        takes_spot=st.booleans(),
    ),
    st.builds(
        BalancerAbilities,
        st.integers(1, 10_000),
        st.booleans(),
        st.booleans(),
        tells_health=st.booleans(),
        counts_requests=st.booleans(),
        takes_baselines=st.booleans(),
        fronts=st.sampled_from([(), ("http", "tcp"), tuple(ABILITIES)]),
    ),
)
def test_what_kinds_can_do_arrives_as_they_declare_it(
    provider: ProviderAbilities, balancer: BalancerAbilities
) -> None:
    words = (*capability_words(provider, balancer), "other=1")
    assert provider == ProviderAbilities(
        takes_machine_images(words),
        runs_commands(words),
        keeps_output(words),
        takes_secrets=secret_sources(words) is not None,
        takes_sizes=takes_sizes(words),
        takes_spot=takes_spot(words),
    )
    assert balancer == BalancerAbilities(
        traffic_precision_bp(words) or 0,
        supports_sticky_split(words),
        supports_testers(words),
        tells_health=tells_health(words),
        counts_requests=bool(counts_requests(words)),
        takes_baselines=takes_baselines(words),
        fronts=tuple(each for each in ABILITIES if each in front_abilities(words)),
    )


def test_an_agent_of_version_0_1_is_understood() -> None:
    words = ("weights", "traffic_precision=1bp")
    assert traffic_precision_bp(words) == 1
    assert supports_sticky_split(words)
    assert supports_testers(words)
    assert runs_commands(words)
    assert not takes_machine_images(words)
    assert secret_sources(words) is None
    assert not takes_sizes(words)
    assert not takes_spot(words)
    assert not tells_health(words)
    assert counts_requests(words) is None
    assert not takes_baselines(words)


def test_an_agent_that_looks_at_signatures_need_not_look_at_bundles() -> None:
    for extra in (False, True):
        words = capability_words(ProviderAbilities(), BalancerAbilities(), verifies_bundles=extra)
        assert (verifies_signatures(words), can_verify_bundles(words)) == (True, extra)


@pytest.mark.parametrize("sources", [(), ("vault",), ("vault", "file", "env")])
def test_where_secrets_are_read_from_is_said_by_those_that_hand_them_over(sources: tuple[str, ...]) -> None:
    able, balancer = ProviderAbilities(takes_secrets=True), BalancerAbilities()
    assert secret_sources(capability_words(able, balancer, sources)) == sources
    assert secret_sources(capability_words(ProviderAbilities(), balancer, sources)) is None


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
