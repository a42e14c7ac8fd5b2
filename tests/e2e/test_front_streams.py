"""Real clients of every kind of front, whose streams are open all the time: through a canary, a rollback, the
end of a group, and kills of the agent, a host and HAProxy; and beside an application that makes mistakes."""

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.fakes.waiting import until
from tests.support.certificates import new_authority
from tests.support.faults import Moment, is_connected, leader_of
from tests.support.fronts import CANARY, REGION, FrontApp, FrontClients, agent_settings
from tests.support.stage import Stage, staged

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
AUTHORITY = new_authority()
CONNECTIONS = 200
"""That each HAProxy takes: few, so that one application could use them up."""


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    if shutil.which("haproxy") is None and not Path("/usr/sbin/haproxy").exists():
        pytest.skip("haproxy is not installed: apt install haproxy")
    with tempfile.TemporaryDirectory(prefix="rp") as directory:
        kept = Path(directory, "kept")
        kept.mkdir()
        settings = agent_settings(kept) | {"REPAVE_AGENT_HAPROXY__CONNECTIONS": str(CONNECTIONS)}
        with staged(Path(directory, "s"), regions=(REGION,), agent_environment=settings) as started:
            yield started


def an_app(stage: Stage, name: str) -> FrontApp:
    return FrontApp(stage, AUTHORITY, stage.directory.parent / "kept", name)


async def restarted(stage: Stage, clients: FrontClients) -> None:
    """The agent, killed; clients go on meanwhile."""
    stage.kill_agent(REGION)
    await clients.more()
    stage.start_agent(REGION)
    await until(lambda: is_connected(stage, REGION))


async def gone(pid: int) -> float:
    """When it was sure to have died."""
    await until(lambda: not is_alive(pid))
    return time.time()


def is_alive(pid: int) -> bool:
    """Not when it has ended and waits to be reaped."""
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def both_run(stage: Stage) -> bool:
    """HAProxys: one that was killed is back."""
    try:
        return all(stage.haproxy_worker(REGION, side) for side in ("haproxy", "haproxy/2"))
    except (OSError, ValueError):
        return False


async def test_nothing_is_cut_by_a_canary_a_rollback_or_kills_of_the_agent(stage: Stage) -> None:
    shop = an_app(stage, "shop")
    await shop.released("1.0")
    async with FrontClients(shop).running() as clients:
        moved = Moment(stage, "traffic.moved", application=shop.name)
        shop.issue()
        await shop.release("2.0", strategy=CANARY)
        await asyncio.to_thread(moved.wait)
        await restarted(stage, clients)
        ended = await shop.ended()
        assert ended["phase"] == "succeeded", ended["outcome"]
        await clients.more()
        assert set(clients.seen) == {"1.0", "2.0"}
        await asyncio.to_thread(stage.call, "POST", f"applications/{shop.name}/rollback", {"by": "test"})
        await restarted(stage, clients)
        assert (await shop.ended())["phase"] == "succeeded"
        await until(lambda: len(clients.serials) == 2)
        await clients.more()
        assert {answer.split()[0] for answer in clients.open.values()} == {"1.0"}
    assert clients.lost == []


async def test_streams_of_a_group_that_leaves_are_cut_after_its_drain_and_not_before(stage: Stage) -> None:
    chat = an_app(stage, "chat")
    await chat.released("1.0")
    async with FrontClients(chat).running() as clients:
        await chat.released("2.0", keeps=0, drain="2s")
        await until(lambda: {answer.split()[0] for answer in clients.open.values()} == {"2.0"})
        await clients.more()
    assert clients.failed == []
    assert len(clients.cut) == 6
    not_moved_yet = clients.seen["1.0"]
    assert [each for each in clients.cut if each.ended < not_moved_yet + 2.0] == []


