"""How the real HAProxy gives requests to the two sides: by chance, by cookie, by header; and testers."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from repave_agent.balancers.haproxy.process import HaproxyProcess
from repave_agent.clock import SystemClock
from repave_agent.core.ports import Structure
from repave_protos.protocol.values import BY_REQUEST, GroupName, Split
from tests.fakes.agent.haproxy_rig import HaproxyRig, backend, get, haproxy_rig, needs_haproxy
from tests.fakes.waiting import until_async
from tests.support.ports import free_port
from tests.support.shares import BLUE, GREEN, SHARES_BP, SHOP, Shop, chance, sigmas_off

pytestmark = needs_haproxy

BY_COOKIE, BY_HEADER = Split("cookie", "uid"), Split("header", "X-User")
TESTERS_BY_HEADER = Split("request", "", "header", "X-Tester", "yes/2+2=4")
TESTERS_BY_COOKIE = Split("request", "", "cookie", "tester", "let-me@see:it~")
RARE = 1e-4
REQUESTS = 3_000  # for each share; `make bench` asks 40,000 times
USERS = [f"user-{number}" for number in range(2_000)]
COOKIES = [f"Cookie: lang=en; uid={user}; seen=1" for user in USERS]


Open = Callable[[Split], Awaitable[Shop]]


@pytest.fixture
async def rig() -> AsyncIterator[HaproxyRig]:
    async with haproxy_rig() as rig:
        yield rig


@pytest.fixture
def shop(rig: HaproxyRig) -> Open:
    return lambda split: Shop(rig, split).open()


def greens(users: list[str], sides: list[str]) -> set[str]:
    assert set(sides) <= {"blue", "green"}
    return {user for user, side in zip(users, sides, strict=True) if side == "green"}


# ---------------------------------------------------------------------------------------------- by chance


async def test_every_share_is_given_exactly(shop: Open) -> None:
    """One honest draw in 10,000 is refused here; such a one is drawn once more."""
    here = await shop(BY_REQUEST)
    for share_bp in SHARES_BP:
        await here.give(share_bp)
        counts = []
        for _ in range(2):
            counts.append((await here.sides([""] * REQUESTS)).count("green"))
            if chance(counts[-1], REQUESTS, share_bp) > RARE:
                break
        assert chance(counts[-1], REQUESTS, share_bp) > RARE, f"{share_bp} bp of {REQUESTS}: {counts}"


@pytest.mark.parametrize(
    ("got", "share_bp", "is_rare"),
    [(0, 1, False), (3, 1, False), (8, 1, True), (1_500, 5_000, False), (1_400, 5_000, False),
     (1_380, 5_000, True), (2_999, 10_000, True), (3_000, 10_000, False)],
)  # fmt: skip
def test_what_is_rare_is_reckoned_exactly(got: int, share_bp: int, is_rare: bool) -> None:
    assert (chance(got, 3_000, share_bp) <= RARE) == is_rare


@pytest.mark.parametrize("split", [BY_REQUEST, BY_COOKIE, BY_HEADER], ids=lambda split: split.by)
async def test_who_sends_no_mark_is_given_to_a_side_by_chance(shop: Open, split: Split) -> None:
    here = await shop(split)
    for share_bp, wanted in [(0, {"blue"}), (5_000, {"blue", "green"}), (10_000, {"green"})]:
        await here.give(share_bp)
        assert set(await here.sides([""] * 200)) == wanted


# ------------------------------------------------------------------------------------------ sticky users


async def test_a_growing_share_only_adds_users(shop: Open) -> None:
    here = await shop(BY_COOKIE)
    known: set[str] = set()
    for share_bp in (50, 500, 2_500, 5_000, 10_000):
        await here.give(share_bp)
        now = greens(USERS, await here.sides(COOKIES))
        assert known <= now, f"at {share_bp} bp users left the new side"
        assert sigmas_off(len(now), len(USERS), share_bp) <= 3
        known = now


async def test_a_shrinking_share_only_takes_users_and_none_stays_at_0(shop: Open) -> None:
    here = await shop(BY_HEADER)
    marks = [f"X-User: {user}, the {user}th" for user in USERS]
    known = set(USERS)
    for share_bp in (5_000, 500, 0):
        await here.give(share_bp)
        now = greens(USERS, await here.sides(marks))
        assert now <= known, f"at {share_bp} bp users came to the new side"
        assert sigmas_off(len(now), len(USERS), share_bp) <= 3
        known = now


async def test_a_user_stays_on_a_side_over_reloads_deaths_and_regions(shop: Open) -> None:
    here = await shop(BY_COOKIE)
    await here.give(2_500)
    before = await here.sides(COOKIES[:500])
    assert set(before) == {"blue", "green"}
    await here.arrange(Structure((), (*here.structure.backends, backend("other-v001", free_port()))))
    assert await here.sides(COOKIES[:500]) == before, "after a reload"

    died = asyncio.Event()
    here.balancer.on_change(died.set)
    workers = HaproxyProcess(here.rig.directory, "haproxy", SystemClock().monotonic).socket.workers()
    os.kill(workers.master, signal.SIGKILL)
    await asyncio.wait_for(died.wait(), 20)
    await until_async(lambda: get(here.port))
    assert (await here.balancer.observe()).restarts == 1
    assert await here.sides(COOKIES[:500]) == before, "after HAProxy was killed"

    async with haproxy_rig() as other:
        there = await Shop(other, BY_COOKIE).open()
        await there.give(2_500)
        assert await there.sides(COOKIES[:500]) == before, "in another region"


async def test_other_users_are_first_at_the_next_release(shop: Open) -> None:
    here = await shop(BY_COOKIE)
    await here.give(2_500)
    first = greens(USERS[:800], await here.sides(COOKIES[:800]))
    newest, web = GroupName("shop-v003"), await here.rig.web("green")
    await here.arrange(Structure((), (*here.structure.backends, backend(newest, web.port))))
    await here.give(2_500, second=newest)
    then = greens(USERS[:800], await here.sides(COOKIES[:800]))
    assert len(first & then) < len(first) / 2  # a quarter of a quarter, by chance


async def test_a_visitor_without_the_cookie_gets_one_to_stay_on_a_side(shop: Open) -> None:
    here = await shop(BY_COOKIE)
    await here.give(5_000)
    for _ in range(8):
        side, head = await _visit(here.port)
        assert "cache-control: private" in head
        (cookie,) = [line for line in head.splitlines() if line.startswith("set-cookie: repave-visitor=")]
        mine = "Cookie: " + cookie.removeprefix("set-cookie: ").partition(";")[0]
        assert set(await here.sides([mine] * 20)) == {side}
        assert "set-cookie" not in (await _visit(here.port, mine))[1], "it has one already"


async def test_the_applications_cookie_is_more_than_ours_and_only_read(shop: Open) -> None:
    here = await shop(BY_COOKIE)
    await here.give(5_000)
    before = await here.sides(COOKIES[:100])
    assert await here.sides([f"{mark}; repave-visitor=x" for mark in COOKIES[:100]]) == before
    assert "set-cookie" not in (await _visit(here.port, COOKIES[0]))[1]


async def test_nobody_gets_a_cookie_while_there_is_nothing_to_share(shop: Open) -> None:
    here = await shop(BY_COOKIE)
    assert "set-cookie" not in (await _visit(here.port))[1]


# ---------------------------------------------------------------------------------------------- testers


@pytest.mark.parametrize(
    ("split", "tester", "others"),
    [
        (
            TESTERS_BY_HEADER,
            "X-Tester: yes/2+2=4",
            ["", "X-Tester: yes", "X-Tester: YES/2+2=4", "X-Tester:", "Cookie: X-Tester=yes/2+2=4"],
        ),
        (
            TESTERS_BY_COOKIE,
            "Cookie: a=b; tester=let-me@see:it~",
            ["", "Cookie: tester=x", "Cookie: testers=let-me@see:it~", "tester: let-me@see:it~"],
        ),
    ],
    ids=["header", "cookie"],
)
async def test_testers_reach_the_new_group_at_weight_0_and_nobody_else_does(
    shop: Open, split: Split, tester: str, others: list[str]
) -> None:
    here = await shop(split)
    assert set(await here.sides([tester] * 100)) == {"blue"}, "they wait until they are let in"
    await here.give(0, testers=GREEN)
    assert (await here.balancer.observe()).routes[0].testers == GREEN
    sides = await here.sides([tester, *others] * 100)
    assert sides == (["green"] + ["blue"] * len(others)) * 100
    await here.give(2_500, testers=GREEN)
    assert set(await here.sides([tester] * 200)) == {"green"}
    await here.give(0)
    assert set(await here.sides([tester] * 100)) == {"blue"}


async def test_a_sticky_user_who_tests_sees_the_new_group_and_goes_back_to_the_own_side(shop: Open) -> None:
    here = await shop(Split("cookie", "uid", "header", "X-Tester", "1"))
    await here.give(500, testers=GREEN)
    before = await here.sides(COOKIES[:300])
    assert set(await here.sides([f"{mark}\r\nX-Tester: 1" for mark in COOKIES[:300]])) == {"green"}
    assert await here.sides(COOKIES[:300]) == before


async def test_a_tester_on_a_connection_of_an_old_worker_reaches_a_group_it_does_not_know(shop: Open) -> None:
    here = await shop(TESTERS_BY_HEADER)
    tester = "X-Tester: yes/2+2=4"
    connections = {header: await asyncio.open_connection("127.0.0.1", here.port) for header in (tester, "")}
    for header, connection in connections.items():
        assert (await _ask(*connection, header))[0] == "blue"
    newest, web = GroupName("shop-v003"), await here.rig.web("newest")
    await here.arrange(Structure((), (*here.structure.backends, backend(newest, web.port))))
    assert (await here.balancer.observe()).old_workers in (1, 2), "two HAProxys share the connections"
    await here.give(0, testers=newest)
    assert (await here.balancer.observe()).route(SHOP) is not None, "all workers agree"
    assert (await _ask(*connections[tester], tester))[0] == "newest"
    assert (await _ask(*connections[""], ""))[0] == "blue"
    for _, writer in connections.values():
        writer.close()


async def test_a_changed_split_is_taken_over_by_a_reload_without_losing_the_route(shop: Open) -> None:
    here = await shop(BY_REQUEST)
    await here.give(2_500)
    here.split = BY_COOKIE
    await here.arrange(here.structure)
    view = await here.balancer.observe()
    assert view.structure.frontends[0].split == BY_COOKIE
    assert (view.routes[0].first, view.routes[0].second_bp) == (BLUE, 2_500)
    assert await here.sides(COOKIES[:200]) == await here.sides(COOKIES[:200])


async def _visit(port: int, header: str = "") -> tuple[str, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        return await _ask(reader, writer, header)
    finally:
        writer.close()


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, header: str) -> tuple[str, str]:
    """The body of the answer, and its head in lower case."""
    more = f"{header}\r\n" if header else ""
    writer.write(f"GET / HTTP/1.1\r\nHost: test\r\n{more}\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    return (await reader.readline()).decode().strip(), head.decode().lower()
