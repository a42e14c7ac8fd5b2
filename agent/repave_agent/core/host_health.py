"""What the probes of one host amount to: whether it is healthy, and since when. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from repave_protos.protocol.copies import replace
from repave_protos.protocol.values import HostName, Probe, ProbeSample


@lru_cache(maxsize=1_000)
def at_port(probe: Probe, port: int) -> Probe:
    """The probe of a host that listens at `port`: adopted ones need not all listen at the same. The same
    object for the same probe."""
    return probe if probe.port == port else replace(probe, port=port)


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What one probe said. `reason` is "" when `ok`; the same trouble always has the same text. `aside` goes
    with it and may differ each time, as the body of an answer does: that of the first probe stays."""

    ok: bool
    reason: str = ""
    aside: str = ""
    is_refused: bool = False  # nothing listens there


PASSED = ProbeResult(ok=True)
SAMPLES_MAX = 10
"""Kept of each host, for people."""


class Sample(NamedTuple):
    """One probe, by the prober's clock."""

    asked_at: float
    answered_at: float
    result: ProbeResult

    def told(self, probe: Probe, now: float) -> ProbeSample:
        return ProbeSample(
            max(0.0, now - self.answered_at),
            max(0.0, self.answered_at - self.asked_at),
            self.result.ok,
            _good_answer(probe) if self.result.ok else self.result.reason + self.result.aside,
        )


def _good_answer(probe: Probe) -> str:
    match probe.kind:
        case "http":
            return f"answered {probe.expect_status}"
        case "command":
            return "ended with exit code 0"
        case _:
            return "took the connection"


@dataclass(frozen=True, slots=True)
class HealthRecord:
    """What a host's probes have said so far. Times are those of the caller's clock."""

    healthy_after: int = 1
    unhealthy_after: int = 2
    is_healthy: bool = False
    healthy_since: float | None = None
    """Since when it is healthy without a break, later by the time in which no probe ran; None while it is
    not. A host that went unhealthy and came back starts again."""
    steady_since: float | None = None
    """Since when not a single probe has failed, None after a failed one. Later than `healthy_since` for a
    host that fails now and then without being unhealthy: a base for judging a host that is still new."""
    was_ever_healthy: bool = False
    passed: int = 0
    """Probes passed in a row."""
    failed: int = 0
    """Probes failed in a row."""
    reason: str = "not probed yet"
    """Why it is not healthy, or what its last failed probe said; "" after a passed one."""
    failed_by: str = ""
    """The same without its aside."""
    answered_at: float | None = None
    interval_seconds: float = math.inf
    timeout_seconds: float = 0.0

    @classmethod
    def of(cls, probe: Probe) -> "HealthRecord":
        return cls(
            healthy_after=max(1, probe.healthy_after),
            unhealthy_after=max(1, probe.unhealthy_after),
            interval_seconds=probe.interval_seconds,
            timeout_seconds=probe.timeout_seconds,
        )

    @property
    def known_until(self) -> float:
        """How far its newest answer reaches: then the next one is due, and without it nothing is known."""
        return -math.inf if self.answered_at is None else self.answered_at + self.interval_seconds

    def after(self, result: ProbeResult, now: float) -> "HealthRecord":
        """The record with one more result in it."""
        return self._passed(now) if result.ok else self._failed(result, now)

    def _passed(self, now: float) -> "HealthRecord":
        passed, unseen_seconds = self.passed + 1, self._unseen_seconds(now)
        is_healthy = self.is_healthy or passed >= self.healthy_after
        return replace(
            self,
            passed=passed,
            failed=0,
            is_healthy=is_healthy,
            was_ever_healthy=self.was_ever_healthy or is_healthy,
            healthy_since=_later(self.healthy_since, unseen_seconds, now) if is_healthy else None,
            steady_since=_later(self.steady_since, unseen_seconds, now),
            reason="",
            failed_by="",
            answered_at=now,
        )

    def _unseen_seconds(self, now: float) -> float:
        """Since the answer before, beyond what two probes are apart: the agent stood still, or was overrun.
        How the host was is unknown, so it does not count as healthy."""
        if self.answered_at is None:
            return 0.0
        return max(0.0, now - self.known_until - self.timeout_seconds)

    def _failed(self, result: ProbeResult, now: float) -> "HealthRecord":
        failed = self.failed + 1
        is_told = result.reason == self.failed_by and (self.reason != self.failed_by or not result.aside)
        is_healthy = self.is_healthy and failed < self.unhealthy_after
        return replace(
            self,
            passed=0,
            failed=failed,
            is_healthy=is_healthy,
            healthy_since=self.healthy_since if is_healthy else None,
            steady_since=None,
            reason=self.reason if is_told else result.reason + result.aside,
            failed_by=result.reason,
            answered_at=now,
        )


def _later(since: float | None, seconds: float, now: float) -> float:
    return now if since is None else since + seconds


@dataclass(frozen=True, slots=True)
class ProbeTarget:
    """A host is probed at this address, in this way. `is_quoted`: people are told what it answers. Not of one
    that a person has named: its address may be anyone's."""

    address: str
    probe: Probe
    is_quoted: bool = True


@dataclass(frozen=True, slots=True)
class Health:
    """A host's record, and what was probed for it: it says nothing of another target."""

    target: ProbeTarget
    record: HealthRecord


Healths = Mapping[HostName, Health]
