"""What providers of clouds have in common: when they are ready, their hosts, their baked images, their end.

How a machine becomes a host and goes is lifecycle.py's, how one becomes an image oven.py's; which settings
can work, and whether there is room for more, is each cloud's own.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path

from repave_agent.core.host_secrets import HostSecrets
from repave_agent.core.ports import Clock, Host, HostSpec, MisfitError, RefusedError, TransientError
from repave_agent.packages.server import Depot
from repave_agent.providers.cloud.leaks import Leaks, PartsCloud
from repave_agent.providers.cloud.lifecycle import Lifecycle
from repave_agent.providers.cloud.machine import MachineCloud
from repave_agent.providers.cloud.oven import Oven
from repave_protos.protocol.queries import BakedImage, BakeOrder
from repave_protos.protocol.values import Digest, HostName


class CloudProvider(ABC):
    """Implements what ports.Provider says of hosts. `called`: what people call this cloud's machines.
    `installation` is asked again at every call."""

    def __init__(
        self,
        called: str,
        cloud: MachineCloud,
        oven: Oven,
        installation: Callable[[], str],
        depot: Depot,
        clock: Clock,
        parts: PartsCloud | None = None,
    ) -> None:
        self._called, self._installation, self._depot, self._oven = called, installation, depot, oven
        self._leaks = Leaks(parts, clock) if parts is not None else None
        self._hosts = Lifecycle(cloud, self._prepare, clock)
        self._place = ""
        self._sweep: asyncio.Task[None] | None = None

    @abstractmethod
    async def _begin(self) -> str:
        """Looks whether there is what the settings name; returns where hosts will be, in a few words. Raises
        ProviderError with all that is wrong."""

    @abstractmethod
    async def _base(self) -> str:
        """The image of which hosts are made now, as the cloud names it alone. Raises ProviderError."""

    @abstractmethod
    async def _disconnect(self) -> None:
        """Nothing is asked of the cloud any more."""

    async def start(self) -> str:
        """Begins once, and serves packages. Raises ProviderError with all that is wrong."""
        await self._depot.start()
        if not self._place:
            self._place = await self._begin()
            await self._oven.tidy()
        return self._place

    async def _prepare(self) -> None:
        if not self._installation():
            raise TransientError("no host is made before the agent has met its controller for the first time")
        await self.start()

    @staticmethod
    async def _check_image(named: str, find: Callable[[str], Awaitable[object]]) -> None:
        """`find` raises RefusedError where there is none. Raises MisfitError."""
        try:
            if named:
                await find(named)
        except RefusedError as error:
            raise MisfitError(f"host.image: {error}") from error

    def begin_sweep(self) -> None:
        """At every look for troubles, which does not wait for it."""
        if self._sweep is None or self._sweep.done():
            self._sweep = asyncio.create_task(self.sweep(), name="sweep")

    async def sweep(self) -> None:
        """Removes what is left of machines that are gone."""
        if not self._installation():
            return
        await self._oven.tidy_again()
        if self._leaks is not None:
            await self._leaks.sweep()

    def on_change(self, callback: Callable[[], None]) -> None:  # noqa: B027  # nothing to do
        """Clouds don't tell; the listing does."""

    async def close(self) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
            await asyncio.gather(self._sweep, return_exceptions=True)
        await self._hosts.settle()
        await self._depot.close()
        await self._disconnect()

    # -------------------------------------------------------------------------------------------- hosts

    async def launch(self, spec: HostSpec, package: Path, secrets: HostSecrets = ()) -> Host:
        return await self._hosts.launch(spec, package, secrets)

    async def list_hosts(self) -> list[Host]:
        return await self._hosts.list_hosts()

    async def destroy(self, host: HostName) -> None:
        await self._hosts.destroy(host)

    async def execute(self, host: HostName, command: tuple[str, ...], timeout_seconds: float) -> int:
        raise RefusedError(
            f"health.command: nothing can be run inside {self._called}: use health.http or health.tcp"
        )

    async def log_tail(self, host: HostName, lines: int) -> str:
        return await self._hosts.log_tail(host, lines)

    async def inspect(self, host: HostName) -> str:
        return await self._hosts.inspect(host)

    # -------------------------------------------------------------------------------------------- images

    async def bake(self, order: BakeOrder, package: Path, report: Callable[[str], None]) -> BakedImage:
        """Implements BakingProvider, as those that follow."""
        await self._prepare()
        return await self._oven.bake(order, package, await self._base(), report)

    async def baked(self) -> list[BakedImage]:
        await self.start()
        try:
            base = await self._base()
        except RefusedError:  # what is gone keeps no image from being listed
            base = ""
        return await self._oven.images(base)

    async def remove_old_images(self, needed: Collection[Digest]) -> None:
        await self._oven.remove_old(needed)
