"""Machines for tests of an installation: each a Debian 12 with a file system, a systemd and a network of its
own, on one bridge. Made by debootstrap from Debian's mirror, which takes a minute or two."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.systemd_machine import READY_SECONDS, SystemdMachine, remove_cgroup

MIRROR = "http://deb.debian.org/debian"
INCLUDED = ("systemd", "python3", "adduser", "haproxy", "bubblewrap", "ca-certificates", "iproute2", "curl")
TARGETS = ("default", "sysinit", "basic", "multi-user", "sockets", "shutdown")
NO_SERVICES = "#!/bin/sh\nexit 101\n"
BEGIN = """\
set -e
mount --make-rprivate /
mount -t overlay overlay -o lowerdir={base},upperdir={own}/upper,workdir={own}/work {root}
mount -t proc proc {root}/proc
mount --rbind /dev {root}/dev
mount -t sysfs sysfs {root}/sys
mount -t tmpfs tmpfs {root}/sys/fs/cgroup
mkdir {root}/sys/fs/cgroup/systemd /sys/fs/cgroup/systemd/{name}
mount --bind /sys/fs/cgroup/systemd/{name} {root}/sys/fs/cgroup/systemd
mount -t tmpfs tmpfs {root}/run
export container=docker
exec chroot {root} /lib/systemd/systemd --system --unit=default.target --show-status=no --log-target=console
"""


def why_not() -> str:
    """Why there can be no such machines here; "" when they can be tried."""
    if os.environ.get("REPAVE_TEST_RIGS") != "1":
        return "slow: run by make test-rigs"
    if os.geteuid() or shutil.which("debootstrap") is None:
        return "needs root and debootstrap (apt install debootstrap)"
    return "" if Path("/sys/fs/cgroup/systemd").is_dir() else "needs the cgroup hierarchy of systemd"


@contextmanager
def debian(root: Path) -> Iterator[Path]:
    """What every machine begins with. Nothing of it runs."""
    root.mkdir(parents=True)
    root.chmod(0o755)  # it is the / of users without rights
    included = f"--include={','.join(INCLUDED)}"
    do("debootstrap", "--variant=minbase", included, "bookworm", str(root), MIRROR)
    for setting in Path("/etc/apt/apt.conf.d").glob("*registry*"):  # of a mirror that lags behind
        shutil.copy(setting, root / "etc/apt/apt.conf.d")
    for name in TARGETS:
        target = "[Unit]\nDefaultDependencies=no\nAllowIsolate=yes\n"
        (root / f"etc/systemd/system/{name}.target").write_text(target)
    wanted = root / "etc/systemd/system/sysinit.target.wants"
    wanted.mkdir(exist_ok=True)
    (wanted / "systemd-journald.service").symlink_to("/lib/systemd/system/systemd-journald.service")
    for each in (root / "etc/systemd/system/multi-user.target.wants").glob("*"):
        each.unlink()
    yield root


@dataclass(frozen=True, slots=True)
class Machine(SystemdMachine):
    """`root` is its file system, as this machine sees it."""

    name: str
    root: Path

    def shell(self, script: str, folder: str = "/root") -> str:
        """What it printed. Fails the test when it fails."""
        done = self.run("sh", "-ec", f"cd {folder}\n{script}")
        if done.returncode:
            logged = self.run(
                "journalctl", "--no-pager", "--lines=40", "--output=cat", "--unit=repave-*"
            ).stdout
            pytest.fail(f"{self.name}: {script}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}\n{logged}")
        return done.stdout

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        inside = [
            "nsenter",
            "--target",
            str(self.process),
            "--mount",
            "--pid",
            "--net",
            "--root",
            "--wd",
            "--",
        ]
        path = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
        return subprocess.run(
            [*inside, *words], env=path, capture_output=True, text=True, check=False, timeout=300
        )


class Network:
    """A bridge with the machines on it. `prefix` keeps the names of two runs apart."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.bridge = f"{prefix}-br"

    def cut(self, machine: Machine, *, is_cut: bool) -> None:
        """Its cable is pulled, or put in again."""
        do("ip", "link", "set", f"{self.prefix}-{machine.name[:6]}", "down" if is_cut else "up")

    def namespace(self, name: str) -> str:
        return f"{self.prefix}-{name}"

    def add(self, name: str, address: str) -> None:
        inner, outer, space = f"{self.prefix}i{name[:6]}", f"{self.prefix}-{name[:6]}", self.namespace(name)
        do("ip", "netns", "add", space)
        do("ip", "link", "add", outer, "type", "veth", "peer", "name", inner)
        do("ip", "link", "set", outer, "master", self.bridge, "up")
        do("ip", "link", "set", inner, "netns", space)
        do("ip", "-n", space, "address", "add", f"{address}/24", "dev", inner)
        do("ip", "-n", space, "link", "set", inner, "up")
        do("ip", "-n", space, "link", "set", "lo", "up")

    @contextmanager
    def made(self, addresses: Mapping[str, str]) -> Iterator["Network"]:
        """Also for what is no machine, such as a client."""
        do("ip", "link", "add", self.bridge, "type", "bridge")
        do("ip", "link", "set", self.bridge, "up")
        try:
            for name, address in addresses.items():
                self.add(name, address)
            yield self
        finally:
            for name in addresses:
                done = ["ip", "netns", "delete", self.namespace(name)]
                subprocess.run(done, check=False, capture_output=True)
            do("ip", "link", "delete", self.bridge)


@contextmanager
def machines(
    directory: Path, base: Path, network: Network, names: tuple[str, ...]
) -> Iterator[dict[str, Machine]]:
    """Those that run as long as the block, by name."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(_machine(directory / name, base, network, name)) for name in names}


@contextmanager
def _machine(own: Path, base: Path, network: Network, name: str) -> Iterator[Machine]:
    root, group = own / "root", f"{network.prefix}-{name}"
    for folder in ("root", "upper", "work"):
        (own / folder).mkdir(parents=True)
    script = BEGIN.format(base=base, own=own, root=root, name=group)
    apart = ["unshare", "--mount", "--pid", "--uts", "--fork", "--kill-child"]
    with (own / "log").open("wb") as log:
        outer = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{network.namespace(name)}", *apart, "sh", "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield _ready(outer, own / "log", name, root)
    finally:
        outer.kill()
        outer.wait()
        remove_cgroup(Path("/sys/fs/cgroup/systemd") / group)


def _ready(outer: subprocess.Popen[bytes], log: Path, name: str, root: Path) -> Machine:
    deadline = time.monotonic() + READY_SECONDS
    children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
    while time.monotonic() < deadline and outer.poll() is None:
        for child in children.read_text().split():
            machine = Machine(int(child), name, root)
            if machine.run("systemctl", "is-system-running").stdout.strip() in ("running", "degraded"):
                return machine
        time.sleep(0.1)
    raise AssertionError(f"{name}: systemd does not run: {log.read_text(errors='replace')[-2000:]}")


def do(*words: str) -> None:
    """Raises AssertionError with what it said."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
