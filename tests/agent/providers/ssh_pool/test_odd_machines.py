"""The pool over SSH on machines as they really are set up: shells that talk, users that are not root, few
sessions, sshds that force a command, bastions, agents, keys. Each on a real sshd."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from repave_agent.clients.ssh_identity import Identity
from repave_agent.core.ports import ProviderError, RefusedError, TransientError
from repave_agent.providers.ssh_pool.options import ResetOptions
from tests.agent.providers.ssh_pool.test_provider import Region, machines, region, settled
from tests.fakes.clock import FastClock
from tests.fakes.waiting import until_async
from tests.support.sshd_hosts import PORT, ROOT, Pool, Tune, why_not

__all__ = ["machines", "region"]  # fixtures
OCTET = 251
pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())
OPS_NEED_SUDO = pytest.mark.skipif(not shutil.which("sudo"), reason="sudo is not installed")
TALKS = """date; echo; echo motd of $(hostname) >&2
trap 'echo bye; exit 7' EXIT
"""


async def goes_round(region: Region, **access: object) -> None:
    """A host is made, seen, asked and ended, and its machine made anew."""
    region.access = {**region.access, **access}
    async with region.agent() as agent:
        await agent.start()
        host = await agent.launch(region.spec(1, ("sh", "-c", "echo serving; sleep 600")), region.package)
        assert [each.is_running for each in await agent.list_hosts()] == [True]
        assert await agent.execute(host.name, ("sh", "-c", "exit 3"), 10.0) == 3

        async def has_said_it() -> bool:
            return await agent.log_tail(host.name, 5) == "serving"

        await until_async(has_said_it)
        assert await agent.inspect(host.name) == ""
        await agent.destroy(host.name)
        assert await settled(region, "m1") == "fresh"


# --------------------------------------------------------------------- what a machine says beside its answer


@pytest.mark.pool(1, Tune(bashrc=TALKS))
async def test_what_a_login_shell_prints_is_no_answer(region: Region) -> None:
    await goes_round(region)
    owner = region.machines.run("m1", "sh", "-c", f"cat {ROOT}/lease 2>/dev/null || echo free")
    assert owner.strip() == "free"


@pytest.mark.pool(2, Tune(bashrc="cat /proc/sys/kernel/random/uuid; date +%N\n"))
async def test_a_reset_that_changed_nothing_is_found_out_whatever_is_printed(region: Region) -> None:
    region.reset, region.clock = ResetOptions(command=("true",), proof="boot-id", seconds=1), FastClock()
    async with region.agent() as agent:
        with pytest.raises(RefusedError, match="was not started anew by its reset"):
            await agent.launch(region.spec(), region.package)


@pytest.mark.pool(1, Tune(bashrc="set -xv\n"))
async def test_a_trace_of_the_command_is_no_answer(region: Region) -> None:
    await goes_round(region)


@pytest.mark.pool(1, Tune(bashrc="read -r line\n"))
async def test_a_shell_that_eats_the_input_is_named(region: Region) -> None:
    with pytest.raises(TransientError, match="its login shell reads what is meant for the agent's command"):
        await goes_round(region)


SHELLS = [
    pytest.param(
        shell,
        marks=[
            pytest.mark.pool(1, Tune(shell=shell)),
            pytest.mark.skipif(not Path(shell).exists(), reason=f"{shell} is not installed"),
        ],
    )
    for shell in ("/bin/sh", "/bin/dash", "/usr/bin/fish", "/bin/zsh", "/bin/tcsh")
]


@pytest.mark.parametrize("shell", SHELLS)
async def test_any_login_shell_will_do(region: Region, shell: str) -> None:
    await goes_round(region)
    assert shell in (region.machines.directory / "m1" / "etc" / "passwd").read_text()


# ---------------------------------------------------------------------------- machines that want it otherwise


@pytest.mark.pool(1, Tune(sshd="MaxSessions 1"))
async def test_no_sftp_and_a_single_session_are_enough(region: Region) -> None:
    await goes_round(region)


@OPS_NEED_SUDO
@pytest.mark.pool(2, Tune(sshd="MaxSessions 4\nDenyUsers root", bashrc=TALKS))
async def test_a_user_becomes_root_by_sudo(region: Region) -> None:
    await goes_round(region, user="ops")
    region.access["user"] = ""
    async with region.agent() as agent:
        with pytest.raises(RefusedError, match=r"m\d and m\d fail alike.* set user"):
            await agent.launch(region.spec(2), region.package)


FORBIDS_ROOT = 'echo \'Please login as the user \\"debian\\" rather than the user \\"root\\".\';echo;exit 142'
ODD = {
    "forbids root": (Tune(forced=FORBIDS_ROOT), "root", "its image lets no root in .* Set user to debian"),
    "nologin": (Tune(shell="/usr/sbin/nologin"), "root", r"the login shell of root runs no commands \(nolog"),
    "false": (Tune(shell="/bin/false"), "root", r"the login shell of root runs no commands \(nologin or fa"),
    "noexec": (Tune(noexec=True), "root", "nothing can be executed in .*: is it mounted noexec"),
    "no session": (Tune(sshd="MaxSessions 0"), "root", "it opens no session .* set MaxSessions"),
    "forced": (
        Tune(forced="echo hello"),
        "root",
        "another command than the agent's ran there and said 'hello'",
    ),
    "forced by sshd": (
        Tune(sshd="ForceCommand internal-sftp"),
        "root",
        "another command than the agent's ran",
    ),
    "echo": (Tune(forced='echo \\"$SSH_ORIGINAL_COMMAND\\"'), "root", "another command than the agent's ran"),
    "no sudo": (Tune(sudoers=""), "ops", "ops may not use sudo without a password .*NOPASSWD: ALL"),
    "password": (Tune(sudoers="ops ALL=(ALL) ALL"), "ops", "ops may not use sudo without a password"),
    "tty": (
        Tune(sudoers="Defaults requiretty\nops ALL=(ALL) NOPASSWD: ALL"),
        "ops",
        "remove requiretty for ops",
    ),
}


@pytest.mark.parametrize(
    "odd", [pytest.param(name, marks=pytest.mark.pool(2, tune)) for name, (tune, _, _) in ODD.items()]
)
async def test_what_keeps_the_agent_out_is_named_and_is_no_machines_fault_where_all_are_so(
    region: Region, odd: str
) -> None:
    tune, user, said = ODD[odd]
    if user != "root" and not shutil.which("sudo"):
        pytest.skip("sudo is not installed")
    region.access["user"] = user
    region.reset = ResetOptions(remote=("true",), proof="marker", marker=f"{ROOT}/none", seconds=1)
    if tune.noexec:  # so far it comes only on a machine that was made anew
        region.reset = None
    async with region.agent() as agent:
        with pytest.raises(
            RefusedError, match=rf"(?s)m\d and m\d fail alike, so none is quarantined: .*{said}"
        ):
            await agent.launch(region.spec(), region.package)
    assert set(region.states().values()) == {"dirty"}


async def test_one_machine_that_is_odd_is_quarantined_once_another_one_works(region: Region) -> None:
    for name in ("m1", "m2"):
        region.machines.halt(name)
    async with region.agent() as agent:
        host = await agent.launch(region.spec(), region.package)
        assert host.address == region.machines.address("m3")
    assert region.states() == {"m1": "quarantined", "m2": "quarantined", "m3": "leased"}


async def test_a_network_that_is_away_quarantines_no_machine_and_takes_no_host(region: Region) -> None:
    region.clock = FastClock()
    async with region.agent() as agent:
        host = await agent.launch(region.spec(), region.package)
        for name in region.machines.names:
            region.machines.halt(name)
        with pytest.raises(TransientError, match="can't be reached"):
            await agent.launch(region.spec(2), region.package)
        assert set(region.states().values()) == {"dirty", "leased"}

        async def is_silent_for_long() -> bool:
            await agent.list_hosts()
            return agent._sightings._clock.monotonic() - agent._sightings._silent_since.get("m1", 1e12) > 3.0

        await until_async(is_silent_for_long)
        (listed,) = await agent.list_hosts()
        assert (listed.name, listed.is_running, listed.unseen) == (host.name, True, "")


# ----------------------------------------------------------------------------------------- who the agent is


def encrypted(pool: Pool, passphrase: str) -> None:
    command = ["ssh-keygen", "-q", "-p", "-P", "", "-N", passphrase, "-f", str(pool.key)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


async def test_a_key_that_becomes_unusable_is_refused_at_the_start_and_harms_nothing_before(
    region: Region, tmp_path: Path
) -> None:
    async with region.agent() as agent:
        await agent.start()
        host = await agent.launch(region.spec(), region.package)
        encrypted(region.machines, "secret")
        await agent._machines.machine("m1").shell.close()
        assert [each.unseen for each in await agent.list_hosts()] == [""], "the key of before goes on"
        await agent.launch(region.spec(2), region.package)
    async with region.agent() as agent:
        with pytest.raises(
            RefusedError, match=r"ssh_pool\.key: .* has a passphrase\. Name a file that holds it"
        ):
            await agent.start()
        assert [each.is_running for each in await agent.list_hosts()] == [True, True]
        with pytest.raises(TransientError, match="has a passphrase"):
            await agent.launch(region.spec(3), region.package)
        with pytest.raises(TransientError, match="has a passphrase"):
            await agent.destroy(host.name)
        assert sorted(region.states().values()) == ["dirty", "leased", "leased"]
    secret = tmp_path / "passphrase"
    secret.write_text("secret\n")
    region.access["identity"] = Identity("ssh_pool", region.machines.key, secret)
    async with region.agent() as agent:
        assert await agent.start() == "3 machines"
        await agent.destroy(host.name)
        assert len(await agent.list_hosts()) == 1


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (None, "there is no such file"),
        ("", "is no private key that can be used"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nnonsense\n", "is no private key that can be used"),
    ],
)
@pytest.mark.pool(1)
async def test_a_key_that_is_none_is_refused_at_the_start(
    region: Region, tmp_path: Path, key: str | None, said: str
) -> None:
    if key is not None:
        (tmp_path / "key").write_text(key)
    region.access["identity"] = Identity("ssh_pool", tmp_path / "key")
    async with region.agent() as agent:
        with pytest.raises(RefusedError, match=said):
            await agent.start()


@contextmanager
def ssh_agent(path: Path, *keys: Path) -> Iterator[None]:
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL)
    try:
        while not _is_served(path):
            assert process.poll() is None
            time.sleep(0.01)
        for key in keys:
            subprocess.run(
                ["ssh-add", "-q", str(key)],
                check=True,
                env={"SSH_AUTH_SOCK": str(path)},
                capture_output=True,
            )
        yield
    finally:
        process.terminate()
        process.wait()


def _is_served(path: Path) -> bool:
    """A socket is there before it takes connections."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


