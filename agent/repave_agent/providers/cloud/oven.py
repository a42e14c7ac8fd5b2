"""Bakes packages into machine images on any cloud: a machine of the base image fetches and checks one, is
stopped, and its disk becomes an image that says what it was made from. Hosts of that package start from it.

No answer is trusted to come: machine and image are looked for by their marks when one was lost, and what an
agent left that was killed goes when the next one starts or bakes.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path

import structlog

from repave_agent.clients.faults import GoneError, LostError
from repave_agent.core.ports import Clock, ProviderError, RefusedError, TransientError
from repave_agent.packages.server import Depot
from repave_agent.providers.cloud.baking import (
    BakeMarks,
    BakingCloud,
    BakingMachine,
    CloudImage,
    ImageState,
    Stage,
    fitted,
)
from repave_agent.providers.cloud.first_boot import BAKED, NOT_BAKED, bake_data
from repave_agent.providers.cloud.keeping import outlived
from repave_agent.settings import ImagesSettings
from repave_protos.protocol.queries import BakedImage, BakeOrder
from repave_protos.protocol.values import Digest, RegionName

log = structlog.get_logger()

LOOK_SECONDS = 2.0
LOST_SECONDS = 20.0
"""For so long a machine or an image is looked for whose creation was never answered."""
BUILD_SECONDS = 1200.0
UNPACK_SECONDS = 1200.0
STOP_SECONDS = 300.0
IMAGE_SECONDS = 3600.0
GONE_SECONDS = 300.0
CONSOLE_LINES, CONSOLE_LINES_SHOWN = 100, 20
MISSES_MAX = 30
"""So many listings in a row may leave out what was made."""
STAYS_MAX = 10
"""So often a machine may be seen that does not stop or leave until it is asked again."""
AGAIN_SECONDS = 600.0
KNOWN_SECONDS = 60.0
"""So long it is remembered whether there is an image of a package."""


class BakeFailedError(TransientError):
    """The cloud answered, and the bake came to nothing."""


class Oven:
    """One for a provider. `seal`: shell that makes the machine's disk fit to be another machine's."""

    def __init__(
        self,
        cloud: BakingCloud,
        depot: Depot,
        region: RegionName,
        installation: Callable[[], str],
        clock: Clock,
        *,
        prepare: str = "",
        seal: str = "",
        kept: ImagesSettings | None = None,
    ) -> None:
        self._cloud, self._depot, self._clock = cloud, depot, clock
        self._region, self._installation = region, installation
        self._prepare, self._seal, self._kept = prepare, seal, kept or ImagesSettings()
        self._known: dict[tuple[Digest, str], tuple[float, str]] = {}  # of a package on a base
        self._asking = asyncio.Lock()
        self._under_way: set[Digest] = set()
        self._has_left, self._again_at = False, float("-inf")

    # -------------------------------------------------------------------------------------------- images

    async def images(self, base: str) -> list[BakedImage]:
        """Those that are whole, newest first. `base`: of which hosts are made now."""
        whole = [each for each in await self._cloud.images() if each.state is ImageState.WHOLE]
        whole.sort(key=lambda each: (each.made_at, each.marks.at, each.id), reverse=True)
        return [_baked(each, base) for each in whole]

    async def image_for(self, digest: Digest, base: str) -> str:
        """The id of the newest one with this package and base; "" when there is none. Launches that ask at
        the same time share one answer."""
        async with self._asking:
            asked_at, image = self._known.get((digest, base), (0.0, ""))
            if not asked_at or self._clock.monotonic() - asked_at > KNOWN_SECONDS:
                images = await self.images(base)
                image = next((each.image for each in images if each.digest == digest and each.is_current), "")
                self._known[digest, base] = (self._clock.monotonic(), image)
            return image

    async def from_image(self, digest: Digest, base: str, make: Callable[[str], Awaitable[str]]) -> str:
        """What `make` gives for the image of the package; for the base where there is none, or it is gone."""
        baked = await self.image_for(digest, base)
        if baked:
            try:
                return await make(baked)
            except (RefusedError, GoneError) as error:
                log.warning("host.image_refused", image=baked, digest=digest, because=str(error))
                self.forget()
        return await make(base)

    def forget(self) -> None:
        """An image that was known may be gone."""
        self._known.clear()

    async def remove_old(self, needed: Collection[Digest]) -> None:
        """Removes images by the rule of the settings. `needed`: packages whose images stay."""
        try:
            there = await self._cloud.images()
        except ProviderError as error:
            log.warning("image.not_removed", because=str(error))
            return
        for image in outlived(there, needed, self._kept, self._clock.wall()):
            log.info("image.removed", image=image.id, name=image.marks.name, digest=image.marks.digest)
            await self._delete_image(image.id)
        self.forget()

    # -------------------------------------------------------------------------------------------- baking

    async def bake(
        self, order: BakeOrder, package: Path, base: str, report: Callable[[str], None]
    ) -> BakedImage:
        """Raises ProviderError; then there is neither machine nor image."""
        marks = BakeMarks(
            self._installation(),
            self._region,
            order.digest,
            base,
            order.name,
            order.by,
            int(self._clock.wall()),
        )
        url = self._depot.offer(order.digest, package)
        script = bake_data(order.digest, url, order.check, self._prepare, self._seal)
        await self.tidy()
        self._under_way.add(order.digest)
        is_made = False
        try:
            report(f"the {self._cloud.noun} is made")
            made = await self._bake(marks, script, report)
            is_made = True
            return made
        finally:
            self._under_way.discard(order.digest)
            self.forget()
            if not is_made:
                await asyncio.shield(self.tidy())

    async def _bake(self, marks: BakeMarks, script: str, report: Callable[[str], None]) -> BakedImage:
        noun, machine = self._cloud.noun, await self._machine(marks, script)
        try:
            report(f"the {noun} boots")
            await self._wait_for(machine, Stage.RUNNING, BUILD_SECONDS)
            report(f"the package is unpacked and checked on the {noun}")
            await self._wait_until_unpacked(machine, marks.digest)
            report(f"the {noun} is stopped")
            await self._stop(machine)
            report("its disk becomes an image")
            return await self._image(machine, marks)
        finally:
            report(f"the {noun} is removed")
            await asyncio.shield(self._remove(machine))

    async def tidy(self) -> None:
        """Removes machines and half-made images that an agent left which was killed; if not now, then when
        the next one starts. Images that are whole stay: they are what was ordered."""
        self._has_left = False
        before = frozenset(self._under_way)  # such an image may be whole by the time its listing is read
        try:
            for image in await self._cloud.images():
                is_left = image.is_ours and image.marks.digest not in before | self._under_way
                if is_left and image.state is not ImageState.WHOLE:
                    log.warning("bake.left", image=image.id, name=image.marks.name)
                    await self._delete_image(image.id)
            for machine in await self._cloud.machines():
                if machine.digest not in self._under_way and machine.stage is not Stage.GONE:
                    log.warning("bake.left", machine=machine.id)
                    await self._remove(machine.id)
            await self._cloud.sweep()
        except ProviderError as error:
            self._has_left = True
            log.warning("bake.not_tidied", because=str(error))

    async def tidy_again(self) -> None:
        """What could not be removed is tried again, at most once in AGAIN_SECONDS."""
        now = self._clock.monotonic()
        if self._has_left and now >= self._again_at:
            self._again_at = now + AGAIN_SECONDS
            await self.tidy()

    async def _machine(self, marks: BakeMarks, script: str) -> str:
        async def find() -> str:
            there = await self._cloud.machines()
            return next((each.id for each in there if (each.digest, each.at) == (marks.digest, marks.at)), "")

        try:
            return await self._cloud.make(marks, script)
        except LostError as lost:
            return await self._found_again(find, lost)

    async def _found_again(self, find: Callable[[], Awaitable[str]], lost: LostError) -> str:
        """The id of what was made after all."""
        found = ""

        async def is_found() -> bool:
            nonlocal found
            found = await find()
            return bool(found)

        try:
            await self._wait_until(is_found, LOST_SECONDS, "it is not found")
        except TransientError:
            raise lost from None
        return found

    async def _wait_for(self, machine: str, stage: Stage, seconds: float) -> None:
        misses = 0

        async def is_there() -> bool:
            nonlocal misses
            seen = await self._seen(machine)
            misses = misses + 1 if seen is None else 0
            if misses == MISSES_MAX:
                raise BakeFailedError(f"the {self._cloud.noun} was deleted, and not by repave")
            if seen is not None and seen.stage is not stage:
                self._check(seen, stage)
            return seen is not None and seen.stage is stage

        await self._wait_until(is_there, seconds, f"the {self._cloud.noun} is not {stage.name.lower()}")

    def _check(self, seen: BakingMachine, wanted: Stage) -> None:
        """Raises BakeFailedError where it will never be as it is wanted."""
        is_over = seen.stage in (Stage.BROKEN, Stage.GONE)
        if is_over or (seen.stage is Stage.STOPPED and wanted is Stage.RUNNING):
            raise BakeFailedError(f"the {self._cloud.noun} {seen.said or f'is {seen.stage.name.lower()}'}")

    async def _seen(self, machine: str) -> BakingMachine | None:
        return next((each for each in await self._cloud.machines() if each.id == machine), None)

    async def _wait_until_unpacked(self, machine: str, digest: Digest) -> None:
        async def is_unpacked() -> bool:
            seen = await self._seen(machine)
            if seen is not None:
                self._check(seen, Stage.RUNNING)
            lines = (await self._cloud.console(machine, CONSOLE_LINES)).splitlines()
            if any(NOT_BAKED in line for line in lines):
                end = "\n".join(lines[-CONSOLE_LINES_SHOWN:])
                raise RefusedError(f"it could not be baked; the end of the console:\n{end}")
            return any(f"{BAKED} {digest}" in line for line in lines)

        noun = self._cloud.noun
        await self._wait_until(
            is_unpacked, UNPACK_SECONDS, f"the {noun}'s console does not say that it is unpacked"
        )

    async def _stop(self, machine: str) -> None:
        looks = 0

        async def is_stopped() -> bool:
            nonlocal looks
            looks += 1
            if looks % STAYS_MAX == 1:
                await self._cloud.stop(machine)
            seen = await self._seen(machine)
            if seen is not None:
                self._check(seen, Stage.STOPPED)
            return seen is not None and seen.stage is Stage.STOPPED

        await self._wait_until(is_stopped, STOP_SECONDS, f"the {self._cloud.noun} is not stopped")

    async def _image(self, machine: str, marks: BakeMarks) -> BakedImage:
        async def find() -> str:
            return next((each.id for each in await self._cloud.images() if _is_of(each, marks)), "")

        try:
            image = await self._cloud.take(machine, marks)
        except LostError as lost:
            image = await self._found_again(find, lost)
        try:
            whole = await self._whole(image)
            await self._forget_twins(image, marks)
            return _baked(whole, marks.base)
        except BaseException:
            await asyncio.shield(self._delete_image(image))
            raise

    async def _forget_twins(self, image: str, marks: BakeMarks) -> None:
        """Others of the same bake: a client may have repeated a call whose answer was lost. Where the cloud
        does not answer now they stay, as images like any other."""
        try:
            there = await self._cloud.images()
        except ProviderError as error:
            log.warning("image.twins_not_looked_for", image=image, because=str(error))
            return
        for each in there:
            if _is_of(each, marks) and each.id != image:
                log.warning("image.twice", image=each.id, name=marks.name)
                await self._delete_image(each.id)

    async def _whole(self, image: str) -> CloudImage:
        seen: list[CloudImage] = []
        misses = 0

        async def is_whole() -> bool:
            nonlocal misses
            seen[:] = [each for each in await self._cloud.images() if each.id == image]
            misses = 0 if seen else misses + 1
            if misses == MISSES_MAX:
                raise BakeFailedError("the image was deleted, and not by repave")
            if seen and seen[0].state is ImageState.BROKEN:
                raise BakeFailedError(f"the image {seen[0].said or 'is broken'}")
            return bool(seen) and seen[0].state is ImageState.WHOLE

        await self._wait_until(is_whole, IMAGE_SECONDS, "the image is not whole")
        return seen[0]

    async def _delete_image(self, image: str) -> None:
        """One that can't be removed goes when the agent looks, starts or bakes again."""
        try:
            await self._cloud.delete_image(image)
        except GoneError:
            return
        except ProviderError as error:
            self._has_left = True
            log.warning("image.left", image=image, because=str(error))

    async def _remove(self, machine: str) -> None:
        """One that can't be removed goes when the agent looks, starts or bakes again."""
        looks = 0

        async def is_gone() -> bool:
            nonlocal looks
            looks += 1
            if looks % STAYS_MAX == 1:
                await self._cloud.delete_machine(machine)
            seen = await self._seen(machine)
            return seen is None or seen.stage is Stage.GONE

        try:
            await self._wait_until(is_gone, GONE_SECONDS, f"the {self._cloud.noun} is still there")
        except ProviderError as error:
            self._has_left = True
            log.warning("bake.machine_left", machine=machine, because=str(error))

    async def _wait_until(self, is_so: Callable[[], Awaitable[bool]], seconds: float, otherwise: str) -> None:
        """A cloud that does not answer for a while is asked again. Raises TransientError."""
        deadline = self._clock.monotonic() + seconds
        while self._clock.monotonic() < deadline:
            try:
                if await is_so():
                    return
            except BakeFailedError:
                raise
            except TransientError as error:
                log.info("bake.waits", because=str(error))
            await self._clock.sleep(LOOK_SECONDS)
        raise TransientError(f"{otherwise} after {seconds:g} s")


def _is_of(image: CloudImage, marks: BakeMarks) -> bool:
    known = image.marks
    return image.is_ours and (known.digest, known.at) == (marks.digest, marks.at)


def _baked(image: CloudImage, base: str) -> BakedImage:
    marks = image.marks
    return BakedImage(
        image=image.id,
        name=marks.name,
        digest=marks.digest,
        base=marks.base,
        by=marks.by,
        made_at=image.made_at,
        is_current=fitted(marks.base) == fitted(base),
    )
