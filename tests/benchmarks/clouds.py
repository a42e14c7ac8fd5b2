"""What a host costs where hosts are machines of AWS, Google Cloud or Azure: calls and CPU from launch to
running, and how long it takes until 20 machines are ordered. On the stand-ins for these clouds; each figure
stands beside bare calls of the same kind in the same minute.
"""

import asyncio
import re
import secrets
import statistics
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiobotocore.session import AioSession

from repave_agent.clients.rest import Answer, Asked, Rest
from repave_agent.clock import SystemClock
from repave_agent.core.ports import HostSpec
from repave_agent.providers.aws.provider import AwsProvider
from repave_agent.providers.azure.provider import AzureProvider
from repave_protos.package.archive import pack
from repave_protos.protocol.values import ApplicationName, Digest, GroupName, HostName
from tests.benchmarks.table import Line
from tests.fakes.templates import a_template
from tests.support.clouds import CLOUDS, AnyProvider, CloudKind
from tests.support.rigs import CloudRig, cloud_rig, why_no_cloud

NET = 93
BOXES = 20
ORDER_SECONDS, CALL_SECONDS = 0.5, 0.1
"""How long the stand-in takes to answer an order of a machine, and any other call."""
AZURE_POLL_SECONDS = 10
"""Azure names a pause between two looks at an operation."""
MAKES = re.compile(r"/(instances|virtualMachines/[^/]+)$")
"""What is asked to make a machine."""


def run(directory: Path, hosts: int, rounds: int, boot_seconds: float) -> Iterator[Line]:
    for name, kind in CLOUDS.items():
        if reason := why_no_cloud(name):
            print(f"{name}: {reason}")
            continue
        place = directory / name
        (place / "app").mkdir(parents=True)
        (place / "app" / "page.html").write_text("hello")
        digest = pack(place / "app", place / "app.tar.gz")
        with cloud_rig(name, place / "rig", NET) as rig:
            work = Work(kind, rig, place, digest)
            yield from asyncio.run(_of_a_host(work, hosts, boot_seconds))
            yield asyncio.run(_ordered(work, rounds))


@dataclass(frozen=True, slots=True)
class Work:
    kind: CloudKind
    rig: CloudRig
    place: Path
    digest: Digest

    def empty(self, boot_seconds: float = 0.0) -> None:
        """Makes the cloud empty, and as slow as clouds are."""
        self.rig.reset(operation_seconds=0.2, boot_seconds=boot_seconds)
        if self.kind.name == "azure":
            self.rig.set(poll_seconds=AZURE_POLL_SECONDS)
        self.rig.fault(self.kind.create, "delay", seconds=ORDER_SECONDS - CALL_SECONDS, times=0)
        self.rig.fault("*", "delay", seconds=CALL_SECONDS, times=0)

    async def provider(self, boot_seconds: float) -> AnyProvider:
        """Of an empty cloud; started."""
        self.empty(boot_seconds)
        made = self.kind.provider(self.rig, self.place, SystemClock())
        await made.start()
        return made

    def orders_of(self, provider: AnyProvider) -> "Orders":
        if isinstance(provider, AwsProvider):
            return AwsOrders(provider, self.rig)
        rest = provider._resources.rest if isinstance(provider, AzureProvider) else provider._compute.rest
        return RestOrders(rest, self.empty)

    async def launch(self, provider: AnyProvider, hosts: int) -> None:
        names = [HostName(f"shop-v001-{number}") for number in range(hosts)]
        group, shop = GroupName("shop-v001"), ApplicationName("shop")
        specs = [HostSpec(name, group, shop, self.digest, a_template(("sleep", "600"))) for name in names]
        await asyncio.gather(*(provider.launch(spec, self.place / "app.tar.gz") for spec in specs))


