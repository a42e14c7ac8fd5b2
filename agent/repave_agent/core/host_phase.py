"""Judges where a host is in its life, from what provider and prober say of it. Pure."""

import math
from dataclasses import dataclass

from repave_protos.protocol.values import DesiredGroup, HostPhase

RECOVERING = "healthy again, not yet for long enough"


@dataclass(slots=True)  # not frozen: one is made of each host at each look, and freezing takes twice as long
class Signs:
    """What is known of one host. Instants are of the agent's monotonic clock."""

    launched_at: float
    is_launching: bool = False
    is_destroying: bool = False
    failure: str = ""  # why it failed, once it has
    is_running: bool = True
    ended: str = ""  # how it ended, when it does not run
    is_healthy: bool | None = None  # None: not yet known
    healthy_since: float | None = None
    known_until: float = math.inf  # an instant: what its probes have said says nothing of later ones
    health_reason: str = ""
    was_verified: bool = False
    is_recovering: bool = False  # was verified, then unhealthy, and not yet verified again
    is_idle: bool = False  # the balancer gives it no new requests
    is_adopted: bool = False  # it was there before: it has no time to start, and is never given up


@dataclass(frozen=True, slots=True)
class Judgement:
    """The phase, why it is not as it should be, and when it changes by the passing of time alone."""

    phase: HostPhase
    trouble: str = ""
    due_at: float | None = None


def judge_host(signs: Signs, group: DesiredGroup | None, now: float) -> Judgement:
    """Where the host is at `now`; `group` is None when it is unclaimed, then its health is not judged."""
    if signs.is_destroying:
        return Judgement(HostPhase.DESTROYING)
    if signs.failure:
        return Judgement(HostPhase.FAILED, signs.failure)
    if signs.is_launching:
        return Judgement(HostPhase.LAUNCHING)
    if not signs.is_running:
        return Judgement(HostPhase.FAILED, signs.ended)
    if signs.is_healthy is None and signs.was_verified and not signs.is_recovering:
        # A restarted agent has not probed it yet. A host that takes requests goes on until a probe says
        # otherwise; one that takes none may have been taken out because it was ill, and is probed first.
        return Judgement(HostPhase.HEALTHY if signs.is_idle else HostPhase.VERIFIED)
    if signs.is_healthy and signs.healthy_since is not None:
        return _healthy(signs, signs.healthy_since, group, now)
    if signs.was_verified:
        return Judgement(HostPhase.UNHEALTHY, signs.health_reason or RECOVERING)
    return _starting(signs, group, now)


def _healthy(signs: Signs, since: float, group: DesiredGroup | None, now: float) -> Judgement:
    verified_at = since + (group.template.min_healthy_seconds if group else 0.0)
    is_proven = min(now, signs.known_until) >= verified_at  # an agent that stood still has proved nothing
    if is_proven or (signs.was_verified and not signs.is_recovering):
        return Judgement(HostPhase.VERIFIED)
    if signs.was_verified:
        return Judgement(HostPhase.UNHEALTHY, RECOVERING, verified_at)
    late = _starting(signs, group, now)
    if late.phase is HostPhase.FAILED:
        return late
    return Judgement(HostPhase.HEALTHY, due_at=min(verified_at, late.due_at or verified_at))


def _starting(signs: Signs, group: DesiredGroup | None, now: float) -> Judgement:
    if group is None:
        return Judgement(HostPhase.STARTING)
    if signs.is_adopted:
        return Judgement(HostPhase.STARTING, signs.health_reason if signs.is_healthy is False else "")
    deadline = signs.launched_at + group.template.launch_deadline_seconds
    if now < deadline:
        return Judgement(HostPhase.STARTING, signs.health_reason, deadline)
    reason = signs.health_reason or "no probe has answered"
    if signs.is_healthy:
        reason = f"it was not healthy for {group.template.min_healthy_seconds:g} s on end"
    return Judgement(
        HostPhase.FAILED, f"not verified within {group.template.launch_deadline_seconds:g} s: {reason}"
    )
