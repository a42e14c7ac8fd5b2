"""An action that is never answered ends, as a failure of its port that is tried again."""

import asyncio
from pathlib import Path
from typing import NoReturn

import pytest

from repave_agent.core.host_secrets import HostSecrets
from repave_agent.core.ports import BalancerError, Host, HostSpec, Route, Structure, TransientError
from repave_agent.runtime.timeouts import BalancerWithTimeouts, ProviderWithTimeouts
from repave_protos.protocol.values import HostName
from tests.fakes.agent.balancer import FakeBalancer
from tests.fakes.agent.provider import FakeProvider
from tests.fakes.virtual_time import in_virtual_time


async def _never() -> NoReturn:
    await asyncio.get_running_loop().create_future()
    raise AssertionError("nobody ever answers")


class SilentProvider(FakeProvider):
    """Never answers."""

    async def launch(self, spec: HostSpec, package: Path, secrets: HostSecrets = ()) -> Host:
        await _never()

    async def list_hosts(self) -> list[Host]:
        await _never()

    async def destroy(self, host: HostName) -> None:
        await _never()


class SilentBalancer(FakeBalancer):
    """Never answers."""

    async def arrange(self, structure: Structure) -> None:
        await _never()

    async def route(self, routes: tuple[Route, ...]) -> None:
        await _never()


@in_virtual_time
async def test_a_provider_that_never_answers_has_failed_in_the_end() -> None:
    provider = ProviderWithTimeouts(SilentProvider())
    with pytest.raises(TransientError, match="listing of hosts: no answer within 60 s; it is tried again"):
        await provider.list_hosts()
    with pytest.raises(TransientError, match="end of shop-v001-1: no answer within 600 s"):
        await provider.destroy(HostName("shop-v001-1"))


@in_virtual_time
async def test_a_balancer_that_never_answers_has_failed_in_the_end() -> None:
    balancer = BalancerWithTimeouts(SilentBalancer())
    with pytest.raises(BalancerError, match="switch of traffic: no answer within 15 s"):
        await balancer.route(())
    with pytest.raises(BalancerError, match="no answer within 60 s"):
        await balancer.arrange(Structure())


@in_virtual_time
async def test_errors_and_answers_pass_as_they_are() -> None:
    balancer = FakeBalancer()
    punctual = BalancerWithTimeouts(balancer)
    await punctual.start()
    assert (await punctual.observe()).is_running
    balancer.machine.trouble = "out of order"
    with pytest.raises(BalancerError, match="out of order"):
        await punctual.arrange(Structure())
