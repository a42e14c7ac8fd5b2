"""The provider whose hosts are machines that are there already: leased from a pool, made anew, bootstrapped
over SSH, and handed back.

Which machines: inventory.py; how they are reached: machines.py; what is known of each: leases.py;
how one becomes fresh and how that is proved: reset.py; what happens on it: bootstrap.py.

A lease is on the agent's disk first, then on the machine itself, so that neither a crash nor another agent
with the same inventory gives one machine to two hosts. A machine that does not do what it should is
quarantined, with the reason, and another one is taken; unless several fail alike (faults.py). What may still
run on one that was given up is kept in mind, shown, and ended once the machine lets the agent in again.
"""

import asyncio
import functools
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from pathlib import Path

import structlog

from repave_agent.clients.ssh import BrokenError, DoorError, UnreachableError
from repave_agent.clients.ssh_identity import IdentityError
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
from repave_agent.providers.epitaph import epitaph
from repave_agent.providers.single_flight import Work
from repave_agent.providers.ssh_pool.bootstrap import Machine, MachineUnfitError, TakenError, difference
from repave_agent.providers.ssh_pool.faults import Faults
from repave_agent.providers.ssh_pool.leases import Entry, Lease, State
from repave_agent.providers.ssh_pool.machines import Machines
from repave_agent.providers.ssh_pool.options import ResetOptions
from repave_agent.providers.ssh_pool.reset import Seen, reset_machine
from repave_protos.protocol.values import HostName, RegionName

log = structlog.get_logger()

