"""How a region's work begins while the world is not ready for it, and what is told meanwhile."""

from collections.abc import Awaitable, Callable

import pytest

from repave_agent.core.ports import BalancerAwaitedError, BalancerError, RefusedError, TransientError
from repave_agent.runtime.beginning import PAUSE_SECONDS_MAX, begin
from repave_agent.runtime.checkup import Checkup


class Beginning:
    """`done`: the steps that worked; `told`: what people hear; `pauses`: how long was waited."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.told: list[str] = []
        self.pauses: list[float] = []

    def step(self, name: str, *errors: Exception) -> tuple[str, Callable[[], Awaitable[object]]]:
        left = list(errors)

        async def work() -> None:
            if left:
                raise left.pop(0)
            self.done.append(name)

        return name, work

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)

    async def run(self, *steps: tuple[str, Callable[[], Awaitable[object]]]) -> None:
        await begin(steps, self.told.append, self.sleep)


async def test_the_balancer_serves_before_the_provider_is_there_which_is_tried_again_and_told() -> None:
    world = Beginning()
    provider = world.step("provider", *(TransientError("Keystone: 503") for _ in range(7)))
    await world.run(world.step("balancer"), provider, world.step("hosts"))
    assert world.done == ["balancer", "provider", "hosts"]
    assert world.told[0] == "its agent can't begin yet: Keystone: 503; it tries again every 15 s"
    assert world.told[-1] == ""
    assert world.pauses == [1.0, 2.0, 4.0, 8.0, *[PAUSE_SECONDS_MAX] * 3]


async def test_a_balancer_that_is_not_there_yet_is_waited_for() -> None:
    world = Beginning()
    await world.run(world.step("balancer", BalancerAwaitedError("no answer")), world.step("provider"))
    assert world.done == ["balancer", "provider"]


@pytest.mark.parametrize("error", [RefusedError("no such key"), BalancerError("HAProxy is not installed")])
async def test_what_waiting_can_not_mend_ends_the_agent(error: Exception) -> None:
    world = Beginning()
    with pytest.raises(type(error)):
        await world.run(world.step("provider", error))
    assert world.pauses == []


class Ill:
    name = "ill"

    def __init__(self, *lines: str, error: Exception | None = None) -> None:
        self._lines, self._error = lines, error

    async def troubles(self) -> list[str]:
        if self._error is not None:
            raise self._error
        return list(self._lines)


async def test_all_parts_are_asked_and_an_error_is_a_trouble_as_well() -> None:
    async def sleep(_: float) -> None: ...

    parts = (Ill("m1 is full", "m1 is full"), object(), Ill(error=BalancerError("side b does not answer")))
    assert await Checkup(parts, lambda _: None, sleep).look() == ("m1 is full", "side b does not answer")
