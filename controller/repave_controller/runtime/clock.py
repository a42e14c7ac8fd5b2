"""The controller's clock: Unix time that never runs backwards, whatever happens to the machine's clock."""

import time
from collections.abc import Callable

from repave_controller.core.domain.application import Instant


def seconds_since_boot() -> float:
    """Goes on while the process is stopped and while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class SteadyClock:
    """Starts at the machine's time, or where the store's last event left off if that is later, and then
    counts monotonic seconds: steps of the machine's clock change no deadline and no order of events."""

    def __init__(
        self,
        not_before: Instant,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._monotonic = monotonic
        self._began = monotonic()
        self.set_back_seconds = max(0.0, not_before - wall())
        self._start = max(wall(), not_before)

    def __call__(self) -> Instant:
        return Instant(self._start + self._monotonic() - self._began)

    @property
    def warning(self) -> str:
        """What to tell people when the machine's clock was set back; "" when it was not."""
        if self.set_back_seconds < 1.0:
            return ""
        return (
            f"this machine's clock is {self.set_back_seconds:.0f} s behind the last event in the store: it "
            "was set back. repave goes on from the store's time, so no deadline is missed or repeated; "
            "check the machine's NTP"
        )
