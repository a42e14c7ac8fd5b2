"""Who has which machine of the pool, by what is on the agent's disk, and which machines are not used. Knows
no SSH: what machines themselves say is brought here."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

import structlog

from repave_agent.core.ports import Clock, Host, HostSpec
from repave_agent.providers.ssh_pool.faults import Faults
from repave_agent.providers.ssh_pool.leases import Entry, Lease, State
from repave_agent.providers.ssh_pool.machines import Machines
from repave_protos.protocol.values import HostName, RegionName

log = structlog.get_logger()

COOL_SECONDS = 60.0
"""A machine that was handed back just now is used again only when there is no other: clients may still have
its address."""
NAMED_MAX = 3


class Ledger:
    """One for a provider. `installation` is asked again at every call."""

    def __init__(
        self, region: RegionName, installation: Callable[[], str], machines: Machines, clock: Clock
    ) -> None:
        self._region, self._installation = region, installation
        self._machines, self.leases = machines, machines.leases
        self._clock = clock
        self._faults = Faults()

    # ---------------------------------------------------------------------------------------- what is free

    def room(self, hosts: int) -> str:
        listed, known = self._machines.listed(), self.leases.all()
        states = [known[name].state if name in known else "dirty" for name in listed]
        free = sum(state in ("dirty", "fresh") for state in states)
        if free >= hosts:
            return ""
        counts = f"{states.count('leased')} are leased, {states.count('quarantined')} quarantined"
        return f"{free} of {len(states)} machines are free ({counts}), {hosts} more are needed"

    def quarantined(self) -> list[str]:
        """For people: what is not used, and why."""
        listed, entries = self._machines.listed(), self.leases.all()
        bad = [entries[name] for name in listed if name in entries and entries[name].state == "quarantined"]
        if not bad:
            return []
        some = f"note: {len(bad)} of {len(listed)} machines"
        count = "every machine" if len(bad) == len(listed) else some
        named = f"{', '.join(each.name for each in bad[:NAMED_MAX])}{', ...' if bad[NAMED_MAX:] else ''}"
        return [
            f"{count} of the pool quarantined ({named}): {bad[0].reason}. Mend them, then: "
            f"repave pool return {self._region} NAME, or --all"
        ]

    def choose(self, spec: HostSpec, tried: Collection[str]) -> str | None:
        """Leases a free machine on disk: one that is fresh, and whose address was not used just now. One on
        which this host could not be made before comes last."""
        now, listed = self._clock.wall(), self._machines.listed()
        with self.leases.change() as entries:
            known = [entries.get(name) or Entry(name) for name in listed]
            free = [each for each in known if each.state in ("dirty", "fresh") and each.name not in tried]
            free.sort(
                key=lambda each: (
                    each.tried_by == spec.name,
                    bool(each.reason),
                    _is_warm(each, now),
                    each.state != "fresh",
                    each.since,
                )
            )
            for chosen in free[:1]:
                lease = Lease(spec, self.owner(spec.name), listed[chosen.name].traffic_address, now)
                proof = chosen.proof if chosen.state == "fresh" else None
                entries[chosen.name] = replace(
                    chosen, state="leased", since=now, reason="", lease=lease, proof=proof, tried_by=spec.name
                )
                return chosen.name
        return None

    def shortage(self) -> str:
        entries = self.leases.all()
        states = [(entries.get(name) or Entry(name)) for name in self._machines.listed()]
        leased = sum(each.state == "leased" for each in states)
        bad = [each.name for each in states if each.state == "quarantined"]
        named = f" ({', '.join(bad[:3])}{', ...' if len(bad) > 3 else ''})" if bad else ""
        return (
            f"no machine of the pool is free: of {len(states)}, {leased} are leased and {len(bad)} "
            f"quarantined{named}. Add machines to the inventory, or look at these and do: "
            "repave-agent pool return NAME"
        )

    # ------------------------------------------------------------------------------------- what is not used

    def suspect(self, name: str, reason: str) -> list[str]:
        """Quarantines the machine, unless others fail alike: their names."""
        if alike := self.alike(name, reason):
            self.free(name, reason)
        else:
            self.quarantine(name, reason)
        return alike

    def alike(self, name: str, reason: str) -> list[str]:
        """The machines that fail as this one does. None of them is quarantined for that."""
        listed = self._machines.listed().get(name)
        faults = self._faults.add(name, reason, (listed.address,) if listed else ())
        for fault in faults:
            entry = self.leases.get(fault.machine)
            if entry.state == "quarantined" and entry.reason == fault.text:
                self.free(fault.machine, fault.text)
        alike = [fault.machine for fault in faults]
        if alike:
            log.warning("machines.alike", machines=sorted([name, *alike]), why=reason)
        return alike

    def works(self, name: str) -> None:
        """So what others showed alike was theirs after all."""
        for fault in self._faults.worked(name):
            entry = self.leases.get(fault.machine)
            if entry.state == "dirty" and entry.reason == fault.text:
                self.quarantine(fault.machine, fault.text)

    def quarantine(self, name: str, reason: str, remains: Lease | None = None) -> None:
        log.warning("machine.quarantined", machine=name, why=reason)
        more = {"remains": remains} if remains is not None else {}
        self._change(name, "quarantined", reason, **more)

    def free(self, name: str, reason: str = "") -> None:
        self._change(name, "dirty", reason)

    def _change(self, name: str, state: State, reason: str, **more: Lease) -> None:
        now = self._clock.wall()
        self.leases.put(name, state=state, reason=reason, since=now, lease=None, proof=None, **more)

    # ------------------------------------------------------------------------------------- who has what

    def lease_of(self, name: str) -> Lease:
        lease = self.leases.get(name).lease
        assert lease is not None, "a chosen machine is leased"
        return lease

    def entry_of(self, host: HostName) -> Entry | None:
        entries: Iterable[Entry] = self.leases.all().values()
        return next((each for each in entries if each.lease and each.lease.owner == self.owner(host)), None)

    def is_mine(self, lease: Lease | None) -> bool:
        return lease is not None and lease.owner == self.owner(lease.spec.name)

    def owner(self, host: HostName) -> str:
        """As a machine's own lease has it; "" while the installation is not known."""
        return f"{self.tags()}/{host}" if self._installation() else ""

    def tags(self) -> str:
        return f"{self._installation()}/{self._region}"

    def host(self, lease: Lease, ended: str = "", unseen: str = "", exit_code: int | None = None) -> Host:
        spec = lease.spec
        return Host(
            name=spec.name,
            group=spec.group,
            application=spec.application,
            digest=spec.digest,
            address=lease.address,
            port=spec.port,
            launched_at=lease.taken_at,
            is_running=not ended,
            ended=ended,
            unseen=unseen,
            exit_code=exit_code,
            age_seconds=max(0.0, self._clock.wall() - lease.taken_at),
        )

    def left(self, entry: Entry) -> Host | None:
        lease = entry.remains
        if lease is None or not lease.may_run or not self.is_mine(lease):
            return None
        why = f"may still run on {entry.name}, which is {entry.state}: {entry.reason}"
        return replace(self.host(lease, why), left=why)

    def all_left(self) -> list[Host]:
        """What may still run, and counts as gone."""
        found = (self.left(each) for each in self.leases.all().values())
        return [host for host in found if host is not None]


def _is_warm(entry: Entry, now: float) -> bool:
    return now - entry.since < COOL_SECONDS and entry.since > 0
