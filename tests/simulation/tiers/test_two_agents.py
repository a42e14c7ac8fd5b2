"""Never two agents act in a region, whatever happens to the network, to processes and to their clocks."""

from collections.abc import Iterator

import pytest
import structlog

from repave_agent.runtime.tenancy import Moment, Tenancy
from tests.simulation.tiers.two_agents import GROUP, TROUBLE_SECONDS, TwoAgents

SEEDS_MAX = 60
"""So many are tried at most until what is looked for is seen: few suffice, but which is chance."""
CHANGES_MIN = 3


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    yield
    structlog.reset_defaults()


def check(seed: int) -> int:
    """How often the region has changed hands."""
    world = TwoAgents(seed)
    world.run()
    assert world.broken == "", f"seed {seed}"
    last = world.cloud.effects[-1]
    assert last.at > TROUBLE_SECONDS, f"seed {seed}: nobody acts when all is well again"
    running = [host for host in world.cloud.hosts.values() if host.is_running]
    assert running, f"seed {seed}"
    assert {host.group for host in running} == {GROUP}
    return last.term - 1


def test_never_two_agents_act_and_when_all_is_well_one_does() -> None:
    changes, seeds = 0, iter(range(SEEDS_MAX))
    while changes < CHANGES_MIN:
        changes += check(next(seeds))


@pytest.mark.rig
@pytest.mark.timeout(3600)
def test_never_two_agents_act_over_many_seeds() -> None:
    assert sum(check(seed) for seed in range(300)) > 300


class Unchecked(Tenancy):
    """What is under way when the lease ends goes on."""

    def check(self) -> None:
        return


class Long(Tenancy):
    """It believes in a lease three times as long as it has."""

    def grant(self, asked: Moment, seconds: float) -> None:
        super().grant(asked, 3 * seconds)


class Forgetful(Tenancy):
    """It goes on as one that is alone."""

    def bind(self) -> None:
        return


@pytest.mark.parametrize(("broken", "first"), [(Unchecked, 28), (Long, 2), (Forgetful, 0)])
def test_an_agent_that_is_wrong_about_its_lease_is_found(broken: type[Tenancy], first: int) -> None:
    """`first`: the seed that is tried first; one that finds it saves time, no more."""
    assert any(is_found(broken, seed) for seed in range(first, first + SEEDS_MAX))


def is_found(broken: type[Tenancy], seed: int) -> bool:
    world = TwoAgents(seed, broken)
    world.run()
    return "after an effect of term" in world.broken
