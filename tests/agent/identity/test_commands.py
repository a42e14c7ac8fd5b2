"""`repave-agent join` as it is pasted, and the settings of an agent that has joined."""

import asyncio
import io
import os
from pathlib import Path

import pytest

from repave_agent.__main__ import main
from repave_agent.identity.identity import FILE, read
from tests.fakes.controller.door import Standing, standing


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("REPAVE_")]:
        monkeypatch.delenv(name)
    state = tmp_path / "agent"
    monkeypatch.setenv("REPAVE_AGENT_STATE", str(state))
    return state


async def join(door: Standing, token: str) -> int:
    return await asyncio.to_thread(main, ["join", f"https://127.0.0.1:{door.port}", token])


async def test_what_joining_tells_need_not_be_set(
    tmp_path: Path, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with standing(tmp_path) as door:
        assert await join(door, await door.enrolled.token("eu-1")) == 0
    assert capsys.readouterr().out == "this machine is an agent of eu-1 now; start it: repave-agent\n"
    assert main(["show-config"]) == 0
    shown = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert f"region = eu-1 # joined, {state / FILE}" in shown
    assert f"controller = 127.0.0.1:7443 # joined, {state / FILE}" in shown


async def test_a_token_may_come_from_input_where_no_list_of_processes_shows_it(
    tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with standing(tmp_path) as door:
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{await door.enrolled.token()}\n"))
        assert await join(door, "-") == 0
    assert read(state) is not None


async def test_a_state_directory_stays_that_of_its_region(
    tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with standing(tmp_path) as door:
        await join(door, await door.enrolled.token("eu-1"))
        joined = read(state)
        assert await join(door, await door.enrolled.token("us-1")) == 1
        assert capsys.readouterr().err == (
            f"repave-agent: the token was for us-1, and {state} is of the agent of eu-1: make a token of "
            "eu-1 (repave agents join eu-1), or name another state directory\n"
        )
        assert read(state) == joined
        assert await join(door, await door.enrolled.token("eu-1")) == 0
        assert read(state) != joined
    monkeypatch.setenv("REPAVE_AGENT_REGION", "us-1")
    assert main([]) == 1
    assert capsys.readouterr().err == (
        "repave-agent: region: environment REPAVE_AGENT_REGION says us-1, and this agent has joined as that "
        f"of eu-1: leave the setting out, or name another state directory than {state}\n"
    )


async def test_a_join_that_is_refused_leaves_nothing(
    tmp_path: Path, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with standing(tmp_path) as door:
        token = await door.enrolled.token()
        await door.enrolled.enrolment.revoke("paris", "", "ann")
        assert await join(door, token) == 1
        assert "repave-agent: this join token is not known here" in capsys.readouterr().err
        assert await join(door, "rpj.x") == 1
        assert "this is no join token" in capsys.readouterr().err
    assert main(["join", "https://127.0.0.1:1"]) == 2
    assert "join takes two words: repave-agent join URL TOKEN" in capsys.readouterr().err
    assert read(state) is None


def test_a_broken_identity_is_named_and_not_gone_around(
    state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it the agent would speak plaintext."""
    state.mkdir()
    (state / FILE).write_text("{}")
    monkeypatch.setenv("REPAVE_AGENT_REGION", "eu-1")
    assert main([]) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"repave-agent: {state / FILE} can't be read: ")
    assert told.endswith("let this agent join again\n")