@pytest.mark.pool(1)
async def test_the_keys_of_an_ssh_agent_will_do(
    region: Region, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s"
    monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
    region.access["identity"] = Identity("ssh_pool", None, None, "SSH_AUTH_SOCK")
    async with region.agent() as agent:
        with pytest.raises(RefusedError, match="ssh-agent does not answer at"):
            await agent.start()
    with ssh_agent(path):
        async with region.agent() as agent:
            with pytest.raises(RefusedError, match="holds no key: do ssh-add"):
                await agent.start()
    path.unlink(missing_ok=True)
    with ssh_agent(path, region.machines.key):
        await goes_round(region)


async def test_machines_are_reached_through_a_bastion(region: Region) -> None:
    pool = region.machines
    through = f"root@{pool.address('m3')}:{PORT}"
    hosts = [line.strip() for line in pool.inventory.read_text().splitlines() if "host_key" in line]
    key = hosts[2].removeprefix("host_key: ")
    region.access["jump"] = through
    async with region.agent() as agent:
        with pytest.raises(RefusedError, match="which host key the bastion has"):
            await agent.start()
    await goes_round(region, jump_host_key=key)
    log = (pool.directory / "m3" / "log").read_text()
    assert "Accepted publickey" in log
    pool.halt("m3")
    async with region.agent() as agent:
        with pytest.raises(TransientError, match=r"ssh_pool\.jump: .* can't be reached"):
            await agent.launch(region.spec(5), region.package)
    assert "quarantined" not in region.states().values()


async def test_what_ssh_config_says_holds(region: Region, tmp_path: Path) -> None:
    pool = region.machines
    config, known = tmp_path / "config", tmp_path / "known"
    inventory = pool.inventory.read_text()

    def write() -> None:
        lines = inventory.splitlines()
        keys = dict(
            zip(pool.names, [each.split(": ")[1] for each in lines if "host_key" in each], strict=True)
        )
        known.write_text("".join(f"[{pool.address(name)}]:{PORT} {key}\n" for name, key in keys.items()))

    write()
    config.write_text(
        "\n".join(
            [
                *(f"Host rack-{name}\n  HostName {pool.address(name)}\n" for name in pool.names),
                "Host rack-m1\n  ProxyJump root@rack-m3\n",
                f"Host *\n  Port {PORT}\n  User root\n  IdentityFile {pool.key}",
                f"  UserKnownHostsFile {known}",
            ]
        )
    )
    names = "\n".join(
        f"  - {{name: {name}, address: rack-{name}, serves: {pool.address(name)}}}" for name in pool.names
    )
    aliases = tmp_path / "aliases.yaml"
    aliases.write_text(f"machines:\n{names}\n")
    empty = f"chmod -R u+w {ROOT}; rm -rf {ROOT}/*; printf %s $REPAVE_NONCE > {ROOT}/.fresh"
    region.reset = ResetOptions(
        remote=("sh", "-c", empty), proof="marker", marker=f"{ROOT}/.fresh", seconds=20
    )
    region.inventory = aliases
    region.access = {"identity": Identity("ssh_pool", None), "config": config, "port": None, "user": ""}
    await goes_round(region)
    assert "Accepted publickey" in (pool.directory / "m3" / "log").read_text()


# -------------------------------------------------------------------------- what may run and counts as gone


@pytest.mark.pool(1)
async def test_a_host_whose_start_was_not_seen_is_known_shown_and_ended(
    region: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    from repave_agent.providers.ssh_pool.bootstrap import Machine

    start, keys = Machine.start, region.machines.directory / "m1" / "authorized_keys"

    async def lost(self: Machine, *arguments: object) -> None:
        await start(self, *arguments)  # type: ignore[arg-type]
        keys.rename(keys.with_suffix(".away"))
        await self.shell.close()
        raise TransientError("the connection broke")

    monkeypatch.setattr(Machine, "start", lost)
    monkeypatch.setattr("repave_agent.providers.ssh_pool.provider.TRIES_MAX", 1)
    async with region.agent() as agent:
        with pytest.raises(TransientError, match="the connection broke"):
            await agent.launch(region.spec(), region.package)
        (left,) = await agent.list_hosts()
        assert (left.name, left.is_running) == ("shop-v001-1", False)
        assert left.left == "may still run on m1, which is quarantined: the connection broke"
        assert "sleep 600" in region.machines.processes("m1")
        with pytest.raises(ProviderError):
            await agent.destroy(left.name)
        keys.with_suffix(".away").rename(keys)
        await agent.destroy(left.name)
        assert await agent.list_hosts() == []
    assert "sleep 600" not in region.machines.processes("m1")


@pytest.mark.pool(2)
async def test_a_host_on_a_machine_whose_key_was_rotated_is_ended_once_the_new_one_is_known(
    region: Region,
) -> None:
    async with region.agent() as agent:
        host = await agent.launch(region.spec(), region.package)
        region.machines.rotate("m1")
        await agent._machines.machine("m1").shell.close()
        await agent.destroy(host.name)
        (left,) = await agent.list_hosts()
        assert "its host key is not the one" in left.left
        assert "sleep 600" in region.machines.processes("m1")
        region.machines.write_inventory()
        agent._leftovers._tend_after.clear()

        async def is_over() -> bool:
            return not await agent.list_hosts()

        await until_async(is_over)
    assert "sleep 600" not in region.machines.processes("m1")
    assert region.states()["m1"] in ("dirty", "fresh")


# ----------------------------------------------------------------------------------- reset from outside


@pytest.mark.pool(1)
async def test_a_machine_whose_disk_is_full_is_made_anew_from_outside(region: Region) -> None:
    for name in region.machines.names[1:]:
        region.leases.put(name, state="quarantined")
    region.machines.run("m1", "sh", "-c", f"head -c 90000000 /dev/zero > {ROOT}/full || :")
    async with region.agent() as agent:
        host = await agent.launch(region.spec(), region.package)
    assert host.address == region.machines.address("m1")


@pytest.mark.parametrize("is_returned", [True, False])
@pytest.mark.pool(1)
async def test_a_machine_that_lets_the_agent_in_no_more_is_made_anew_only_if_a_person_returned_it(
    region: Region, is_returned: bool
) -> None:
    for name in region.machines.names[1:]:
        region.leases.put(name, state="quarantined")
    region.machines.halt("m1")
    region.machines.tuned("m1", Tune(shell="/bin/false"))
    region.machines.boot("m1")
    region.machines.tuned("m1", Tune())
    region.leases.put("m1", is_returned=is_returned)
    async with region.agent() as agent:
        if is_returned:
            host = await agent.launch(region.spec(), region.package)
            assert host.address == region.machines.address("m1")
        else:
            with pytest.raises(TransientError, match="runs no commands"):
                await agent.launch(region.spec(), region.package)


@pytest.mark.pool(1)
async def test_a_full_machine_of_another_agent_is_left_alone(region: Region, tmp_path: Path) -> None:
    other = replace(region, directory=tmp_path / "other")
    for each in (region, other):
        for name in region.machines.names[1:]:
            each.leases.put(name, state="quarantined")
    async with region.agent() as ours, other.agent("theirs") as theirs:
        host = await theirs.launch(region.spec(), region.package)
        region.machines.run("m1", "sh", "-c", f"head -c 90000000 /dev/zero > {ROOT}/full || :")
        with pytest.raises(TransientError, match="m1 is leased by theirs/here/shop-v001-1"):
            await ours.launch(region.spec(2), region.package)
        assert [each.is_running for each in await theirs.list_hosts()] == [True]
        assert host.is_running


# ------------------------------------------------------------------------------------------ what is wrong


async def test_what_is_wrong_with_a_pool_is_told(region: Region) -> None:
    async with region.agent() as agent:
        assert await agent.troubles() == []
        region.leases.put("m1", state="quarantined", reason="bad disk")
        (told,) = await agent.troubles()
        assert told.startswith(
            "note: 1 of 3 machines of the pool quarantined (m1): bad disk. Mend them, then: "
        )
        for name in region.machines.names:
            region.leases.put(name, state="quarantined", reason="bad disk")
        (told,) = await agent.troubles()
        assert told.startswith("every machine of the pool quarantined (m1, m2, m3): bad disk.")
        region.machines.key.unlink()
        region.access["identity"] = Identity("ssh_pool", region.machines.key)
    async with region.agent() as agent:
        with pytest.raises(RefusedError, match=r"ssh_pool\.key: .*: there is no such file"):
            await agent.troubles()
