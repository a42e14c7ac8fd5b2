"""The balancer `haproxy`: lets one thread do the blocking work in order, and notices by process descriptors
when HAProxy's master or worker dies, so that it is mended before the next look.
"""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

import structlog

from repave_agent.balancers.haproxy.instance import HaproxyInstance
from repave_agent.core.ports import BalancerError, BalancerView, Clock, Route, Structure

log = structlog.get_logger()

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class HaproxyBalancer:
    """HAProxy as a `Balancer`: one map entry per application splits its requests in basis points.

    `directory` is this balancer's alone and keeps its files; HAProxy outlives the agent, and the next one
    with the same directory adopts it. `redispatch=False` hides no failure of a host from the client.
    """

    name = "haproxy"

    def __init__(
        self,
        directory: Path,
        *,
        clock: Clock,
        traffic_address: str = "127.0.0.1",
        program: str = "haproxy",
        redispatch: bool = True,
    ) -> None:
        self.traffic_address = traffic_address
        self._instance = HaproxyInstance(directory, traffic_address, program, redispatch, clock.monotonic)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="haproxy")  # one: the work is done in order
        self._descriptors: dict[int, int] = {}  # process id -> what becomes readable when it ends
        self._callbacks: list[Callable[[], None]] = []
        self._mending: asyncio.Task[None] | None = None
        self._is_closed = False

    async def start(self) -> None:
        await self._in_thread(self._instance.start)

    async def arrange(self, structure: Structure) -> None:
        await self._in_thread(self._instance.arrange, structure)

    async def route(self, routes: tuple[Route, ...]) -> None:
        await self._in_thread(self._instance.route, routes)

    async def observe(self) -> BalancerView:
        return await self._in_thread(self._instance.observe)

    def on_change(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    async def close(self) -> None:
        self._is_closed = True
        self._watch(())
        if self._mending is not None:
            await asyncio.wait((self._mending,))
        await asyncio.to_thread(self._thread.shutdown)

    async def end(self) -> None:
        """Closes and ends HAProxy itself, at once; nothing is served any more. For demos and tests."""
        await self.close()
        await asyncio.to_thread(self._instance.process.end)

    async def _in_thread(
        self, work: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs
    ) -> Result:
        """Once begun, work is finished even when its caller is cancelled: no reload is left half done."""
        assert not self._is_closed, "the balancer was closed"
        future = asyncio.wrap_future(self._thread.submit(work, *arguments, **named))
        future.add_done_callback(lambda _: self._watch(self._instance.process.watched))
        try:
            return await asyncio.shield(future)
        except OSError as error:
            raise BalancerError(f"HAProxy does not answer: {error}") from error

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
        before = self._instance.restarts
        try:
            await self._in_thread(self._instance.mend)
        except BalancerError as error:
            log.error("balancer.dead", because=str(error))
        else:
            if self._instance.restarts == before:
                return
        for callback in self._callbacks:
            callback()
