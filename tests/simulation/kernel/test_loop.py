"""The virtual-time loop: nothing real gets in, the dead do nothing, the frozen wait, the seed decides."""

import asyncio
import threading

import pytest

from repave_simulation.kernel.loop import NotInSimulation, SimulatedLoop
from repave_simulation.kernel.timeline import EVENTS_IN_A_SECOND_MAX, InCircles, Life


def test_hours_pass_in_no_time_and_in_order() -> None:
    loop, told = SimulatedLoop(0), []

    async def work(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        told.append((name, loop.time()))

    loop.spawn(Life("one"), work("late", 7200.0), "late")
    loop.spawn(Life("one"), work("soon", 1.5), "soon")
    loop.run(until=10_000.0)
    assert told == [("soon", 1.5), ("late", 7200.0)]
    assert loop.now == 10_000.0
    loop.end()


def test_threads_and_sockets_are_refused() -> None:
    loop, refused = SimulatedLoop(0), []

    async def work() -> None:
        for attempt in (
            lambda: asyncio.to_thread(threading.get_ident),
            lambda: asyncio.open_connection("127.0.0.1", 80),
            lambda: asyncio.create_subprocess_exec("true"),
        ):
            with pytest.raises(NotInSimulation):
                await attempt()
            refused.append(1)

    loop.spawn(Life("one"), work(), "work")
    loop.run(until=1.0)
    assert refused == [1, 1, 1]
    assert loop.failures == []
    loop.end()


def test_a_killed_process_never_runs_again_not_even_to_clean_up() -> None:
    loop, life, told = SimulatedLoop(0), Life("one"), []

    async def work() -> None:
        try:
            told.append("begun")
            await asyncio.sleep(5.0)
            told.append("done")
        finally:
            if not is_over:
                told.append("cleaned up")

    is_over = False
    loop.spawn(life, work(), "work")
    loop.after(1.0, lambda: setattr(life, "is_over", True))
    loop.run(until=100.0)
    assert told == ["begun"]
    is_over = True
    loop.end()


def test_a_frozen_process_does_late_what_it_had_to_do() -> None:
    loop, life, told = SimulatedLoop(0), Life("one"), []

    async def work() -> None:
        await asyncio.sleep(2.0)
        told.append(loop.time())

    loop.spawn(life, work(), "work")
    loop.after(1.0, lambda: setattr(life, "is_frozen", True))
    loop.after(30.0, lambda: loop.thaw(life))
    loop.run(until=100.0)
    assert told == [30.0]
    loop.end()


def _order(seed: int) -> list[int]:
    loop, told = SimulatedLoop(seed), []

    async def work(number: int) -> None:
        await asyncio.sleep(1.0)
        told.append(number)

    for number in range(8):
        loop.spawn(Life("one"), work(number), str(number))
    loop.run(until=2.0)
    loop.end()
    return told


def test_the_seed_decides_who_comes_first_at_one_instant() -> None:
    assert _order(1) == _order(1)
    assert len({tuple(_order(seed)) for seed in range(10)}) > 5


def test_task_groups_cancel_in_the_same_order_each_time() -> None:
    def cancelled(_: int) -> list[int]:
        loop, told = SimulatedLoop(0), []

        async def wait(number: int) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                told.append(number)

        async def work() -> None:
            with pytest.raises(ExceptionGroup):
                await fail_together()

        async def fail_together() -> None:
            async with asyncio.TaskGroup() as tasks:
                for number in range(20):
                    tasks.create_task(wait(number))
                await asyncio.sleep(1.0)
                raise ValueError

        loop.spawn(Life("one"), work(), "work")
        loop.run(until=2.0)
        loop.end()
        return told

    assert cancelled(1) == cancelled(2)


def test_who_runs_in_circles_is_stopped() -> None:
    loop = SimulatedLoop(0)

    def again() -> None:
        loop.after(0.0, again)

    again()
    with pytest.raises(InCircles):
        loop.run(until=1.0)
    assert loop.happened > EVENTS_IN_A_SECOND_MAX
    loop.end()


def test_a_task_that_ends_with_an_error_is_noted() -> None:
    loop = SimulatedLoop(0)

    async def work() -> None:
        raise ValueError("a mistake")

    loop.spawn(Life("one"), work(), "work")
    loop.run(until=1.0)
    assert loop.failures == ["work ended with ValueError('a mistake')"]
    loop.end()
