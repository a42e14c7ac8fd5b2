"""The local provider beyond the contract: what runs in a host, what it may do, ports, disk, log."""

import asyncio
import ctypes
import os
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from repave_agent.clock import SystemClock
from repave_agent.core.ports import (
    OutOfCapacityError,
    ProviderError,
    RefusedError,
    TransientError,
)
from repave_agent.providers.command import SYSTEM_PATH, choose_sandbox, enter, substitute
from repave_agent.providers.local import logs, processes
from repave_agent.providers.local.addresses import AddressRange
from repave_agent.providers.local.provider import LocalProvider
from repave_protos.package.archive import pack
from repave_protos.protocol.values import HostName, RegionName
from tests.fakes.agent.local_region import NAME, PORT, Region, bubblewrap_or_skip, pack_scripts, spec
from tests.fakes.waiting import until, until_async


@pytest.fixture
async def region(tmp_path: Path) -> AsyncIterator[Region]:
    made = Region(tmp_path / "region", pack_scripts(tmp_path), "none")
    yield made
    await made.close()


@pytest.fixture
async def sandboxed(tmp_path: Path) -> AsyncIterator[Region]:
    bubblewrap_or_skip(tmp_path)
    made = Region(tmp_path / "region", pack_scripts(tmp_path), "bwrap")
    yield made
    await made.close()


@pytest.fixture(params=["none", "bwrap"])
def either(request: pytest.FixtureRequest) -> Region:
    found = request.getfixturevalue("region" if request.param == "none" else "sandboxed")
    assert isinstance(found, Region)
    return found


async def refusal(region: Region, *run: str, **environment: str) -> str:
    with pytest.raises(RefusedError) as caught:
        await region.launch(*run, **environment)
    assert list(region.hosts.iterdir()) == []
    return str(caught.value)


# ------------------------------------------------------------------------------------------- what is executed


async def test_a_host_finds_exactly_its_own_environment(
    either: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPAVE_AGENT_JOIN_TOKEN", "secret")
    host = await either.launch("env", COLOUR="blue with = and $PORT")
    await either.ended()
    lines = (await either.provider.log_tail(NAME, 100)).splitlines()
    found = dict(line.split("=", 1) for line in lines)
    assert found.pop("PATH") == SYSTEM_PATH
    found.pop("PWD", None)  # bubblewrap says where it is
    assert found == {
        "COLOUR": "blue with = and $PORT",
        "HOST": host.address,
        "PORT": str(PORT),
        "REPAVE_APPLICATION": "shop",
        "REPAVE_DIGEST": "d" * 64,
        "REPAVE_GROUP": "shop-v001",
        "REPAVE_HOST": NAME,
        "REPAVE_REGION": "here",
    }


async def test_variables_are_put_in_without_a_shell(either: Region) -> None:
    host = await either.launch("echo", "$HOST:${PORT}", "$EVIL", "$$HOME", "$(id)", "$", EVIL="; touch /x *")
    await either.ended()
    assert await either.provider.log_tail(NAME, 5) == f"{host.address}:{PORT} ; touch /x * $HOME $(id) $"


def test_an_unknown_variable_is_refused_by_name() -> None:
    with pytest.raises(RefusedError, match=r"run: \$PROT is not set\. Known: HOST, PORT"):
        substitute(("serve", "$PROT"), {"PORT": "80", "HOST": "127.0.0.1"})


async def test_a_program_of_the_package_comes_before_one_of_the_machine(region: Region) -> None:
    await region.launch("serve")
    application = (region.hosts / NAME / "app").resolve()
    assert Path(f"/proc/{region.session().leader.pid}/cwd").readlink() == application


async def test_a_command_that_cannot_run_is_refused_by_name(region: Region) -> None:
    assert "'./missing' is not in the package" in await refusal(region, "./missing")
    assert "'/no/such' is not on this machine" in await refusal(region, "/no/such")
    neither = "'gunicornx' is neither in the package nor on the host's PATH (/usr/local/sbin:"
    assert neither in await refusal(region, "gunicornx")
    assert "chmod +x" in await refusal(region, "./not-executable")
    assert "first line (#!)" in await refusal(region, "./no-interpreter")
    assert "there is no command" in await refusal(region)


async def test_a_variable_that_repave_sets_cannot_be_set_by_the_user(region: Region) -> None:
    assert "PORT is set by repave" in await refusal(region, "serve", PORT="1")


async def test_a_corrupt_package_is_refused_and_leaves_nothing(region: Region) -> None:
    region.package.write_bytes(region.package.read_bytes()[:100])
    assert "cut short or damaged" in await refusal(region, "serve")


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "x" * 200])
async def test_a_name_that_is_no_name_never_becomes_a_path(region: Region, name: str) -> None:
    with pytest.raises(RefusedError, match="cannot name a host"):
        await region.launch("serve", name=name)
    await region.provider.destroy(HostName(name))
    assert list(region.hosts.iterdir()) == []


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"machine_image": "debian-12"}, "host.image: hosts of provider local have no machine image"),
        ({"machine_sizes": ("xl",)}, "host.size: hosts of provider local have no size that can be chosen"),
        ({"is_spot": True}, "host.spot: hosts of provider local have no machine of their own, spot or not"),
    ],
    ids=["image", "size", "spot"],
)
async def test_a_process_is_no_machine_of_its_own(region: Region, wish: dict[str, Any], words: str) -> None:
    asked = spec("serve")
    named = replace(asked, template=replace(asked.template, **wish))
    with pytest.raises(RefusedError, match=words):
        await region.provider.launch(named, region.package)


