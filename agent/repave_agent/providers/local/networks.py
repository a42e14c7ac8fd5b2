"""A network of its own for each host of the local provider: an application on 0.0.0.0 meets no other there.

It is a network namespace with one link to the machine, of which both ends have an address: the host its own
one, the machine GATEWAY, the same on every link. The machine has a route to each host; a host has one to
everything, by way of the machine. All of it goes with `remove`, and with a restart of the machine.

Everything here blocks for a moment: provider.py calls it in threads.
"""

import hashlib
import os
import shutil
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

from repave_agent.core.ports import RefusedError, TransientError

GATEWAY = "169.254.1.1"
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
COMMAND_TIMEOUT_SECONDS = 20.0
REMEDY = "set local.network to machine, where applications listen on $HOST"
_making = threading.Lock()
"""The first namespace of a machine makes the folder of all."""


@dataclass(frozen=True, slots=True)
class Network:
    """That of the host whose folder this is: agents on one machine may have hosts of the same name."""

    folder: Path

    @property
    def name(self) -> str:
        return f"repave-{self._number}"

    @property
    def link(self) -> str:
        """The machine's end; the kernel takes 15 characters."""
        return f"rp{self._number}"

    @property
    def address_of_its_own(self) -> str:
        """One that no host has, and hardly another trial."""
        high, low = bytes.fromhex(self._number[:4])
        return f"169.254.{128 + high % 64}.{low}"

    @property
    def _number(self) -> str:
        return hashlib.sha256(os.fsencode(self.folder.absolute())).hexdigest()[:12]

    def make(self, address: str) -> None:
        """With `address` as the host's. What is left of an earlier one goes. Raises TransientError."""
        self.remove()
        with _making:
            _configure(
                f"netns add {self.name}",
                f"link add {self.link} type veth peer name eth0 netns {self.name}",
                f"address add {GATEWAY}/32 dev {self.link} scope link",
                f"link set {self.link} up",
                f"route add {address}/32 dev {self.link} src {GATEWAY}",
            )
        _configure(
            "link set lo up",
            f"address add {address}/32 dev eth0",
            "link set eth0 up",
            f"route add {GATEWAY} dev eth0 scope link src {address}",
            f"route add default via {GATEWAY} dev eth0 src {address}",
            namespace=self.name,
        )

    def remove(self) -> None:
        """Nothing, where there is none. Raises TransientError."""
        if Path(f"/sys/class/net/{self.link}").exists():
            _configure(f"link delete {self.link}")
        if self.handle.exists():
            _configure(f"netns delete {self.name}")

    @property
    def handle(self) -> Path:
        return Path("/run/netns") / self.name

    def entered(self, argv: list[str]) -> list[str]:
        """argv inside it."""
        return ["nsenter", f"--net={self.handle}", "--", *argv]


def _configure(*lines: str, namespace: str = "") -> None:
    within = ("-netns", namespace) if namespace else ()
    if why := _fails("ip", *within, "-batch", "-", given="".join(f"{line}\n" for line in lines)):
        raise TransientError(f"cannot make the host's network: {why}")


def _fails(program: str, *arguments: str, given: str) -> str:
    """Why the program did not do what it was given; "" when it did."""
    found = shutil.which(program)
    if found is None:
        return f"the program {program} is not installed"
    try:
        done = subprocess.run(
            [found, *arguments],
            input=given.encode(),
            capture_output=True,
            timeout=COMMAND_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{program}: {error}"
    words = done.stderr.decode(errors="replace").strip().splitlines()
    return f"{program}: {words[0] if words else done.returncode}" if done.returncode else ""


def check(trial: Path) -> None:
    """Makes one for the folder `trial`, and removes it. Raises RefusedError where it can't be had."""
    if os.geteuid() != 0:
        raise RefusedError(f"local.network is own: only root can make networks. Be root, or {REMEDY}.")
    for program, package in (("ip", "iproute2"), ("nsenter", "util-linux")):
        if shutil.which(program) is None:
            raise RefusedError(
                f"local.network is own, which needs the program {program}. Install it (apt install "
                f"{package}), or {REMEDY}."
            )
    network = Network(trial)
    try:
        network.make(network.address_of_its_own)
        network.remove()
    except TransientError as error:
        raise RefusedError(f"local.network is own: {error}. Mend that, or {REMEDY}.") from error


def let_out(state: Path, network: str) -> str:
    """Lets the hosts of `network` reach what is beyond this machine, under the machine's own address. Why
    they can't; "" when they can."""
    if FORWARDING.read_text().strip() != "1":
        return "net.ipv4.ip_forward is 0. Set it to 1 (sysctl -w net.ipv4.ip_forward=1)"
    table = f"ip repave_{Network(state).link}"
    rules = (
        f"add table {table}\ndelete table {table}\n"
        f"table {table} {{\n  chain out {{\n    type nat hook postrouting priority srcnat;\n"
        f"    ip saddr {network} ip daddr != {network} masquerade\n  }}\n}}\n"
    )
    why = _fails("nft", "--file", "-", given=rules)
    return f"{why} (apt install nftables)" if shutil.which("nft") is None else why
