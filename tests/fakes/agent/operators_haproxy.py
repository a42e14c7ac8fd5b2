"""HAProxy as an operator runs it: their configuration, their process. It has what repave's snippet says, and
is reloaded by them when they like."""

import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

from repave_agent.balancers.checks import check_structure
from repave_agent.balancers.haproxy_runtime.balancer import RuntimeBalancer
from repave_agent.balancers.haproxy_runtime.snippet import (
    entrances,
    entrances_without_map,
    map_file,
    pools,
    slots,
)
from repave_agent.balancers.shares import application_of
from repave_agent.core.ports import Frontend, Structure, UnfitError
from repave_protos.protocol.values import ApplicationName

READY_SECONDS = 30.0
GLOBAL = """\
global
  stats socket {socket} mode 600 level admin expose-fd listeners
  hard-stop-after 30s
defaults
  mode http
  option idle-close-on-response
  timeout connect 2s
  timeout client 60s
  timeout server 60s
  timeout http-keep-alive 5s
"""
EMPTY_POOL = """
backend repave-pool-yet-to-come
  mode http
  balance roundrobin
"""


class OperatorsHaproxy:
    """One side: everything in `directory`."""

    def __init__(
        self,
        directory: Path,
        address: str = "127.0.0.1",
        *,
        has_map: bool = True,
        keeps: bool = False,
        own: str = "",
        others: Mapping[ApplicationName, str] = MappingProxyType({}),
    ) -> None:
        """`keeps`: its backends are in a file of their own, in which the agent may write. `own`: backends
        that the operator has; `others`: which of them answers for an application until repave does."""
        self._own, self._others = own, others
        self.has_map, self.keeps = has_map, keeps
        self.mistake = ("", "")
        self.is_stubborn = False  # nothing more is pasted
        directory.mkdir(parents=True, exist_ok=True)
        self.directory, self.address = directory, address
        self.socket, self.map = directory / "admin.sock", directory.parent / "repave.map"
        self.backends = directory.parent / "repave.cfg"
        self.frontends: tuple[Frontend, ...] = ()
        self._pasted = ("", "")
        self.processes: list[subprocess.Popen[bytes]] = []
        self.reload()

    def serves(self, frontends: Sequence[Frontend]) -> None:
        """Pastes what repave asks for, where it is not there yet."""
        if tuple(frontends) != self.frontends and not self.is_stubborn:
            self.frontends = tuple(frontends)
            self.reload()

    def misread(self, pasted: str, found: str) -> None:
        """The operator has written something else than what was to be pasted."""
        self.mistake = (pasted, found)
        self.reload()

    def reload(self) -> None:
        """A new process takes over, with the former one's listeners; that one ends its requests."""
        main, read = self.directory / "haproxy.cfg", [self.directory / "haproxy.cfg"]
        pasted = entrances_without_map(self.frontends, self.address)
        places = pools(self.frontends) + EMPTY_POOL
        if self.has_map:
            pasted, places = (
                entrances(self.frontends, str(self.map), self.address, self._others),
                slots(4, 4),
            )
        if not self.keeps or self._pasted != (pasted, places):
            self.map.write_text(map_file(self.frontends))
            self.backends.write_text(places)
        self._pasted = (pasted, places)
        if self.keeps:
            read.append(self.backends)
        else:
            pasted += f"\n{places}"
        main.write_text((GLOBAL.format(socket=self.socket) + self._own + pasted).replace(*self.mistake))
        command = ["haproxy", "-db", *(word for each in read for word in ("-f", str(each)))]
        if self.processes and self.processes[-1].poll() is None:
            command += ["-x", str(self.socket), "-sf", str(self.processes[-1].pid)]
        self.processes.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        deadline = time.monotonic() + READY_SECONDS
        while f"Pid: {self.processes[-1].pid}\n" not in self._told():
            assert self.processes[-1].poll() is None, "HAProxy does not take the snippet"
            assert time.monotonic() < deadline, "HAProxy does not start"
            time.sleep(0.01)

    def _told(self) -> str:
        with socket.socket(socket.AF_UNIX) as asked:
            asked.settimeout(2.0)
            try:
                asked.connect(str(self.socket))
                asked.sendall(b"show info\n")
                return asked.recv(65536).decode()
            except OSError:
                return ""

    def kill(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()


class ObligingBalancer(RuntimeBalancer):
    """repave's own, with operators who paste the frontends as soon as they are asked for."""

    operators: Sequence[OperatorsHaproxy] = ()

    async def arrange(self, structure: Structure) -> None:
        known = self._wanted.structure.frontends
        kept = [each for each in known if structure.frontend(each.application) is None]
        with suppress(UnfitError):  # no operator pastes that
            check_structure(structure, self.takes)
            for operator in self.operators:
                operator.serves((*structure.frontends, *_yet_to_open(structure), *kept))
        await super().arrange(structure)


def _yet_to_open(structure: Structure) -> tuple[Frontend, ...]:
    """Fronts that a group has, and not all that have traffic: their pools are there before they open."""
    backends = {application_of(each.group): each for each in structure.backends if each.fronts}
    return tuple(
        Frontend(application, each.fronts[0].port, fronts=each.fronts)
        for application, each in backends.items()
        if structure.frontend(application) is None
    )