TRIES_MAX = 3
"""So many machines are tried for one host before the launch has failed."""
COOL_SECONDS = 60.0
"""A machine that was handed back just now is used again only when there is no other: clients may still have
its address."""
LOOK_SECONDS = 15.0
"""One machine that does not answer must not hold up the listing of the others."""
NAMED_MAX = OTHERS_ASKED_MAX = 3
"""So many machines are asked before the agent says that it reaches none."""
TEND_SECONDS, TEND_SECONDS_MAX = 2.0, 15.0
"""From one try to end what remains on a machine to the next; it doubles."""
ENDED_LOG_LINES = 5
BEING_RESET = HostName("-")
"""Who has a machine on which no host is, while it is made anew."""
_OF_THE_MACHINE = (DoorError, MachineUnfitError)
"""Refusals that are the machine's fault, not the package's or its command's."""
HALF_MADE = "was never started: the agent ended while it made this host"


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
        self._unreachable_seconds, self._stop_grace_seconds = unreachable_seconds, stop_grace_seconds
        self._clock = clock
        self._launches, self._destructions = Work(), Work()
        self._inspector = Inspector()
        self._launch_slots, self._refresh_slots = asyncio.Semaphore(parallel), asyncio.Semaphore(parallel)
        self._faults = Faults()
        self._silent_since: dict[str, float] = {}
        self._answered_at: dict[str, float] = {}
        self._tends: dict[str, asyncio.Task[None]] = {}
        self._tend_after: dict[str, tuple[float, float]] = {}  # when again, and the pause after that
        self._ended: dict[HostName, str] = {}
        self._watches: dict[HostName, asyncio.Task[None]] = {}
        self._refreshes: dict[str, asyncio.Task[None]] = {}
        self._callbacks: list[Callable[[], None]] = []

    async def start(self) -> str:
        """Reads the inventory. Raises RefusedError with the field that is wrong."""
        if not (self._reset.command or self._reset.remote):
            raise RefusedError(
                "ssh_pool.reset: say how a machine is made anew: command (run here) or remote (run on it)"
            )
        return f"{await self._machines.check()} machines"

    async def room(self, hosts: int) -> str:
        listed, known = self._machines.listed(), self._leases.all()
        states = [known[name].state if name in known else "dirty" for name in listed]
        free = sum(state in ("dirty", "fresh") for state in states)
        if free >= hosts:
            return ""
        counts = f"{states.count('leased')} are leased, {states.count('quarantined')} quarantined"
        return f"{free} of {len(states)} machines are free ({counts}), {hosts} more are needed"

    async def troubles(self) -> list[str]:
        """The agent's key, machines that are not used, and what may still run on them."""
        await self._machines.check()
        listed, entries = self._machines.listed(), self._leases.all()
        bad = [entries[name] for name in listed if name in entries and entries[name].state == "quarantined"]
        lines = []
        if bad:
            some = f"note: {len(bad)} of {len(listed)} machines"
            count = "every machine" if len(bad) == len(listed) else some
            named = f"{', '.join(each.name for each in bad[:NAMED_MAX])}{', ...' if bad[NAMED_MAX:] else ''}"
            lines.append(
                f"{count} of the pool quarantined ({named}): {bad[0].reason}. Mend them, then: "
                f"repave pool return {self._region} NAME, or --all"
            )
        now = self._clock.monotonic()
        for name, since in self._silent_since.items():
            if now - since >= self._unreachable_seconds:
                lines.append(f"machine {name} can't be reached over SSH for {now - since:.0f} s")
        left = (self._left(each) for each in entries.values())
        return [*lines, *(f"{each.name} {each.left}" for each in left if each is not None)]

    def on_change(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    async def close(self) -> None:
        await self._launches.settle()
        await self._destructions.settle()
        tasks = [*self._watches.values(), *self._refreshes.values(), *self._tends.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._machines.close()

    # -------------------------------------------------------------------------------------------- launch

    async def launch(self, spec: HostSpec, package: Path) -> Host:
        if HOST_NAME.fullmatch(spec.name) is None:
            raise RefusedError(f"{spec.name!r} cannot name a host: use letters, digits, '.', '_', '-'")
        if spec.template.machine_image:
            raise RefusedError(
                f"host.image: hosts of provider {self.name} have no machine image: leave it out"
            )
        await self._destructions.settle(spec.name)
        host = await self._launches.join(spec.name, functools.partial(self._launch, spec, package))
        assert host is not None
        return host

    async def _launch(self, spec: HostSpec, package: Path) -> Host:
        if not self._installation():
            raise TransientError("no host is made before the agent has met its controller for the first time")
        kept = self._entry_of(spec.name)
        if kept is not None and kept.lease is not None:
            if kept.lease.is_started:
                return self._host(kept.lease, self._ended.get(spec.name, ""))
            await self._hand_back(kept.name, kept.lease)  # half-made by an agent that was killed
        await self._inspector.check(spec.digest, package)
        troubles: dict[str, str] = {}  # of machines that were tried
        async with self._launch_slots:
            while len(troubles) < TRIES_MAX:
                name = self._choose(spec, troubles.keys())
                if name is None:
                    break
                try:
                    return await self._make(name, spec, package)
                except _UselessError as error:
                    troubles[name] = str(error)
        if troubles:
            raise TransientError(f"no machine could be made a host: {'; '.join(troubles.values())}")
        raise OutOfCapacityError(self._shortage())

    def _choose(self, spec: HostSpec, tried: Collection[str]) -> str | None:
        """Leases a free machine on disk: one that is fresh, and whose address was not used just now. One on
        which this host could not be made before comes last."""
        now, listed = self._clock.wall(), self._machines.listed()
        with self._leases.change() as entries:
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
                lease = Lease(spec, self._owner(spec.name), listed[chosen.name].traffic_address, now)
                proof = chosen.proof if chosen.state == "fresh" else None
                entries[chosen.name] = replace(
                    chosen, state="leased", since=now, reason="", lease=lease, proof=proof, tried_by=spec.name
                )
                return chosen.name
        return None

    async def _make(self, name: str, spec: HostSpec, package: Path) -> Host:
        """Makes a chosen machine the host. Raises _UselessError when the machine can't be used, RefusedError
        when the fault is with the package or its command."""
        lease = self._lease(name)
        is_fresh = False
        try:
            await self._stop_refresh(name)
            machine = await self._freshen(name, lease.owner)
            is_fresh = True
            lease = await self._bootstrap(machine, name, lease, package)
        except TakenError as error:
            self._free(name, reason=f"leased by {error}")
            raise _UselessError(f"{name} is leased by {error}") from error
        except (ProviderError, TimeoutError) as error:
            is_seen = is_fresh or isinstance(error, UnreachableError)
            fault = await self._explained(name, error) if is_seen else error
            if is_fresh and isinstance(fault, RefusedError) and not isinstance(fault, _OF_THE_MACHINE):
                await self._hand_back(name, lease)
                raise
            await self._give_up(name, str(fault))
            if isinstance(fault, (IdentityError, BrokenError)):
                self._free(name, reason=str(fault))
                if isinstance(fault, IdentityError):
                    raise fault from error
                raise _UselessError(str(fault)) from error
            alike = self._suspect(name, str(fault))
            if alike and isinstance(fault, RefusedError):
                named = " and ".join(sorted([name, *alike])[:NAMED_MAX])
                raise RefusedError(f"{named} fail alike, so none is quarantined: {fault}") from error
            raise _UselessError(str(fault)) from error
        log.info("host.launched", group=spec.group, host=spec.name, machine=name, address=lease.address)
        self._works(name)
        self._watch(name, spec.name)
        return self._host(lease)

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
        lease = self._lease(name)
        try:
            if lease.may_run:
                await self._end(self._machines.machine(name), lease)
                lease = replace(lease, may_run=False)
        except (ProviderError, TimeoutError) as error:
            log.warning("host.left", host=lease.spec.name, machine=name, why=f"{why}; {error}")
        self._leases.put(name, remains=lease)

    async def _end(self, machine: Machine, lease: Lease) -> None:
        """Nothing of the host runs there afterwards, if it is there at all, and its lease is ended."""
        if await machine.holder() == lease.owner:
            await machine.stop(lease.spec.name, self._stop_grace_seconds)
            await machine.give(lease.owner)

    async def _freshen(self, name: str, owner: str) -> Machine:
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

    async def _claim(self, machine: Machine, entry: Entry, owner: str) -> Seen:
        """Leases it by its own word; what it shows before its reset."""
        holder = await machine.holder()
        if self._may_go(entry, holder):
            if entry.remains is not None and entry.remains.may_run:
                await machine.stop(entry.remains.spec.name, self._stop_grace_seconds)
            await machine.give(holder)
        await machine.take(owner)
        return await machine.proof(self._reset.marker)

    def _may_go(self, entry: Entry, holder: str) -> bool:
        """Whether nothing stands behind the lease that the machine holds."""
        if holder == self._owner(BEING_RESET) or (
            entry.remains is not None and holder == entry.remains.owner
        ):
            return True
        return entry.may_replace and holder.startswith(f"{self._tags()}/")

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

    async def _bootstrap(self, machine: Machine, name: str, lease: Lease, package: Path) -> Lease:
        environment = self._environment(lease)
        words = substitute(lease.spec.template.run, environment)
        contents = await machine.install(lease.spec.digest, package, lease.spec.released_at)
        self._leases.note_contents(lease.spec.name, contents)
        lease = replace(lease, may_run=True)
        self._leases.put(name, lease=lease)
        await machine.start(lease.spec, words, environment)
        lease = replace(lease, is_started=True)
        self._leases.put(name, lease=lease)
        return lease

    def _environment(self, lease: Lease) -> dict[str, str]:
        return environment_of(lease.spec, lease.address, self._region)

    # -------------------------------------------------------------------------------------------- list

    async def list_hosts(self) -> list[Host]:
        mine = [each for each in self._leases.all().values() if self._is_mine(each.lease)]
        known = [each for each in mine if each.lease and each.lease.spec.name not in self._launches.tasks]
        async with asyncio.TaskGroup() as group:
            looks = [group.create_task(self._look(each)) for each in known]
        self._tend()
        left = [self._left(each) for each in self._leases.all().values()]
        return [host for host in (*(look.result() for look in looks), *left) if host is not None]

    async def _look(self, entry: Entry) -> Host | None:
        lease = entry.lease
        assert lease is not None
        name = lease.spec.name
        if not lease.is_started:
            return self._host(lease, HALF_MADE)
        unseen = ""
        if name not in self._ended:
            ended, unseen = await self._how_it_ended(entry.name, name)
            if self._leases.get(entry.name).lease != lease:
                return None  # destroyed meanwhile
            if ended:
                self._ended[name] = ended
            else:
                self._watch(entry.name, name)
        return self._host(lease, self._ended.get(name, ""), unseen)

    async def _how_it_ended(self, machine: str, host: HostName) -> tuple[str, str]:
        """How it ended, or why nothing is seen of it: "" and "" while it runs, as far as can be known. One
        that can't be reached is believed for a while, and for as long as the agent reaches no other."""
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                there = self._machines.machine(machine)
                state = await there.state(host)
                self._answered(machine)
                return ("", "") if state == "running" else (await self._epitaph(there, host, state), "")
        except IdentityError as error:
            log.error("machine.not_reached", machine=machine, why=str(error))
            return "", ""
        except (ProviderError, TimeoutError) as error:
            now = self._clock.monotonic()
            silent = now - self._silent_since.setdefault(machine, now)
            if silent < self._unreachable_seconds or not await self._reaches_others(machine):
                return "", ""
            return "", f"its machine {machine} can't be reached for {silent:.0f} s: {error}"

    def _answered(self, machine: str) -> None:
        self._silent_since.pop(machine, None)
        self._answered_at[machine] = self._clock.monotonic()

    async def _reaches_others(self, silent: str) -> bool:
        """Whether the agent gets to other machines, so that the fault is with the silent one. In a pool of
        one that can't be known."""
        others = [name for name in self._machines.listed() if name != silent]
        recently = self._clock.monotonic() - self._unreachable_seconds
        if not others or any(self._answered_at.get(name, recently) > recently for name in others):
            return True
        asked = (self._asked(name) for name in others[:OTHERS_ASKED_MAX])
        return any(await asyncio.gather(*asked))

    async def _asked(self, name: str) -> bool:
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await self._machines.machine(name).holder()
        except (ProviderError, TimeoutError):
            return False
        self._answered(name)
        return True

    # ---------------------------------------------------------------------- what may run and counts as gone

    def _left(self, entry: Entry) -> Host | None:
        lease = entry.remains
        if lease is None or not lease.may_run or not self._is_mine(lease):
            return None
        why = f"may still run on {entry.name}, which is {entry.state}: {entry.reason}"
        return replace(self._host(lease, why), left=why)

    def _tend(self) -> None:
        """Ends what remains where that can be done now, beside everything else."""
        now = self._clock.monotonic()
        for name, entry in self._leases.all().items():
            due, pause = self._tend_after.get(name, (now, TEND_SECONDS))
            if self._left(entry) is None or name in self._tends or now < due or entry.lease is not None:
                continue
            self._tend_after[name] = (now + pause, min(2 * pause, TEND_SECONDS_MAX))
            self._tends[name] = asyncio.create_task(self._try_to_end(name), name=f"tend {name}")

    async def _try_to_end(self, name: str) -> None:
        try:
            await self._end_what_remains(name)
        except (ProviderError, TimeoutError) as error:
            log.info("host.still_left", machine=name, why=str(error))
        finally:
            self._tends.pop(name, None)

    async def _end_what_remains(self, name: str) -> None:
        """The machine is used again if that was all that was wrong with it."""
        entry = self._leases.get(name)
        lease = entry.remains
        if lease is None:
            return
        await self._end(self._machines.machine(name), lease)
        self._tend_after.pop(name, None)
        self._leases.put(name, remains=None)
        log.info("host.destroyed", group=lease.spec.group, host=lease.spec.name, machine=name)
        if entry.state == "quarantined" and entry.reason.startswith(_not_ended(lease.spec.name)):
            self._free(name)

    async def _epitaph(self, machine: Machine, host: HostName, state: str) -> str:
        if state == "absent":
            return "is gone from its machine, which was reset or emptied by something else"
        word, code, seconds = [*state.split(), "", ""][:3]
        if word == "rebooted":
            how = "ended when its machine rebooted"
        else:
            how = f"exited with code {code}" if word == "exited" else "ended, and its exit code is not known"
        return epitaph(how, float(seconds) if seconds else None, await machine.tail(host, ENDED_LOG_LINES))

    def _watch(self, machine: str, host: HostName) -> None:
        """Tells soon when the host ends by itself."""
        if host not in self._watches and host not in self._ended:
            task = asyncio.create_task(self._await_end(machine, host), name=f"watch {host}")
            self._watches[host] = task
            task.add_done_callback(lambda _: self._watches.pop(host, None))

    async def _await_end(self, machine: str, host: HostName) -> None:
        try:
            await self._machines.machine(machine).wait_until_ended(host)
        except (ProviderError, TimeoutError):
            return  # the next listing looks again
        if host not in self._destructions.tasks:
            for callback in self._callbacks:
                callback()

    # -------------------------------------------------------------------------------------------- destroy

    async def destroy(self, host: HostName) -> None:
        await self._launches.settle(host)
        entry = self._entry_of(host)
        if entry is None:
            left = [each for each in self._leases.all().values() if self._is_left(each, host)]
            for each in left:
                await self._end_what_remains(each.name)
        elif entry.lease is not None:
            work = functools.partial(self._destroy, entry.name, entry.lease)
            await self._destructions.join(host, work)

    def _is_left(self, entry: Entry, host: HostName) -> bool:
        left = self._left(entry)
        return left is not None and left.name == host

    async def _destroy(self, name: str, lease: Lease) -> None:
        await self._hand_back(name, lease)
        log.info("host.destroyed", group=lease.spec.group, host=lease.spec.name, machine=name)

    async def _hand_back(self, name: str, lease: Lease) -> None:
        """Ends the host; its machine is made anew beside everything else, or quarantined. Raises
        IdentityError: then nothing has changed."""
        host = lease.spec.name
        try:
            await self._end(self._machines.machine(name), lease)
        except IdentityError:
            raise
        except (ProviderError, TimeoutError) as error:
            remains = replace(lease, may_run=True)
            self._quarantine(name, f"{_not_ended(host)}: {error}", remains)
        else:
            self._free(name)
            self._refreshes[name] = asyncio.create_task(self._refresh(name), name=f"refresh {name}")
        finally:
            if watch := self._watches.pop(host, None):
                watch.cancel()
            self._ended.pop(host, None)
            self._leases.forget_contents(host)
            self._silent_since.pop(name, None)

    async def _refresh(self, name: str) -> None:
        """Makes a machine that was handed back anew, so that the next launch need not wait for it."""
        owner = self._owner(BEING_RESET)
        state: State = "dirty"
        reason = ""
        try:
            async with self._refresh_slots:
                machine = await self._freshen(name, owner)
                await machine.give(owner)
            state = "fresh"
        except TakenError as error:
            reason = f"leased by {error}"
        except IdentityError as error:
            reason = str(error)
        except (ProviderError, TimeoutError) as error:
            reason = str(error)
            state = "dirty" if self._alike(name, reason) else "quarantined"
        finally:
            self._refreshes.pop(name, None)
        with self._leases.change() as entries:
            if entries[name].state == "dirty":  # a launch that has chosen it meanwhile sees for itself
                entries[name] = replace(entries[name], state=state, reason=reason, since=self._clock.wall())
        log.info("machine.refreshed", machine=name, state=state, why=reason)

    async def _stop_refresh(self, name: str) -> None:
        """A launch that has chosen the machine goes on by itself, once what is under way has ended."""
        task = self._refreshes.get(name)
        if task is not None:
            await asyncio.gather(task, return_exceptions=True)

    # -------------------------------------------------------------------------------------------- ask

    async def execute(self, host: HostName, command: tuple[str, ...], timeout_seconds: float) -> int:
        name, lease = self._running(host)
        environment = self._environment(lease)
        words = substitute(command, environment)
        return await self._machines.machine(name).execute(
            lease.spec.digest, words, environment, timeout_seconds
        )

    async def log_tail(self, host: HostName, lines: int) -> str:
        entry = self._entry_of(host)
        return "" if entry is None else await self._machines.machine(entry.name).tail(host, lines)

    async def listeners(self, host: HostName) -> tuple[str, ...]:
        name, _ = self._running(host)
        return await self._machines.machine(name).listeners(host)

    async def inspect(self, host: HostName) -> str:
        name, lease = self._running(host)
        before = self._leases.contents(host)
        return difference(before, await self._machines.machine(name).contents(lease.spec.digest))

    def _running(self, host: HostName) -> tuple[str, Lease]:
        entry = self._entry_of(host)
        if entry is None or entry.lease is None or not entry.lease.is_started or host in self._ended:
            raise TransientError(f"host {host} does not run: nothing can be executed in it")
        return entry.name, entry.lease

    # -------------------------------------------------------------------------------------------- machines

    def _suspect(self, name: str, reason: str) -> list[str]:
        """Quarantines the machine, unless others fail alike: their names."""
        if alike := self._alike(name, reason):
            self._free(name, reason)
        else:
            self._quarantine(name, reason)
        return alike

    def _alike(self, name: str, reason: str) -> list[str]:
        """The machines that fail as this one does. None of them is quarantined for that."""
        listed = self._machines.listed().get(name)
        faults = self._faults.add(name, reason, (listed.address,) if listed else ())
        for fault in faults:
            entry = self._leases.get(fault.machine)
            if entry.state == "quarantined" and entry.reason == fault.text:
                self._free(fault.machine, fault.text)
        alike = [fault.machine for fault in faults]
        if alike:
            log.warning("machines.alike", machines=sorted([name, *alike]), why=reason)
        return alike

    def _works(self, name: str) -> None:
        """So what others showed alike was theirs after all."""
        for fault in self._faults.worked(name):
            entry = self._leases.get(fault.machine)
            if entry.state == "dirty" and entry.reason == fault.text:
                self._quarantine(fault.machine, fault.text)

    def _quarantine(self, name: str, reason: str, remains: Lease | None = None) -> None:
        log.warning("machine.quarantined", machine=name, why=reason)
        more = {"remains": remains} if remains is not None else {}
        self._change(name, "quarantined", reason, **more)

    def _free(self, name: str, reason: str = "") -> None:
        self._change(name, "dirty", reason)

    def _change(self, name: str, state: State, reason: str, **more: Lease) -> None:
        now = self._clock.wall()
        self._leases.put(name, state=state, reason=reason, since=now, lease=None, proof=None, **more)

    def _lease(self, name: str) -> Lease:
        lease = self._leases.get(name).lease
        assert lease is not None, "a chosen machine is leased"
        return lease

    def _entry_of(self, host: HostName) -> Entry | None:
        entries: Iterable[Entry] = self._leases.all().values()
        return next((each for each in entries if each.lease and each.lease.owner == self._owner(host)), None)

    def _is_mine(self, lease: Lease | None) -> bool:
        return lease is not None and lease.owner == self._owner(lease.spec.name)

    def _tags(self) -> str:
        return f"{self._installation()}/{self._region}"

    def _owner(self, host: HostName) -> str:
        """As a machine's own lease has it; "" while the installation is not known."""
        return f"{self._tags()}/{host}" if self._installation() else ""

    def _host(self, lease: Lease, ended: str = "", unseen: str = "") -> Host:
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
            age_seconds=max(0.0, self._clock.wall() - lease.taken_at),
        )

    def _shortage(self) -> str:
        entries = self._leases.all()
        states = [(entries.get(name) or Entry(name)) for name in self._machines.listed()]
        leased = sum(each.state == "leased" for each in states)
        bad = [each.name for each in states if each.state == "quarantined"]
        named = f" ({', '.join(bad[:3])}{', ...' if len(bad) > 3 else ''})" if bad else ""
        return (
            f"no machine of the pool is free: of {len(states)}, {leased} are leased and {len(bad)} "
            f"quarantined{named}. Add machines to the inventory, or look at these and do: "
            "repave-agent pool return NAME"
        )


class _UselessError(Exception):
    """This machine can't be made a host; another one may."""


def _not_ended(host: HostName) -> str:
    return f"{host} could not be ended on it"


def _is_warm(entry: Entry, now: float) -> bool:
    return now - entry.since < COOL_SECONDS and entry.since > 0
