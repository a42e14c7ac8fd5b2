"""Two regions behind one name of a real BIND: one is taken out of it and put back, while clients that resolve
each time miss nothing, agent and controller are killed, and strangers' records stay."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.bind import ZONE, Bind, bind, needs_bind
from tests.support.stage import Stage, kept

pytestmark = [pytest.mark.rig, pytest.mark.e2e, pytest.mark.timeout(300), needs_bind]


@dataclass
class Clients:
    """Resolve the name anew for each request, and take each address in turn."""

    bind: Bind
    port: int
    answers: Counter[str] = field(default_factory=Counter)  # by address
    failures: list[str] = field(default_factory=list)

    async def run(self) -> None:
        while True:
            addresses = sorted(await self.bind.addresses("hello"))
            if not addresses:
                self.failures.append("the name leads nowhere")
            for address in addresses:
                await self._ask(address)
            await asyncio.sleep(0.01)  # what else runs here needs the processor too

    async def reach(self, address: str, before: int) -> None:
        """Returns once it has answered more often."""
        while True:
            if self.answers[address] > before:
                return
            await asyncio.sleep(0.02)

    async def _ask(self, address: str) -> None:
        try:
            reader, writer = await asyncio.open_connection(address, self.port)
            writer.write(b"GET / HTTP/1.1\r\nHost: hello\r\nConnection: close\r\n\r\n")
            answer = await reader.read()
            writer.close()
        except OSError as error:
            self.failures.append(f"{address}: {error}")
            return
        if b" 200 " in answer[:20]:
            self.answers[address] += 1
        else:
            self.failures.append(f"{address}: {answer[:80]!r}")


@asynccontextmanager
async def asking(clients: Clients) -> AsyncIterator[None]:
    task = asyncio.create_task(clients.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@contextmanager
def in_dns(directory: Path, found: Bind) -> Iterator[Stage]:
    stage = Stage(
        directory / "s",
        agent_environment={
            "REPAVE_AGENT_DNS__KIND": "rfc2136",
            "REPAVE_AGENT_DNS__ZONE": ZONE,
            "REPAVE_AGENT_DNS__NAMES": "*={application}." + ZONE,
            "REPAVE_AGENT_DNS__TTL_SECONDS": "1",
            "REPAVE_AGENT_DNS__RFC2136__SERVER": found.server,
        },
        region_environment={
            region: {"REPAVE_AGENT_DNS__RFC2136__KEY_FILE": str(found.key_file(region))}
            for region in ("paris", "oslo")
        },
    )
    with kept(stage) as started:
        yield started


async def until(found: Bind, addresses: set[str]) -> None:
    async with asyncio.timeout(30):
        while True:
            if await found.addresses("hello") == addresses:
                return
            await asyncio.sleep(0.05)


def region_of(stage: Stage, region: str) -> dict[str, object]:
    items = stage.get("applications/hello")["region_items"]
    found: dict[str, object] = next(each for each in items if each["name"] == region)["dns"]
    return found


async def test_a_region_leaves_the_worlds_traffic_and_comes_back(directory: Path) -> None:
    async with bind(directory / "bind") as found:
        with in_dns(directory, found) as stage:
            await asyncio.to_thread(_released, stage)
            paris, oslo = stage.traffic_address("paris"), stage.traffic_address("oslo")
            await until(found, {paris, oslo})
            clients = Clients(found, stage.get("applications/hello")["port"])
            async with asking(clients):
                await asyncio.to_thread(_drained, stage)
                await until(found, {oslo})
                await asyncio.to_thread(_told, stage)
                before = clients.answers.copy()
                await asyncio.to_thread(_last_refused, stage)
                async with asyncio.timeout(30):
                    await clients.reach(oslo, before[oslo])
                assert clients.answers[paris] - before[paris] <= 1  # begun before it left
                await asyncio.to_thread(_undrained, stage)
                await until(found, {paris, oslo})
                back = clients.answers[paris]
                async with asyncio.timeout(30):
                    await clients.reach(paris, back)
            assert clients.failures == []
            for name, address in (("www", "203.0.113.80"), ("shop", "203.0.113.7")):
                assert await found.addresses(name) == {address}
        assert await found.addresses("hello") == set()  # repave-agent clean takes its records along
        assert await found.addresses("odd", "TXT") == {'"not of repave"'}


def _released(stage: Stage) -> None:
    stage.release("v1")
    assert stage.ended()["phase"] == "succeeded"


def _drained(stage: Stage) -> None:
    """Its agent is away: the record stays. It returns while the controller is away as well."""
    stage.kill_agent("paris")
    asked = stage.repave("regions", "drain", "paris", "hello", "--reason", "flood")
    assert asked.returncode == 0, asked.stderr
    why = stage.repave("why", "hello").stdout
    assert "its record in DNS stays as it is until the agent returns" in why
    stage.kill_controller()
    stage.start_agent("paris")
    stage.start_controller()


def _told(stage: Stage) -> None:
    stage.wait(lambda: region_of(stage, "paris")["state"] == "out", "paris is out of DNS")
    told = region_of(stage, "paris")
    assert told["drained_by"], told
    assert (told["drained"], told["drained_reason"], told["ttl_seconds"]) == (True, "flood", 1)
    assert told["clients_until"]
    assert "DRAINED" in stage.repave("status", "hello").stdout
    (region,) = [each for each in stage.get("regions")["items"] if each["name"] == "paris"]
    assert region["dns"] == "rfc2136, ttl 1s, shares equal"


def _last_refused(stage: Stage) -> None:
    refused = stage.repave("regions", "drain", "oslo", "hello", "-o", "json")
    assert json.loads(refused.stdout)["rule"] == "last-in-dns"
    assert "repave regions drain oslo hello --override --reason TEXT" in refused.stderr


def _undrained(stage: Stage) -> None:
    asked = stage.repave("regions", "undrain", "paris")
    assert "hello: back into DNS in paris" in asked.stdout + asked.stderr