async def test_no_host_is_made_before_its_installation_is_known(region: Region) -> None:
    nameless = LocalProvider(
        region.root, RegionName("here"), lambda: "", clock=SystemClock(), isolation="none"
    )
    with pytest.raises(TransientError, match="met its controller"):
        await nameless.launch(spec("serve"), region.package)
    await nameless.close()


# ------------------------------------------------------------------------------------------- kept apart


async def test_in_a_sandbox_only_its_own_tmp_can_be_written(sandboxed: Region) -> None:
    await sandboxed.launch("./try-to-write")
    await sandboxed.ended()
    assert await sandboxed.provider.log_tail(NAME, 20) == "wrote /tmp/repave-tried\ndone"
    assert not Path("/tmp/repave-tried").exists()


FORBIDDEN = {
    "kernel settings": ": 2>/dev/null >>/proc/sys/kernel/core_pattern",
    "network settings": ": 2>/dev/null >>/proc/sys/net/ipv4/ip_forward",
    "keys of the kernel": ": 2>/dev/null >>/proc/sysrq-trigger",
    "settings of devices": ": 2>/dev/null >>/sys/kernel/mm/transparent_hugepage/enabled",
    "a capability": "grep -qE '^Cap(Inh|Prm|Eff|Amb):.*[1-9a-f]' /proc/self/status",
    "new privileges": "! grep -q '^NoNewPrivs:.*1$' /proc/self/status",
    "a mount": "mount -t tmpfs none /tmp",
    "a writable root": "mount -o remount,rw /",
    "a namespace of its own": "unshare --mount true",
    "state of the agent": "test -e {state}/master.sock",
    "files of another host": "test -e {state}/hosts/another",
    "the manager of the system": "test -S /run/systemd/private",
    "processes outside": "kill -0 {pid}",
    "a device": "mknod /tmp/device b 8 0",
}
"""What no host can have in its sandbox, and how it would notice that it has."""


@pytest.mark.parametrize("how", ["command", "probe"])
async def test_a_sandbox_gives_no_way_out(sandboxed: Region, how: str) -> None:
    """Neither to the command nor to a probe, which enters it from outside; also under root."""
    (sandboxed.root / "hosts" / "another").mkdir(parents=True)
    (sandboxed.root / "master.sock").touch()
    tried = "\n".join(f"({way}) 2>/dev/null && echo '{what}'" for what, way in FORBIDDEN.items())
    script = tried.format(state=sandboxed.root, pid=os.getpid()) + "\necho ready"
    if how == "command":
        await sandboxed.launch("sh", "-c", script.replace("$", "$$") + "; sleep 600")
        await sandboxed.says("ready")
        assert await sandboxed.provider.log_tail(NAME, 20) == "ready"
    else:
        await sandboxed.launch("serve")
        asked = f'test "$$( {script.replace("$", "$$")})" = ready'
        assert await sandboxed.provider.execute(NAME, ("sh", "-c", asked), 10.0) == 0


