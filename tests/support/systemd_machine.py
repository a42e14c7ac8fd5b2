"""A real systemd for tests: process 1 of namespaces of its own, with no units but those that it needs to run
transient ones."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SYSTEMD = Path("/lib/systemd/systemd")
TARGETS = ("default", "sysinit", "basic", "shutdown")
READY_SECONDS = 30.0
BEGIN = """\
mount --make-rprivate / && mount -t tmpfs tmpfs /run && mkdir /run/lock || exit 1
own=/sys/fs/cgroup/systemd/{name}
if [ -d /sys/fs/cgroup/systemd ]; then
    mkdir "$own" && mount --bind "$own" /sys/fs/cgroup/systemd || exit 1
fi
export container=docker SYSTEMD_UNIT_PATH={units}
exec {systemd} --system --unit=default.target --show-status=no --log-target=console
"""


@dataclass(frozen=True, slots=True)
class SystemdMachine:
    """`process` is its systemd, as this machine sees it."""

    process: int

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Runs words on it; the result says how they ended."""
        command = ["nsenter", "--target", str(self.process), "--mount", "--pid", "--", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def why_not() -> str:
    """Why there can be no such machine here; "" when it can be tried."""
    if not SYSTEMD.exists():
        return "systemd is not installed (apt install systemd)"
    return "" if os.geteuid() == 0 else "systemd for tests needs root"


@contextmanager
def systemd_machine(directory: Path) -> Iterator[SystemdMachine | str]:
    """One that runs as long as the block; or why systemd does not run here."""
    units = directory / "units"
    units.mkdir(parents=True)
    for target in TARGETS:
        (units / f"{target}.target").write_text("[Unit]\nDefaultDependencies=no\nAllowIsolate=yes\n")
    name = f"repave-test-{os.getpid()}"
    script = BEGIN.format(name=name, units=units, systemd=SYSTEMD)
    with (directory / "log").open("wb") as log:
        outer = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield _ready(outer, directory / "log")
    finally:
        outer.kill()
        outer.wait()
        remove_cgroup(Path("/sys/fs/cgroup/systemd") / name)


def remove_cgroup(cgroup: Path) -> None:
    """Removes the group and those below it. The kernel ends their processes after `kill` returns, so each is
    removed once it is empty."""
    deadline = time.monotonic() + READY_SECONDS
    for each in (*sorted(cgroup.rglob("*/"), reverse=True), *([cgroup] if cgroup.exists() else [])):
        while (each / "cgroup.procs").read_text() and time.monotonic() < deadline:
            time.sleep(0.01)
        each.rmdir()


def _ready(outer: subprocess.Popen[bytes], log: Path) -> SystemdMachine | str:
    deadline = time.monotonic() + READY_SECONDS
    children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
    while time.monotonic() < deadline and outer.poll() is None:
        for child in children.read_text().split():
            machine = SystemdMachine(int(child))
            if machine.run("systemctl", "is-system-running").stdout.strip() in ("running", "degraded"):
                return machine
        time.sleep(0.1)
    return f"systemd does not run in namespaces here: {log.read_text(errors='replace')[-300:]}"
