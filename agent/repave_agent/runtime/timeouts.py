"""Gives every action on provider and balancer an end: one that does not answer in time has failed, and is
tried again like any other. What it did after all shows at the next look. None begins while this agent may not
act (`may_act`; tenancy.py), and that is asked in the moment of the effect."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from repave_agent.core.host_secrets import HostSecrets
from repave_agent.core.ports import (
    Balancer,
    BalancerAwaitedError,
    BalancerError,
    BalancerView,
    Frontend,
    Host,
    HostSpec,
    Provider,
    Route,
    Structure,
    TransientError,
    WayIn,
)
from repave_protos.protocol.queries import FindRoom
from repave_protos.protocol.values import HostName

LAUNCH_SECONDS = 1800.0  # a machine that is imaged anew takes its time
DESTROY_SECONDS = 600.0
LIST_SECONDS = 60.0
LOG_SECONDS = 10.0
INSPECT_SECONDS = 120.0
ROOM_SECONDS = 10.0
ARRANGE_SECONDS = 60.0
WAY_IN_SECONDS = 10.0
ROUTE_SECONDS = 15.0
OBSERVE_SECONDS = 10.0


Check = Callable[[], None]
"""Raises NotActingError."""


def _always() -> None:
    """No other agent is known."""


class ProviderWithTimeouts:
    """Implements ports.Provider over another one."""

    def __init__(self, provider: Provider, check: Check = _always) -> None:
        self._provider = provider
        self._check = check
        self.name = provider.name

    async def launch(self, spec: HostSpec, package: Path, secrets: HostSecrets = ()) -> Host:
        """A provider of another package may take no secrets; then it is handed none."""
        self._check()
        async with _within(LAUNCH_SECONDS, f"launch of {spec.name}", TransientError):
            if not secrets:
                return await self._provider.launch(spec, package)
            return await self._provider.launch(spec, package, secrets)

    async def list_hosts(self) -> list[Host]:
        self._check()  # some end what is left over by the way
        async with _within(LIST_SECONDS, "listing of hosts", TransientError):
            return await self._provider.list_hosts()

    async def destroy(self, host: HostName) -> None:
        self._check()
        async with _within(DESTROY_SECONDS, f"end of {host}", TransientError):
            await self._provider.destroy(host)

    async def execute(self, host: HostName, command: tuple[str, ...], timeout_seconds: float) -> int:
        self._check()
        return await self._provider.execute(host, command, timeout_seconds)

    async def log_tail(self, host: HostName, lines: int) -> str:
        async with _within(LOG_SECONDS, f"log of {host}", TransientError):
            return await self._provider.log_tail(host, lines)

    async def inspect(self, host: HostName) -> str:
        async with _within(INSPECT_SECONDS, f"inspection of {host}", TransientError):
            return await self._provider.inspect(host)

    async def room(self, asked: FindRoom) -> str:
        async with _within(ROOM_SECONDS, "question for room", TransientError):
            return await self._provider.room(asked)

    def on_change(self, callback: Callable[[], None]) -> None:
        self._provider.on_change(callback)

    async def close(self) -> None:
        await self._provider.close()


class BalancerWithTimeouts:
    """Implements ports.Balancer over another one."""

    def __init__(self, balancer: Balancer, check: Check = _always) -> None:
        self._balancer = balancer
        self._check = check
        self.name = balancer.name

    @property
    def traffic_address(self) -> str:
        """Known once the balancer has started, where it is not said by settings."""
        return self._balancer.traffic_address

    async def start(self) -> None:
        self._check()
        async with _within(ARRANGE_SECONDS, "start of the balancer", BalancerAwaitedError):
            await self._balancer.start()

    async def arrange(self, structure: Structure) -> None:
        self._check()
        async with _within(ARRANGE_SECONDS, "change of the balancer's structure", BalancerError):
            await self._balancer.arrange(structure)

    async def way_in(self, frontend: Frontend) -> WayIn:
        async with _within(WAY_IN_SECONDS, "question for a way in", BalancerError):
            return await self._balancer.way_in(frontend)

    async def route(self, routes: tuple[Route, ...]) -> None:
        self._check()
        async with _within(ROUTE_SECONDS, "switch of traffic", BalancerError):
            await self._balancer.route(routes)

    async def observe(self) -> BalancerView:
        self._check()  # it starts a balancer that is dead
        async with _within(OBSERVE_SECONDS, "look at the balancer", BalancerError):
            return await self._balancer.observe()

    def on_change(self, callback: Callable[[], None]) -> None:
        self._balancer.on_change(callback)

    async def close(self) -> None:
        await self._balancer.close()


@asynccontextmanager
async def _within(seconds: float, what: str, error: type[Exception]) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as late:
        raise error(f"{what}: no answer within {seconds:g} s; it is tried again") from late


async def happens(event: asyncio.Event, within_seconds: float) -> None:
    """Waits for the event, not longer than that."""
    if within_seconds <= 0 or event.is_set():
        return
    try:
        async with asyncio.timeout(within_seconds):
            await event.wait()
    except TimeoutError:
        pass
