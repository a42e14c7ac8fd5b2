"""The pool over SSH when something goes wrong at a bad moment: resets that hang, fail or leave something
running, machines that are started anew under a launch, an ssh-agent or a bastion that goes away meanwhile."""

import asyncio
import os
import signal
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncssh
import pytest

from repave_agent.clients.ssh_identity import Identity, IdentityError
from repave_agent.core.ports import TransientError
from repave_agent.providers.ssh_pool.bootstrap import Machine
from repave_agent.providers.ssh_pool.options import ResetOptions
from tests.agent.providers.ssh_pool.test_odd_machines import ssh_agent
from tests.agent.providers.ssh_pool.test_provider import Region, machines, region
from tests.fakes.waiting import until, until_async
from tests.support.sshd_hosts import PORT, why_not

__all__ = ["machines", "region"]  # fixtures
OCTET = 250
pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())


# -------------------------------------------------------------------------------- resets that go wrong


def reset_by(script: str, directory: Path) -> ResetOptions:
    """`$D` is a folder for what the script leaves."""
    return ResetOptions(command=("sh", "-c", f"D={directory}; {script}"), proof="boot-id", seconds=1)


def is_alive(file: Path) -> bool:
    try:
        os.kill(int(file.read_text()), 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.pool(1)
async def test_a_reset_that_hangs_is_ended_with_all_that_it_started_and_its_last_words_are_told(
    region: Region, tmp_path: Path
) -> None:
    hangs = "sh -c 'echo $$ >$D/pid; exec sleep 600' & echo power off: no answer of the BMC; wait"
    region.reset = reset_by(f"export D; {hangs}", tmp_path)
    async with region.agent() as agent:
        with pytest.raises(
            TransientError, match="m1: its reset took longer than 1 s, and was ended: power off"
        ):
            await agent.launch(region.spec(), region.package)
    await until(lambda: not is_alive(tmp_path / "pid"))


NOISE = "head -c 30000000 /dev/zero | tr '\\0' x; printf '\\377\\033[31m'; echo; echo the end; exit 4"


@pytest.mark.pool(1)
async def test_of_a_reset_that_prints_without_end_the_end_is_told(region: Region, tmp_path: Path) -> None:
    region.reset = reset_by(NOISE, tmp_path).model_copy(update={"seconds": 20.0})
    async with region.agent() as agent:
        with pytest.raises(TransientError, match=r"its reset failed with code 4: x+[^x]+\n?the end$"):
            await agent.launch(region.spec(), region.package)


@pytest.mark.pool(1)
async def test_a_reset_that_leaves_something_running_which_keeps_its_output_has_ended_all_the_same(
    region: Region, tmp_path: Path
) -> None:
    """As one that starts a watcher of the machine's console."""
    watcher = f'sh -c "echo \\$\\$ >{tmp_path}/pid; exec sleep 600" & exec "$@"'
    command = ("sh", "-c", watcher, "sh", *region.machines.reset_command)
    region.reset = ResetOptions(command=command, proof="boot-id", seconds=20)
    try:
        async with region.agent() as agent, asyncio.timeout(15):
            assert (await agent.launch(region.spec(), region.package)).is_running
        assert is_alive(tmp_path / "pid")
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


# ------------------------------------------------------------------- machines that are started anew meanwhile


@pytest.mark.pool(2)
@pytest.mark.parametrize("verb", ["unpack", "date", "start"])
async def test_a_machine_that_is_started_anew_under_a_launch_is_named_and_another_one_is_taken(
    region: Region, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """As one whose installer starts it twice. Its package is gone, which is no fault of the package."""
    region.proof = "boot-id"
    do = Machine._do
    restarted: list[str] = []

    async def restarting(self: Machine, asked: str, *words: str, **more: float) -> object:
        if asked == verb and not restarted:
            restarted.append(self.name)
            await asyncio.to_thread(region.machines.reboot, self.name)
            await self.shell.close()
        return await do(self, asked, *words, **more)

    monkeypatch.setattr(Machine, "_do", restarting)
    async with region.agent() as agent:
        host = await agent.launch(region.spec(), region.package)
        assert host.address != region.machines.address(restarted[0])
    bad = region.leases.get(restarted[0])
    assert bad.state == "quarantined"
    assert bad.reason.startswith(f"{bad.name} rebooted in the middle of the launch: ")


@pytest.mark.pool(1)
async def test_a_host_whose_machine_was_started_anew_is_told_as_that_and_no_stranger_is_ended_for_it(
    region: Region,
) -> None:
    """The disk keeps its host's files; the number of its process is another's by then."""
    async with region.agent() as agent:
        host = await agent.launch(region.spec(), region.package)
        boot = region.machines.directory / "m1" / "boot"
        boot.write_text(f"{'0' * 8}-0000-0000-0000-{'0' * 12}\n")

        async def has_ended() -> bool:
            return not (await agent.list_hosts())[0].is_running

        await until_async(has_ended)
        (listed,) = await agent.list_hosts()
        assert listed.ended.startswith("ended when its machine rebooted")
        await agent._machines.machine("m1").stop(host.name, 0.0)
        assert "sleep 600" in region.machines.processes("m1"), "it is a stranger's, as far as is known"


# ------------------------------------------------------------------------------- who the agent is, meanwhile


@pytest.mark.pool(2)
async def test_an_ssh_agent_that_goes_away_takes_no_host_and_quarantines_no_machine(
    region: Region, tmp_path: Path
) -> None:
    path = tmp_path / "s"
    region.access["identity"] = Identity("ssh_pool", None, None, str(path))
    async with region.agent() as agent:
        with ssh_agent(path, region.machines.key):
            host = await agent.launch(region.spec(), region.package)
        path.unlink(missing_ok=True)
        for name in region.machines.names:
            await agent._machines.machine(name).shell.close()
        assert [each.unseen for each in await agent.list_hosts()] == [""]
        with pytest.raises(TransientError, match="ssh-agent does not answer at"):
            await agent.launch(region.spec(2), region.package)
        with pytest.raises(TransientError, match="ssh-agent does not answer at"):
            await agent.destroy(host.name)
        assert sorted(region.states().values()) == ["dirty", "leased"]
        with ssh_agent(path, region.machines.key):
            await agent.launch(region.spec(2), region.package)
            await agent.destroy(host.name)


@pytest.mark.pool(3)
@pytest.mark.parametrize("way", ["halt", "freeze"])
async def test_a_bastion_that_goes_away_takes_no_host_and_quarantines_no_machine(
    region: Region, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("repave_agent.clients.ssh.CONNECT_SECONDS", 0.5)
    monkeypatch.setattr("repave_agent.clients.ssh.KEEPALIVE_SECONDS", 0.2)
    monkeypatch.setattr("repave_agent.providers.ssh_pool.bootstrap.SHORT_SECONDS", 2.0)
    pool = region.machines
    region.leases.put("m3", state="quarantined")  # the bastion
    key = (pool.directory / "m3" / "host_key.pub").read_text().strip()
    region.access |= {"jump": f"root@{pool.address('m3')}:{PORT}", "jump_host_key": key}
    async with region.agent() as agent:
        await agent.launch(region.spec(), region.package)
        (pool.halt if way == "halt" else pool.freeze)("m3")
        with pytest.raises(TransientError):
            await agent.launch(region.spec(2), region.package)
        (listed,) = await agent.list_hosts()
        assert (listed.is_running, listed.unseen) == (True, "")
        assert sorted(region.states().values()) == ["dirty", "leased", "quarantined"]
        pool.thaw("m3") if way == "freeze" else pool.boot("m3", is_new=False)

        async def is_made() -> bool:
            try:
                return (await agent.launch(region.spec(2), region.package)).is_running
            except TransientError:
                return False

        await until_async(is_made)
    assert sorted(region.states().values()) == ["leased", "leased", "quarantined"]


# --------------------------------------------------------------------------------- keys: no machine is needed


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can try to be another user")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_key_that_the_agent_s_user_may_not_read_is_named_with_the_remedy() -> None:
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # unlike tmp_path, it has no parents that are root's alone
        key = a_key(Path(folder))
        os.seteuid(65534)
        try:
            with pytest.raises(IdentityError) as caught:
                Identity("ssh_pool", key).keys()
        finally:
            os.seteuid(0)
    assert str(caught.value) == (
        f"ssh_pool.key: {key}: Permission denied: it belongs to root, and this agent runs as nobody. Do: "
        f"chown nobody {key}"
    )


def a_key(directory: Path, passphrase: str | None = None) -> Path:
    key = directory / "key"
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(key, "pkcs8-pem", passphrase)
    key.chmod(0o600)
    return key


def test_a_wrong_passphrase_is_named_with_its_file(tmp_path: Path) -> None:
    key = a_key(tmp_path, "secret")
    (tmp_path / "passphrase").write_text("other\n")
    identity = Identity("ssh_pool", key, tmp_path / "passphrase")
    with pytest.raises(IdentityError, match=r"does not open by the passphrase in .*/passphrase"):
        identity.keys()
    with pytest.raises(IdentityError, match=r"ssh_pool\.passphrase_file: .*/none: there is no such file"):
        Identity("ssh_pool", key, tmp_path / "none").keys()


def test_a_key_that_others_may_read_is_noted(tmp_path: Path) -> None:
    key = a_key(tmp_path)
    assert Identity("ssh_pool", key).exposed() == []
    key.chmod(0o640)
    assert Identity("ssh_pool", key).exposed() == [
        f"note: ssh_pool.key: {key} has mode 0640: others may read it. Do: chmod 600 {key}"
    ]
    assert Identity("ssh_pool", tmp_path / "none").exposed() == []
