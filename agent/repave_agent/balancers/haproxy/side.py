"""One HAProxy as the event loop sees it: a thread does its blocking work in order, and process descriptors
tell when its master or worker has died, so that it is mended before the next look.
"""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

import structlog

from repave_agent.balancers.haproxy.instance import HaproxyInstance
from repave_agent.core.ports import BalancerError

log = structlog.get_logger()

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class HaproxySide:
    """Calls `changed` soon after its HAProxy died and was mended, or could not be."""

    def __init__(self, instance: HaproxyInstance, changed: Callable[[], None]) -> None:
        self.instance = instance
        self._changed = changed
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="haproxy")  # one: the work is done in order
        self._descriptors: dict[int, int] = {}  # process id -> what becomes readable when it ends
        self._mending: asyncio.Task[None] | None = None
        self._is_closed = False

    async def do(
        self, work: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs
    ) -> Result:
        """Once begun, work is finished even when its caller is cancelled: no reload is left half done."""
        assert not self._is_closed, "the balancer was closed"
        future = asyncio.wrap_future(self._thread.submit(work, *arguments, **named))
        future.add_done_callback(lambda _: self._watch(self.instance.process.watched))
        try:
            return await asyncio.shield(future)
        except OSError as error:
            raise BalancerError(f"HAProxy does not answer: {error}") from error

    async def close(self) -> None:
        self._is_closed = True
        self._watch(())
        if self._mending is not None:
            await asyncio.wait((self._mending,))
        await asyncio.to_thread(self._thread.shutdown)

    def _watch(self, processes: tuple[int, ...]) -> None:
        loop = asyncio.get_running_loop()
        if self._is_closed:
            processes = ()
        for process in self._descriptors.keys() - set(processes):
            descriptor = self._descriptors.pop(process)
            loop.remove_reader(descriptor)
            os.close(descriptor)
        for process in set(processes) - self._descriptors.keys():
            try:
                descriptor = os.pidfd_open(process)
            except ProcessLookupError:
                self._mend_soon()
                continue
            self._descriptors[process] = descriptor
            loop.add_reader(descriptor, self._ended, process)

    def _ended(self, process: int) -> None:
        descriptor = self._descriptors.pop(process)
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)
        self._mend_soon()

    def _mend_soon(self) -> None:
        if not self._is_closed and (self._mending is None or self._mending.done()):
            self._mending = asyncio.create_task(self._mend(), name="haproxy-mend")

    async def _mend(self) -> None:
        if self._is_closed:
            return
        before = self.instance.restarts
        try:
            await self.do(self.instance.mend)
        except BalancerError as error:
            log.error("balancer.dead", because=str(error))
        else:
            if self.instance.restarts == before:
                return
        self._changed()
