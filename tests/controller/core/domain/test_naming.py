"""Names of server groups can be made and taken apart, and nothing else passes for one."""

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from repave_controller.core.domain.naming import (
    CLUSTER_LENGTH_MAX,
    GROUP_NUMBER_MAX,
    GroupParts,
    NamingError,
    check_part,
    check_region,
    format_cluster,
    format_group,
    name_like,
    parse_group,
)

words = st.from_regex(r"[abz019v]{1,6}(-[abz019v]{1,6}){0,2}", fullmatch=True).filter(
    lambda text: not re.search(r"(^|-)v\d{3,6}(-|$)", text)
)
numbers = st.integers(1, GROUP_NUMBER_MAX)


@given(words, words | st.just(""), numbers)
def test_every_name_that_is_made_is_taken_apart_again(app: str, stack: str, number: int) -> None:
    cluster = format_cluster(app, stack)
    assert parse_group(format_group(cluster, number)) == GroupParts(cluster, number)


@given(st.text("av01-V.é", max_size=16) | st.from_regex(r"[a-z0-9-]{1,12}-v[0-9]{1,8}", fullmatch=True))
def test_what_is_taken_apart_is_what_was_made(name: str) -> None:
    try:
        parts = parse_group(name)
    except NamingError:
        return
    assert format_group(parts.cluster, parts.number) == name


@given(st.tuples(words, numbers), st.tuples(words, numbers))
def test_two_groups_of_different_applications_never_share_a_name(
    one: tuple[str, int], other: tuple[str, int]
) -> None:
    assume(one != other)
    assert format_group(*one) != format_group(*other)


def test_numbers_never_wrap() -> None:
    assert format_group("web", 1) == "web-v001"
    assert format_group("web", 999) == "web-v999"
    assert format_group("web", 1000) == "web-v1000"
    assert parse_group("web-v1000").number == 1000


def test_an_app_may_have_hyphens_and_its_stack_is_part_of_the_name() -> None:
    assert format_cluster("my-app", "pre-prod") == "my-app-pre-prod"
    assert parse_group("my-app-prod-v012") == GroupParts("my-app-prod", 12)
    assert name_like("My_App  2") == "my-app-2"
    with pytest.raises(NamingError, match=r"'My_App' can't be the name of an app: .*; write my-app"):
        check_part("app", "My_App")


LOOKALIKES = (
    *("", "web", "web-v01", "web-v0001", "web-v000", "web-v1000000", "-v001", "web-prod-", "Web-v001"),
    *(
        "web-v001-v002",
        "web--v001",
        "web--blue-v001",
        "web-prod--v001",
        "web-v001\n",
        "web-v００１",
        "w\u0435b-v001",
    ),
)


@pytest.mark.parametrize("name", LOOKALIKES)
def test_what_only_looks_like_a_group_is_refused(name: str) -> None:
    with pytest.raises(NamingError):
        parse_group(name)


@pytest.mark.parametrize(
    "name",
    ["", "Web", "-web", "web-", "web--prod", "web_prod", "we b", "w\u0435b", "v001", "web\n", "²", "a" * 33],
)
def test_a_bad_app_name_is_refused(name: str) -> None:
    with pytest.raises(NamingError, match="app"):
        check_part("app", name)


@pytest.mark.parametrize("name", ["", "-paris", "paris-", "paris--east", "eu.west", "pariſ", "a" * 49])
def test_a_bad_region_name_is_refused(name: str) -> None:
    with pytest.raises(NamingError, match="region"):
        check_region(name)


def test_a_letter_that_looks_like_another_one_is_shown_as_what_it_is() -> None:
    with pytest.raises(NamingError, match=r"w\\u0435b"):
        check_part("app", "w\u0435b")


def test_a_group_name_leaves_room_for_its_hosts_in_a_dns_label() -> None:
    assert len(format_group("a" * 30 + "-" + "b" * 17, GROUP_NUMBER_MAX)) <= CLUSTER_LENGTH_MAX + 8 <= 56
    with pytest.raises(NamingError, match="shorten"):
        format_cluster("a" * 32, "b" * 17)
