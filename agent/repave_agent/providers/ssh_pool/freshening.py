"""How a machine that was used becomes one that a host can be made on: leased by its own word, reset, seen to
be new. What a reset is: reset.py."""

import asyncio
import functools
from dataclasses import replace

import structlog

from repave_agent.clients.ssh import BrokenError
from repave_agent.clients.ssh_identity import IdentityError
from repave_agent.core.ports import Clock, ProviderError
from repave_agent.providers.ssh_pool.bootstrap import Machine, TakenError
from repave_agent.providers.ssh_pool.leases import Entry, State
from repave_agent.providers.ssh_pool.ledger import Ledger
from repave_agent.providers.ssh_pool.machines import Machines
from repave_agent.providers.ssh_pool.options import ResetOptions
from repave_agent.providers.ssh_pool.reset import Seen, reset_machine
from repave_protos.protocol.values import HostName

log = structlog.get_logger()

BEING_RESET = HostName("-")
"""Who has a machine on which no host is, while it is made anew."""


class Freshening:
    """One for a provider. So many machines are made anew beside everything else as `parallel` says."""

    def __init__(
        self,
        ledger: Ledger,
        machines: Machines,
        reset: ResetOptions,
        *,
        clock: Clock,
        parallel: int,
        stop_grace_seconds: float,
    ) -> None:
        self._ledger, self._machines, self._leases = ledger, machines, machines.leases
        self._reset, self._clock = reset, clock
        self._stop_grace_seconds = stop_grace_seconds
        self._slots = asyncio.Semaphore(parallel)
        self._refreshes: dict[str, asyncio.Task[None]] = {}

    def begin(self, name: str) -> None:
        """Makes a machine anew soon that was handed back, so that the next launch need not wait for it."""
        self._refreshes[name] = asyncio.create_task(self._refresh(name), name=f"refresh {name}")

    async def close(self) -> None:
        tasks = list(self._refreshes.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def freshen(self, name: str, owner: str) -> Machine:
        """The machine, leased by its own word as well, and seen to be new."""
        entry, machine = self._leases.get(name), self._machines.machine(name)
        before: Seen | None
        try:
            before = await self._claim(machine, entry, owner)
            if entry.proof == before and not await machine.is_used():
                return machine
        except (TakenError, IdentityError):
            raise
        except (ProviderError, TimeoutError) as error:
            if not self._reset.command:
                raise
            before = await self._seen_from_outside(machine, entry, error)
            log.info("machine.reset_from_outside", machine=name, why=str(error))
        listed = self._machines.listed()[name]
        connect = functools.partial(self._machines.machine, name, is_new=True)
        machine, seen = await reset_machine(self._reset, listed, connect, before, self._clock)
        await machine.take(owner)
        is_ours = {"may_replace": False, "is_returned": False, "remains": None}
        self._leases.put(name, proof=seen, pinned=seen[2], **is_ours)
        return machine

    async def stop_refresh(self, name: str) -> None:
        """A launch that has chosen the machine goes on by itself, once what is under way has ended."""
        task = self._refreshes.get(name)
        if task is not None:
            await asyncio.gather(task, return_exceptions=True)

    async def _claim(self, machine: Machine, entry: Entry, owner: str) -> Seen:
        """Leases it by its own word; what it shows before its reset."""
        holder = await machine.holder()
        if self._may_go(entry, holder):
            if entry.remains is not None and entry.remains.may_run:
                spec = entry.remains.spec
                await machine.stop(spec.name, spec.stop_grace_seconds(self._stop_grace_seconds))
            await machine.give(holder)
        await machine.take(owner)
        return await machine.proof(self._reset.marker)

    def _may_go(self, entry: Entry, holder: str) -> bool:
        """Whether nothing stands behind the lease that the machine holds."""
        if holder == self._ledger.owner(BEING_RESET) or (
            entry.remains is not None and holder == entry.remains.owner
        ):
            return True
        return entry.may_replace and holder.startswith(f"{self._ledger.tags()}/")

    async def _seen_from_outside(self, machine: Machine, entry: Entry, error: Exception) -> Seen | None:
        """What a machine shows that can't be leased by its own word, as one whose disk is full. Raises
        `error` when another agent may have it: then it is only reset where a person has returned it."""
        try:
            holder = await machine.holder()
        except (ProviderError, TimeoutError):
            if not entry.is_returned:
                raise error from None
        else:
            lease = entry.lease
            is_ours = lease is not None and holder == lease.owner
            if holder and not is_ours and not self._may_go(entry, holder):
                raise TakenError(holder)
        try:
            return await machine.proof(self._reset.marker)
        except (ProviderError, TimeoutError):
            key = await machine.shell.shown_key() if self._reset.proof == "host-key" else ""
            return ("", "", key) if key else None

    async def _refresh(self, name: str) -> None:
        owner = self._ledger.owner(BEING_RESET)
        state: State = "dirty"
        reason = ""
        try:
            async with self._slots:
                machine = await self.freshen(name, owner)
                await machine.give(owner)
            state = "fresh"
        except TakenError as error:
            reason = f"leased by {error}"
        except (IdentityError, BrokenError) as error:
            reason = str(error)
        except (ProviderError, TimeoutError) as error:
            reason = str(error)
            state = "dirty" if self._ledger.alike(name, reason) else "quarantined"
        finally:
            self._refreshes.pop(name, None)
        with self._leases.change() as entries:
            if entries[name].state == "dirty":  # a launch that has chosen it meanwhile sees for itself
                entries[name] = replace(entries[name], state=state, reason=reason, since=self._clock.wall())
        log.info("machine.refreshed", machine=name, state=state, why=reason)
