"""Work on hosts that runs once however often it is asked for, and to its end although its caller has left."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

from repave_agent.core.ports import Host
from repave_protos.protocol.values import HostName


@dataclass(slots=True)
class Work:
    """Launches or destructions under way, by host: a repeated call joins the one that runs, and a caller who
    is cancelled does not stop it half-way."""

    tasks: dict[HostName, asyncio.Task[Host | None]] = field(default_factory=dict)

    async def join(
        self, host: HostName, work: Callable[[], Coroutine[None, None, Host | None]]
    ) -> Host | None:
        task = self.tasks.get(host)
        if task is None:
            task = self.tasks[host] = asyncio.create_task(work(), name=f"host {host}")
            task.add_done_callback(lambda done: self._forget(host, done))
        return await asyncio.shield(task)

    def _forget(self, host: HostName, done: asyncio.Task[Host | None]) -> None:
        del self.tasks[host]
        if not done.cancelled():
            done.exception()  # seen, even when no caller waits any more

    async def settle(self, host: HostName | None = None) -> None:
        """Waits until the work on this host, or on all, is over; its outcome is for its own caller."""
        tasks = [task for name, task in self.tasks.items() if host in (None, name)]
        await asyncio.gather(*tasks, return_exceptions=True)