CALLS = """
import ctypes, subprocess, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
def answer(number, *arguments):
    ctypes.set_errno(0)
    libc.syscall(number, *arguments)
    return ctypes.get_errno()
print("mount", answer(165, 0, 0, 0, 0, 0), "keyctl", answer(250, 0, -3, 0), "bpf", answer(321, 0, 0, 0),
      "ptrace", answer(101, 0, 0, 0, 0), "unshare", answer(272, 0), "clone3", answer(435, 0, 0),
      "getpid", answer(39))
thread = threading.Thread(target=print, args=("threads",))
thread.start(); thread.join()
subprocess.run(["echo", "processes"], check=True)
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are those of x86_64")
async def test_a_sandbox_refuses_the_calls_by_which_kernels_are_attacked(sandboxed: Region) -> None:
    await sandboxed.launch(str(Path(sys.executable).resolve()), "-c", CALLS)
    await sandboxed.ended()
    assert sorted((await sandboxed.provider.log_tail(NAME, 20)).split("\n")) == [
        "mount 1 keyctl 1 bpf 1 ptrace 1 unshare 1 clone3 38 getpid 0",
        "processes",
        "threads",
    ]


async def test_a_low_port_can_still_be_listened_on(sandboxed: Region) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may")
    listen = "import os, socket; socket.create_server((os.environ['HOST'], 81)); print('ready', flush=True)"
    asked = spec("python3", "-c", f"{listen}; import time; time.sleep(600)")
    probe = replace(asked.template.probe, port=81)
    low = replace(asked, template=replace(asked.template, probe=probe))
    await sandboxed.provider.launch(low, sandboxed.package)
    await sandboxed.says("ready")


async def test_a_probe_command_sees_the_inside_of_its_host(sandboxed: Region) -> None:
    await sandboxed.launch("sh", "-c", "touch /tmp/pid; echo ready; sleep 600")
    await sandboxed.says("ready")
    inside = "test -e /tmp/pid && test -x serve && kill -0 2 && test $$PPID != 1"
    assert await sandboxed.provider.execute(NAME, ("sh", "-c", inside), 10.0) == 0


async def test_without_root_a_probe_command_gets_a_sandbox_of_the_same_kind(sandboxed: Region) -> None:
    await sandboxed.launch("serve")
    application = sandboxed.hosts / NAME / "app"
    sandbox, _ = choose_sandbox("bwrap", sandboxed.root)
    assert sandbox is not None

    async def run(script: str, timeout_seconds: float) -> int:
        argv = enter(sandbox, 1, ["/bin/sh", "-c", script], application, is_root=False)
        return await processes.run_command(argv, {}, application, timeout_seconds, is_entering=True)

    assert await run("test -x serve && exit 7", 10.0) == 7
    with pytest.raises(TimeoutError):
        await run("exec sleep 601", 0.2)


async def test_without_a_sandbox_the_application_is_read_only_by_its_modes(region: Region) -> None:
    await region.launch("serve")
    paths = [region.hosts / NAME / "app", *(region.hosts / NAME / "app").iterdir()]
    assert not [path for path in paths if path.stat().st_mode & 0o222]


async def test_bubblewrap_that_is_missing_is_told_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    provider = LocalProvider(
        tmp_path / "r", RegionName("here"), lambda: "ours", clock=SystemClock(), isolation="bwrap"
    )
    with pytest.raises(RefusedError, match=r"bwrap is not installed.*apt install bubblewrap"):
        await provider.start()
    await provider.close()
    careful = LocalProvider(
        tmp_path / "r", RegionName("here"), lambda: "ours", clock=SystemClock(), isolation="auto"
    )
    assert await careful.troubles() == []
    assert await careful.start() == "none"
    (told,) = await careful.troubles()
    assert told.startswith("note: hosts have no sandbox: bwrap is not installed. Install it (apt install")
    assert told.endswith("local.isolation: none")
    await careful.close()
    chosen = LocalProvider(
        tmp_path / "r", RegionName("here"), lambda: "ours", clock=SystemClock(), isolation="none"
    )
    assert await chosen.start() == "none"
    assert await chosen.troubles() == []
    await chosen.close()


async def test_bubblewrap_that_does_not_work_here_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bwrap").write_text(
        "#!/bin/sh\necho 'bwrap: No permissions to create namespace' >&2; exit 1\n"
    )
    (tmp_path / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(RefusedError, match="No permissions to create namespace"):
        choose_sandbox("bwrap", tmp_path)
    sandbox, why = choose_sandbox("auto", tmp_path)
    assert sandbox is None
    assert "No permissions to create namespace" in why


# ------------------------------------------------------------------------------------------- addresses, ports


@pytest.fixture
def squatter() -> Iterator[socket.socket]:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        yield listener


async def test_a_port_that_is_taken_everywhere_is_told_with_the_remedy(
    region: Region, squatter: socket.socket
) -> None:
    squatter.bind(("0.0.0.0", PORT))
    squatter.listen()
    message = await refusal(region, "serve")
    assert message.startswith(f"port {PORT} is taken: something else on this machine listens on 127.81.0.")
    assert f"most likely on 0.0.0.0:{PORT}" in message
    assert f"ss -ltnp 'sport = :{PORT}'" in message
    assert "choose another health port" in message


async def test_an_address_on_which_the_port_is_taken_is_passed_over(
    region: Region, squatter: socket.socket
) -> None:
    squatter.bind(("127.81.0.1", PORT))
    squatter.listen()
    assert (await region.launch("serve")).address == "127.81.0.2"


def test_addresses_go_round_and_pass_over_those_in_use(tmp_path: Path) -> None:
    addresses = AddressRange("127.83.0.0/29", tmp_path / "cursor")
    first = [addresses.take(PORT) for _ in range(6)]
    assert first == [f"127.83.0.{number}" for number in range(1, 7)]
    with pytest.raises(OutOfCapacityError, match=r"all 6 addresses of 127\.83\.0\.0/29 are taken"):
        addresses.take(PORT)
    addresses.release("127.83.0.3")
    assert addresses.take(PORT) == "127.83.0.3"


def test_a_restart_does_not_give_the_same_addresses_again(tmp_path: Path) -> None:
    before = AddressRange("127.83.0.0/16", tmp_path / "cursor").take(PORT)
    again = AddressRange("127.83.0.0/16", tmp_path / "cursor")
    assert again.take(PORT) != before


def test_a_range_that_is_not_loopback_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="not a loopback range"):
        AddressRange("10.0.0.0/8", tmp_path / "cursor")


# ------------------------------------------------------------------------------------------- disk and log


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    libc = ctypes.CDLL(None, use_errno=True)
    place = tmp_path / "tiny"
    place.mkdir()
    if libc.mount(b"tmpfs", str(place).encode(), b"tmpfs", 0, b"size=65536") != 0:
        pytest.skip(f"cannot mount a tmpfs here: {os.strerror(ctypes.get_errno())}")
    yield place
    assert libc.umount2(str(place).encode(), 2) == 0  # MNT_DETACH


async def test_a_full_disk_is_told_and_leaves_nothing(tiny_disk: Path, tmp_path: Path) -> None:
    (tmp_path / "large").mkdir()
    (tmp_path / "large" / "blob").write_bytes(os.urandom(200_000))
    pack(tmp_path / "large", tmp_path / "large.tar.gz")
    provider = LocalProvider(
        tiny_disk, RegionName("here"), lambda: "ours", clock=SystemClock(), isolation="none"
    )
    with pytest.raises(OutOfCapacityError) as caught:
        await provider.launch(spec("sleep", "600"), tmp_path / "large.tar.gz")
    words = f"cannot make the host: the disk of {tiny_disk}/hosts is full. Free space there."
    assert str(caught.value) == words
    assert list((tiny_disk / "hosts").iterdir()) == []
    assert await provider.list_hosts() == []
    await provider.close()


async def test_a_log_is_bounded_while_it_is_written_and_its_end_kept(
    either: Region,
) -> None:
    """However fast: what is on disk is looked at all the time, without an agent that could trim it."""
    flood = 5 * logs.LOG_BYTES_MAX
    count = f"yes 0123456789abcde | head -c {flood}; echo the end; exec sleep 600"
    await either.launch("sh", "-c", count)
    await either.provider.close()
    folder, sizes = either.hosts / NAME, [0]  # on a busy machine it may all be written before the first look
    while logs.tail(folder, 1) != "the end":
        sizes.append(sum(map(_size, folder.glob("output.log*"))))
        await asyncio.sleep(0.002)
    sizes.append(sum(map(_size, folder.glob("output.log*"))))
    assert max(sizes) <= 2 * logs.LOG_BYTES_MAX + logs.BLOCK_BYTES
    assert logs.tail(folder, 3).splitlines() == ["0123456789abcde"] * 2 + ["the end"]
    await either.restart().destroy(NAME)
    assert list(either.hosts.iterdir()) == []


def test_a_log_that_a_host_has_put_something_else_for_holds_up_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / logs.NEWEST)
    assert "no plain file" in logs.tail(tmp_path, 5)


def _size(path: Path) -> int:
    """0 of a file that was renamed meanwhile."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


