"""The world of Google's load balancer for tests/contracts/test_balancer.py."""

import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

from repave_agent.balancers import gcp_lb
from repave_agent.balancers.by_front import BalancerByFront
from repave_agent.core.ports import Backend, Balancer, Frontend
from repave_protos.protocol.values import GroupName
from tests.contracts.balancer_rig import Rig
from tests.fakes.agent.haproxy_rig import backend
from tests.support.google_front import AnyCloudBalancer, GoogleFront
from tests.support.rigs import CloudRig


class GoogleRig(Rig):
    """The world around an address of Google's, as its stand-in has it. Machines are no processes there: the
    stand-in answers for them."""

    abilities, sees_requests, reaches_ipv6 = gcp_lb.ABILITIES, False, False

    def __init__(self, directory: Path, front: GoogleFront) -> None:
        self._directory, self._front = directory, front
        self._made: list[BalancerByFront] = []
        self._machines: dict[str, str] = {}

    def balancer(self, agent: str = "agent") -> Balancer:
        inner: AnyCloudBalancer = self._front.balancer(self._directory / agent, takes=self.abilities.fronts)
        self._made.append(BalancerByFront(inner))
        return self._made[-1]

    def rival(self) -> Balancer:
        return self.balancer("rival")

    @contextmanager
    def taken_port(self) -> Iterator[int]:
        with self._front.stranger(81):
            yield 81

    async def restart(self) -> None:
        self._front.clear()

    async def backend(self, group: str, is_enabled: bool = True) -> Backend:
        found = backend(group, 8080, is_enabled=is_enabled)
        name = self._machines[group] = f"{group}-{secrets.token_hex(3)}"
        address = self._front.add_machine(name)
        return replace(found, servers=tuple(replace(each, address=address) for each in found.servers))

    async def fall_ill(self, group: str) -> None:
        self._front.rig.act(self._machines[group], "unhealthy")

    async def recover(self, group: str) -> None:
        self._front.rig.act(self._machines[group], "healthy")

    async def begin_request(self, frontend: Frontend, group: GroupName) -> None:
        raise AssertionError("nothing counts requests here")

    async def end_requests(self) -> None: ...

    async def sides(self, frontend: Frontend, headers: list[str]) -> list[str]:
        answered = await self._front.ask(frontend.port, headers)
        return [machine.rpartition("-")[0] for machine in answered]

    async def end(self) -> None:
        for balancer in self._made:
            await balancer.close()


@asynccontextmanager
async def google_rig(directory: Path, stand_in: CloudRig) -> AsyncIterator[GoogleRig]:
    front = GoogleFront(stand_in)
    front.begin()
    made = GoogleRig(directory, front)
    yield made
    await made.end()
    assert stand_in.state()["violations"] == [], "Google's own description allows no such call"
