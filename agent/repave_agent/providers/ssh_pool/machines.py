"""How each machine of a pool is reached: by the inventory as it is now, with the key that it must have."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from repave_agent.clients.ssh import Door, Shell
from repave_agent.core.ports import RefusedError, TransientError
from repave_agent.providers.ssh_pool.bootstrap import Machine
from repave_agent.providers.ssh_pool.inventory import Inventory, Listed
from repave_agent.providers.ssh_pool.leases import Leases


@dataclass(frozen=True, slots=True)
class Access:
    """What holds for all machines, where the inventory does not say it. `root`: repave's folder on each."""

    user: str
    key: Path
    port: int = 22
    known_hosts: Path | None = None
    trusts_first_use: bool = False
    root: str = "/var/lib/repave/host"


class Machines:
    """The machines of one pool; connections are kept."""

    def __init__(self, inventory: Inventory, access: Access, leases: Leases) -> None:
        self.leases = leases
        self._inventory, self._access = inventory, access
        self._known: dict[str, Machine] = {}

    def listed(self) -> dict[str, Listed]:
        """By name. Raises RefusedError."""
        return self._inventory.machines()

    def check(self) -> int:
        """How many there are. Raises RefusedError when the key of one is neither pinned nor trusted."""
        listed, access = self.listed(), self._access
        keyless = [each.name for each in listed.values() if not each.host_key]
        if keyless and access.known_hosts is None and not access.trusts_first_use:
            raise RefusedError(
                f"{keyless[0]} has no host_key in the inventory: write it there, or name "
                "ssh_pool.known_hosts, or set ssh_pool.host_keys to first-use"
            )
        if not access.key.is_file():
            raise RefusedError(f"ssh_pool.key: {access.key}: there is no such file")
        return len(listed)

    def machine(self, name: str, *, is_new: bool = False) -> Machine:
        """The machine, not yet connected. One that was made anew has a new key: where first use is trusted,
        it is trusted once more. Raises TransientError, RefusedError."""
        listed = self.listed().get(name)
        if listed is None:
            raise TransientError(
                f"{name} is not in the inventory any more; put it back until its host is gone"
            )
        door = self._door(listed, is_new=is_new)
        machine = self._known.get(name)
        if machine is None or machine.shell.door != door or is_new:
            machine = self._known[name] = Machine(name, Shell(door), self._access.root)
        return machine

    def _door(self, listed: Listed, *, is_new: bool) -> Door:
        access, keys = self._access, listed.host_key
        pinned = self.leases.get(listed.name).pinned if access.trusts_first_use and not keys else ""
        if pinned and not is_new:
            keys = (pinned,)
        return Door(
            listed.address,
            listed.port or access.port,
            listed.user or access.user,
            access.key,
            keys,
            None if keys else access.known_hosts,
        )

    async def close(self) -> None:
        known, self._known = self._known, {}
        await asyncio.gather(*(machine.shell.close() for machine in known.values()))
