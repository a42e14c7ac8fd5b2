"""A real HAProxy for each test, and one with an application behind it."""

from collections.abc import AsyncIterator

import pytest

from repave_agent.core.ports import Structure
from tests.fakes.agent.front_site import Folder, FrontSite
from tests.fakes.agent.haproxy_rig import HaproxyRig, backend, frontend, haproxy_rig
from tests.fakes.agent.haproxy_site import BLUE, GREEN, TO_BLUE, Site
from tests.support.certificates import new_authority
from tests.support.ports import free_port


@pytest.fixture
async def rig() -> AsyncIterator[HaproxyRig]:
    async with haproxy_rig() as rig:
        yield rig


@pytest.fixture
async def site(rig: HaproxyRig) -> Site:
    balancer = rig.balancer(redispatch=False)
    await balancer.start()
    port = free_port()
    blue, green = await rig.web("blue"), await rig.web("green")
    structure = Structure((frontend("shop", port),), (backend(BLUE, blue.port), backend(GREEN, green.port)))
    await balancer.arrange(structure)
    await balancer.route((TO_BLUE,))
    return Site(rig, balancer, port, structure)


@pytest.fixture
async def stage(rig: HaproxyRig, request: pytest.FixtureRequest) -> AsyncIterator[FrontSite]:
    """Its parameter: how many HAProxys."""
    folder = rig.directory / "certificates"
    folder.mkdir()
    balancer = rig.balancer("haproxy", certificates=Folder(folder), processes=getattr(request, "param", 2))
    await balancer.start()
    made = FrontSite(rig, balancer, folder, new_authority())
    yield made
    for host in made.hosts.values():
        await host.stop()
