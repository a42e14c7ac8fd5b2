"""Machines of a cloud as hosts: one for each name, found again by its marks when an answer was lost, waited
for until it runs, removed when it does not, and gone without a trace in the end.

No cloud is trusted to refuse a name that is taken: a host is looked for before it is made, and of two
machines with one name the older counts and the other goes. One listing is shared by all who wait.
"""

import asyncio
import functools
from pathlib import Path
from typing import Protocol

import structlog

from repave_agent.clients.faults import GoneError, LostError
from repave_agent.core.host_secrets import HostSecrets
from repave_agent.core.ports import (
    HOST_NAME,
    TAKEN_BACK,
    Clock,
    Host,
    HostSpec,
    OutOfCapacityError,
    ProviderError,
    RefusedError,
    TransientError,
)
from repave_agent.packages.inspection import Inspector
from repave_agent.providers.cloud.machine import Machine, MachineCloud, State
from repave_agent.providers.single_flight import Work
from repave_protos.protocol.values import GroupName, HostName

log = structlog.get_logger()

LOOK_SECONDS, LOOK_SECONDS_MAX = 1.0, 5.0
LOST_SECONDS = 20.0
"""For so long a machine is looked for whose creation was never answered."""
BUILD_SECONDS = 1200.0
ADDRESS_SECONDS = 60.0
"""A machine that runs gets its address within moments, or not at all."""
DESTROY_SECONDS = 300.0
STAYS_MAX = 3
"""So often a machine may be seen that does not leave until it is deleted again: a deletion may fail late."""
MISSES_MAX = 5
"""So many listings may leave a machine out until it is asked for by its id."""
OUTPUT_CHARACTERS_MAX = 16_384
HALF_MADE = "is still being built: the agent ended while it made this host"


class Preparing(Protocol):
    async def __call__(self) -> object:
        """Prepares what every host needs. Raises ProviderError."""


