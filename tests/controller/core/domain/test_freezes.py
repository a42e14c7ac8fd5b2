"""Freezes of the whole installation: of everything, and for a time; added and lifted, each told with why."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repave_controller.core.domain.freezes import (
    FREEZES_MAX,
    Changed,
    Freezes,
    NamedFreeze,
    add_freeze,
    freeze_all,
    held,
    lift_freeze,
    unfreeze_all,
)
from repave_controller.core.domain.instants import Instant
from repave_controller.core.domain.reasons import Refused
from repave_controller.core.domain.windows import Freeze, Window
from repave_controller.wording.render import event_text, remedy_of, text_of
from tests.support.refusals import refused

NOW = Instant(1_767_600_000.0)  # Mon 2026-01-05 08:00 UTC
HOUR = 3600.0
CLOSED_WINDOW = Window(("sat",), 540, 600)


def freeze(begins: float = 0.0, ends: float = HOUR, reason: str = "audit") -> Freeze:
    return Freeze(Instant(NOW + begins), Instant(NOW + ends), "Europe/Berlin", reason)


def frozen(
    *applications: str, known: Freezes | None = None, begins: float = 0.0, ends: float = HOUR
) -> Freezes:
    return add_freeze(known or Freezes(), freeze(begins, ends), applications, "ann", NOW)[0]


def test_a_freeze_of_everything_holds_every_application_whatever_its_windows_say() -> None:
    full, _ = freeze_all(frozen(), "ann", "prices are wrong", NOW)
    for windows in ((), (CLOSED_WINDOW,)):
        found = held(full, "web", windows, (), Instant(NOW + 60))
        assert found is not None
        assert (found.reason.kind.root, found.opens_at, remedy_of(found.reason)) == (
            "freeze-all",
            None,
            "repave unfreeze --all",
        )
        assert (
            text_of(found.reason)
            == "everything is frozen by ann since Mon 2026-01-05 08:00 UTC: prices are wrong"
        )


def test_who_freezes_and_unfreezes_everything_is_told_with_the_reason() -> None:
    full, (first,) = freeze_all(Freezes(), "ann", "prices are wrong", NOW)
    assert (first.kind, event_text(first), first.by, first.at) == (
        "freeze.all.added",
        "everything is frozen: prices are wrong",
        "ann",
        NOW,
    )
    lifted, (second,) = unfreeze_all(full, "bob", "mended", Instant(NOW + HOUR))
    assert (second.kind, second.by, second.at) == ("freeze.all.lifted", "bob", NOW + HOUR)
    assert (
        event_text(second)
        == "the freeze of everything by ann since Mon 2026-01-05 08:00 UTC is lifted: mended"
    )
    assert lifted == Freezes()
    assert held(lifted, "web", (), (), NOW) is None


def test_freezing_twice_keeps_the_first_reason_and_unfreezing_twice_does_nothing() -> None:
    full, _ = freeze_all(Freezes(), "ann", "prices are wrong", NOW)
    assert freeze_all(full, "bob", "me too", Instant(NOW + 1)) == (full, ())
    assert unfreeze_all(Freezes(), "bob", "", NOW) == (Freezes(), ())


@pytest.mark.parametrize(
    ("globs", "held_ones", "free_ones"),
    [
        ((), ("web", "web-prod", "shop"), ()),
        (("web-*",), ("web-prod", "web-"), ("web", "shop", "my-web-prod")),
        (("web", "shop"), ("web", "shop"), ("web-prod",)),
        (("*-prod",), ("web-prod",), ("web", "Web-PROD")),
    ],
)
def test_a_freeze_holds_the_applications_whose_names_match(
    globs: tuple[str, ...], held_ones: tuple[str, ...], free_ones: tuple[str, ...]
) -> None:
    known = frozen(*globs)
    for name in held_ones:
        found = held(known, name, (), (), NOW)
        assert found is not None
        assert (found.reason.kind.root, remedy_of(found.reason), found.opens_at) == (
            "freeze",
            "repave unfreeze F1",
            NOW + HOUR,
        )
        assert "freeze F1 until Mon 2026-01-05 10:00 Europe/Berlin (audit)" in text_of(found.reason)
    for name in free_ones:
        assert held(known, name, (), (), NOW) is None


def test_a_freeze_holds_between_its_ends_only() -> None:
    known = frozen(begins=HOUR, ends=2 * HOUR)
    seen = [held(known, "web", (), (), Instant(NOW + after)) is not None for after in (0, 3600, 7199, 7200)]
    assert seen == [False, True, True, False]


def test_windows_and_freezes_of_the_spec_hold_too() -> None:
    found = held(Freezes(), "web", (CLOSED_WINDOW,), (), NOW)
    assert found is not None
    assert found.reason.kind.root == "window"
    found = held(Freezes(), "web", (), (freeze(),), NOW)
    assert found is not None
    assert (found.reason.kind.root, remedy_of(found.reason)) == ("freeze", "")


def test_freezes_have_names_that_are_never_used_again() -> None:
    known = frozen("web", known=frozen())
    assert [each.id for each in known.named] == ["F1", "F2"]
    lifted, (event,) = lift_freeze(known, "f2", "bob", "over", NOW)
    assert (event.kind, event.by) == ("freeze.lifted", "bob")
    assert event_text(event) == (
        "freeze F2 of web is lifted: from Mon 2026-01-05 09:00 Europe/Berlin to Mon 2026-01-05 10:00 "
        "Europe/Berlin: over"
    )
    assert [each.id for each in frozen("shop", known=lifted).named] == ["F1", "F3"]


def test_the_same_freeze_asked_for_again_is_the_one_there_is() -> None:
    known = frozen("web")
    again = add_freeze(known, freeze(), ["web"], "bob", Instant(NOW + 1))
    assert again == (known, ())
    other, (event,) = add_freeze(known, freeze(), ["shop"], "bob", Instant(NOW + 1))
    assert len(other.named) == 2
    assert (event.kind, event.by) == ("freeze.added", "bob")


def test_freezes_that_are_over_are_forgotten_and_refused_as_new_ones() -> None:
    known = frozen()
    later = Instant(NOW + 2 * HOUR)
    with refused(match="was over at Mon 2026-01-05 10:00 Europe/Berlin") as caught:
        add_freeze(known, freeze(), [], "ann", later)
    assert caught.value.rule == "freeze-over"
    changed, _ = add_freeze(known, freeze(ends=3 * HOUR), [], "ann", later)
    assert [each.id for each in changed.named] == ["F2"]


def test_there_are_no_more_freezes_than_the_limit() -> None:
    known = Freezes()
    for number in range(FREEZES_MAX):
        known = frozen(f"web{number}", known=known)
    with refused(match="lift one of them") as caught:
        frozen("another", known=known)
    assert caught.value.rule == "too-many-freezes"


def test_a_freeze_that_is_not_there_is_told_with_those_that_are() -> None:
    with refused(match="no freeze is called 'F9'; there are: F1") as caught:
        lift_freeze(frozen(), "F9", "ann", "", NOW)
    assert caught.value.rule == "unknown-freeze"
    with refused(match="there are: none"):
        lift_freeze(Freezes(), "F1", "ann", "", NOW)


COMMANDS = st.lists(
    st.sampled_from(
        [
            lambda known: freeze_all(known, "ann", "", NOW),
            lambda known: unfreeze_all(known, "ann", "", NOW),
            lambda known: add_freeze(known, freeze(), ["web"], "ann", NOW),
            lambda known: add_freeze(known, freeze(ends=9.0), [], "ann", NOW),
            lambda known: lift_freeze(known, "F1", "ann", "", NOW),
            lambda known: lift_freeze(known, "F2", "ann", "", NOW),
        ]
    ),
    max_size=12,
)


@given(COMMANDS)
def test_whatever_changes_is_told_once_and_names_stay_apart(
    commands: list[Callable[[Freezes], Changed]],
) -> None:
    known = Freezes()
    for command in commands:
        try:
            changed, events = command(known)
        except Refused:
            continue
        assert len(events) == int(changed != known)
        names = [each.id for each in changed.named]
        assert len(set(names)) == len(names)
        assert changed.named_total >= known.named_total
        known = changed


def test_a_freeze_is_a_plain_value() -> None:
    (added,) = frozen("web").named
    assert added == NamedFreeze(
        "F1", NOW, Instant(NOW + HOUR), "Europe/Berlin", "audit", "ann", NOW, ("web",)
    )
