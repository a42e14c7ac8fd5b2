"""The keys of `repave watch`: what each asks for, what is asked first, and what is said."""

from typing import Any

import pytest

from repave_cli.commands.keys import HELP, HINT, Ask, Keys

GATE = {"gate": "step 1.4", "role": "leads", "regions": ["oslo"]}


def status(phase: str, *gates: dict[str, Any], ended: str | None = None) -> dict[str, Any]:
    rollout = {"phase": phase, "group": "web-v002", "origin": "web-v001", "ended_at": ended}
    return {"name": "web", "current_rollout": rollout, "gates": list(gates)}


@pytest.mark.parametrize(
    ("phase", "verb"), [("running", "pause"), ("paused", "resume"), ("held", "retry"), ("undoing", "")]
)
def test_p_turns_what_runs(phase: str, verb: str) -> None:
    asked = Keys().press("p", status(phase))
    assert (asked.verb if asked else "") == verb


@pytest.mark.parametrize(
    ("key", "asked"), [("a", Ask("abort")), ("P", Ask("promote", {"gates": ["step 1.4"]}, "leads"))]
)
def test_what_moves_traffic_is_asked_first(key: str, asked: Ask) -> None:
    for answer in ("n", "\n", "p", "Y"):
        keys = Keys()
        assert keys.press(key, status("running", GATE)) is None
        assert "y: yes" in keys.said
        assert keys.press(answer, status("running", GATE)) is None
        assert "left as it is" in keys.said
    assert keys.press("y", status("running", GATE)) is None, "nothing is asked any more"
    keys.press(key, status("running", GATE))
    assert keys.press("y", status("running")) == asked, "what was agreed to, not what waits by then"


@pytest.mark.parametrize("key", ["p", "P", "a"])
@pytest.mark.parametrize("shown", [None, {"current_rollout": None}, status("succeeded", ended="2026-01-01")])
def test_without_a_rollout_nothing_is_asked_for(key: str, shown: dict[str, Any] | None) -> None:
    keys = Keys()
    assert keys.press(key, shown) is None
    assert keys.said == "no rollout is running"
    assert keys.press("y", shown) is None


def test_the_keys_are_told_and_hidden() -> None:
    keys = Keys()
    assert keys.said == HINT
    keys.press("?", None)
    assert keys.said == HELP
    keys.press("?", None)
    assert keys.said == HINT
    keys.press("P", status("running"))
    assert keys.said == "it waits for no approval now"
