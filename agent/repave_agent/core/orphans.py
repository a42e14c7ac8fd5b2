"""Says which hosts are unclaimed, which of them may be ended now, and in words what becomes of each. Pure.

Only what is known counts. A host is known to be unclaimed when its application has an accepted desired state
without its group, or when the controller has said which applications the region has and it is of none of
them. A journal that was lost is no reason. Such a host must be shown by two fresh listings of the provider,
a grace apart, and be out of traffic by a balancer that can be relied on.
"""

from collections.abc import Iterator

from repave_agent.core.observation import HostFact, Limits, Observation, Sighting
from repave_agent.core.traffic import has_traffic
from repave_protos.protocol.values import HostPhase

MINUTE_SECONDS = 60.0


def sighted(before: Sighting | None, why: str, listed_at: float | None, now: float) -> Sighting | None:
    """What is known after a look at `now`. `why`: how it is known that the host is unclaimed, or "";
    `listed_at`: when the newest listing that shows it was begun."""
    if not why:
        return None
    if before is None:
        return Sighting(now, why)
    if listed_at is None or listed_at < before.since:
        return Sighting(before.since, why, before.first_at, before.last_at)
    first_at = listed_at if before.first_at is None else before.first_at
    return Sighting(before.since, why, first_at, listed_at)


def is_orphan(host: HostFact, limits: Limits) -> bool:
    """Whether the host is proven to be unclaimed: shown twice, far enough apart."""
    seen = host.sighting
    if seen is None or seen.first_at is None or seen.last_at is None:
        return False
    return seen.last_at >= seen.first_at + limits.unclaimed_grace_seconds


def list_at(observation: Observation, limits: Limits) -> float | None:
    """When the provider should be asked anew, so that what may be an orphan is proven or not."""
    instants = []
    for host in observation.hosts:
        if host.sighting is None or is_orphan(host, limits):
            continue
        first_at = host.sighting.first_at
        instants.append(observation.now if first_at is None else first_at + limits.unclaimed_grace_seconds)
    return min(instants, default=None)


def to_end(observation: Observation, limits: Limits) -> list[HostFact]:
    """The orphans that may be ended now; those unclaimed for longest come first."""
    found = [
        (host.sighting.since, host.name, host)
        for host in observation.hosts
        if host.sighting is not None and is_orphan(host, limits) and not _why_kept(host, observation)
    ]
    return [host for _, _, host in sorted(found)][: _room(observation, limits)]


def room_at(observation: Observation, limits: Limits) -> float | None:
    """When another orphan may be ended, if the bound per minute is reached."""
    if _room(observation, limits) > 0 or not observation.orphans_ended:
        return None
    return min(observation.orphans_ended) + MINUTE_SECONDS


def _room(observation: Observation, limits: Limits) -> int:
    recent = [at for at in observation.orphans_ended if at > observation.now - MINUTE_SECONDS]
    return max(0, limits.orphans_per_minute - len(recent))


def _why_kept(host: HostFact, observation: Observation) -> str:
    """Why an orphan is not ended, or ""."""
    backend = observation.balancer.structure.backend(host.group)
    is_enabled = backend is not None and any(
        server.host == host.name and server.is_enabled for server in backend.servers
    )
    if host.phase is HostPhase.LAUNCHING:
        return "it is still being made"
    if host.phase is HostPhase.DESTROYING:
        return "it is being ended"
    if not observation.balancer.is_consistent:
        return "the balancer does not say whom it sends requests to"
    if has_traffic(host.group, observation):
        return "it has traffic"
    return "it is still behind the balancer" if is_enabled else ""


# --------------------------------------------------------------------------------------------- in words


def suspects(observation: Observation, limits: Limits) -> Iterator[tuple[HostFact, str]]:
    """Every host that no accepted desired state asks for, and what becomes of it, for people."""
    soon = {host.name for host in to_end(observation, limits)}
    for host in observation.hosts:
        if host.group not in observation.claims.groups:
            yield host, _fate(host, observation, limits, is_next=host.name in soon)


def _fate(host: HostFact, observation: Observation, limits: Limits, *, is_next: bool) -> str:
    if host.phase is HostPhase.DESTROYING:
        return "is being ended"
    if host.sighting is None:
        return f"kept: {_doubt(host, observation)}"
    if not is_orphan(host, limits):
        return _awaited(host.sighting, observation.now, limits)
    kept = _why_kept(host, observation)
    if kept:
        return f"kept: {kept}"
    return "will be ended now" if is_next else f"waits: {limits.orphans_per_minute} were ended in a minute"


def _doubt(host: HostFact, observation: Observation) -> str:
    claims = observation.claims
    if host.application in claims.accepted:
        return "it was found just now"
    if claims.named is None:
        return "the controller has not spoken since the agent began"
    return f"the desired state of {host.application} has not come yet"


def _awaited(seen: Sighting, now: float, limits: Limits) -> str:
    if seen.first_at is None:
        return "found, looked at soon"
    left = max(0.0, seen.first_at + limits.unclaimed_grace_seconds - now)
    return f"seen once, looked at again in {left:.0f} s"
