"""How a world lives: the unfair phase, the fair one until all is as it shall be, the checks of the end."""

from collections.abc import Callable
from typing import Protocol

from repave_simulation.checks.people import People
from repave_simulation.kernel.timeline import InCircles
from repave_simulation.world.world import World

STRIDE_SECONDS = 5.0
STILL_SECONDS = 60.0


class Engine(Protocol):
    """One of the tiers, with a world in it."""

    @property
    def happened(self) -> int:
        """Events so far."""

    def run(self) -> World:
        """The whole run."""


def live_through(world: World, people: People, run: Callable[[float], None]) -> None:
    """`run` lets everything happen up to an instant."""
    _run(world, run, world.scenario.unfair_seconds)
    if world.story.broken is None:
        world.heal()
        people.tend()
    end = world.now + world.scenario.converge_seconds
    while world.story.broken is None and world.now < end:
        _run(world, run, world.now + STRIDE_SECONDS)
        if not people.waiting and not world.unfinished():
            _run(world, run, world.now + STILL_SECONDS)  # nothing that was late changes it
            if not world.unfinished():
                break
    if world.story.broken is None:
        _check_end(world, people)


def _run(world: World, run: Callable[[float], None], until: float) -> None:
    """In strides, so that a broken promise ends it soon."""
    while world.story.broken is None and world.now < until:
        try:
            run(min(until, world.now + STRIDE_SECONDS))
        except InCircles:
            world.broken(5, "a loop without an end")


def _check_end(world: World, people: People) -> None:
    unfinished = world.unfinished()
    if people.waiting:
        unfinished = f"{people.waiting} commands were never answered"
    if unfinished:
        world.broken(5, f"{world.scenario.converge_seconds:.0f} s after the last fault: {unfinished}")
    people.check_end()
