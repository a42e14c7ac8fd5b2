"""Real processes over a real PostgreSQL: killed, stopped, cut off, and the database restarted under them.
What one of them saved is there, and nothing is saved under a term that is over."""

import asyncio
import signal
import statistics

import pytest

from repave_controller.peers.ports import SHARDS
from tests.support.peers import Peers, Process, cuttable, peers, taken_over
from tests.support.postgresql import Server, needs_pgbouncer, pgbouncer

NOTICED_SECONDS = 30.0
"""By then even the slowest machine has seen it; how fast it is stands in docs/benchmarks.md."""


def check_history(of: Peers, database: Server, name: str) -> int:
    """Each commit that was told is there; of each application the terms never go down, and each term is of
    one process. Returns how many there are."""
    rows = database.psql("SELECT application, text FROM repave.events ORDER BY sequence", name)
    found = [line.split("|") for line in rows.splitlines()]
    texts = {text for _, text in found}
    for told in of.all_told:
        missing = [each["text"] for each in told if each["what"] == "saved" and each["text"] not in texts]
        assert not missing, f"acknowledged and not there: {missing[:3]}"
    newest: dict[str, tuple[int, int]] = {}
    writer: dict[tuple[str, int, int], str] = {}
    for application, text in found:
        incarnation, term, instance, _ = text.split()
        under = int(incarnation), int(term)
        assert under >= newest.get(application, (0, 0)), f"{application}: {text} after {newest[application]}"
        newest[application] = under
        assert writer.setdefault((application, *under), instance) == instance, "two processes under one term"
    return len(found)


async def pair(of: Peers, url: str, *words: str) -> tuple[Process, Process]:
    first = await of.start("a", url, *words)
    second = await of.start("b", url, *words)
    await of.until(lambda: second.has)
    return first, second


async def test_what_a_killed_a_stopped_and_a_frozen_one_had_goes_on_with_the_others(
    postgresql_server: Server,
) -> None:
    url = postgresql_server.fresh()
    name = url.rpartition("/")[2]
    async with peers() as of:
        a, b = await pair(of, url, "reckless")
        had = set(a.has)
        killed, _ = await taken_over([b], had, await of.kill(a))
        assert killed < NOTICED_SECONDS
        again = await of.start("a", url, "reckless")
        await of.until(lambda: len(again.has) > 3)
        frozen, had = b.signal(signal.SIGSTOP), set(b.has)
        seconds, _ = await taken_over([again], had, frozen)
        assert seconds < NOTICED_SECONDS
        woken = b.signal(signal.SIGCONT)
        await of.until(lambda: b.count("fenced", woken))
        await of.until(lambda: b.has)
        stopping = again.signal(signal.SIGTERM)
        await taken_over([b], set(again.has), stopping)
        await again.process.wait()
        assert check_history(of, postgresql_server, name) > 50


async def test_one_that_is_cut_off_is_succeeded_and_the_database_may_restart(
    postgresql_server: Server,
) -> None:
    url = postgresql_server.fresh()
    async with cuttable(postgresql_server.port) as cable, peers() as of:
        a = await of.start("a", url.replace(f":{postgresql_server.port}/", f":{cable.port}/"))
        b = await of.start("b", url)
        await of.until(lambda: b.has)
        cut, had = cable.cut(), set(a.has)
        seconds, _ = await taken_over([b], had, cut)
        assert seconds < NOTICED_SECONDS
        await of.until(lambda: not a.has)
        cable.mend()
        await of.until(lambda: a.has)
        restarted = asyncio.get_running_loop().time()
        await asyncio.to_thread(postgresql_server.restart)
        # Whose session ends first may lose its shards to the other one, and only some shards are saved for.
        await of.until(lambda: any(each.count("gained", restarted) for each in (a, b)))
        await of.until(lambda: any(each.count("saved", restarted) for each in (a, b)))
        assert check_history(of, postgresql_server, url.rpartition("/")[2]) > 50


STATEMENTS = {
    "a beat": "INTO repave.controllers",
    "a commit": "save_1",
    "the end of a transaction": "COMMIT",
    "taking shards": "UPDATE repave.shards s SET owner = $1",
    "handing over": "UPDATE repave.shards s SET owner = NULL",
}


@pytest.mark.rig
@needs_pgbouncer
@pytest.mark.parametrize("way", ["direct", "pooled", "pooled and direct"])
@pytest.mark.parametrize("stopped_in", STATEMENTS)
async def test_one_that_stops_just_after_a_statement_keeps_nothing_from_the_others(
    postgresql_server: Server, way: str, stopped_in: str
) -> None:
    """Through a pooler this is in the middle of a transaction."""
    if way == "direct" and stopped_in == "the end of a transaction":
        pytest.skip("each statement is a transaction")
    url = postgresql_server.fresh()
    with pgbouncer(postgresql_server) as port:
        direct = f"direct_url={url if way == 'pooled and direct' else ''}"
        place = url if way == "direct" else url.replace(f":{postgresql_server.port}/", f":{port}/")
        async with peers() as of:
            a = await of.start("a", place, direct, f"stop_after={STATEMENTS[stopped_in]}")
            others = [await of.start("b", place, direct), await of.start("c", place, direct)]
            await of.until_all_have(a, *others)
            a.signal(signal.SIGUSR1)
            if stopped_in == "handing over":
                others.append(await of.start("d", place, direct))
            elif stopped_in == "taking shards":
                await of.kill(others.pop())
            await of.until(lambda: a.count("stopping"))
            at = next(each["at"] for each in a.told if each["what"] == "stopping")
            seconds = (await taken_over(others, set(range(SHARDS)), at))[0]
            assert seconds < NOTICED_SECONDS
            print(f"stopped after {stopped_in}, {way}: others have all after {seconds:.2f} s")
            a.signal(signal.SIGCONT)
            await of.until(lambda: a.has)
            check_history(of, postgresql_server, url.rpartition("/")[2])


@pytest.mark.rig
async def test_two_hundred_times_a_frozen_owner_wakes_and_saves_nothing(postgresql_server: Server) -> None:
    url = postgresql_server.fresh()
    async with peers() as of:
        first, second = await pair(of, url, "reckless")
        took, fenced = [], 0
        for _ in range(200):
            first, second = sorted((first, second), key=lambda each: len(each.has))
            had, at = set(second.has), second.signal(signal.SIGSTOP)
            took.append((await taken_over([first], had, at))[0])
            woken, zombie = second.signal(signal.SIGCONT), second
            saving = {each for each in had if each < 16}
            await of.until(lambda: zombie.count("fenced", woken) >= len(saving))  # noqa: B023  # awaited here
            fenced += len(saving)
            await of.until(lambda: zombie.has)  # noqa: B023  # awaited here
        check_history(of, postgresql_server, url.rpartition("/")[2])
    print(f"{fenced} refused; taken over {statistics.median(took):.2f} s, at most {max(took):.2f} s")
