"""machine.sh where systemd is process 1: a host is a unit of its own, which ends with all that it started."""

import io
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from repave_agent.providers.ssh_pool.bootstrap import SCRIPT
from repave_protos.package.archive import sha256_of
from tests.fakes.waiting import until
from tests.support.systemd_machine import SystemdMachine, systemd_machine, why_not

HOST = "shop-v001-1"


@pytest.fixture(scope="module")
def machine() -> Iterator[SystemdMachine]:
    if reason := why_not():
        pytest.skip(reason)
    with TemporaryDirectory(prefix="rp") as directory, systemd_machine(Path(directory)) as made:
        if isinstance(made, str):
            pytest.skip(made)
        yield made


class Root:
    """repave's folder on the machine."""

    def __init__(self, machine: SystemdMachine, directory: Path) -> None:
        self.machine, self.path = machine, directory / "root"
        package = directory / "package.tar.gz"
        with tarfile.open(package, "w:gz") as made:
            program = b'#!/bin/sh\necho "$COLOUR|$1"\nsleep 600 &\nexec sleep 600\n'
            entry = tarfile.TarInfo("serve")
            entry.size, entry.mode = len(program), 0o755
            made.addfile(entry, io.BytesIO(program))
        self.digest = sha256_of(package)
        assert self.ask("unpack", self.digest, str(package)).returncode == 0

    def ask(self, verb: str, *words: str) -> subprocess.CompletedProcess[str]:
        return self.machine.run("sh", str(SCRIPT), verb, str(self.path), *words)

    def start(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.ask("start", HOST, self.digest, "1", "COLOUR=deep 'blue' $(id)", *words)


@pytest.fixture
def root(machine: SystemdMachine, tmp_path: Path) -> Iterator[Root]:
    made = Root(machine, tmp_path)
    yield made
    made.ask("stop", HOST, "0")


async def test_a_host_is_a_unit_of_systemd_and_its_words_stay_words(root: Root) -> None:
    done = root.start("./serve", "a b; $(touch /tmp/evil)")
    assert done.returncode == 0, done.stderr
    unit = root.machine.run("systemctl", "is-active", f"repave-{HOST}")
    assert unit.stdout.strip() == "active"
    assert root.ask("state", HOST).stdout.strip() == "running"
    await until(lambda: root.ask("tail", HOST, "1").stdout == "deep 'blue' $(id)|a b; $(touch /tmp/evil)\n")


@pytest.mark.parametrize("time", [1, 2])
async def test_it_ends_with_all_that_it_started_and_may_be_started_again(root: Root, time: int) -> None:
    assert root.start("./serve", "x").returncode == 0
    await until(lambda: root.machine.run("pgrep", "-fc", "sleep 600").stdout.strip() == "2")
    assert root.ask("stop", HOST, "1").returncode == 0
    assert root.machine.run("pgrep", "-f", "sleep 600").stdout == ""
    unit = ("systemctl", "is-active", f"repave-{HOST}")
    await until(lambda: root.machine.run(*unit).stdout.strip() == "inactive")
    assert root.ask("state", HOST).stdout.strip() == "absent"


async def test_a_host_that_ends_by_itself_says_how(root: Root) -> None:
    assert root.start("sh", "-c", "exit 3").returncode == 0
    await until(lambda: root.ask("state", HOST).stdout.startswith("exited 3 0."))


def test_a_command_that_is_not_there_is_told_at_once(root: Root) -> None:
    done = root.start("./missing")
    assert (done.returncode, "run: './missing' is not in the package" in done.stderr) == (64, True)
