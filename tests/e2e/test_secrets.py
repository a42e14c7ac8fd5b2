"""A canary in every secret, through a real release, a renewal and an agent that is killed: hosts find it, and
it is found nowhere else.

What the API keeps apart (tokens of people, what a spec itself says): tests/controller/api/test_accounts.py.
"""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from repave_agent.identity.identity import FILE
from tests.e2e.test_joined import SecuredStage
from tests.support.faults import leader_of
from tests.support.processes import Words, processes
from tests.support.stage import kept
from tests.support.vault import Token, Vault, served

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
CANARY = f"canary-{secrets.token_hex(4)}"  # another run on this machine has another one
LARGEST_READ = 1 << 20
ANSWERS = (
    "applications/hello",
    "applications/hello/why",
    "applications/hello/history",
    "applications/hello/hosts?log_lines=100",
    "groups",
    "events",
    "regions",
    "doctor",
    "agents",
)


class Planted:
    """A region's secrets, and where each may be found: `own` are the files that hold them by their nature."""

    def __init__(self, directory: Path) -> None:
        self.start = time.time()
        self.temporary = directory / "tmp"  # of the controller and the agent
        self.temporary.mkdir()
        self.vault = Vault()
        self.vault.roles["hello-agents", f"{CANARY}-secret-id"] = Token(("kv/",), ttl=3600)
        self.vault.put("kv/hello", db=f"{CANARY}-of-vault-1")
        folder = directory / "kept" / "hello"
        folder.mkdir(parents=True)
        (folder / "key").write_text(f"{CANARY}-of-file\n")
        (directory / "secret_id").write_text(f"{CANARY}-secret-id")
        self.own = {folder / "key", directory / "secret_id"}
        self.settings = {
            "REPAVE_AGENT_SECRETS__VAULT__AUTH": "approle",
            "REPAVE_AGENT_SECRETS__VAULT__ROLE_ID": "hello-agents",
            "REPAVE_AGENT_SECRETS__VAULT__SECRET_ID_FILE": str(directory / "secret_id"),
            "REPAVE_AGENT_SECRETS__FILE__ENABLED": "true",
            "REPAVE_AGENT_SECRETS__FILE__FOLDER": str(directory / "kept"),
            "REPAVE_AGENT_SECRETS__ENV__ENABLED": "true",
            "REPAVE_SECRET_HELLO__TOKEN": f"{CANARY}-of-env",
            "OS_PASSWORD": f"{CANARY}-of-the-cloud",
            "TMPDIR": str(self.temporary),
        }
        self.spec = (
            "secrets:",
            "  DB: {vault: kv/hello#db}",
            f"  KEY: {{file: {folder}/key, as: file}}",
            "  TOKEN: {env: REPAVE_SECRET_HELLO__TOKEN}",
        )


def environment_of(pid: int) -> dict[str, str]:
    words = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(word.split("=", 1) for word in words if "=" in word)


def holders(needle: str) -> set[int]:
    """Processes in whose environment it is."""
    found = set()
    for pid in processes():
        with contextlib.suppress(OSError):
            if needle.encode() in Path(f"/proc/{pid}/environ").read_bytes():
                found.add(pid)
    return found


def family(pid: int) -> set[int]:
    found, ahead = set(), [pid]
    while ahead:
        each = ahead.pop()
        found.add(each)
        with contextlib.suppress(OSError):
            ahead += map(int, Path(f"/proc/{each}/task/{each}/children").read_text().split())
    return found


def files_with(files: Iterable[Path], needles: set[str]) -> set[Path]:
    found = set()
    for each in files:
        with contextlib.suppress(OSError):
            if each.is_file() and not each.is_symlink():
                content = each.read_bytes()
                found |= {each} if any(needle.encode() in content for needle in needles) else set()
    return found


def written_since(start: float) -> Iterator[Path]:
    """Files in the machine's temporary directory, which may be huge, that may be a process's of this test."""
    top = Path(tempfile.gettempdir())
    for each in (*top.glob("*"), *top.glob("*/*")):
        with contextlib.suppress(OSError):
            found = each.lstat()
            if found.st_mtime >= start and found.st_size <= LARGEST_READ:
                yield each


def hosts(stage: SecuredStage) -> list[Path]:
    return sorted((stage.directory / "paris" / "hosts").glob("hello-v*"))


