"""A provider without processes: hosts are entries in a `FakeCloud`, which outlives its providers.

Its hosts know five programs: `true`, `false`, `sleep`, `echo` and `serve` (anything else is not installed).
Tests steer it: `refuse_next`, `end`, `gate`.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from repave_agent.core.host_secrets import HostSecrets
from repave_agent.core.ports import (
    Host,
    HostSpec,
    MisfitError,
    OutOfCapacityError,
    ProviderError,
    RefusedError,
    TransientError,
)
from repave_protos.protocol.queries import FindRoom
from repave_protos.protocol.values import HostName

PROGRAMS = ("true", "false", "sleep", "echo", "serve")


@dataclass
class FakeCloud:
    """Hosts by name, each with the tags of its owner."""

    hosts: dict[HostName, tuple[str, Host]] = field(default_factory=dict)
    logs: dict[HostName, str] = field(default_factory=dict)
    changes: dict[HostName, str] = field(default_factory=dict)  # what somebody did to a host
    addresses_given: int = 0
    capacity: int = 1_000_000
    sizes: tuple[str, ...] = ()


class FakeProvider:
    """Implements ports.Provider. `refuse_next` is raised by the launches to come, first one first."""

    name = "fake"

    def __init__(self, cloud: FakeCloud | None = None, owner: str = "installation/region") -> None:
        self.cloud = cloud or FakeCloud()
        self.owner = owner
        self.launched: list[HostName] = []
        self.destroyed: list[HostName] = []
        self.refuse_next: list[ProviderError] = []
        self.gate = asyncio.Event()  # launches wait for it; cleared by tests that want them in flight
        self.gate.set()
        self._callbacks: list[Callable[[], None]] = []

    async def launch(self, spec: HostSpec, package: Path, secrets: HostSecrets = ()) -> Host:
        await self.gate.wait()
        if spec.name in self.cloud.hosts:
            return self.cloud.hosts[spec.name][1]
        if self.refuse_next:
            raise self.refuse_next.pop(0)
        if spec.template.run[0] not in PROGRAMS:
            raise RefusedError(f"the command {spec.template.run[0]!r} is not there")
        if len(self.cloud.hosts) >= self.cloud.capacity:
            raise OutOfCapacityError(f"all {self.cloud.capacity} hosts are taken")
        if not package.is_file():
            raise TransientError(f"the package {package} is not there")
        return self._make(spec)

    def _make(self, spec: HostSpec) -> Host:
        self.cloud.addresses_given += 1
        high, low = divmod(self.cloud.addresses_given, 256)
        address = f"127.90.{high}.{low}"
        host = Host(
            spec.name, spec.group, spec.application, spec.digest, address, spec.port, 1_000.0, is_running=True
        )
        self.cloud.hosts[spec.name] = (self.owner, host)
        run = spec.template.run
        self.cloud.logs[spec.name] = " ".join(run[1:]) + "\n" if run[0] == "echo" else ""
        self.launched.append(spec.name)
        if run[0] in ("true", "false", "echo"):
            self.end(spec.name, f"exited with code {int(run[0] == 'false')}")
        return self.cloud.hosts[spec.name][1]

    async def room(self, asked: FindRoom) -> str:
        for size in asked.machine_sizes:
            if size not in self.cloud.sizes:
                there = ", ".join(self.cloud.sizes)
                raise MisfitError(f"host.size: there is no {size}; there are: {there}")
        free = self.cloud.capacity - len(self.cloud.hosts)
        return "" if asked.hosts <= free else f"hosts: room for {free}, {asked.hosts} more are needed"

    def end(self, name: HostName, how: str = "exited with code 1") -> None:
        """The host ends by itself."""
        owner, host = self.cloud.hosts[name]
        self.cloud.hosts[name] = (owner, replace(host, is_running=False, ended=how))
        for callback in self._callbacks:
            callback()

    async def list_hosts(self) -> list[Host]:
        return [host for owner, host in self.cloud.hosts.values() if owner == self.owner]

    async def destroy(self, host: HostName) -> None:
        owner, _ = self.cloud.hosts.get(host, ("", None))
        if owner == self.owner:
            del self.cloud.hosts[host]
            self.destroyed.append(host)

    async def execute(self, host: HostName, command: tuple[str, ...], timeout_seconds: float) -> int:
        owner, known = self.cloud.hosts.get(host, ("", None))
        if owner != self.owner or known is None or not known.is_running:
            raise TransientError(f"host {host} does not run")
        if command[0] not in PROGRAMS:
            raise RefusedError(f"the command {command[0]!r} is not there")
        if command[0] in ("sleep", "serve"):
            await asyncio.sleep(timeout_seconds)
            raise TimeoutError
        return int(command[0] == "false")

    async def log_tail(self, host: HostName, lines: int) -> str:
        return "\n".join(self.cloud.logs.get(host, "").splitlines()[-lines:]) if lines > 0 else ""

    async def inspect(self, host: HostName) -> str:
        if host not in self.cloud.hosts:
            raise TransientError(f"host {host} does not run")
        return self.cloud.changes.get(host, "")

    def on_change(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    async def close(self) -> None:
        self._callbacks.clear()
