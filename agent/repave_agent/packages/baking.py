"""Machine images that are baked from packages in this region: which are under way, how far they are, and
which are there. What a cloud must do for one is its provider's; one that can't says so.
"""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import structlog

from repave_agent.core.ports import Clock, PackageError, Packages, Provider, ProviderError, RefusedError
from repave_protos.protocol.queries import Bake, BakedImage, BakeOrder
from repave_protos.protocol.values import Digest, Notice, short_digest

log = structlog.get_logger()

BAKES_REMEMBERED_MAX = 100


@runtime_checkable
class BakingProvider(Protocol):
    """A provider that can make machine images."""

    async def bake(self, order: BakeOrder, package: Path, report: Callable[[str], None]) -> BakedImage:
        """Makes the image; calls `report` at each step; leaves nothing else behind. Raises ProviderError."""

    async def baked(self) -> list[BakedImage]:
        """All that were made of packages, by whichever region of the project. Raises ProviderError."""

    async def remove_old_images(self, needed: Collection[Digest]) -> None:
        """Of those that this region made, by the rule of its settings; those of packages in `needed` stay."""


@dataclass(slots=True)
class Bakery:
    """One for an agent. `needed`: packages of what is released or runs here."""

    provider: Provider
    packages: Packages
    notice: Callable[[Notice], None]
    clock: Clock
    needed: Callable[[], Collection[Digest]] = frozenset
    bakes: dict[Digest, Bake] = field(default_factory=dict)
    tasks: dict[Digest, asyncio.Task[None]] = field(default_factory=dict)

    def begin(self, order: BakeOrder) -> Bake:
        """Returns at once; asking again while it is under way tells how far it is. Raises RefusedError."""
        self._baking()
        if order.digest not in self.tasks:
            while len(self.bakes) >= BAKES_REMEMBERED_MAX:
                del self.bakes[next(iter(self.bakes))]
            self.bakes[order.digest] = Bake(order.digest, order.name, "it begins", self.clock.wall())
            task = asyncio.create_task(self._bake(order), name=f"bake {short_digest(order.digest)}")
            self.tasks[order.digest] = task
            task.add_done_callback(lambda _: self.tasks.pop(order.digest))
        return self.bakes[order.digest]

    async def there(self) -> tuple[list[BakedImage], list[Bake]]:
        """Images that are there, and what is under way or failed. Raises ProviderError."""
        provider = self.provider
        images = await provider.baked() if isinstance(provider, BakingProvider) else []
        return images, [bake for bake in self.bakes.values() if not bake.image]

    async def close(self) -> None:
        """Those under way end, and leave nothing."""
        tasks = list(self.tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _baking(self) -> BakingProvider:
        if not isinstance(self.provider, BakingProvider):
            raise RefusedError(
                f"provider {self.provider.name} makes no machine images: hosts there get the package itself"
            )
        return self.provider

    async def _bake(self, order: BakeOrder) -> None:
        def report(step: str) -> None:
            log.info("image.bake", digest=order.digest, step=step)
            self._note(order, step=step)

        try:
            report("the package is fetched")
            package = await self.packages.fetch(order.digest)
            made = await self._baking().bake(order, package, report)
        except (ProviderError, PackageError) as error:
            log.warning("image.not_baked", digest=order.digest, because=str(error))
            self.notice(Notice("image.bake_failed", f"{order.name}: {error}"))
            self._note(order, error=str(error))
        except asyncio.CancelledError:
            self._note(order, error="the agent was stopped")
            raise
        else:
            log.info("image.baked", digest=order.digest, image=made.image, name=made.name)
            self.notice(
                Notice("image.baked", f"{made.name} is {made.image}, of package {short_digest(order.digest)}")
            )
            self._note(order, step="done", image=made.image, name=made.name)
            await self._baking().remove_old_images({*self.needed(), order.digest})

    def _note(self, order: BakeOrder, **changes: Any) -> None:
        self.bakes[order.digest] = replace(self.bakes[order.digest], **changes)
