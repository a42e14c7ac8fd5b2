"""Ends hosts on their machines, also those that could not be ended when they were to be: they may run and
count as gone."""

import asyncio

import structlog

from repave_agent.core.ports import Clock, ProviderError
from repave_agent.providers.ssh_pool.bootstrap import Machine
from repave_agent.providers.ssh_pool.leases import Lease
from repave_agent.providers.ssh_pool.ledger import Ledger
from repave_agent.providers.ssh_pool.machines import Machines
from repave_protos.protocol.values import HostName

log = structlog.get_logger()

TEND_SECONDS, TEND_SECONDS_MAX = 2.0, 15.0
"""From one try to end what remains on a machine to the next; it doubles."""


class Leftovers:
    """One for a provider."""

    def __init__(
        self, ledger: Ledger, machines: Machines, *, clock: Clock, stop_grace_seconds: float
    ) -> None:
        self._ledger, self._machines, self._leases = ledger, machines, machines.leases
        self._clock, self._stop_grace_seconds = clock, stop_grace_seconds
        self._tends: dict[str, asyncio.Task[None]] = {}
        self._tend_after: dict[str, tuple[float, float]] = {}  # when again, and the pause after that

    async def close(self) -> None:
        tasks = list(self._tends.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def end(self, machine: Machine, lease: Lease) -> None:
        """Nothing of the host runs there afterwards, if it is there at all, and its lease is ended."""
        if await machine.holder() == lease.owner:
            await machine.stop(lease.spec.name, lease.spec.stop_grace_seconds(self._stop_grace_seconds))
            await machine.give(lease.owner)

    async def end_what_remains(self, name: str) -> None:
        """The machine is used again if that was all that was wrong with it."""
        entry = self._leases.get(name)
        lease = entry.remains
        if lease is None:
            return
        await self.end(self._machines.machine(name), lease)
        self._tend_after.pop(name, None)
        self._leases.put(name, remains=None)
        log.info("host.destroyed", group=lease.spec.group, host=lease.spec.name, machine=name)
        if entry.state == "quarantined" and entry.reason.startswith(not_ended(lease.spec.name)):
            self._ledger.free(name)

    def tend(self) -> None:
        """Ends what remains where that can be done now, beside everything else."""
        now = self._clock.monotonic()
        for name, entry in self._leases.all().items():
            due, pause = self._tend_after.get(name, (now, TEND_SECONDS))
            can_be = entry.lease is None and self._ledger.left(entry) is not None
            if not can_be or name in self._tends or now < due:
                continue
            self._tend_after[name] = (now + pause, min(2 * pause, TEND_SECONDS_MAX))
            self._tends[name] = asyncio.create_task(self._try_to_end(name), name=f"tend {name}")

    async def _try_to_end(self, name: str) -> None:
        try:
            await self.end_what_remains(name)
        except (ProviderError, TimeoutError) as error:
            log.info("host.still_left", machine=name, why=str(error))
        finally:
            self._tends.pop(name, None)


def not_ended(host: HostName) -> str:
    return f"{host} could not be ended on it"
