"""A region without a balancer: nothing with clients is taken, and nothing is wrong with it."""

import pytest

from repave_agent.balancers.none.balancer import LACK, NoBalancer
from repave_agent.core.ports import BalancerError, Frontend, Route, Structure, UnfitError
from tests.fakes.agent.region_values import BLUE, PORT, SHOP, a_backend, some_hosts


async def test_it_is_well_and_has_nothing() -> None:
    balancer = NoBalancer()
    await balancer.start()
    await balancer.arrange(Structure())
    await balancer.route(())
    view = await balancer.observe()
    assert (view.is_running, view.structure, view.routes) == (True, Structure(), ())


async def test_what_has_clients_is_refused_before_anything_is_made() -> None:
    balancer = NoBalancer()
    assert (await balancer.way_in(Frontend(SHOP, PORT))).lack == LACK
    with pytest.raises(UnfitError) as caught:
        await balancer.arrange(Structure((Frontend(SHOP, PORT),), (a_backend(some_hosts(1)),)))
    assert (caught.value.frontends, caught.value.backends) == ({SHOP: LACK}, {BLUE: LACK})
    with pytest.raises(BalancerError):
        await balancer.route((Route(SHOP, BLUE),))
