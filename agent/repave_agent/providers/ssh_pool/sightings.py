"""What is seen of the hosts on machines of the pool: whether they run, how they ended, and what to believe of
a machine that does not answer."""

import asyncio
from collections.abc import Callable

import structlog

from repave_agent.clients.ssh_identity import IdentityError
from repave_agent.core.ports import Clock, Host, ProviderError
from repave_agent.providers.epitaph import epitaph
from repave_agent.providers.ssh_pool.bootstrap import Machine
from repave_agent.providers.ssh_pool.leases import Entry, Lease
from repave_agent.providers.ssh_pool.ledger import Ledger
from repave_agent.providers.ssh_pool.machines import Machines
from repave_protos.protocol.values import HostName

log = structlog.get_logger()

LOOK_SECONDS = 15.0
"""One machine that does not answer must not hold up the listing of the others."""
OTHERS_ASKED_MAX = 3
"""So many machines are asked before the agent says that it reaches none."""
ENDED_LOG_LINES = 5
HALF_MADE = "was never started: the agent ended while it made this host"


class Sightings:
    """One for a provider. `callbacks` are called soon after a host has ended by itself, unless it
    `is_leaving`."""

    def __init__(
        self,
        ledger: Ledger,
        machines: Machines,
        is_leaving: Callable[[HostName], bool],
        *,
        clock: Clock,
        unreachable_seconds: float,
    ) -> None:
        self._ledger, self._machines, self._leases = ledger, machines, machines.leases
        self._is_leaving, self._clock = is_leaving, clock
        self._unreachable_seconds = unreachable_seconds
        self._silent_since: dict[str, float] = {}
        self._answered_at: dict[str, float] = {}
        self._ended: dict[HostName, str] = {}
        self._exit_codes: dict[HostName, int] = {}
        self._watches: dict[HostName, asyncio.Task[None]] = {}
        self.callbacks: list[Callable[[], None]] = []

    def ended(self, host: HostName) -> str:
        """How it ended, as far as that was seen; "" before."""
        return self._ended.get(host, "")

    def silent(self) -> list[str]:
        """For people: machines that have not answered for too long."""
        now = self._clock.monotonic()
        return [
            f"machine {name} can't be reached over SSH for {now - since:.0f} s"
            for name, since in self._silent_since.items()
            if now - since >= self._unreachable_seconds
        ]

    def forget(self, machine: str, host: HostName) -> None:
        """The host was ended there."""
        if watch := self._watches.pop(host, None):
            watch.cancel()
        self._ended.pop(host, None)
        self._exit_codes.pop(host, None)
        self._silent_since.pop(machine, None)

    async def close(self) -> None:
        tasks = list(self._watches.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def look(self, entry: Entry) -> Host | None:
        lease = entry.lease
        assert lease is not None
        name = lease.spec.name
        if not lease.is_started:
            return self._ledger.host(lease, HALF_MADE)
        unseen = ""
        if name not in self._ended:
            ended, unseen = await self._how_it_ended(entry.name, name)
            if self._leases.get(entry.name).lease != lease:
                return None  # destroyed meanwhile
            if ended:
                self._ended[name] = ended
            else:
                self.watch(entry.name, name)
        return self.host(lease, unseen)

    def host(self, lease: Lease, unseen: str = "") -> Host:
        """As it is known by now."""
        name = lease.spec.name
        return self._ledger.host(lease, self.ended(name), unseen, self._exit_codes.get(name))

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

    async def _epitaph(self, machine: Machine, host: HostName, state: str) -> str:
        if state == "absent":
            return "is gone from its machine, which was reset or emptied by something else"
        word, code, seconds = [*state.split(), "", ""][:3]
        if word == "rebooted":
            how = "ended when its machine rebooted"
        else:
            how = f"exited with code {code}" if word == "exited" else "ended, and its exit code is not known"
            if word == "exited":
                self._exit_codes[host] = int(code)
        return epitaph(how, float(seconds) if seconds else None, await machine.tail(host, ENDED_LOG_LINES))

    def watch(self, machine: str, host: HostName) -> None:
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
        if not self._is_leaving(host):
            for callback in self.callbacks:
                callback()
