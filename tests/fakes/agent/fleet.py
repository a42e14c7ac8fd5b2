"""Probes of a fleet's hosts, answered by hand."""

from repave_agent.core.fleet import Fleet
from repave_agent.core.host_health import Health, ProbeResult
from repave_protos.protocol.values import HostName


def answer(fleet: Fleet, host: HostName, result: ProbeResult, now: float) -> None:
    """One more probe of a host that the fleet wants probed."""
    record = fleet.health_of(host)
    assert record is not None
    fleet.health = {**fleet.health, host: Health(fleet.probes[host], record.after(result, now))}