class Lifecycle:
    """`prepare` comes before each launch. Of a cloud without an installation there are no hosts yet."""

    def __init__(self, cloud: MachineCloud, prepare: Preparing, clock: Clock) -> None:
        self._cloud, self._prepare, self._clock = cloud, prepare, clock
        self._launches, self._destructions = Work(), Work()
        self._launching: dict[HostName, GroupName] = {}
        self._inspector = Inspector()
        self._listing: asyncio.Task[list[Machine]] | None = None

    async def settle(self) -> None:
        """Waits until nothing is under way."""
        await self._launches.settle()
        await self._destructions.settle()

    # -------------------------------------------------------------------------------------------- launch

    async def launch(self, spec: HostSpec, package: Path, secrets: HostSecrets = ()) -> Host:
        if secrets:
            raise RefusedError(
                "host.secrets: all that a server is told is in its user data, which every process on it can "
                "read: let it fetch its secrets itself, as docs/secrets.md shows"
            )
        if HOST_NAME.fullmatch(spec.name) is None:
            raise RefusedError(f"{spec.name!r} cannot name a host: use letters, digits, '.', '_', '-'")
        await self._destructions.settle(spec.name)
        host = await self._launches.join(spec.name, functools.partial(self._launch, spec, package))
        assert host is not None
        return host

    async def _launch(self, spec: HostSpec, package: Path) -> Host:
        await self._inspector.check(spec.digest, package)
        await self._prepare()
        self._launching[spec.name] = spec.group
        try:
            return await self._create_and_wait(spec, package)
        except (ProviderError, asyncio.CancelledError):
            del self._launching[spec.name]
            await self._cloud.tidy(spec.group, self._launching.values)
            raise
        finally:
            self._launching.pop(spec.name, None)

    async def _create_and_wait(self, spec: HostSpec, package: Path) -> Host:
        there = await self.machine_of(spec.name)
        machine = there.id if there is not None else await self._create(spec, package)
        try:
            ready = await self._wait_until_running(spec.name, machine)
        except (ProviderError, asyncio.CancelledError):
            await self._try_to_delete(spec.name, machine)
            raise
        log.info("host.launched", group=spec.group, host=spec.name, machine=machine)
        return self._host(ready)

    async def _create(self, spec: HostSpec, package: Path) -> str:
        try:
            return await self._cloud.create(spec, package)
        except LostError as lost:
            return await self._find_again(spec.name, lost)

    async def _find_again(self, name: HostName, lost: LostError) -> str:
        """The machine whose creation was not answered, if it was made after all."""
        deadline = self._clock.monotonic() + LOST_SECONDS
        while self._clock.monotonic() < deadline:
            machine = await self.machine_of(name)
            if machine is not None:
                return machine.id
            await self._clock.sleep(LOOK_SECONDS)
        raise lost

    async def _wait_until_running(self, name: HostName, machine: str) -> Machine:
        """Waits until it runs with an address. Raises ProviderError when it never will."""
        deadline, pause, misses = self._clock.monotonic() + BUILD_SECONDS, LOOK_SECONDS, 0
        running_at = float("inf")
        while self._clock.monotonic() < deadline:
            try:
                seen = next((each for each in await self._present() if each.id == machine), None)
                misses = misses + 1 if seen is None else 0
                if misses == MISSES_MAX:
                    await self._cloud.look(machine)
                    misses = 0
            except GoneError as gone:
                raise TransientError(
                    f"the {self._cloud.noun} of {name} was deleted, and not by repave"
                ) from gone
            except TransientError:
                seen = None  # the cloud does not answer now; the machine is built all the same
            if seen is not None and seen.state is State.ENDED:
                raise self._failure(name, seen)
            if seen is not None and seen.state is State.RUNNING:
                if seen.address:
                    await self._cloud.accept(seen)
                    return seen
                running_at = min(running_at, self._clock.monotonic())
                if self._clock.monotonic() >= running_at + ADDRESS_SECONDS:
                    raise TransientError(
                        f"the {self._cloud.noun} of {name} runs, "
                        f"without an address for {ADDRESS_SECONDS:g} s: "
                        f"has the network {self._cloud.network} a subnet with free addresses?"
                    )
            await self._clock.sleep(pause)
            pause = min(pause * 1.3, LOOK_SECONDS_MAX)
        raise TransientError(f"the {self._cloud.noun} of {name} does not run after {BUILD_SECONDS:g} s")

    def _failure(self, name: HostName, machine: Machine) -> ProviderError:
        taken = f"; {TAKEN_BACK}" if machine.is_spot else ""
        text = f"the {self._cloud.noun} of {name} {machine.ended}{taken}"
        if machine.is_full:
            return OutOfCapacityError(f"{text}. Raise the quota, or add capacity to the cloud.")
        return TransientError(text)

    # -------------------------------------------------------------------------------------------- list

    async def list_hosts(self) -> list[Host]:
        machines = await self._oldest()
        return [self._host(each) for name, each in machines.items() if name not in self._launches.tasks]

    async def machine_of(self, host: HostName) -> Machine | None:
        return (await self._oldest()).get(host)

    async def _oldest(self) -> dict[HostName, Machine]:
        """By host; of two with one name the older one, and the other goes."""
        chosen: dict[HostName, Machine] = {}
        for machine in sorted(await self._present(), key=lambda each: (each.made_at, each.id)):
            name = machine.marks.host
            if name in chosen:
                log.warning("host.twice", host=name, machine=machine.id)
                await self._try_to_delete(name, machine.id)
            else:
                chosen[name] = machine
        return chosen

    async def _present(self) -> list[Machine]:
        return [each for each in await self._everything() if each.state is not State.LEAVING]

    async def _everything(self) -> list[Machine]:
        if self._listing is None or self._listing.done():
            self._listing = asyncio.create_task(self._cloud.machines(), name="list machines")
        return await asyncio.shield(self._listing)

    def _host(self, machine: Machine) -> Host:
        marks = machine.marks
        how = HALF_MADE if machine.state is State.BUILDING else machine.ended
        taken = f"; {TAKEN_BACK}" if machine.is_spot and machine.state is State.ENDED else ""
        return Host(
            name=marks.host,
            group=marks.group,
            application=marks.application,
            digest=marks.digest,
            address=machine.address,
            port=marks.port,
            launched_at=machine.made_at,
            is_running=not how,
            ended=f"its {self._cloud.noun} {how}{taken}" if how else "",
            age_seconds=max(0.0, self._clock.wall() - machine.made_at),
            is_spot=machine.is_spot,
            public_address=machine.public_address,
        )

    # -------------------------------------------------------------------------------------------- destroy

    async def destroy(self, host: HostName) -> None:
        await self._launches.settle(host)
        await self._destructions.join(host, functools.partial(self._destroy, host))

    async def _destroy(self, host: HostName) -> None:
        machines = [each for each in await self._everything() if each.marks.host == host]
        for machine in machines:
            await self._cloud.delete(machine.id)
        for machine in machines:
            await self._wait_until_gone(machine)
            await self._cloud.clear(machine)
            log.info("host.destroyed", group=machine.marks.group, host=host)
        for group in {each.marks.group for each in machines}:
            await self._cloud.tidy(group, self._launching.values)

    async def _wait_until_gone(self, machine: Machine) -> None:
        deadline, pause, stays = self._clock.monotonic() + DESTROY_SECONDS, LOOK_SECONDS, 0
        while self._clock.monotonic() < deadline:
            try:
                everything = await self._everything()
            except TransientError:
                everything = [machine]
            seen = next((each for each in everything if each.id == machine.id), None)
            if seen is None:
                return
            stays = 0 if seen.state is State.LEAVING else stays + 1
            if seen.state is State.ENDED or stays == STAYS_MAX:
                await self._cloud.delete(machine.id)
                stays = 0
            await self._clock.sleep(pause)
            pause = min(pause * 1.3, LOOK_SECONDS_MAX)
        raise TransientError(
            f"the {self._cloud.noun} of {machine.marks.host} is still there {DESTROY_SECONDS:g} s after its "
            "deletion"
        )

    async def _try_to_delete(self, host: HostName, machine: str) -> None:
        """For where another error is raised: a machine that stays is found by the next listing."""
        try:
            await self._cloud.delete(machine)
        except ProviderError as error:
            log.warning("host.not_deleted", host=host, machine=machine, because=str(error))

    # -------------------------------------------------------------------------------------------- ask

    async def log_tail(self, host: HostName, lines: int) -> str:
        machine = await self.machine_of(host) if lines > 0 else None
        if machine is None:
            return ""
        printed = await self._cloud.console(machine.id, lines)
        return "\n".join(printed.splitlines()[-lines:])[-OUTPUT_CHARACTERS_MAX:]

    async def inspect(self, host: HostName) -> str:
        """What a machine's files are can't be seen from outside."""
        if await self.machine_of(host) is None:
            raise TransientError(f"host {host} does not run: it can't be looked at")
        return ""
