"""What a person reads of an event in an inbox: short, plain, and nothing that could be taken for a header."""

import pytest

from repave_controller.core.domain.application import Event
from repave_controller.core.domain.audience import KINDS, OCCASIONS, USUAL, is_of
from repave_controller.wording.messages import LINE_LENGTH_MAX, message_of


def test_it_says_what_where_by_whom_and_where_to_look() -> None:
    event = Event("rollback.started", "all traffic goes back to web-v006", "web", region="paris", by="ann")
    message = message_of(event, "https://repave.example")
    assert message.title == "web: rollback started"
    assert message.body.splitlines() == [
        "all traffic goes back to web-v006",
        "region paris",
        "by ann",
        "https://repave.example/apps/web",
    ]
    assert message.level == "warning"


@pytest.mark.parametrize("text", ["a\r\nBcc: x@evil.example", "a\x00b\x1b[31m", "\u202egnp.exe", "x" * 5000])
def test_a_text_stays_one_line_of_plain_letters(text: str) -> None:
    message = message_of(Event("release.failed", text, "web"))
    (line,) = message.body.split("\n")
    assert line.isprintable()
    assert len(line) <= LINE_LENGTH_MAX
    assert message.title.isprintable()


def test_every_occasion_has_kinds_and_a_region_is_told_only_where_regions_are_asked_for() -> None:
    assert set(KINDS) == set(OCCASIONS)
    assert set(USUAL) < set(OCCASIONS)
    others = [each for each in OCCASIONS if each != "regions"]
    assert not is_of("region.failed", others)
    assert is_of("region.failed", ("regions",))
    assert not is_of("release.failed", ("nothing that is known",))
