"""The provider whose hosts are machines that are there already: leased from a pool, made anew, bootstrapped
over SSH, and handed back.

Which machines: inventory.py; how they are reached: machines.py; what is known of each: leases.py; who has
which, and which are not used: ledger.py; how one becomes fresh: freshening.py, by reset.py; what happens on
it: bootstrap.py; what is seen of its host: sightings.py; how that is ended in the end: leftovers.py.

A lease is on the agent's disk first, then on the machine itself, so that neither a crash nor another agent
with the same inventory gives one machine to two hosts. A machine that does not do what it should is
quarantined, with the reason, and another one is taken; unless several fail alike (faults.py). What may still
run on one that was given up is kept in mind, shown, and ended once the machine lets the agent in again.
"""

import asyncio
import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import structlog

from repave_agent.clients.ssh import BrokenError, DoorError, UnreachableError
from repave_agent.clients.ssh_identity import IdentityError
from repave_agent.core.host_secrets import HostSecrets
from repave_agent.core.ports import (
    HOST_NAME,
    Clock,
    Host,
    HostSpec,
    OutOfCapacityError,
    ProviderError,
    RefusedError,
    TransientError,
)
from repave_agent.packages.inspection import Inspector
from repave_agent.providers.command import environment_of, substitute
from repave_agent.providers.host_specs import check_needs_no_machine
from repave_agent.providers.memory import paths_in
from repave_agent.providers.single_flight import Work
from repave_agent.providers.ssh_pool.bootstrap import Machine, MachineUnfitError, TakenError, difference
from repave_agent.providers.ssh_pool.freshening import Freshening
from repave_agent.providers.ssh_pool.leases import Entry, Lease
from repave_agent.providers.ssh_pool.ledger import Ledger
from repave_agent.providers.ssh_pool.leftovers import Leftovers, not_ended
from repave_agent.providers.ssh_pool.machines import Machines
from repave_agent.providers.ssh_pool.options import ResetOptions
from repave_agent.providers.ssh_pool.sightings import Sightings
from repave_protos.protocol.queries import FindRoom
from repave_protos.protocol.values import HostName, RegionName, is_job_host

log = structlog.get_logger()

TRIES_MAX = 3
"""So many machines are tried for one host before the launch has failed."""
NAMED_MAX = 3
_OF_THE_MACHINE = (DoorError, MachineUnfitError)
"""Refusals that are the machine's fault, not the package's or its command's."""