async def test_a_host_whose_log_is_cut_loses_no_line_at_the_seam(region: Region) -> None:
    lines = logs.LOG_BYTES_MAX // 16 + 1000
    script = f"seq -f %015.0f {lines}; exec sleep 600"
    await region.launch("sh", "-c", script)
    await region.says(f"{lines:015}")
    folder = region.hosts / NAME
    kept = (folder / logs.OLDER).read_text() + (folder / logs.NEWEST).read_text()
    assert kept.splitlines() == [f"{number:015}" for number in range(1, lines + 1)]


async def test_a_host_prints_on_while_its_log_can_not_be_written(tiny_disk: Path, tmp_path: Path) -> None:
    """A full disk costs log lines, neither the host nor its time."""
    provider = LocalProvider(
        tiny_disk, RegionName("here"), lambda: "ours", clock=SystemClock(), isolation="none"
    )
    mark = tmp_path / "through"
    script = f"yes | head -c 3000000; touch {mark}; exec sleep 600"
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "page").write_text("hello")
    pack(tmp_path / "small", tmp_path / "small.tar.gz")
    await provider.launch(spec("sh", "-c", script), tmp_path / "small.tar.gz")
    await until(mark.exists)
    assert [host.is_running for host in await provider.list_hosts()] == [True]
    await provider.destroy(NAME)
    await provider.close()


def test_the_end_of_a_log_is_bounded(tmp_path: Path) -> None:
    (tmp_path / logs.NEWEST).write_bytes(b"x" * 100_000 + b"\n\xff\xfe odd bytes\n")
    tail = logs.tail(tmp_path, 1000)
    assert len(tail.encode()) <= logs.TAIL_BYTES_MAX + 8
    assert tail.endswith(" odd bytes")


async def test_errors_of_a_launch_are_always_of_the_provider(region: Region) -> None:
    region.hosts.rmdir()
    with pytest.raises(ProviderError):
        await region.launch("serve")
    region.hosts.mkdir()


async def test_a_command_that_becomes_another_program_is_found(either: Region) -> None:
    host = await either.launch("change")
    provider = either.provider

    async def is_started() -> bool:
        assert await provider.inspect(host.name) == ""
        return (either.hosts / host.name / "program").exists()

    await until_async(is_started)
    (either.hosts / host.name / "app" / "go").touch()  # its command waits for that

    async def is_found() -> bool:
        return "its command is now " in await provider.inspect(host.name)

    await until_async(is_found)
    assert (await provider.inspect(host.name)).startswith("go was added; its command is now /")
