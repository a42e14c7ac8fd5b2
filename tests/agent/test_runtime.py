"""An operator's own HAProxy under repave: reloads that lose everything, a pair of which one dies, other
agents, configurations that lack something, and clients that notice no switch."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from repave_agent.__main__ import main
from repave_agent.balancers.runtime import RuntimeBalancer
from repave_agent.balancers.runtime_snippet import SLOT
from repave_agent.ports import BalancerError, Route, Structure
from repave_protos.values import ApplicationName, GroupName
from tests.fakes.haproxy_rig import HaproxyRig, backend, free_port, frontend, get, haproxy_rig, needs_haproxy
from tests.fakes.operators_haproxy import OperatorsHaproxy
from tests.fakes.waiting import until_async
from tests.load import Load

pytestmark = needs_haproxy
SHOP = ApplicationName("shop")
BLUE, GREEN = GroupName("shop-v001"), GroupName("shop-v002")


class Pair:
    """Two operators' HAProxies, and a balancer over both."""

    def __init__(self, rig: HaproxyRig) -> None:
        self.rig = rig
        self.shop = frontend("shop", free_port())
        self.sides = [OperatorsHaproxy(rig.directory / name, name) for name in ("127.0.0.1", "127.0.0.2")]
        for side in self.sides:
            side.serves([self.shop])
        self.opened: list[RuntimeBalancer] = []

    def balancer(self, name: str = "agent") -> RuntimeBalancer:
        sockets = [str(side.socket) for side in self.sides]
        directory, mapped = self.rig.directory / name, str(self.sides[0].map)
        self.opened.append(RuntimeBalancer(directory, sockets, mapped, "127.0.0.1", name))
        return self.opened[-1]

    async def serving(self) -> RuntimeBalancer:
        """Both groups are there and up, blue has the traffic."""
        made = self.balancer()
        await made.start()
        webs = [await self.rig.web(group) for group in (BLUE, GREEN)]
        backends = [backend(group, web.port) for group, web in zip((BLUE, GREEN), webs, strict=True)]
        await made.arrange(Structure((self.shop,), tuple(backends)))
        await made.route((Route(SHOP, BLUE),))

        async def are_up() -> bool:
            return all(each.servers_up == 1 for each in (await made.observe()).backends)

        await until_async(are_up)
        return made


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    async with haproxy_rig() as rig:
        made = Pair(rig)
        yield made
        for balancer in made.opened:
            await balancer.close()
        for side in made.sides:
            side.kill()


async def test_what_a_reload_lost_is_applied_again_and_told(pair: Pair) -> None:
    balancer = await pair.serving()
    split = Route(SHOP, BLUE, GREEN, 2_500)
    await balancer.route((split,))
    before = await balancer.observe()
    pair.sides[0].reload()
    after = await balancer.observe()
    assert (after.structure, after.routes, after.restarts) == (before.structure, (split,), 1)
    await until_async(lambda: _answers(pair))


async def _answers(pair: Pair) -> bool:
    return await get(pair.shop.port) in (BLUE, GREEN)


async def test_a_step_does_not_count_before_both_of_a_pair_took_it(pair: Pair) -> None:
    balancer = await pair.serving()
    pair.sides[1].kill()
    with pytest.raises(BalancerError, match=r"127\.0\.0\.2/admin\.sock does not answer"):
        await balancer.route((Route(SHOP, GREEN),))
    assert (await balancer.observe()).is_running
    pair.sides[1].reload()
    await balancer.route((Route(SHOP, GREEN),))
    assert (await balancer.observe()).routes == (Route(SHOP, GREEN),)
    assert all(GREEN_SLOT in side.entries()["shop"] for side in balancer._sides)


GREEN_SLOT = f"{SLOT}2"


async def test_another_agent_is_refused_until_the_first_one_has_gone(pair: Pair) -> None:
    first = await pair.serving()
    second = pair.balancer("other")
    with pytest.raises(BalancerError, match="it belongs to another agent, agent-"):
        await second.start()
    await first.end()
    pair.opened.remove(first)
    await second.start()
    assert (await second.observe()).routes == ()


async def test_an_agent_that_lost_the_balancer_to_another_one_touches_nothing(pair: Pair) -> None:
    first = await pair.serving()
    for side in first._sides:
        side.set_entries({"_owner": "somebody-else"}, set())
    with pytest.raises(BalancerError, match="it belongs to another agent, somebody-else"):
        await first.route((Route(SHOP, GREEN),))
    assert (await asyncio.to_thread(first._sides[0].entries))["shop"].startswith(f"{SLOT}1|")


async def test_clients_notice_no_switch_and_no_share(pair: Pair) -> None:
    balancer = await pair.serving()
    load = Load(f"http://127.0.0.1:{pair.shop.port}/", rate=400)
    await load.start()
    for share in (1, 500, 5_000, 10_000, 0) * 3:
        await balancer.route((Route(SHOP, BLUE, GREEN, share) if share else Route(SHOP, BLUE),))
        seen = load.answers
        await until_async(lambda seen=seen: _heard(load, seen + 20))  # type: ignore[misc]
    result = await load.stop()
    assert result.failures == (), result.summary()
    assert result.answered_by(GREEN) > 0


async def _heard(load: Load, count: int) -> bool:
    return load.answers >= count


async def test_more_groups_than_slots_are_refused_with_the_remedy(pair: Pair) -> None:
    balancer = await pair.serving()
    many = tuple(backend(f"shop-v{number:03d}", free_port()) for number in range(1, 6))
    with pytest.raises(BalancerError, match=f"all 4 slots are taken: add more backends {SLOT}N"):
        await balancer.arrange(Structure((pair.shop,), many))


def test_what_an_operator_pastes_is_what_the_check_asks_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REPAVE_AGENT_REGION", "here")
    monkeypatch.setenv("REPAVE_AGENT_STATE", str(tmp_path / "state"))
    assert main(["balancer", "check"]) == 1
    assert "balancer is haproxy: only haproxy_runtime is an operator's own" in capsys.readouterr().err
    monkeypatch.setenv("REPAVE_AGENT_BALANCER", "haproxy_runtime")
    assert main(["balancer", "check"]) == 1
    assert "haproxy_runtime.sockets: name HAProxy's runtime socket" in capsys.readouterr().err
    monkeypatch.setenv("REPAVE_AGENT_HAPROXY_RUNTIME__SOCKETS", str(tmp_path / "nobody.sock"))
    assert main(["balancer", "check"]) == 1
    assert "No such file or directory" in capsys.readouterr().err
    assert main(["balancer", "snippet", "shop:80:cookie=uid"]) == 0
    shown = capsys.readouterr().out
    assert "#   _split.shop cookie:uid,-" in shown
    assert f"backend {SLOT}6" in shown
    assert main(["balancer", "snippet", "shop"]) == 1
    assert "write APP:PORT" in capsys.readouterr().err
