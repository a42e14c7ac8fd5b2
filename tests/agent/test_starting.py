"""An agent that starts while its cloud is away: the balancer serves by the journal, people are told, and what
was heard meanwhile counts once the cloud is there."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import get_args

import pytest

from repave_agent.__main__ import Agent
from repave_agent.kinds import BalancerKind
from repave_agent.providers.openstack import PROVIDER
from repave_agent.registry import Registry
from repave_protos.daemon.settings import load_settings
from repave_protos.protocol.capabilities import BalancerAbilities
from repave_protos.protocol.queries import (
    Accepted,
    AcceptedOf,
    BakeOrder,
    ChangeMachine,
    Content,
    Failure,
    FindHosts,
    FindRoom,
    FindWayIn,
    HostsOf,
    ListBakes,
    ListMachines,
    Orphans,
    Query,
    Question,
    ReadOutput,
    Refusal,
    TrafficOf,
    UnknownQuestion,
)
from repave_protos.protocol.values import Digest, GivenHost, Welcome
from tests.fakes.agent.balancer import FakeBalancer
from tests.fakes.agent.region_values import PROBE, SHOP, a_group, a_state
from tests.fakes.clouds.openstack import FakeOpenstack, served
from tests.fakes.waiting import until

NOT_BEGUN = "it has not begun, as repave doctor tells"
QUESTIONS: tuple[tuple[Question, type[Content], str], ...] = (
    (HostsOf(SHOP), Failure, NOT_BEGUN),
    (Orphans(), Failure, NOT_BEGUN),
    (FindRoom(2), Failure, NOT_BEGUN),
    (FindWayIn(SHOP, 8000), Failure, NOT_BEGUN),
    (FindHosts("hosts", "", (GivenHost("127.0.0.1", 8080),), PROBE), Failure, NOT_BEGUN),
    (ReadOutput(SHOP), Failure, NOT_BEGUN),
    (TrafficOf(SHOP, 0.0), Failure, NOT_BEGUN),
    (ListBakes(), Failure, NOT_BEGUN),
    (BakeOrder(Digest("d" * 64), "shop"), Failure, NOT_BEGUN),
    (AcceptedOf(SHOP), Accepted, "None"),
    (ListMachines(), Refusal, "only ssh_pool has a pool"),
    (ChangeMachine("return", "m1", "mended"), Refusal, "only ssh_pool has a pool"),
    (UnknownQuestion("list_moons"), Refusal, "upgrade it"),
)


class Balancer(FakeBalancer):
    name = "fake"
    is_started = False

    async def start(self) -> None:
        await super().start()
        self.is_started = True

    async def end(self) -> None:
        """Nothing is left of it anyway."""


@pytest.fixture
async def cloud() -> AsyncIterator[FakeOpenstack]:
    async with served(FakeOpenstack()) as fake:
        yield fake


@pytest.mark.parametrize("away", ["identity", "an empty list"])
async def test_an_agent_waits_for_its_cloud_and_the_balancer_serves_meanwhile(
    cloud: FakeOpenstack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, away: str
) -> None:
    networks = cloud.networks
    cloud.down, cloud.networks = ({away}, networks) if away == "identity" else (set(), [])
    monkeypatch.setattr("repave_agent.runtime.beginning.PAUSE_SECONDS", 0.1)
    balancer = Balancer()
    kind = BalancerKind("fake", PROVIDER.options, lambda *_: balancer, lambda _: BalancerAbilities())
    registry = Registry({"openstack": PROVIDER}, {"fake": kind})
    named = {"OS_AUTH_URL": f"{cloud.url}/v3", "OS_USERNAME": "u", "OS_PASSWORD": "p", "OS_PROJECT_NAME": "d"}
    for name, value in {**named, "OS_REGION_NAME": "one"}.items():
        monkeypatch.setenv(name, value)
    settings, _ = load_settings(
        registry.settings_model(),
        None,
        {
            "REPAVE_AGENT_REGION": "paris",
            "REPAVE_AGENT_CONTROLLER": "127.0.0.1:1",
            "REPAVE_AGENT_STATE": str(tmp_path / "state"),
            "REPAVE_AGENT_PROVIDER": "openstack",
            "REPAVE_AGENT_BALANCER": "fake",
            "REPAVE_AGENT_OPENSTACK__FLAVOR": "small",
            "REPAVE_AGENT_OPENSTACK__IMAGE": "base",
            "REPAVE_AGENT_OPENSTACK__NETWORK": "fleet",
            "REPAVE_AGENT_PACKAGES__LISTEN": "127.0.0.1:0",
        },
        "REPAVE_AGENT_",
    )
    agent = Agent(settings, registry)
    running = asyncio.create_task(agent.run())
    assert {type(question) for question, _, _ in QUESTIONS} == set(get_args(Question))
    try:
        await until(lambda: bool(agent.session._state[0]))
        (why,), is_starting = agent.session._state
        assert why.startswith("its agent can't begin yet: ")
        assert ("503" if away == "identity" else "lists no networks") in why
        assert is_starting
        assert balancer.is_started
        await agent.on_welcome(Welcome("1", "ours", "http://127.0.0.1:1", (SHOP,)))
        await agent.on_desired(a_state(a_group(count=0)))
        for question, content, text in QUESTIONS:
            answer = await agent.on_query(Query(1, question))
            assert isinstance(answer.content, content), question
            assert text in repr(answer.content), question
        assert agent.worker.applied() == ()
        cloud.down, cloud.networks = set(), networks
        await until(lambda: bool(agent.worker.applied()))
        assert agent.session._state == ((), False)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
