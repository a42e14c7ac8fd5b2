"""How each machine of a pool is reached: by the inventory as it is now, with the key that it must have."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from repave_agent.clients.ssh import Door, Shell
from repave_agent.clients.ssh_identity import Identity, IdentityError
from repave_agent.core.ports import RefusedError, TransientError
from repave_agent.providers.ssh_pool.bootstrap import Machine
from repave_agent.providers.ssh_pool.inventory import Inventory, Listed
from repave_agent.providers.ssh_pool.leases import Leases

SSH_PORT = 22


@dataclass(frozen=True, slots=True)
class Access:
    """What holds for all machines, where the inventory does not say it. `root`: repave's folder on each.

    `user` "" and `port` None are what `config` says, root and 22 without one; `sudo` None: where the user is
    not root. `jump`: USER@HOST:PORT of a bastion.
    """

    user: str
    identity: Identity
    port: int | None = None
    known_hosts: Path | None = None
    trusts_first_use: bool = False
    root: str = "/var/lib/repave/host"
    sudo: bool | None = None
    config: Path | None = None
    jump: str = ""
    jump_host_key: str = ""

    def user_of(self, listed: Listed) -> str:
        return listed.user or self.user or ("" if self.config else "root")

    def port_of(self, listed: Listed) -> int:
        return listed.port or self.port or (0 if self.config else SSH_PORT)

    def bastion(self) -> Shell | None:
        if not self.jump:
            return None
        user, _, place = self.jump.rpartition("@")
        host, colon, port = place.rpartition(":")
        if not colon or not port.isdecimal():
            host, port = place, "0" if self.config else str(SSH_PORT)
        keys = (self.jump_host_key,) if self.jump_host_key else ()
        known_hosts = None if keys else self.known_hosts
        return Shell(Door(host.strip("[]"), int(port), user, self.identity, keys, known_hosts, self.config))


class Machines:
    """The machines of one pool; connections are kept."""

    def __init__(self, inventory: Inventory, access: Access, leases: Leases) -> None:
        self.leases = leases
        self._inventory, self._access = inventory, access
        self._bastion = access.bastion()
        self._known: dict[str, Machine] = {}

    def listed(self) -> dict[str, Listed]:
        """By name. Raises RefusedError."""
        return self._inventory.machines()

    def exposed(self) -> list[str]:
        """What of the agent's identity others may read, as notes."""
        return self._access.identity.exposed()

    async def check(self) -> int:
        """How many there are. Raises RefusedError with what keeps the agent from all of them: a key that
        can't be used, a host key that is neither pinned nor trusted."""
        listed, access = self.listed(), self._access
        keyless = [each.name for each in listed.values() if not each.host_key]
        if access.config is not None and not access.config.is_file():
            raise RefusedError(f"ssh_pool.config: {access.config}: there is no such file")
        known = access.known_hosts is not None or access.trusts_first_use or access.config is not None
        if keyless and not known:
            raise RefusedError(
                f"{keyless[0]} has no host_key in the inventory: write it there, or name "
                "ssh_pool.known_hosts, or set ssh_pool.host_keys to first-use"
            )
        if access.jump and not (access.jump_host_key or access.known_hosts or access.config):
            raise RefusedError(
                "ssh_pool.jump: nothing says which host key the bastion has: set ssh_pool.jump_host_key, or "
                "name ssh_pool.known_hosts"
            )
        try:
            await access.identity.check()
        except IdentityError as error:
            raise RefusedError(str(error)) from error
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
            machine = self._known[name] = Machine(name, Shell(door, self._bastion), self._access.root)
        return machine

    def _door(self, listed: Listed, *, is_new: bool) -> Door:
        access, keys = self._access, listed.host_key
        pinned = self.leases.get(listed.name).pinned if access.trusts_first_use and not keys else ""
        if pinned and not is_new:
            keys = (pinned,)
        is_pinned = bool(keys) or (access.trusts_first_use and access.known_hosts is None)
        return Door(
            listed.address,
            access.port_of(listed),
            access.user_of(listed),
            access.identity,
            keys,
            None if is_pinned else access.known_hosts,
            access.config,
            access.sudo,
        )

    async def close(self) -> None:
        known, self._known = self._known, {}
        await asyncio.gather(*(machine.shell.close() for machine in known.values()))
        if self._bastion is not None:
            await self._bastion.close()
