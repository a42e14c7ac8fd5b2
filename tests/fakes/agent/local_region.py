"""A region of the local provider for tests: its folder, its package of small scripts, its providers."""

import shutil
from pathlib import Path

import pytest

from repave_agent.clock import SystemClock
from repave_agent.core.ports import (
    Host,
    HostSpec,
)
from repave_agent.providers.command import Isolation, choose_sandbox
from repave_agent.providers.local import processes
from repave_agent.providers.local.host import Folder
from repave_agent.providers.local.processes import Session
from repave_agent.providers.local.provider import ADDRESS_RANGE, LocalProvider
from repave_protos.package.archive import pack
from repave_protos.protocol.values import ApplicationName, Digest, GroupName, HostName, RegionName
from tests.fakes.templates import a_template
from tests.fakes.waiting import until_async

PORT = 18_432
NAME = HostName("shop-v001-1")
SCRIPTS = {
    "serve": "#!/bin/sh\nexec sleep 600\n",
    "crash": "#!/bin/sh\necho starting; echo 'OSError: Address already in use' >&2; exit 3\n",
    "stubborn": "#!/bin/sh\ntrap '' TERM\necho ready\nwhile :; do sleep 600; done\n",
    "graceful": "#!/bin/sh\ntrap 'echo bye; exit 0' TERM\necho ready\nwhile :; do sleep 0.02; done\n",
    "change": "#!/bin/sh\nwhile ! [ -e go ]; do sleep 0.02; done\nexec sleep 600\n",
    "parent": "#!/bin/sh\nsleep 600 &\necho child $!\nwait\n",
    "leaver": "#!/bin/sh\nsleep 600 &\nexit 0\n",
    "try-to-write": "#!/bin/sh\n"
    "for place in ./x /usr/x /etc/x /tmp/repave-tried; do\n"
    "touch $place 2>/dev/null && echo wrote $place\ndone\n"
    "mount -o remount,rw / 2>/dev/null && echo remounted\necho done\n",
    "no-interpreter": "#!/no/such/interpreter\n",
    "not-executable": "#!/bin/sh\n",
}


def pack_scripts(directory: Path) -> Path:
    """A package with all SCRIPTS and a program, `napper`; below `directory`."""
    top = directory / "shop"
    top.mkdir()
    for name, text in SCRIPTS.items():
        (top / name).write_text(text)
        (top / name).chmod(0o644 if name == "not-executable" else 0o755)
    shutil.copy("/bin/sleep", top / "napper")
    pack(top, directory / "shop.tar.gz")
    return directory / "shop.tar.gz"


def bubblewrap_or_skip(directory: Path) -> None:
    sandbox, _ = choose_sandbox("auto", directory)
    if sandbox is None:
        pytest.skip("bubblewrap does not work on this machine")


class Region:
    """A region's folder on disk and the providers that come and go over it.

    Files of tests run at the same time, and name their regions differently: a host's processes are known by
    names and its address.
    """

    def __init__(
        self,
        root: Path,
        package: Path,
        isolation: Isolation,
        name: str = "here",
        addresses: str = ADDRESS_RANGE,
        has_networks: bool = False,
    ) -> None:
        self.root, self.package, self.isolation = root, package, isolation
        self.addresses, self.has_networks = addresses, has_networks
        self.name = RegionName(name)
        self.hosts = root / "hosts"
        self.providers: list[LocalProvider] = []
        self.provider = self.restart()

    def restart(self) -> LocalProvider:
        self.provider = LocalProvider(
            self.root,
            self.name,
            lambda: "ours",
            clock=SystemClock(),
            address_range=self.addresses,
            has_networks=self.has_networks,
            isolation=self.isolation,
            stop_grace_seconds=0.3,
        )
        self.providers.append(self.provider)
        return self.provider

    async def launch(self, *run: str, name: str = NAME, **environment: str) -> Host:
        return await self.provider.launch(spec(*run, name=name, **environment), self.package)

    async def listed(self, name: str = NAME) -> Host:
        return {host.name: host for host in await self.provider.list_hosts()}[HostName(name)]

    async def ended(self, name: str = NAME) -> Host:
        async def has_ended() -> bool:
            return not (await self.listed(name)).is_running

        await until_async(has_ended)
        return await self.listed(name)

    def members(self, name: str = NAME) -> list[int]:
        """The living processes of a host."""
        folder = Folder(self.hosts / name)
        record = folder.record()
        assert record is not None
        return record.traces(folder).members()

    async def says(self, words: str, name: str = NAME) -> str:
        async def has_said() -> bool:
            return words in await self.provider.log_tail(HostName(name), 100)

        await until_async(has_said)
        return await self.provider.log_tail(HostName(name), 100)

    def session(self, name: str = NAME) -> Session:
        session = Folder(self.hosts / name).session()
        assert session is not None
        return session

    async def close(self) -> None:
        for host in await self.provider.list_hosts():
            await self.provider.destroy(host.name)
        for provider in self.providers:
            await provider.close()


def spec(*run: str, name: str = NAME, **environment: str) -> HostSpec:
    group, application = GroupName("shop-v001"), ApplicationName("shop")
    variables = tuple(environment.items())
    return HostSpec(HostName(name), group, application, Digest("d" * 64), a_template(run, variables, PORT))


def is_living(pid: int) -> bool:
    return processes.is_alive(processes.identify(pid))
