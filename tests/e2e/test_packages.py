"""The Debian packages on a clean Debian 12: a folder made by debootstrap. It is fetched from Debian's mirror,
which takes a minute: run by `make test-rigs`."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.paths import ROOT
from tests.support.stage import Stage

pytestmark = [pytest.mark.e2e, pytest.mark.rig, pytest.mark.timeout(900)]
MIRROR = "http://deb.debian.org/debian"
NO_SERVICES = "#!/bin/sh\nexit 101\n"
"""policy-rc.d: what apt installs starts nothing."""


class Machine:
    """A Debian below `root`; what runs there has process ids of its own and the network of this machine."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def command(self, *words: str, user: str = "root") -> list[str]:
        apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child", f"--mount-proc={self.root}/proc"]
        acting = (
            ["setpriv", "--reuid", user, "--regid", user, "--clear-groups", "--"] if user != "root" else []
        )
        return [*apart, "chroot", str(self.root), *acting, *words]

    def run(self, *words: str) -> str:
        done = subprocess.run(self.command(*words), capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{words}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends process 1 of its namespace, and so all the others: the end of unshare does not, where the user has
    changed."""
    for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        os.kill(int(child), signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="module")
def debian() -> Iterator[Machine]:
    if os.environ.get("REPAVE_TEST_RIGS") != "1":
        pytest.skip("slow: run by make test-rigs")
    if os.geteuid() or shutil.which("debootstrap") is None:
        pytest.skip("needs root and debootstrap (apt install debootstrap)")
    with TemporaryDirectory(prefix="rp") as directory:
        root = Path(directory)
        root.chmod(0o755)  # it is the / of users without rights
        making = ["debootstrap", "--variant=minbase", "bookworm", str(root), MIRROR]
        done = subprocess.run(making, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:]
        for setting in Path("/etc/apt/apt.conf.d").glob("*registry*"):  # of a mirror that lags behind
            shutil.copy(setting, root / "etc/apt/apt.conf.d")
        policy = root / "usr/sbin/policy-rc.d"
        policy.write_text(NO_SERVICES)
        policy.chmod(0o755)
        yield Machine(root)


def test_the_packages_install_run_and_leave_their_state(debian: Machine, directory: Path) -> None:
    subprocess.run([sys.executable, "-m", "deploy.debian"], cwd=ROOT, check=True, capture_output=True)
    for package in (ROOT / "dist").glob("*.deb"):
        shutil.copy(package, debian.root / "tmp")
    debian.run("apt-get", "update")
    install = "DEBIAN_FRONTEND=noninteractive apt-get install --yes /tmp/repave_*.deb /tmp/repave-*.deb"
    debian.run("sh", "-c", install)
    assert debian.run("repave", "--version").startswith("repave ")
    stage = Stage(directory, regions=("paris",))
    state = {"REPAVE_CONTROLLER_STATE": "/var/lib/repave", "REPAVE_AGENT_STATE": "/var/lib/repave-agent"}
    for name in ("repave", "repave-agent"):  # as systemd does by StateDirectory=
        debian.run("install", "--directory", f"--owner={name}", "--mode=700", f"/var/lib/{name}")
    running = [
        subprocess.Popen(
            debian.command(program, user=user),
            env={"PATH": os.environ["PATH"], **settings, **state},
            stdout=(directory / f"{program}.log").open("w"),
            stderr=subprocess.STDOUT,
        )
        for program, user, settings in (
            ("repave-controller", "repave", stage.controller_settings()),
            ("repave-agent", "repave-agent", stage.agent_settings("paris")),
        )
    ]
    try:
        stage.wait(stage.answers, "the controller")
        stage.wait(
            lambda: [each["connected"] for each in stage.get("regions")["items"]] == [True], "the agent"
        )
    finally:
        for process in running:
            end(process)
        stage.stop()
    debian.run("apt-get", "remove", "--yes", "repave-controller", "repave-agent", "repave")
    assert (debian.root / "var/lib/repave/controller.db").exists()
    assert not (debian.root / "usr/lib/repave").exists()