async def test_what_dies_takes_only_with_it_what_was_open_there(stage: Stage) -> None:
    """A host: its streams, and calls of gRPC that it had; requests that may be repeated go to another one. An
    HAProxy of two: what it had open. Both: all of that, and what is asked until they are back."""
    dice = an_app(stage, "dice")
    await dice.released("1.0")
    async with FrontClients(dice, 8).running() as clients:
        hosts = {each["name"]: each["address"] for each in stage.get("hosts")["items"]}
        name = next(each for each in hosts if each.startswith("dice-"))
        leader = leader_of(stage, REGION, name).pid
        os.kill(leader, signal.SIGKILL)
        died = await gone(leader)
        await clients.more()
        assert {each.answered_by for each in clients.cut} <= {f"1.0 {hosts[name]}"}
        assert [each for each in clients.failed if each.kind in ("http", "https") or each.begun > died] == []

        clients.lost.clear()
        worker = stage.haproxy_worker(REGION)
        master = int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(worker, signal.SIGKILL)
        died = max(await gone(worker), await gone(master))  # which holds the ports for a moment longer
        await until(lambda: clients.cut)
        await clients.more()
        assert 0 < len(clients.cut) < 24  # 12, give or take: the kernel has spread them
        assert [each for each in clients.failed if each.begun > died] == []

        await until(lambda: both_run(stage))
        clients.lost.clear()
        stage.kill_haproxy(REGION)
        await until(lambda: len(clients.cut) >= 24)
        await clients.more()


async def test_mistakes_of_one_application_cost_another_one_at_its_ports_nothing(stage: Stage) -> None:
    good, bad, thief = an_app(stage, "good"), an_app(stage, "bad"), an_app(stage, "thief")
    await good.released("1.0")
    for other in (bad, thief):
        other.ports |= {"web": good.ports["web"], "tls": good.ports["tls"]}
    thief.host = good.host
    kinds = ("http", "https", "websocket", "grpc call")
    async with FrontClients(good, kinds=kinds).running() as clients, AsyncExitStack() as held:
        with pytest.raises(AssertionError, match="both match good"):
            await thief.release("1.0")
        bad.certificate.write_text("spoilt")
        with pytest.raises(AssertionError, match="there is no certificate in it"):
            await bad.release("0.1")
        bad.issue()
        for version, mistake in (("1.0", "redirects to itself"), ("2.0", "sends headers without end")):
            await bad.released(version, mistake=mistake, size=1)
            await asyncio.gather(*await asked(bad, 50, held))
        await bad.released("3.0", mistake="hangs", size=1)
        # A reload would give it all its part once more.
        await until(lambda: not any(each.startswith("bad-v001-") for each in stage.hosts()[REGION]))
        hanging = await asked(bad, 2 * CONNECTIONS - 60, held)
        assert await any_of(hanging) == b"HTTP/1.1 503"  # what is more than its part
        await clients.more()
        bad.certificate.write_text("spoilt")
        for each in stage.hosts()[REGION]:
            if each.startswith("bad-v003-"):
                os.kill(leader_of(stage, REGION, each).pid, signal.SIGKILL)
        await asked(bad, 50, held)
        await clients.more()
    assert clients.lost == []


async def asked(bad: FrontApp, count: int, held: AsyncExitStack) -> list[asyncio.Task[bytes]]:
    """So many clients of it at a time, each with one request. What comes of them is not awaited; their
    connections stay open."""
    address, port = bad.stage.traffic_address(REGION), bad.ports["web"]
    answers = []
    for _ in range(count):
        reader, writer = await asyncio.open_connection(address, port)
        held.callback(writer.close)
        writer.write(f"GET / HTTP/1.1\r\nHost: {bad.host}\r\nConnection: close\r\n\r\n".encode())
        answers.append(asyncio.create_task(reader.read(12)))
    return answers


async def any_of(answers: list[asyncio.Task[bytes]]) -> bytes:
    """The first that comes."""
    async with asyncio.timeout(30):
        done, _ = await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED)
    return done.pop().result()