def first_of(stage: SecuredStage, host: Path) -> int:
    return leader_of(stage, "paris", host.name).pid


def serve_and_look(stage: SecuredStage, planted: Planted) -> None:
    line = stage.line_for("paris")  # the join token
    planted_words = {CANARY, line[-1]}
    stage.release("v1", size=1, upkeep=planted.spec)
    ended = stage.ended()
    assert ended["phase"] == "succeeded", ended["outcome"]
    (host,) = hosts(stage)
    found = environment_of(first_of(stage, host))
    assert (found["DB"], found["TOKEN"]) == (f"{CANARY}-of-vault-1", f"{CANARY}-of-env")
    assert Path(found["KEY_FILE"]).read_text() == f"{CANARY}-of-file\n"
    assert "KEY" not in found
    assert not {name for name in found if name.startswith("REPAVE_AGENT") or name == "OS_PASSWORD"}

    planted.vault.put("kv/hello", db=f"{CANARY}-of-vault-2")
    stage.call("POST", "applications/hello/renew", {"by": "test"})
    stage.wait(lambda: [each for each in hosts(stage) if each.name != host.name], "a fresh host")
    stage.wait(lambda: not host.exists(), "the end of the host before")
    (renewed,) = hosts(stage)
    assert environment_of(first_of(stage, renewed))["DB"] == f"{CANARY}-of-vault-2"

    planted.vault.sealed = True
    stage.kill_agent("paris")
    stage.start_agent("paris")
    stage.wait(lambda: stage.is_connected("paris"), "the agent")
    os.kill(first_of(stage, renewed), signal.SIGKILL)
    awaited = "it waits for secret DB (vault kv/hello#db): "

    def trouble() -> str:
        (region,) = stage.get("applications/hello")["region_items"]
        return str(region["groups"][0]["trouble"])

    stage.wait(lambda: awaited in trouble(), "word of the secret")
    stage.wait(lambda: "is sealed" in json.dumps(stage.get("doctor")), "word of Vault")
    planted.vault.sealed = False
    stage.wait(lambda: [each for each in hosts(stage) if each.name != renewed.name], "a host in its place")
    stage.wait(lambda: not renewed.exists(), "the end of the one that was killed")
    stage.wait(lambda: trouble() == "", "health")
    look_everywhere(stage, planted, planted_words)


def look_everywhere(stage: SecuredStage, planted: Planted, needles: set[str]) -> None:
    identity = stage.directory / "paris" / FILE
    key = json.loads(identity.read_text())["key"].splitlines()[2]  # base64 of the private key
    (host,) = hosts(stage)
    own = family(first_of(stage, host))
    assert holders(f"{CANARY}-of-vault-2") <= own
    # what the agent was started with is its own, and no other process of its user may read it
    agent = stage.agents["paris"].pid
    assert holders(f"{CANARY}-of-the-cloud") == {agent}
    assert Path(f"/proc/{agent}/environ").stat().st_uid == 0
    answers = [stage.get(path) for path in ANSWERS]
    said = json.dumps(answers)
    assert '"where": "kv/hello#db"' in said
    assert "with DB (vault kv/hello#db, version 2)" in said
    for command in (("status", "hello"), ("audit", "list")):
        done = stage.repave(*command)
        said += done.stdout + done.stderr
    for needle in (*needles, key):
        assert needle not in said
    own_files = list(stage.directory.rglob("*"))  # their temporary ones too
    assert files_with(own_files, needles) == planted.own
    assert files_with(own_files, {key}) == {identity}
    assert files_with(written_since(planted.start), {CANARY}) <= planted.own


async def test_a_canary_in_every_secret_is_found_by_hosts_alone(directory: Path) -> None:
    planted, words = Planted(directory), Words()
    async with served(planted.vault) as vault:
        settings = {**planted.settings, "REPAVE_AGENT_SECRETS__VAULT__ADDRESS": vault.address}
        stage = SecuredStage(
            directory,
            regions=("paris",),
            controller_environment={"TMPDIR": str(planted.temporary)},
            region_environment={"paris": settings},
            is_preloaded=False,
        )

        def run() -> None:
            with words.watched(), kept(stage):
                serve_and_look(stage, planted)

        await asyncio.to_thread(run)
    assert not [each for each in words.seen if CANARY.encode() in each]
    assert not list(Path("/dev/shm").glob(f"repave-secrets.*/*/{CANARY}*"))
