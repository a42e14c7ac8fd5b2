"""The small parts of security: rates, differences, tickets, tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repave_controller.security.differences import CHANGES_MAX, cleaned, differences
from repave_controller.security.rates import NAMES_MAX, Rates
from repave_controller.security.tickets import Tickets
from repave_controller.security.tokens import parts_of_token, text_of_token


def test_a_rate_gives_a_burst_and_then_so_many_a_second() -> None:
    rates = Rates(per_second=2.0, burst=3.0)
    assert [rates.take("a", 0.0) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    assert rates.take("b", 0.0) == 0.0, "each has its own"
    assert [rates.take("a", 1.0) for _ in range(3)] == [0.0, 0.0, 0.5]


def test_a_clock_that_is_set_back_takes_nothing_away() -> None:
    rates = Rates(per_second=1.0, burst=2.0)
    assert [rates.take("a", 100.0), rates.take("a", 0.0)] == [0.0, 0.0]


def test_names_are_not_remembered_without_bound() -> None:
    rates = Rates(per_second=1.0, burst=1.0)
    for number in range(NAMES_MAX + 10):
        rates.take(str(number), 0.0)
    assert rates.take("0", 0.0) == 0.0, "the oldest was forgotten"
    assert rates.take(str(NAMES_MAX + 9), 0.0) > 0.0


def test_differences_name_each_field_that_changed() -> None:
    before = {"app": "hello", "regions": [{"name": "oslo", "size": 2}], "owner": "ann"}
    after = {"app": "hello", "regions": [{"name": "oslo", "size": 3}, {"name": "paris"}]}
    assert differences(before, after) == (
        ("owner", "ann -> -"),
        ("regions[0].size", "2 -> 3"),
        ("regions[1].name", "- -> paris"),
    )
    assert differences(before, before) == ()


SECRET = "canary5up3r"


@pytest.mark.parametrize(
    "spec",
    [
        {"host": {"env": {"PLAIN": SECRET}}},
        {"health": {"http": {"headers": {"X-Door": SECRET}}}},
        {"host": {"run": f"./serve --password={SECRET}"}},
        {"host": {"run": [f"--api-key={SECRET}"]}},
        {"host": {"run": f"curl -H 'Authorization: Bearer {SECRET}'"}},
        {"owner": f"rpv_{SECRET}"},
        {"artifact": {"uri": f"https://ann:{SECRET}@files.example/app"}},
    ],
)
def test_what_may_be_secret_is_not_shown(spec: dict[str, object]) -> None:
    assert SECRET not in str(differences({}, spec))
    assert SECRET not in str(differences(spec, {}))
    assert len(differences({}, spec)) == 1


@pytest.mark.parametrize("text", [f"token={SECRET}", f"Authorization: {SECRET}", f"use https://a:{SECRET}@b"])
def test_reasons_are_cleaned_of_what_follows_such_words(text: str) -> None:
    assert SECRET not in cleaned(text)


def test_the_word_after_a_flag_is_its_value() -> None:
    run = ["./serve", "--db-password", SECRET, "--port", "80"]
    found = differences({}, {"host": {"run": run}})
    assert SECRET not in str(found)
    assert "- -> 80" in str(found)


def test_differences_are_bounded() -> None:
    found = differences({}, {f"f{number}": "x" * 1000 for number in range(1000)})
    assert len(found) == CHANGES_MAX + 1
    assert found[-1] == ("more", "800 more fields differ")


def test_a_ticket_is_of_one_region_and_one_process() -> None:
    ours, others = Tickets(b"a" * 32), Tickets(b"b" * 32)
    ticket = ours.of("eu-1")
    known = ours.recognise(ticket)
    assert known is not None
    assert known.region == "eu-1"
    assert others.recognise(ticket) is None
    assert ours.recognise(ticket.replace("eu-1", "eu-2")) is None


@given(st.text(max_size=100))
def test_only_what_was_made_is_a_token(text: str) -> None:
    assert parts_of_token(text) is None
    assert parts_of_token(f"rpv_{text}") is None
    assert parts_of_token(text_of_token("0" * 12, "f" * 64) + "\n") is None
