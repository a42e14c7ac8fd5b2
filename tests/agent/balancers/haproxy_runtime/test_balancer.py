"""An operator's own HAProxy under repave: reloads that lose everything, a pair of which one dies, other
agents, configurations that lack something, and clients that notice no switch."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from repave_agent.__main__ import main
from repave_agent.balancers.haproxy_runtime import BALANCER
from repave_agent.balancers.haproxy_runtime.balancer import RuntimeBalancer
from repave_agent.balancers.haproxy_runtime.layout import PASTE
from repave_agent.balancers.haproxy_runtime.options import HaproxyRuntimeOptions
from repave_agent.balancers.haproxy_runtime.snippet import SLOT
from repave_agent.balancers.haproxy_runtime.transport import Keys
from repave_agent.core.ports import BalancerAwaitedError, BalancerError, Route, Structure, UnfitError
from repave_protos.protocol.values import ApplicationName, GroupName, Split
from tests.fakes.agent.haproxy_rig import HaproxyRig, backend, frontend, get, haproxy_rig, needs_haproxy
from tests.fakes.agent.operators_haproxy import OperatorsHaproxy
from tests.fakes.waiting import until_async
from tests.support.load import Load
from tests.support.ports import free_port
from tests.support.sshd_hosts import PORT as SSH_PORT
from tests.support.sshd_hosts import pool, why_not

pytestmark = needs_haproxy
SHOP = ApplicationName("shop")
OCTET = 255
"""Of the machine's address: other tests' machines have others."""
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
        directory = self.rig.directory / name
        mapped = str(self.sides[0].map) if self.sides[0].has_map else ""
        kept = str(self.sides[0].backends) if self.sides[0].keeps else ""
        self.opened.append(RuntimeBalancer(directory, sockets, mapped, "127.0.0.1", name, backends=kept))
        return self.opened[-1]

    def let_in(self) -> None:
        """From now on the agent may write the servers that HAProxy reads when it starts."""
        for side in self.sides:
            side.keeps = True
            side.reload()

    def lose_map(self) -> None:
        """From now on there are pools instead of slots."""
        for side in self.sides:
            side.has_map = False
            side.reload()

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


@pytest.mark.parametrize("has_map", [True, False])
async def test_clients_notice_no_reload_where_the_agent_may_write_what_haproxy_reads(
    pair: Pair, has_map: bool
) -> None:
    """Nor one while the agent is away: it does not look once here."""
    if not has_map:
        pair.lose_map()
    pair.let_in()
    balancer = await pair.serving()
    split = Route(SHOP, BLUE, GREEN, 2_500)
    await balancer.route((split,))
    load = Load(f"http://127.0.0.1:{pair.shop.port}/", rate=300)
    await load.start()
    for _ in range(3):
        await asyncio.to_thread(pair.sides[0].reload)
        seen = load.answers
        await until_async(lambda seen=seen: _heard(load, seen + 100))  # type: ignore[misc]
    result = await load.stop()
    assert result.failures == (), result.summary()
    assert result.answered_by(BLUE) > result.answered_by(GREEN) > 0
    view = await balancer.observe()
    assert (view.routes, [each.servers_up for each in view.backends]) == ((split,), [1, 1])
    blue, green = view.structure.backends
    await balancer.route((Route(SHOP, BLUE),))
    await balancer.arrange(Structure((pair.shop,), (blue,)))
    await asyncio.to_thread(pair.sides[0].reload)
    assert not any(green.servers[0].host in each for each in _servers(balancer)), "it had gone for good"
    await balancer.end()
    pair.opened.remove(balancer)
    await asyncio.to_thread(pair.sides[0].reload)
    assert await get(pair.shop.port) == "", "an agent that has ended leaves nothing behind"


async def test_the_spare_answers_while_no_server_of_the_new_group_is_up(pair: Pair) -> None:
    balancer = await pair.serving()
    fallback = Route(SHOP, GREEN, spare=BLUE)
    assert (await balancer.observe()).falls_back
    await balancer.route((fallback,))
    assert await get(pair.shop.port) == GREEN
    await pair.rig.webs[1].stop()
    await until_async(lambda: _answers_as(pair, BLUE))
    view = await balancer.observe()
    assert view.routes == (fallback,)
    (counted,) = view.fallen_back
    assert (counted.application, counted.group, counted.spare) == (SHOP, GREEN, BLUE)
    assert counted.requests > 0


async def _answers_as(pair: Pair, group: GroupName) -> bool:
    return await get(pair.shop.port) == group


async def test_a_step_does_not_count_before_both_of_a_pair_took_it(pair: Pair) -> None:
    balancer = await pair.serving()
    pair.sides[1].kill()
    with pytest.raises(BalancerError, match=r"127\.0\.0\.2/admin\.sock does not answer"):
        await balancer.route((Route(SHOP, GREEN),))
    assert (await balancer.observe()).is_running
    pair.sides[1].reload()
    await balancer.route((Route(SHOP, GREEN),))
    assert (await balancer.observe()).routes == (Route(SHOP, GREEN),)
    assert all(GREEN_SLOT in side.state().worker.entries["shop"] for side in balancer._sides)


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
        side.command([f"set map {pair.sides[0].map} _owner somebody-else"])
    with pytest.raises(BalancerError, match="it belongs to another agent, somebody-else"):
        await first.route((Route(SHOP, GREEN),))
    state = await asyncio.to_thread(first._sides[0].state)
    assert state.worker.entries["shop"].startswith(f"{SLOT}1|")


async def test_a_server_that_still_has_requests_holds_up_nobody(pair: Pair) -> None:
    balancer = await pair.serving()
    request = asyncio.create_task(get(pair.shop.port, "/slow"))
    await until_async(lambda: _in_flight(balancer, 1))
    await balancer.route((Route(SHOP, GREEN),))
    green = (await balancer.observe()).structure.backends[1]
    await balancer.arrange(Structure((pair.shop,), (green,)))
    assert (await balancer.observe()).routes == (Route(SHOP, GREEN),)
    assert _servers(balancer) == {f"{SLOT}1/{BLUE}-0", f"{SLOT}2/{GREEN}-0"}  # it ends what it has
    for web in pair.rig.webs:
        web.release()
    assert await request == BLUE

    async def is_gone() -> bool:
        await balancer.observe()
        return _servers(balancer) == {f"{SLOT}2/{GREEN}-0"}

    await until_async(is_gone)


def _servers(balancer: RuntimeBalancer) -> set[str]:
    states = (side.state() for side in balancer._sides)
    return {f"{each.group}/{each.host}" for state in states for each in state.worker.servers}


async def _in_flight(balancer: RuntimeBalancer, count: int) -> bool:
    return sum(each.in_flight for each in (await balancer.observe()).backends) == count


@pytest.mark.parametrize(
    "meddling",
    [
        f"set server {SLOT}1/{BLUE}-0 state maint",
        f"set server {SLOT}1/{BLUE}-0 state maint;del server {SLOT}1/{BLUE}-0",
        "set map {map} shop repave-slot-2|repave-slot-2|0",
        "del map {map} shop",
        "del map {map} _owner",
    ],
)
async def test_what_one_side_lacks_is_mended_at_the_next_look(pair: Pair, meddling: str) -> None:
    balancer = await pair.serving()
    before = balancer._sides[1].state().worker
    balancer._sides[1].command(meddling.format(map=pair.sides[1].map).split(";"))
    await balancer.observe()
    after = balancer._sides[1].state().worker
    assert after.entries == before.entries
    assert {(x.group, x.host, x.is_enabled) for x in after.servers} == {
        (x.group, x.host, x.is_enabled) for x in before.servers
    }


async def test_a_frontend_that_the_configuration_has_not_so_is_refused(pair: Pair) -> None:
    balancer = await pair.serving()
    structure = (await balancer.observe()).structure
    moved = replace(pair.shop, port=pair.shop.port + 1)
    with pytest.raises(BalancerError, match=f"shop comes in at port {pair.shop.port}, the spec asks for"):
        await balancer.arrange(replace(structure, frontends=(moved,)))
    sticky = replace(pair.shop, split=Split("cookie", "uid"))
    with pytest.raises(BalancerError, match="shop is set up for request:,-, the spec asks for cookie:uid,-"):
        await balancer.arrange(replace(structure, frontends=(sticky,)))
    way_in = await balancer.way_in(moved)
    assert way_in.lack == (
        f"{pair.sides[0].socket}: shop comes in at port {pair.shop.port}, the spec asks for {moved.port} "
        f"(there are: shop at port {pair.shop.port}): {PASTE}"
    )
    assert way_in.fronts == (pair.shop,)
    blog = f"blog has no frontend for port 1 .there are: shop at port {pair.shop.port}"
    with pytest.raises(BalancerError, match=blog):
        await balancer.arrange(replace(structure, frontends=(pair.shop, frontend("blog", 1))))
    assert (await balancer.observe()).structure == structure


@pytest.mark.parametrize("has_map", [True, False])
async def test_a_frontend_that_listens_elsewhere_than_it_says_lets_no_client_in(
    pair: Pair, has_map: bool
) -> None:
    """Its operator has changed the bind alone, or there is no map that could say a port."""
    if not has_map:
        pair.lose_map()
    blog = frontend("blog", free_port())
    for side in pair.sides:
        side.mistake = (f":{blog.port}", f":{free_port()}")
        side.serves([pair.shop, blog])
    balancer = await pair.serving()
    shut = f"blog: no frontend listens at 127.0.0.1:{blog.port}"
    assert (await balancer.way_in(blog)).lack.startswith(shut)
    structure = (await balancer.observe()).structure
    with pytest.raises(UnfitError, match=shut):
        await balancer.arrange(replace(structure, frontends=(*structure.frontends, blog)))
    for side in pair.sides:
        side.misread("", "")
    assert (await balancer.way_in(blog)).lack == ""


@pytest.mark.parametrize("has_map", [True, False])
async def test_clients_notice_no_switch_and_no_share(pair: Pair, has_map: bool) -> None:
    if not has_map:
        pair.lose_map()
    balancer = await pair.serving()
    load = Load(f"http://127.0.0.1:{pair.shop.port}/", rate=400)
    await load.start()
    for share in (100, 500, 5_000, 10_000, 0) * 3:
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


async def test_by_weights_alone_what_can_not_be_had_is_refused(pair: Pair) -> None:
    pair.lose_map()
    balancer = await pair.serving()
    abilities = BALANCER.abilities(HaproxyRuntimeOptions(map=""))
    assert (abilities.share_step_bp, abilities.switches_at_once) == (100, False)
    structure = (await balancer.observe()).structure
    for split in (Split("cookie", "uid"), Split(tester_by="header", tester_name="X", tester_value="y")):
        with pytest.raises(BalancerError, match="by weights alone there is no split"):
            await balancer.arrange(replace(structure, frontends=(replace(pair.shop, split=split),)))


@pytest.mark.parametrize(
    ("pasted", "found", "why"),
    [
        (
            "balance roundrobin",
            "balance static-rr",
            "has `balance static-rr`, which takes no servers at run time",
        ),
        ("level admin", "level operator", "the socket has level operator: it needs `level admin`"),
        ("repave-slot-", "slot-", "0 backends are called repave-slot-N; two are the least"),
    ],
)
async def test_a_configuration_that_lacks_something_is_told_what(
    pair: Pair, pasted: str, found: str, why: str
) -> None:
    pair.sides[0].misread(pasted, found)
    with pytest.raises(BalancerError, match=why):
        await pair.balancer().start()


async def test_a_map_that_nobody_uses_is_told(pair: Pair) -> None:
    pair.sides[0].has_map = False
    pair.sides[0].reload()
    side = pair.sides[0]
    made = RuntimeBalancer(pair.rig.directory / "a", [str(side.socket)], str(side.map), "127.0.0.1", "a")
    pair.opened.append(made)
    with pytest.raises(BalancerError, match=r"HAProxy has no map .*: paste what"):
        await made.start()


async def test_the_check_says_what_is_less_without_a_map(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pair.lose_map()
    named = {"REGION": "here", "STATE": tmp_path, "BALANCER": "haproxy_runtime", "HAPROXY_RUNTIME__MAP": "",
             "HAPROXY_RUNTIME__SOCKETS": pair.sides[0].socket}  # fmt: skip
    for name, value in named.items():
        monkeypatch.setenv(f"REPAVE_AGENT_{name}", str(value))
    assert main(["balancer", "check"]) == 0
    assert "a switch moves one server after the other" in capsys.readouterr().out
    assert main(["balancer", "snippet", "shop:80"]) == 0
    assert "backend repave-pool-shop" in capsys.readouterr().out


@pytest.mark.skipif(bool(why_not()), reason=why_not() or "machines can be had")
async def test_a_socket_on_another_machine_is_reached_over_ssh(pair: Pair) -> None:
    with TemporaryDirectory(prefix="rp") as directory, pool(Path(directory) / "pool", 1, OCTET) as machines:
        key = (machines.directory / "m1" / "host_key.pub").read_text()
        known = Path(directory) / "known_hosts"
        known.write_text(f"[{machines.address('m1')}]:{SSH_PORT} {key}")
        keys = Keys(machines.key, known)
        where = f"ssh://root@{machines.address('m1')}:{SSH_PORT}{pair.sides[0].socket}"
        made = RuntimeBalancer(
            pair.rig.directory / "far", [where], str(pair.sides[0].map), "127.0.0.1", "far", keys
        )
        pair.opened.append(made)
        await made.start()
        web = await pair.rig.web(BLUE)
        await made.arrange(Structure((pair.shop,), (backend(BLUE, web.port),)))
        await made.route((Route(SHOP, BLUE),))
        assert (await made.observe()).routes == (Route(SHOP, BLUE),)
        machines.halt("m1")
        with pytest.raises(BalancerError, match="does not answer"):
            await made.observe()
        machines.boot("m1")  # with another host key
        with pytest.raises(BalancerError, match="host key"):
            await made.observe()
        known.write_text("")


@pytest.mark.parametrize("address", ["admin.sock", "ssh://nobody", "ssh://root@host", "host:port"])
def test_an_address_that_can_not_be_meant_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(BalancerError, match=f"{address}: (name a socket by|write ssh)"):
        RuntimeBalancer(tmp_path, [address], "", "127.0.0.1", "here", Keys(tmp_path, tmp_path))


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


def test_what_to_paste_is_printed_before_anything_is_set_up_and_for_both_of_a_pair(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["balancer", "snippet", "shop:80"]) == 0
    shown = capsys.readouterr().out
    assert "frontend shop" in shown
    assert "# bind 127.0.0.1:443 ssl crt" in shown
    assert main(["balancer", "check"]) == 2
    assert "region" in capsys.readouterr().err
    monkeypatch.setenv("REPAVE_AGENT_HAPROXY_RUNTIME__SOCKETS", "/run/a.sock 10.0.0.2:9999")
    monkeypatch.setenv("REPAVE_AGENT_HAPROXY_RUNTIME__TRAFFIC_ADDRESS", "10.77.0.10")
    assert main(["balancer", "snippet", "shop:80"]) == 0
    assert "  bind *:80\n" in capsys.readouterr().out, "the one without the virtual address starts as well"


async def test_a_side_that_is_down_is_told_and_one_that_is_not_there_yet_is_waited_for(pair: Pair) -> None:
    balancer = await pair.serving()
    assert await balancer.troubles() == []
    pair.sides[1].kill()
    (told,) = await balancer.troubles()
    assert told.startswith(f"balancer {pair.sides[1].socket}: ")
    with pytest.raises(BalancerAwaitedError, match=f"{pair.sides[1].socket} does not answer"):
        await pair.balancer("agent").start()
