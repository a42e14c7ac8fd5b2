"""A fleet's record of its hosts, whose health is said by hand."""

from repave_agent.health.prober import HealthRecord, Prober
from repave_agent.runtime.fleet import Fleet
from repave_protos.protocol.values import HostName, Probe


class ProberByHand(Prober):
    """Asks when it is told to. A new one knows nothing, like that of a restarted agent."""

    def __init__(self) -> None:
        self.records: dict[HostName, HealthRecord] = {}

    def watch(self, host: HostName, address: str, probe: Probe) -> None:
        self.records.setdefault(host, HealthRecord.of(probe))

    def forget(self, host: HostName) -> None:
        self.records.pop(host, None)

    def record(self, host: HostName) -> HealthRecord | None:
        return self.records.get(host)


def fleet_by_hand() -> tuple[Fleet, ProberByHand]:
    """An empty fleet, and the prober that it asks."""
    prober = ProberByHand()
    return Fleet(prober, lambda _: None), prober
