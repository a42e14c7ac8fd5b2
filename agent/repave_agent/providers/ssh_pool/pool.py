"""Shows and changes the machines of a pool: `repave-agent pool` beside the agent, `repave pool` through it.

All of it works on the agent's own records of the machines, under their lock; the agent sees it at once.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, replace

from repave_agent.kinds import CommandError, CommandLine, Site
from repave_agent.providers.ssh_pool.inventory import Inventory
from repave_agent.providers.ssh_pool.leases import Entry, Leases
from repave_agent.providers.ssh_pool.options import POOL_USAGE, SshPoolOptions
from repave_protos.protocol.queries import ChangeMachine, Machine

EVERY = ""
"""In place of a machine's name."""


def pool_command(options: SshPoolOptions, site: Site, line: CommandLine) -> str:
    """Does what the words ask; returns what is to be shown. Raises CommandError, ProviderError, OSError."""
    match list(line.words):
        case ["list"] | []:
            machines = list_machines(options, site)
            return as_json(machines) if line.output == "json" else as_text(machines, site.clock.wall())
        case ["return", "--all"]:
            return change_machine(options, site, ChangeMachine("return", EVERY, line.reason))
        case ["quarantine" | "return" | "release" as verb, machine] if not machine.startswith("-"):
            return change_machine(options, site, ChangeMachine(verb, machine, line.reason))
        case words:
            raise CommandError(f"pool {' '.join(words)}: not understood. There is: {POOL_USAGE}")


def change_machine(options: SshPoolOptions, site: Site, change: ChangeMachine) -> str:
    """Returns what was done. Raises CommandError, ProviderError, OSError."""
    inventory, leases = _records(options, site)
    now = site.clock.wall()
    match change.verb:
        case "quarantine":
            return quarantine(inventory, leases, change.machine, change.reason, now)
        case "return" if change.machine == EVERY:
            return give_back_all(leases, now)
        case "return":
            return give_back(inventory, leases, change.machine, now)
        case "release":
            return release(inventory, leases, change.machine, now)


def list_machines(options: SshPoolOptions, site: Site) -> list[Machine]:
    """Those of the inventory, and those that have left it but are still known. Raises ProviderError."""
    return rows(*_records(options, site))


def _records(options: SshPoolOptions, site: Site) -> tuple[Inventory, Leases]:
    return Inventory(options.inventory), Leases(site.settings.state / "pool")


def rows(inventory: Inventory, leases: Leases) -> list[Machine]:
    """Every machine of the inventory, and those that are not in it any more but still known."""
    listed, known = inventory.machines(), leases.all()
    names = [*listed, *(name for name in known if name not in listed)]
    return [
        _row(known.get(name) or Entry(name), listed[name].address if name in listed else "") for name in names
    ]


def _row(entry: Entry, address: str) -> Machine:
    host = entry.lease.spec.name if entry.lease else ""
    left = _left_on(entry)
    reasons = (entry.reason, left, "" if address else "not in the inventory")
    return Machine(entry.name, address, entry.state, host, entry.since, "; ".join(filter(None, reasons)))


def _left_on(entry: Entry) -> str:
    if entry.lease is not None or entry.remains is None or not entry.remains.may_run:
        return ""
    return f"{entry.remains.spec.name} may still run on it"


def quarantine(inventory: Inventory, leases: Leases, name: str, reason: str, now: float) -> str:
    """Takes a machine that has no host out of use."""

    def change(entry: Entry) -> Entry:
        if entry.lease is not None:
            host = entry.lease.spec.name
            raise CommandError(f"{name} has {host}. First: repave taint {host}")
        return replace(entry, state="quarantined", reason=reason, since=now, proof=None)

    _change(inventory, leases, name, change)
    return f"{name} is quarantined: {reason}"


def give_back(inventory: Inventory, leases: Leases, name: str, now: float) -> str:
    """Lets a quarantined machine be used again; it is made anew before."""

    def change(entry: Entry) -> Entry:
        if entry.state != "quarantined":
            raise CommandError(f"{name} is not quarantined, it is {entry.state}")
        return _returned(entry, now)

    _change(inventory, leases, name, change)
    return f"{name} is back; it is made anew before it is used"


def give_back_all(leases: Leases, now: float) -> str:
    """Lets every quarantined machine be used again."""
    with leases.change() as entries:
        names = [name for name, each in entries.items() if each.state == "quarantined"]
        entries |= {name: _returned(entries[name], now) for name in names}
    if not names:
        return "no machine is quarantined"
    return f"{', '.join(names)}: back; each is made anew before it is used"


def _returned(entry: Entry, now: float) -> Entry:
    return replace(entry, state="dirty", reason="", since=now, proof=None, tried_by="", is_returned=True)


def release(inventory: Inventory, leases: Leases, name: str, now: float) -> str:
    """Ends a lease of this region's that nothing stands behind any more: that of a host on a machine that is
    gone, or one that a machine holds and this agent knows nothing of. The machine stays quarantined."""

    def change(entry: Entry) -> Entry:
        if entry.lease is None and entry.state != "quarantined":
            raise CommandError(f"{name} has no lease, it is {entry.state}")
        reason = f"released by a person{f', it had {entry.lease.spec.name}' if entry.lease else ''}"
        return replace(
            entry,
            state="quarantined",
            reason=reason,
            since=now,
            lease=None,
            proof=None,
            remains=None,
            may_replace=True,
        )

    _change(inventory, leases, name, change)
    return f"{name} is released. When it may be used again: pool return {name}"


def _change(inventory: Inventory, leases: Leases, name: str, change: Callable[[Entry], Entry]) -> None:
    known = inventory.machines()
    with leases.change() as entries:
        if name not in known and name not in entries:
            raise CommandError(f"no machine is called {name}; there are: {', '.join(known) or 'none'}")
        entries[name] = change(entries.get(name) or Entry(name))


def as_json(shown: list[Machine]) -> str:
    return json.dumps({"items": [_item(machine) for machine in shown]}, indent=2)


def _item(machine: Machine) -> dict[str, object]:
    raw = asdict(machine)
    return {"machine": raw.pop("name"), **raw}


def as_text(shown: list[Machine], now: float) -> str:
    """A table for people."""
    head = ("machine", "address", "state", "for", "host", "reason")
    lines = [head, *((r.name, r.address, r.state, _age(r.since, now), r.host, r.reason) for r in shown)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _age(since: float, now: float) -> str:
    if not since:
        return "-"
    seconds = max(0.0, now - since)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} s"