class SshPoolProvider:
    """Implements ports.Provider. Only one owns the leases; `installation` is asked again at every call."""

    name = "ssh_pool"

    def __init__(
        self,
        region: RegionName,
        installation: Callable[[], str],
        machines: Machines,
        reset: ResetOptions,
        *,
        clock: Clock,
        parallel: int = 10,
        unreachable_seconds: float = 60.0,
        stop_grace_seconds: float = 5.0,
    ) -> None:
        self._region, self._installation = region, installation
        self._machines, self._leases, self._reset = machines, machines.leases, reset
        self._launches, self._destructions = Work(), Work()
        self._inspector = Inspector()
        self._slots = asyncio.Semaphore(parallel)
        self._ledger = ledger = Ledger(region, installation, machines, clock)
        self._freshening = Freshening(
            ledger, machines, reset, clock=clock, parallel=parallel, stop_grace_seconds=stop_grace_seconds
        )
        self._sightings = Sightings(
            ledger,
            machines,
            lambda host: host in self._destructions.tasks,
            clock=clock,
            unreachable_seconds=unreachable_seconds,
        )
        self._leftovers = Leftovers(ledger, machines, clock=clock, stop_grace_seconds=stop_grace_seconds)

    async def start(self) -> str:
        """Reads the inventory. Raises RefusedError with the field that is wrong."""
        if not (self._reset.command or self._reset.remote):
            raise RefusedError(
                "ssh_pool.reset: say how a machine is made anew: command (run here) or remote (run on it)"
            )
        return f"{await self._machines.check()} machines"

    async def room(self, asked: FindRoom) -> str:
        return self._ledger.room(asked.hosts)

    async def troubles(self) -> list[str]:
        """The agent's key, machines that are not used, and what may still run on them."""
        await self._machines.check()
        left = (f"{each.name} {each.left}" for each in self._ledger.all_left())
        seen = (*self._ledger.quarantined(), *self._sightings.silent())
        return [*self._machines.exposed(), *seen, *left]

    def on_change(self, callback: Callable[[], None]) -> None:
        self._sightings.callbacks.append(callback)

    async def close(self) -> None:
        await self._launches.settle()
        await self._destructions.settle()
        for part in (self._sightings, self._freshening, self._leftovers):
            await part.close()
        await self._machines.close()

    # -------------------------------------------------------------------------------------------- launch

    async def launch(self, spec: HostSpec, package: Path, secrets: HostSecrets = ()) -> Host:
        if HOST_NAME.fullmatch(spec.name) is None:
            raise RefusedError(f"{spec.name!r} cannot name a host: use letters, digits, '.', '_', '-'")
        check_needs_no_machine(self.name, spec.template)
        await self._destructions.settle(spec.name)
        host = await self._launches.join(spec.name, functools.partial(self._launch, spec, package, secrets))
        assert host is not None
        return host

    async def _launch(self, spec: HostSpec, package: Path, secrets: HostSecrets) -> Host:
        if not self._installation():
            raise TransientError("no host is made before the agent has met its controller for the first time")
        kept = self._ledger.entry_of(spec.name)
        if kept is not None and kept.lease is not None:
            if kept.lease.is_started:
                return self._sightings.host(kept.lease)
            await self._hand_back(kept.name, kept.lease)  # half-made by an agent that was killed
        await self._inspector.check(spec.digest, package)
        troubles: dict[str, str] = {}  # of machines that were tried
        async with self._slots:
            while len(troubles) < TRIES_MAX:
                name = self._ledger.choose(spec, troubles.keys())
                if name is None:
                    break
                try:
                    return await self._make(name, spec, package, secrets)
                except _UselessError as error:
                    troubles[name] = str(error)
        if troubles:
            raise TransientError(f"no machine could be made a host: {'; '.join(troubles.values())}")
        raise OutOfCapacityError(self._ledger.shortage())

    async def _make(self, name: str, spec: HostSpec, package: Path, secrets: HostSecrets) -> Host:
        """Makes a chosen machine the host. Raises _UselessError when the machine can't be used, RefusedError
        when the fault is with the package or its command."""
        lease = self._ledger.lease_of(name)
        is_fresh = False
        try:
            await self._freshening.stop_refresh(name)
            machine = await self._freshening.freshen(name, lease.owner)
            is_fresh = True
            lease = await self._bootstrap(machine, name, lease, package, secrets)
        except TakenError as error:
            self._ledger.free(name, reason=f"leased by {error}")
            raise _UselessError(f"{name} is leased by {error}") from error
        except (ProviderError, TimeoutError) as error:
            is_seen = is_fresh or isinstance(error, BrokenError)
            fault = await self._explained(name, error) if is_seen else error
            if is_fresh and isinstance(fault, RefusedError) and not isinstance(fault, _OF_THE_MACHINE):
                await self._hand_back(name, lease)
                raise
            may_have_begun = is_job_host(spec.name) and self._ledger.lease_of(name).may_run
            await self._give_up(name, str(fault))
            if may_have_begun:  # it is tried on no other machine
                self._ledger.suspect(name, str(fault))
                raise TransientError(f"whether it began on {name} is not known: {fault}") from error
            if isinstance(fault, (IdentityError, BrokenError)):
                self._ledger.free(name, reason=str(fault))
                if isinstance(fault, IdentityError):
                    raise fault from error
                raise _UselessError(str(fault)) from error
            alike = self._ledger.suspect(name, str(fault))
            if alike and isinstance(fault, RefusedError):
                named = " and ".join(sorted([name, *alike])[:NAMED_MAX])
                raise RefusedError(f"{named} fail alike, so none is quarantined: {fault}") from error
            raise _UselessError(str(fault)) from error
        log.info("host.launched", group=spec.group, host=spec.name, machine=name, address=lease.address)
        self._ledger.works(name)
        self._sightings.watch(name, spec.name)
        return self._ledger.host(lease)

    async def _explained(self, name: str, error: Exception) -> Exception:
        """What is behind an error in the middle of a launch: the machine is away, or rebooted, or it
        was the agent's own way to it. A BrokenError that stays one is a connection that broke by itself."""
        if isinstance(error, (IdentityError, *_OF_THE_MACHINE)):
            return error
        proof = self._leases.get(name).proof
        try:
            boot, _, _ = await self._machines.machine(name).proof(self._reset.marker)
        except (ProviderError, TimeoutError) as silence:
            says_more = isinstance(error, TransientError) and not isinstance(error, UnreachableError)
            return error if says_more and not isinstance(silence, IdentityError) else silence
        if proof is None or boot == proof[0]:
            return error
        return TransientError(f"{name} rebooted in the middle of the launch: {error}")

    async def _give_up(self, name: str, why: str) -> None:
        """A launch has failed on the machine: what was begun there is ended, or else kept in mind."""
        lease = self._ledger.lease_of(name)
        try:
            if lease.may_run:
                await self._leftovers.end(self._machines.machine(name), lease)
                lease = replace(lease, may_run=False)
        except (ProviderError, TimeoutError) as error:
            log.warning("host.left", host=lease.spec.name, machine=name, why=f"{why}; {error}")
        self._leases.put(name, remains=lease)

    async def _bootstrap(
        self, machine: Machine, name: str, lease: Lease, package: Path, secrets: HostSecrets
    ) -> Lease:
        contents = await machine.install(lease.spec.digest, package, lease.spec.released_at)
        self._leases.note_contents(lease.spec.name, contents)
        lease = replace(lease, may_run=True)
        self._leases.put(name, lease=lease)
        if secrets:
            lease = replace(lease, memory=await machine.take_secrets(lease.spec.name, secrets))
        environment = self._environment(lease)
        words = substitute(lease.spec.template.run, environment)
        await machine.start(lease.spec, words, environment)
        lease = replace(lease, is_started=True)
        self._leases.put(name, lease=lease)
        return lease

    def _environment(self, lease: Lease) -> dict[str, str]:
        paths = paths_in(Path(lease.memory), lease.spec.template.secrets) if lease.memory else {}
        return environment_of(lease.spec, lease.address, self._region, paths)

    # -------------------------------------------------------------------------------------------- list

    async def list_hosts(self) -> list[Host]:
        mine = [each for each in self._leases.all().values() if self._ledger.is_mine(each.lease)]
        known = [each for each in mine if each.lease and each.lease.spec.name not in self._launches.tasks]
        async with asyncio.TaskGroup() as group:
            looks = [group.create_task(self._sightings.look(each)) for each in known]
        self._leftovers.tend()
        seen = [host for look in looks if (host := look.result()) is not None]
        return [*seen, *self._ledger.all_left()]

    # -------------------------------------------------------------------------------------------- destroy

    async def destroy(self, host: HostName) -> None:
        await self._launches.settle(host)
        entry = self._ledger.entry_of(host)
        if entry is None:
            left = [each for each in self._leases.all().values() if self._is_left(each, host)]
            for each in left:
                await self._leftovers.end_what_remains(each.name)
        elif entry.lease is not None:
            work = functools.partial(self._destroy, entry.name, entry.lease)
            await self._destructions.join(host, work)

    def _is_left(self, entry: Entry, host: HostName) -> bool:
        left = self._ledger.left(entry)
        return left is not None and left.name == host

    async def _destroy(self, name: str, lease: Lease) -> None:
        await self._hand_back(name, lease)
        log.info("host.destroyed", group=lease.spec.group, host=lease.spec.name, machine=name)

    async def _hand_back(self, name: str, lease: Lease) -> None:
        """Ends the host; its machine is made anew beside everything else, or quarantined. Raises
        IdentityError: then nothing has changed."""
        host = lease.spec.name
        try:
            await self._leftovers.end(self._machines.machine(name), lease)
        except IdentityError:
            raise
        except (ProviderError, TimeoutError) as error:
            remains = replace(lease, may_run=True)
            self._ledger.quarantine(name, f"{not_ended(host)}: {error}", remains)
        else:
            self._ledger.free(name)
            self._freshening.begin(name)
        finally:
            self._sightings.forget(name, host)
            self._leases.forget_contents(host)

    # -------------------------------------------------------------------------------------------- ask

    async def execute(self, host: HostName, command: tuple[str, ...], timeout_seconds: float) -> int:
        name, lease = self._running(host)
        environment = self._environment(lease)
        words = substitute(command, environment)
        return await self._machines.machine(name).execute(
            host, lease.spec.digest, words, environment, timeout_seconds
        )

    async def log_tail(self, host: HostName, lines: int) -> str:
        entry = self._ledger.entry_of(host)
        return "" if entry is None else await self._machines.machine(entry.name).tail(host, lines)

    async def listeners(self, host: HostName) -> tuple[str, ...]:
        name, _ = self._running(host)
        return await self._machines.machine(name).listeners(host)

    async def inspect(self, host: HostName) -> str:
        name, lease = self._running(host)
        before = self._leases.contents(host)
        return difference(before, await self._machines.machine(name).contents(lease.spec.digest))

    def _running(self, host: HostName) -> tuple[str, Lease]:
        entry = self._ledger.entry_of(host)
        if entry is None or entry.lease is None or not entry.lease.is_started or self._sightings.ended(host):
            raise TransientError(f"host {host} does not run: nothing can be executed in it")
        return entry.name, entry.lease


class _UselessError(Exception):
    """This machine can't be made a host; another one may."""
