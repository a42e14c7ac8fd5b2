"""The main job on machines over SSH: two pools of four real sshd machines, in each some that are no good, an
agent that is killed in the middle, and clients that notice none of it."""

import asyncio
import json
import shlex
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.waiting import until_async
from tests.support.faults import Moment
from tests.support.releases import clients, release
from tests.support.sshd_hosts import PORT, ROOT, Pool, pool, why_not
from tests.support.stage import Stage, staged

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
]
REGIONS = {"paris": 240, "oslo": 241}
"""With the second number of the machines' addresses."""
WANTED: dict[str, Any] = {"provider": "ssh_pool", "size": 1, "environment": {}}


@pytest.fixture
def pools(directory: Path) -> Iterator[dict[str, Pool]]:
    with ExitStack() as undo:
        yield {
            name: undo.enter_context(pool(directory / f"pool-{name}", 4, octet))
            for name, octet in REGIONS.items()
        }


def settings(machines: Pool) -> dict[str, str]:
    named = {
        "INVENTORY": str(machines.inventory),
        "KEY": str(machines.key),
        "PORT": str(PORT),
        "ROOT": ROOT,
        "RESET__COMMAND": shlex.join(machines.reset_command),
        "RESET__PROOF": "host-key",
    }
    return {
        "REPAVE_AGENT_PROVIDER": "ssh_pool",
        **{f"REPAVE_AGENT_SSH_POOL__{name}": value for name, value in named.items()},
    }


def records(stage: Stage, region: str) -> dict[str, tuple[str, str, str]]:
    """Machine to state, host and reason, by the agent's own word."""
    raw = json.loads((stage.directory / region / "pool" / "machines.json").read_text())
    return {
        name: (each["state"], each["lease"]["spec"]["name"] if each["lease"] else "", each["reason"])
        for name, each in raw.items()
    }


async def pools_are_seen_and_changed_through_the_controller(stage: Stage, paris: Pool) -> None:
    async def repave(*words: str) -> str:
        done = await asyncio.to_thread(stage.repave, *words)
        return str(done.stdout or done.stderr)

    listed = json.loads(await repave("pool", "list", "-o", "json"))
    states = {(each["region"], each["name"]): each["state"] for each in listed["items"]}
    assert (states["paris", "m1"], states["oslo", "m1"]) == ("quarantined", "quarantined")
    assert sum(state == "leased" for state in states.values()) == 4
    paris.boot("m1")
    assert "m1 is back" in await repave("pool", "return", "paris", "m1")
    assert records(stage, "paris")["m1"][0] in ("dirty", "fresh")
    assert "m1 is quarantined: noisy" in await repave(
        "pool", "quarantine", "paris", "m1", "--reason", "noisy"
    )
    plan = json.loads(await repave("plan", "-o", "json", "-f", str(stage.directory / "v2.yaml")))
    lacks = [each["text"] for each in plan["guards"] if each["rule"] == "room"]
    assert "paris needs 1 more host at its peak, and has no room: 0 of 4 machines are free" in lacks[0]


async def what_may_run_is_shown_until_it_is_known_to_be_over(stage: Stage, oslo: Pool) -> None:
    """m2 died while a host was started on it."""

    async def orphans() -> list[dict[str, Any]]:
        answer = await asyncio.to_thread(stage.repave, "orphans", "-o", "json")
        items: list[dict[str, Any]] = json.loads(answer.stdout)["items"]
        return items

    (left,) = await orphans()
    assert (left["region"], left["name"]) == ("oslo", "hello-v001-1")
    assert left["state"].startswith("kept: may still run on m2, which is quarantined: ")
    (oslo.directory / "flaw-m2").unlink()
    oslo.boot("m2")

    async def is_over() -> bool:
        return not await orphans()

    await until_async(is_over)


async def test_releases_and_rollbacks_on_two_pools_with_bad_machines_lose_no_request(
    directory: Path, pools: dict[str, Pool]
) -> None:
    pools["paris"].halt("m1")
    pools["paris"].flawed("m2", "wrong key")
    pools["paris"].write_inventory()
    pools["oslo"].flawed("m1", "full")
    pools["oslo"].flawed("m2", "dies")
    environment = {name: settings(machines) for name, machines in pools.items()}
    with staged(directory / "s", regions=tuple(REGIONS), region_environment=environment) as stage:
        ended, _ = await release(stage, "v1", **WANTED, launch_deadline="90s", warm="0s")
        assert ended["phase"] == "succeeded", stage.logs()
        bad = {name: [records(stage, name)[machine] for machine in ("m1", "m2")] for name in REGIONS}
        assert {state for each in bad.values() for state, _, _ in each} == {"quarantined"}
        reasons = [reason for each in bad.values() for _, _, reason in each]
        assert "can't be reached" in reasons[0]
        assert "its host key is not the one" in reasons[1]
        assert "No space left" in reasons[2]
        async with clients(stage, rate=100) as results:
            moment = Moment(stage, "step.entered", "scale")
            release_v2 = asyncio.create_task(release(stage, "v2", **WANTED, launch_deadline="90s", warm="1s"))
            await asyncio.to_thread(moment.wait)
            stage.kill_agent("paris")
            await asyncio.to_thread(stage.start_agent, "paris")
            ended, _ = await release_v2
            assert ended["phase"] == "succeeded", stage.logs()
            await asyncio.to_thread(stage.rollback)
            back = await asyncio.to_thread(stage.ended)
            assert back["phase"] == "succeeded", stage.logs()
        for result in results.values():
            assert result.failures == (), result.summary()
            assert {"v1", "v2"} <= {each.version for each in result.requests}
        await pools_are_seen_and_changed_through_the_controller(stage, pools["paris"])
        await what_may_run_is_shown_until_it_is_known_to_be_over(stage, pools["oslo"])
        leased = {name: [host for _, host, _ in records(stage, name).values() if host] for name in REGIONS}
        assert {name: {host.rpartition("-")[0] for host in hosts} for name, hosts in leased.items()} == {
            name: {"hello-v001", "hello-v002"} for name in REGIONS
        }
    assert not any(host for name in REGIONS for _, host, _ in records(stage, name).values())
