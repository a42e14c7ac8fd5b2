"""The worlds around an Application Load Balancer: the API in memory, and (make test-rigs) a stand-in for AWS
that sends requests on by rules and weights."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
from aiobotocore.session import AioSession

from repave_agent.balancers import aws_alb
from repave_agent.balancers.apart import owner_of_group
from repave_agent.balancers.aws_alb.load_balancer import AlbLoadBalancer
from repave_agent.balancers.by_front import BalancerByFront
from repave_agent.balancers.cloud.balancer import VIEW_SECONDS, CloudBalancer
from repave_agent.clients.aws import AmazonOptions
from repave_agent.clients.aws.service import Ec2, Elbv2
from repave_agent.core.ports import Backend, Balancer, Frontend
from repave_protos.protocol.values import GroupName
from tests.contracts.balancer_rig import Rig
from tests.fakes.agent.haproxy_rig import backend
from tests.fakes.clock import QuickClock
from tests.fakes.clouds.elbv2 import FakeElb
from tests.support.rigs import CloudRig


class AlbRig(Rig):
    """The world around an Application Load Balancer whose API is a fake."""

    abilities, sees_requests = aws_alb.ABILITIES, False

    def __init__(self, directory: Path) -> None:
        self._directory, self._account = directory, FakeElb()
        self._front = self._account.add("front")
        self._numbers = itertools.count(1)
        self._addresses: dict[str, str] = {}

    def balancer(self, agent: str = "agent") -> Balancer:
        clock = QuickClock(step=VIEW_SECONDS)
        there = AlbLoadBalancer(self._account.client(), "front", "here", clock=clock)
        takes = self.abilities.fronts
        return BalancerByFront(
            CloudBalancer(self._directory / agent, there, "here", clock=clock, takes=takes)
        )

    def rival(self) -> Balancer:
        return self.balancer("rival")

    @contextmanager
    def taken_port(self) -> Iterator[int]:
        stranger = self._account.add_listener(self._front, 81)
        yield 81
        self._account.delete_listener(stranger)

    async def restart(self) -> None:
        self._account.forget_all()

    async def backend(self, group: str, is_enabled: bool = True) -> Backend:
        found = backend(group, 8080, is_enabled=is_enabled)
        address = self._addresses[group] = f"10.77.9.{next(self._numbers)}"
        return replace(found, servers=tuple(replace(each, address=address) for each in found.servers))

    async def fall_ill(self, group: str) -> None:
        self._account.down.add(self._addresses[group])

    async def recover(self, group: str) -> None:
        self._account.down.clear()

    async def begin_request(self, frontend: Frontend, group: GroupName) -> None:
        raise AssertionError("nothing counts requests here")

    async def end_requests(self) -> None: ...

    async def sides(self, frontend: Frontend, headers: list[str]) -> list[str]:
        pairs = (header.partition(": ") for header in headers)
        asked = [self._account.ask(frontend.port, {name: value}) for name, _, value in pairs]
        return [owner_of_group(GroupName(each))[0] for each in asked]


class StandInAlbRig(Rig):
    """The world around one of a stand-in for AWS. Each host is a server on loopback that tells its group."""

    abilities, sees_requests = aws_alb.ABILITIES, False
    reaches_ipv6 = False

    def __init__(self, directory: Path, cloud: CloudRig) -> None:
        self._directory, self._cloud = directory, cloud
        self._numbers = itertools.count(1)
        self._addresses: dict[str, str] = {}
        self._opened = AsyncExitStack()
        self._elbv2 = self._client(Elbv2)
        self._front = ""

    def _client(self, kind: Any) -> Any:
        session = AioSession()
        session.set_credentials("AKIARIG", "secret")
        made = kind(AmazonOptions(region="eu-west-1", endpoint=self._cloud.url), session)
        self._opened.push_async_callback(made.close)
        return made

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """With an empty account, and a load balancer in it."""
        self._cloud.reset(boot_seconds=0.0, health_seconds=0.0)
        async with self._opened:
            ec2 = self._client(Ec2)
            subnets = [each["SubnetId"] for each in (await ec2.call("describe_subnets"))["Subnets"]]
            made = await self._elbv2.call("create_load_balancer", Name="front", Subnets=subnets[:2])
            self._front = made["LoadBalancers"][0]["LoadBalancerArn"]
            yield

    def balancer(self, agent: str = "agent") -> Balancer:
        clock = QuickClock(step=VIEW_SECONDS)
        there = AlbLoadBalancer(self._client(Elbv2), "front", "here", clock=clock)
        takes = self.abilities.fronts
        return BalancerByFront(
            CloudBalancer(self._directory / agent, there, "here", clock=clock, takes=takes)
        )

    def rival(self) -> Balancer:
        return self.balancer("rival")

    async def restart(self) -> None:
        for listener in await self.listeners():
            await self._elbv2.call("delete_listener", ListenerArn=listener["ListenerArn"])
        for group in await self.listed("describe_target_groups", "TargetGroups"):
            await self._elbv2.call("delete_target_group", TargetGroupArn=group["TargetGroupArn"])

    async def listeners(self) -> Any:
        return await self.listed("describe_listeners", "Listeners", LoadBalancerArn=self._front)

    async def listed(self, call: str, what: str, **wanted: Any) -> Any:
        """As an operator sees it."""
        return await self._elbv2.list_all(call, what, **wanted)

    async def backend(self, group: str, is_enabled: bool = True) -> Backend:
        found, number = backend(group, 8080, is_enabled=is_enabled), next(self._numbers)

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            body = group.encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            writer.write(head.encode() + body)
            await writer.drain()
            writer.close()

        place = f"127.31.113.{number}"  # where the stand-in looks for 172.31.113.N
        await self._opened.enter_async_context(await asyncio.start_server(answer, place, 8080))
        address = self._addresses[group] = f"172.31.113.{number}"
        return replace(found, servers=tuple(replace(each, address=address) for each in found.servers))

    async def fall_ill(self, group: str) -> None:
        self._cloud.act(self._addresses[group], "unhealthy")

    async def recover(self, group: str) -> None:
        self._cloud.act(self._addresses[group], "healthy")

    async def begin_request(self, frontend: Frontend, group: GroupName) -> None:
        raise AssertionError("nothing counts requests here")

    async def end_requests(self) -> None: ...

    async def sides(self, frontend: Frontend, headers: list[str]) -> list[str]:
        (url,) = [each["url"] for each in self._cloud.fronts() if each["name"] == f"front/{frontend.port}"]
        answers = []
        async with aiohttp.ClientSession() as session:
            for line in headers:
                name, _, value = line.partition(": ")
                async with session.get(url, headers={name: value} if name else {}) as answer:
                    answers.append(await answer.text())
        return answers
