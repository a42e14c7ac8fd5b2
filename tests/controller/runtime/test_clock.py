"""The controller's clock never runs backwards, whatever the machine's does."""

from dataclasses import dataclass

import pytest

from repave_controller.core.domain.application import Instant
from repave_controller.runtime.clock import SteadyClock


@dataclass
class Machine:
    """Its two clocks, which only the test moves."""

    wall: float = 1_000_000.0
    monotonic: float = 50.0

    def clock(self, not_before: float = 0.0) -> SteadyClock:
        return SteadyClock(Instant(not_before), lambda: self.wall, lambda: self.monotonic)

    def pass_time(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds


def test_it_begins_with_the_machines_time_and_goes_on_with_it() -> None:
    machine = Machine()
    clock = machine.clock()
    assert clock() == 1_000_000.0
    machine.pass_time(2.5)
    assert clock() == 1_000_002.5
    assert clock.warning == ""


@pytest.mark.parametrize("jump_seconds", [-86_400.0, 86_400.0])
def test_a_step_of_the_machines_clock_moves_no_deadline(jump_seconds: float) -> None:
    machine = Machine()
    clock = machine.clock()
    machine.wall += jump_seconds
    machine.pass_time(1.0)
    assert clock() == 1_000_001.0


def test_after_the_machines_clock_was_set_back_it_goes_on_from_the_last_event_and_says_so() -> None:
    machine = Machine()
    clock = machine.clock(not_before=1_003_600.0)
    assert clock() == 1_003_600.0
    machine.pass_time(1.0)
    assert clock() == 1_003_601.0
    assert clock.warning == (
        "this machine's clock is 3600 s behind the last event in the store: it was set back. repave goes on "
        "from the store's time, so no deadline is missed or repeated; check the machine's NTP"
    )


@pytest.mark.parametrize("behind_seconds", [0.0, 0.9])
def test_a_blink_is_nothing_to_warn_of(behind_seconds: float) -> None:
    clock = Machine().clock(not_before=1_000_000.0 + behind_seconds)
    assert clock.warning == ""
    assert clock() == 1_000_000.0 + behind_seconds
