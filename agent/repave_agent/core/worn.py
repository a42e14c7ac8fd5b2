"""Says which hosts are worn, so that fresh ones should take their places, and why. Pure.

A host is worn when it is too old, no longer as it was made, of an older generation than its group, or when
the controller has asked for its replacement. Being worn changes nothing by itself: only hosts that the
desired state names in `replace` are replaced (traffic.py, reconcile.py); the controller decides when.
"""

import hashlib
from collections.abc import Iterable
from functools import lru_cache

from repave_agent.core.observation import GroupFact, HostFact
from repave_protos.protocol.bounds import WORN_MAX
from repave_protos.protocol.values import DesiredGroup, HostName, HostPhase, Wear, Worn

JITTER_SHARE = 0.1
"""The last part of a life in which hosts become too old, each at a moment of its own: those that were
launched together are not replaced together."""
ORDER: tuple[Wear, ...] = ("asked", "drift", "renewal", "age")


def wear_of(host: HostFact, group: DesiredGroup, fact: GroupFact, now: float) -> Worn | None:
    """The first reason that holds, in ORDER, but that "asked" says what else is known."""
    found = _reason(host, group, fact, now)
    if host.name in group.replace:
        return found or Worn(host.name, "asked", "asked for by the controller")
    return found


def _reason(host: HostFact, group: DesiredGroup, fact: GroupFact, now: float) -> Worn | None:
    if host.drift and group.drift != "ignore":
        return Worn(host.name, "drift", host.drift)
    if is_outdated(host.name, fact):
        return Worn(host.name, "renewal", "its whole group is renewed")
    if is_aged(host, group, now):
        return Worn(host.name, "age", f"older than {_span(oldest_age(host.name, group.max_age_seconds))}")
    return None


def is_aged(host: HostFact, group: DesiredGroup, now: float) -> bool:
    """Whether the host's own share of max_age is over."""
    limit = group.max_age_seconds
    return limit > 0.0 and now - host.made_at >= oldest_age(host.name, limit)


def worn_instants(hosts: Iterable[HostFact], group: DesiredGroup) -> list[float]:
    """When each host is too old, by the agent's clock."""
    limit = group.max_age_seconds
    return [host.made_at + oldest_age(host.name, limit) for host in hosts] if limit > 0.0 else []


def oldest_age(name: HostName, max_age_seconds: float) -> float:
    """The age at which this host is worn: the same at every look, and different for each host."""
    return max_age_seconds * (1.0 - JITTER_SHARE * _chance(name))


@lru_cache(maxsize=10_000)
def _chance(name: HostName) -> float:
    """The same for ever, from 0 to 1."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) / 2**64


def is_outdated(name: HostName, fact: GroupFact) -> bool:
    """Whether the host was there when its group's generation grew."""
    if fact.fresh_from <= 1:
        return False
    ordinal = name.rpartition("-")[2]
    return ordinal.isdecimal() and int(ordinal) < fact.fresh_from


def listed(worn: Iterable[Worn], group: DesiredGroup) -> tuple[Worn, ...]:
    """Those that a report names: all that are being replaced, then the most urgent; sorted by name."""
    urgent = sorted(worn, key=lambda each: (each.host not in group.replace, ORDER.index(each.why), each.host))
    return tuple(sorted(urgent[:WORN_MAX], key=lambda each: each.host))


def next_due_at(hosts: Iterable[HostFact], group: DesiredGroup, now: float) -> float:
    """When the next host will be too old, in Unix time, whole seconds; 0 when none will."""
    limit = group.max_age_seconds
    if limit <= 0.0:
        return 0.0
    young = (host for host in hosts if host.launch_time and not is_aged(host, group, now))
    instants = (host.launch_time + oldest_age(host.name, limit) for host in young)
    return float(int(min(instants, default=0.0)))


def oldest_at(hosts: Iterable[HostFact]) -> float:
    """When the oldest host was launched, in Unix time, whole seconds; 0 when there is none."""
    return float(int(min((host.launch_time for host in hosts if host.launch_time), default=0.0)))


def present(hosts: Iterable[HostFact]) -> list[HostFact]:
    """Those that are there: made, and not being ended."""
    gone = (HostPhase.LAUNCHING, HostPhase.DESTROYING)
    return [host for host in hosts if host.phase not in gone]


def _span(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"