async def _of_a_host(work: Work, hosts: int, boot_seconds: float) -> list[Line]:
    provider = await work.provider(boot_seconds=boot_seconds)
    orders = work.orders_of(provider)
    before, began = work.kind.calls_of(provider), time.process_time()
    await work.launch(provider, hosts)
    cpu, calls = time.process_time() - began, work.kind.calls_of(provider) - before
    await provider.close()
    async with orders.bare() as bare:
        began = time.process_time()
        await bare()
        floor = time.process_time() - began
    return [
        Line(f"{work.kind.name}: calls for a host, launch to running, boot {boot_seconds:g} s",
             calls / hosts, "calls", f"{hosts} hosts at once", 6.0),
        Line(f"{work.kind.name}: agent CPU for a host, launch to running", cpu * 1e3 / hosts, "ms",
             f"its order alone, bare: {floor * 1e3 / hosts:.2f} ms"),
    ]  # fmt: skip


async def _ordered(work: Work, rounds: int) -> Line:
    """The median of pairs, one after the other."""
    ratios = []
    for _ in range(rounds):
        provider = await work.provider(boot_seconds=0.0)
        orders = work.orders_of(provider)
        began = time.monotonic()
        await work.launch(provider, BOXES)
        ours = orders.answered_at - began
        await provider.close()
        async with orders.bare() as bare:
            began = time.monotonic()
            await bare()
            ratios.append(ours / (time.monotonic() - began))
    what = f"{work.kind.name}: {BOXES} machines ordered, beside {BOXES} bare calls at once"
    return Line(what, statistics.median(ratios), "x", f"{min(ratios):.2f} to {max(ratios):.2f}", 1.3)


class Orders(ABC):
    """The calls by which a provider has machines made, seen as they go. `answered_at`: the last of them."""

    answered_at = 0.0

    @abstractmethod
    def bare(self) -> AbstractAsyncContextManager[Callable[[], Awaitable[object]]]:
        """All of them once more, at once, by the plain library."""


class RestOrders(Orders):
    def __init__(self, rest: Rest, empty: Callable[[], None]) -> None:
        """`empty`: makes the cloud as it was before."""
        self._send, self._empty = rest.send, empty
        self._seen: list[dict[str, Any]] = []
        rest.send = self._watched  # type: ignore[method-assign]

    async def _watched(
        self,
        method: str,
        url: str,
        body: Any = None,
        query: Mapping[str, Asked] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        answer = await self._send(method, url, body, query, headers)
        if method in ("POST", "PUT") and MAKES.search(url):
            self.answered_at = time.monotonic()
            self._seen.append(
                {"method": method, "url": url, "json": body, "params": query, "headers": headers}
            )
        return answer

    @asynccontextmanager
    async def bare(self) -> AsyncIterator[Callable[[], Awaitable[object]]]:
        self._empty()
        async with aiohttp.ClientSession() as client:

            async def order(wanted: dict[str, Any]) -> None:
                async with client.request(**wanted) as answer:
                    await answer.read()
                    assert answer.status < 300, await answer.text()

            async def all_of_them() -> None:
                await asyncio.gather(*(order(each) for each in self._seen))

            assert self._seen, "the provider has ordered nothing"
            yield all_of_them


class AwsOrders(Orders):
    def __init__(self, provider: AwsProvider, rig: CloudRig) -> None:
        self._call, self._rig = provider._ec2.call, rig
        self._seen: list[dict[str, Any]] = []
        provider._ec2.call = self._watched  # type: ignore[method-assign]

    async def _watched(self, name: str, **wanted: Any) -> dict[str, Any]:
        answer = await self._call(name, **wanted)
        if name == "run_instances":
            self.answered_at = time.monotonic()
            self._seen.append(wanted)
        return answer

    @asynccontextmanager
    async def bare(self) -> AsyncIterator[Callable[[], Awaitable[object]]]:
        """In the same cloud, whose subnets have other names after a reset: with other tokens."""
        session = AioSession()
        session.set_credentials("AKIARIG", "secret")
        async with session.create_client(
            "ec2", region_name="eu-west-1", endpoint_url=self._rig.url
        ) as client:

            async def all_of_them() -> None:
                await asyncio.gather(
                    *(
                        client.run_instances(**{**each, "ClientToken": secrets.token_hex(16)})
                        for each in self._seen
                    )
                )

            assert self._seen, "the provider has ordered nothing"
            yield all_of_them
