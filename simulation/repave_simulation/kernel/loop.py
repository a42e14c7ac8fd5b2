"""An asyncio event loop in virtual time, for many processes at once that may die or freeze at any await.

Time jumps to the next timer when no task has anything to do. What is ready at one instant happens in an order
that the seed decides. There are no threads and no sockets: code that asks for one gets an error. It relies on
private names of asyncio (`_ready`, `_scheduled`, `_run_once`); tests hold it to CPython's.
"""

import asyncio
import contextvars
import heapq
import itertools
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, NoReturn

from repave_simulation.kernel.timeline import Act, Life, Pace

LIFE: contextvars.ContextVar[Life | None] = contextvars.ContextVar("life", default=None)
REAL = frozenset(
    (
        "add_reader",
        "add_signal_handler",
        "add_writer",
        "call_soon_threadsafe",
        "create_connection",
        "create_datagram_endpoint",
        "create_server",
        "getaddrinfo",
        "run_in_executor",
        "subprocess_exec",
        "subprocess_shell",
    )
)
LEAVES_MAX = 10
CANCELLED_MAX = 500
"""Cancelled timers that may lie about before they are swept."""


class NotInSimulation(RuntimeError):
    """Real threads, sockets and processes do not exist in virtual time."""


class OrderedTask(asyncio.Task[Any]):
    """A task whose place in a set does not depend on its address: TaskGroups cancel in the same order."""

    def __hash__(self) -> int:
        return self._number

    _number = 0


class SimulatedLoop(asyncio.BaseEventLoop):
    """Implements timeline.Timeline."""

    _ready: deque[Any]
    _scheduled: list[Any]
    _timer_cancelled_count: int

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.happened = 0
        self.is_stopped: Callable[[], bool] = lambda: False
        self.failures: list[str] = []
        self._pace = Pace()
        self._now = 0.0
        self._chance = Random(f"{seed}/order")  # noqa: S311  # must repeat
        self._numbers = itertools.count(1)
        self._tasks: list[OrderedTask] = []  # every one: none may be collected, and so cleaned up, in a run
        self._contexts: dict[Life, contextvars.Context] = {}
        self._world = contextvars.copy_context()
        self.set_task_factory(self._make_task)
        self.set_exception_handler(self._failed)

    def _make_task(
        self, loop: asyncio.AbstractEventLoop, coro: Any, context: contextvars.Context | None = None
    ) -> OrderedTask:
        task = OrderedTask.__new__(OrderedTask)
        task._number = next(self._numbers)
        OrderedTask.__init__(task, coro, loop=loop, context=context)
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # the tasks of a killed process
        self._tasks.append(task)
        return task

    def _failed(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.failures.append(f"{context.get('message')}: {context.get('exception')!r}")

    # ------------------------------------------------------------------------------------- timeline

    @property
    def now(self) -> float:
        return self._now

    def time(self) -> float:
        return self._now

    def after(self, seconds: float, act: Act, life: Life | None = None) -> None:
        self.call_later(max(0.0, seconds), act, context=self.context_of(life))

    def context_of(self, life: Life | None) -> contextvars.Context:
        """What is done in it is the work of `life`."""
        if life is None:
            return self._world
        if life not in self._contexts:
            context = self._contexts[life] = contextvars.copy_context()
            context.run(LIFE.set, life)
        return self._contexts[life]

    def spawn(self, life: Life, coroutine: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """A task of `life`. It may not end with an error."""
        task = self.create_task(coroutine, name=name, context=self.context_of(life).copy())
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self.failures.append(f"{task.get_name()} ended with {_first(task.exception())!r}")

    def thaw(self, life: Life) -> None:
        life.is_frozen = False
        waiting, life.waiting = life.waiting, []
        self._ready.extend(waiting)

    def run(self, until: float) -> None:
        """Lets everything happen up to that instant, or until `is_stopped`."""
        events._set_running_loop(self)
        try:
            while not self.is_stopped() and (self._ready or self._next_at() <= until):
                self._run_once()
            if not self.is_stopped():
                self._now = max(self._now, until)
        finally:
            events._set_running_loop(None)

    def end(self) -> None:
        """Nothing happens any more; what was left undone is let go of."""
        events._set_running_loop(self)
        try:
            for task in self._tasks:
                _let_go(task)
        finally:
            events._set_running_loop(None)
        self._tasks.clear()
        self._ready.clear()
        self._scheduled.clear()
        self.close()

    # ------------------------------------------------------------------------------------------ one turn

    def _next_at(self) -> float:
        while self._scheduled and self._scheduled[0]._cancelled:
            heapq.heappop(self._scheduled)._scheduled = False
        return self._scheduled[0]._when if self._scheduled else float("inf")

    def _run_once(self) -> None:
        if self._timer_cancelled_count > CANCELLED_MAX:
            self._sweep()
        due = self._next_at()
        if not self._ready and due > self._now:
            self._now = due
        while self._next_at() <= self._now:
            handle = heapq.heappop(self._scheduled)
            handle._scheduled = False
            self._ready.append(handle)
        batch = list(self._ready)
        self._ready.clear()
        if len(batch) > 1:
            self._chance.shuffle(batch)
        for handle in batch:
            self._run_handle(handle)

    def _sweep(self) -> None:
        self._timer_cancelled_count = 0
        self._scheduled = [each for each in self._scheduled if not each._cancelled]
        heapq.heapify(self._scheduled)

    def _run_handle(self, handle: Any) -> None:
        if handle._cancelled:
            return
        life = handle._context.get(LIFE)
        if life is not None and life.is_over:
            return
        if life is not None and life.is_frozen:
            life.waiting.append(handle)
            return
        self.happened += 1
        self._pace.step(self._now)
        handle._run()


def _refuse(*_: object, **__: object) -> NoReturn:
    raise NotInSimulation(
        "virtual time has no threads, sockets or signals; put what needs them behind a port"
    )


for _name in REAL:
    setattr(SimulatedLoop, _name, _refuse)


def _first(error: BaseException | None) -> BaseException | None:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _let_go(task: OrderedTask) -> None:
    """Closes what it runs; blocks that wait while they are left are left again."""
    coroutine: Any = task.get_coro()
    for _ in range(LEAVES_MAX):
        try:
            coroutine.close()
        except RuntimeError:
            continue
        except BaseException:  # noqa: S110  # the world is over: nothing that happens in it counts
            pass
        return
