"""Real sshd machines for tests: each in namespaces of its own (mounts, processes), with an address of its own
in 127.0.0.0/8, a disk of its own and its own boot id. Booting one makes it anew, with a new host key.

A pool's reset command only asks for it: this process boots the machine, for a Python of its own would take
as long to start as the machine.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import traceback
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

SSHD = "/usr/sbin/sshd"
PORT = 2022
Flaw = Literal["full", "dies", "wrong key"]
READY_SECONDS = 60.0
ROOT = "/var/lib/repave-test-machine"
"""Where each machine has a disk of its own; an empty folder of the real machine."""
BEGIN = """\
mount --make-rprivate / && mount -t tmpfs -o size={kilobytes}k,mode=755{options} tmpfs {root} && {more}
mount --bind {directory}/boot /proc/sys/kernel/random/boot_id &&
exec {sshd} -D -f {directory}/sshd.conf -E {directory}/log
"""
ASK_FOR_A_BOOT = """\
mkfifo "$0.$$" && echo "$REPAVE_MACHINE $0.$$" >"$0" && read -r code <"$0.$$"
rm -f "$0.$$"
exit "${code:-1}"
"""
CONFIGURATION = """\
ListenAddress {address}:{port}
HostKey {directory}/host_key
AuthorizedKeysFile {directory}/authorized_keys
PidFile none
UsePAM no
StrictModes no
PermitRootLogin yes
PasswordAuthentication no
MaxStartups 100
"""


@dataclass(frozen=True, slots=True)
class Tune:
    """How a machine is set up, from its next start on."""

    sshd: str = "MaxSessions 200\nSubsystem sftp internal-sftp"  # lines of its configuration
    bashrc: str = ""
    shell: str = "/bin/bash"
    forced: str = ""  # command= of its authorized_keys
    sudoers: str = "ops ALL=(ALL) NOPASSWD: ALL"  # `ops` is a user beside root
    noexec: bool = False


def why_not() -> str:
    """Why there can be no machines here; "" when there can."""
    if not Path(SSHD).exists():
        return "sshd is not installed (apt install openssh-server)"
    if os.geteuid() != 0:
        return "machines for tests need root: each is in namespaces of its own"
    tried = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True, text=True, check=False
    )
    return f"no namespaces here: {tried.stderr.strip()}" if tried.returncode else ""


@dataclass(frozen=True, slots=True)
class Pool:
    """Machines m1, m2, ... and their inventory."""

    directory: Path
    octet: int

    @property
    def key(self) -> Path:
        return self.directory / "key"

    @property
    def inventory(self) -> Path:
        return self.directory / "inventory.yaml"

    def address(self, name: str) -> str:
        return f"127.{self.octet}.{name.removeprefix('m')}.1"

    @property
    def names(self) -> list[str]:
        return sorted((each.name for each in self.directory.glob("m*")), key=lambda name: int(name[1:]))

    @property
    def reset_command(self) -> tuple[str, ...]:
        """Ends when the machine REPAVE_MACHINE was made anew."""
        return ("sh", "-c", ASK_FOR_A_BOOT, str(self.directory / "boots"))

    # ------------------------------------------------------------------------------------ machines

    def flawed(self, name: str, flaw: Flaw) -> None:
        """From its next start on something is wrong with it."""
        (self.directory / f"flaw-{name}").write_text(flaw)

    def tuned(self, name: str, tune: Tune) -> None:
        (self.directory / f"tune-{name}").write_text(json.dumps(asdict(tune)))

    def _tune(self, name: str) -> Tune:
        file = self.directory / f"tune-{name}"
        return Tune(**json.loads(file.read_text())) if file.exists() else Tune()

    def _accounts(self, own: Path, tune: Tune) -> str:
        """Who may log in there, and what their shells do: a part of its first script."""
        home, etc = own / "home", own / "etc"
        home.mkdir()
        etc.mkdir()
        (home / ".bashrc").write_text(tune.bashrc)
        forced = f'command="{tune.forced}" ' if tune.forced else ""
        (own / "authorized_keys").write_text(forced + self.key.with_suffix(".pub").read_text())
        users = [
            line for line in Path("/etc/passwd").read_text().splitlines() if not line.startswith("root:")
        ]
        users += [f"root:x:0:0::{home}:{tune.shell}", f"ops:x:4242:4242::{home}:{tune.shell}"]
        (etc / "passwd").write_text("\n".join(users) + "\n")
        (etc / "shadow").write_text(Path("/etc/shadow").read_text() + "ops:*:19000:0:99999:7:::\n")
        (etc / "sudoers").write_text(f"Defaults secure_path=/usr/sbin:/usr/bin:/sbin:/bin\n{tune.sudoers}\n")
        (etc / "sudoers").chmod(0o440)
        return "".join(
            f"{{ [ ! -e /etc/{name} ] || mount --bind {etc}/{name} /etc/{name}; }} && "
            for name in ("passwd", "shadow", "sudoers")
        )

    def _flaw(self, name: str) -> str:
        file = self.directory / f"flaw-{name}"
        return file.read_text() if file.exists() else ""

    def boot(self, name: str, *, is_new: bool = True) -> None:
        """Makes the machine anew and waits until its sshd answers. One that is not new keeps its host key;
        its disk forgets."""
        own = self.directory / name
        assert not _answers(self.address(name)), f"{self.address(name)} is taken: an sshd was left there"
        kept = [] if is_new else [(file, (own / file).read_bytes()) for file in ("host_key", "host_key.pub")]
        shutil.rmtree(own, ignore_errors=True)
        own.mkdir()
        for file, content in kept:
            (own / file).write_bytes(content)
            (own / file).chmod(0o600)
        if is_new:
            _keygen(own / "host_key")
        certified = self._certify(own / "host_key", name)
        (own / "boot").write_text(f"{uuid.uuid4()}\n")
        values = {"directory": own, "pool": self.directory, "address": self.address(name), "port": PORT}
        tune = self._tune(name)
        (own / "sshd.conf").write_text(f"{CONFIGURATION.format(**values)}{tune.sshd}\n{certified}")
        self.write_inventory()
        (own / "dies").write_text("#!/bin/sh\nkill -TERM 1\nsleep 60\n")
        (own / "dies").chmod(0o755)
        more = f"mount --bind {own}/dies /usr/bin/setsid &&" if self._flaw(name) == "dies" else ""
        more = self._accounts(own, tune) + more
        options = ",noexec" if tune.noexec else ""
        kilobytes = 16 if self._flaw(name) == "full" else 65_536
        script = BEGIN.format(
            directory=own, root=ROOT, sshd=SSHD, kilobytes=kilobytes, more=more, options=options
        )
        command = [
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "sh",
            "-c",
            script,
        ]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        (own / "pid").write_text(f"{process.pid} {_started_at(process.pid)}")
        deadline = time.monotonic() + READY_SECONDS
        while not _answers(self.address(name)):
            assert process.poll() is None, (own / "log").read_text()
            assert time.monotonic() < deadline, f"{name} does not answer"
            time.sleep(0.02)

    def be_certified(self) -> Path:
        """From their next start on machines have certificates instead of keys that are known; returns what
        OpenSSH's known_hosts says of their authority."""
        _keygen(self.directory / "ca")
        authority = (self.directory / "ca.pub").read_text()
        known = self.directory / "known_hosts"
        known.write_text(f"@cert-authority [127.{self.octet}.*]:{PORT} {authority}")
        return known

    def _certify(self, key: Path, name: str) -> str:
        """A line of sshd's configuration."""
        authority = self.directory / "ca"
        if not authority.exists():
            return ""
        command = ["ssh-keygen", "-q", "-s", str(authority), "-I", name, "-h", "-n", self.address(name)]
        subprocess.run([*command, f"{key}.pub"], check=True, stdin=subprocess.DEVNULL)
        return f"HostCertificate {key}-cert.pub\n"

    def halt(self, name: str) -> None:
        """Pulls the plug."""
        pid = self._pid(name)
        if pid:
            os.kill(pid, signal.SIGKILL)
            while _started_at(pid) is not None:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
                time.sleep(0.01)

    def reboot(self, name: str) -> None:
        """Its disk forgets; its host key stays."""
        self.halt(name)
        self.boot(name, is_new=False)

    def freeze(self, name: str) -> None:
        """Nothing on it answers any more, and connections stay open."""
        for pid in self._inside(name):
            os.kill(pid, signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        for pid in self._inside(name):
            os.kill(pid, signal.SIGCONT)

    def run(self, name: str, *words: str) -> str:
        """As an operator at its console does."""
        inner = self._inside(name)[0]
        done = subprocess.run(
            ["nsenter", "--target", str(inner), "--mount", "--pid", *words],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    def processes(self, name: str) -> str:
        """Their command lines."""
        lines = []
        for pid in self._inside(name):
            with contextlib.suppress(OSError):
                lines.append(Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode())
        return "\n".join(lines)

    def rotate(self, name: str) -> None:
        """Its sshd shows another host key from now on; nothing else of it changes."""
        own = self.directory / name
        for file in (own / "host_key", own / "host_key.pub"):
            file.unlink()
        _keygen(own / "host_key")
        os.kill(self._inside(name)[0], signal.SIGHUP)
        deadline = time.monotonic() + READY_SECONDS
        while _shown_key(self.address(name)) != (own / "host_key.pub").read_text().split()[1]:
            assert time.monotonic() < deadline, f"{name} does not answer"

    def write_inventory(self) -> None:
        lines = ["machines:"]
        for name in self.names:
            key = (self.directory / name / "host_key.pub").read_text().strip()
            if self._flaw(name) == "wrong key":
                key = self.key.with_suffix(".pub").read_text().strip()
            lines += [f"  - name: {name}", f"    address: {self.address(name)}"]
            lines += [] if (self.directory / "ca").exists() else [f"    host_key: {key}"]
        part = self.inventory.with_suffix(f".{os.getpid()}")
        part.write_text("\n".join(lines) + "\n")
        part.replace(self.inventory)

    def _pid(self, name: str) -> int:
        try:
            pid, _, since = (self.directory / name / "pid").read_text().partition(" ")
        except FileNotFoundError:
            return 0
        return int(pid) if _started_at(int(pid)) == since else 0

    def _inside(self, name: str) -> list[int]:
        """The processes of the machine, its first one first."""
        found, at = [], [self._pid(name)]
        while at:
            pid = at.pop(0)
            with contextlib.suppress(OSError):
                children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
                found += [int(child) for child in children]
                at += [int(child) for child in children]
        return found

    def down(self) -> None:
        for name in self.names:
            self.halt(name)


@contextmanager
def pool(directory: Path, size: int, octet: int, tune: Tune | None = None) -> Iterator[Pool]:
    """`octet`: its addresses are 127.OCTET.N.1."""
    Path(ROOT).mkdir(parents=True, exist_ok=True)
    Path("/run/sshd").mkdir(exist_ok=True)
    directory.mkdir(parents=True)
    directory.parent.chmod(0o755)  # users beside root log in as well
    made = Pool(directory, octet)
    _keygen(made.key)
    try:
        with _boots_on_demand(made):
            for number in range(1, size + 1):
                if tune is not None:
                    made.tuned(f"m{number}", tune)
                made.boot(f"m{number}")
            yield made
    finally:
        made.down()


@contextmanager
def _boots_on_demand(made: Pool) -> Iterator[None]:
    """Answers what reset commands ask for, each by a thread of its own, as long as the block."""
    asked = made.directory / "boots"
    os.mkfifo(asked)
    with os.fdopen(os.open(asked, os.O_RDWR), "r") as lines:
        boots: list[threading.Thread] = []

        def answer() -> None:
            while line := lines.readline().strip():
                name, _, place = line.partition(" ")
                boots.append(threading.Thread(target=_boot_for, args=(made, name, Path(place))))
                boots[-1].start()

        listener = threading.Thread(target=answer)
        listener.start()
        try:
            yield
        finally:
            asked.write_text("\n")
            for each in (listener, *boots):
                each.join()


def _boot_for(made: Pool, name: str, place: Path) -> None:
    """Says at `place` how it went, if the one who asked is still there."""
    code = 1
    try:
        made.halt(name)
        made.boot(name)
        code = 0
    except Exception:  # the one who asked is told
        traceback.print_exc()
    with contextlib.suppress(OSError):
        told = os.open(place, os.O_WRONLY | os.O_NONBLOCK)
        os.write(told, f"{code}\n".encode())
        os.close(told)


def _keygen(path: Path) -> None:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def _answers(address: str) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((address, PORT), 1.0) as connection:
        return connection.recv(4) == b"SSH-"
    return False


def _shown_key(address: str) -> str:
    command = ["ssh-keyscan", "-T", "1", "-t", "ed25519", "-p", str(PORT), address]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout.split() or [""])[-1]


def _started_at(pid: int) -> str | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]
