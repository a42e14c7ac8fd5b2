"""Servers of an OpenStack project as machines. Nova has no idempotency key and takes a name twice.

Tags have no room for every name: one tag says whose a server is, and its metadata says the rest.

How the cloud is spoken with: clients/openstack; what a server does at its first boot: user_data.py.
"""

import asyncio
import contextlib
import functools
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

from repave_agent.clients.faults import GoneError
from repave_agent.clients.openstack.api import Api
from repave_agent.core.ports import HostSpec, MisfitError, OutOfCapacityError, ProviderError, RefusedError
from repave_agent.packages.server import Depot
from repave_agent.providers.cloud.first_boot import ANY_IPV4, ANY_IPV6, ON_SERVER, user_data
from repave_agent.providers.cloud.machine import Machine, Marks, State, owner_of
from repave_agent.providers.cloud.oven import Oven
from repave_agent.providers.command import environment_of, substitute
from repave_agent.providers.openstack.flavors import Flavors
from repave_agent.providers.openstack.floating import FLOATS, Floating
from repave_agent.providers.openstack.lookup import on_volume, server_of
from repave_agent.providers.openstack.names import Names
from repave_agent.providers.openstack.options import OpenstackOptions
from repave_agent.providers.openstack.ports import BORROWED, Ports
from repave_agent.providers.openstack.spread import HINTS, Spread
from repave_agent.providers.openstack.volumes import Volumes
from repave_protos.protocol.values import GroupName, RegionName

log = structlog.get_logger()

RUNNING = ("ACTIVE", "PASSWORD", "VERIFY_RESIZE", "MIGRATING", "REBUILD", "REBOOT", "HARD_REBOOT", "UNKNOWN")
"""UNKNOWN: its hypervisor does not answer Nova now; a server may well serve, and its health tells."""
GONE = ("DELETED", "SOFT_DELETED")
FULL = ("no valid host", "quota", "no more ip addresses", "exceeded")


class Servers:
    """Implements MachineCloud. `installation` is asked again at every call."""

    noun = "server"

    def __init__(
        self,
        region: RegionName,
        installation: Callable[[], str],
        api: Api,
        options: OpenstackOptions,
        names: Names,
        depot: Depot,
        oven: Oven,
        flavors: Flavors,
    ) -> None:
        self._region, self._installation = region, installation
        self._api, self._options, self._names, self._depot, self._oven = api, options, names, depot, oven
        self.flavors = flavors
        self._spread = Spread(api, self.tag)
        self._ports = Ports(api, self._borrowed)
        self._floating = Floating(api, self.tag)
        self._volumes = Volumes(api)
        self._sweeping = asyncio.Lock()
        self._sweeps_asked = self._sweeps_done = 0
        self._seen: dict[str, Machine] = {}  # in the last listing
        self._next_zone = 0

    @property
    def network(self) -> str:
        return self._options.all_networks[0] if self._options.all_networks else "of openstack.ports"

    def tag(self) -> str:
        return tag_of(self._installation(), self._region)

    # -------------------------------------------------------------------------------------------- make

    async def create(self, spec: HostSpec, package: Path) -> str:
        base = (await self._names.base(spec.template.machine_image)).image
        async with self._ports.one_of(self._names.known().ports) as port:
            make = functools.partial(self._first_with_room, spec, package, port)
            return await self._oven.from_image(spec.digest, base, make)

    async def _first_with_room(self, spec: HostSpec, package: Path, port: str, image: str) -> str:
        """Of the flavors that it may have. One that is gone is no matter as long as there is another."""
        failures: list[OutOfCapacityError | MisfitError] = []
        for flavor in self.flavors.in_turn(spec.template.machine_sizes):
            try:
                return await self._create(spec, package, port, image, flavor)
            except (OutOfCapacityError, MisfitError) as error:
                log.warning("host.no_room", host=spec.name, flavor=flavor, because=str(error))
                failures.append(error)
        if len(failures) == 1:
            raise failures[0]
        kind = next(
            (OutOfCapacityError for each in failures if isinstance(each, OutOfCapacityError)), MisfitError
        )
        raise kind("; ".join(str(each) for each in failures))

    async def _create(self, spec: HostSpec, package: Path, port: str, image: str, flavor: str) -> str:
        server = await self._server(spec, package, port, image, flavor)
        group = await self._spread.hints(spec.group) if self._spreads else {}
        try:
            return await self._post(server, group)
        except (OutOfCapacityError, RefusedError, GoneError) as error:
            if group and self._spread.is_to_blame(spec.group, error):
                group = {}
            elif isinstance(error, OutOfCapacityError) or not await self._names.look_anew():
                raise
            else:
                base = await self._names.base(spec.template.machine_image)
                server = await self._server(spec, package, port, base.image, flavor)
        return await self._post(server, group)

    @property
    def _spreads(self) -> bool:
        """Where the operator names a server group, that one counts."""
        return self._options.spreads and "group" not in self._options.hints

    async def _post(self, server: dict[str, Any], group: dict[str, str]) -> str:
        hints = {**self._names.known().hints, **group}
        body = {"server": server, **({HINTS: hints} if hints else {})}
        return str((await self._api.call("compute", "POST", "/servers", body))["server"]["id"])

    async def _server(
        self, spec: HostSpec, package: Path, port: str, image: str, flavor: str
    ) -> dict[str, Any]:
        options, found = self._options, replace(await self._names.base("", flavor), image=image)
        environment = environment_of(spec, ON_SERVER, self._region)
        words = substitute(spec.template.run, environment)
        url = self._depot.offer(spec.digest, package)
        listen = ANY_IPV4 if self._has_ipv4 else ANY_IPV6
        script = user_data(
            spec.name, spec.digest, url, words, environment, options.prepare, spec.released_at, listen
        )
        marks = Marks.of(spec, self._installation(), self._region).written()
        marks |= {BORROWED: port} if port else {}
        marks |= {FLOATS: "1"} if found.pool else {}
        server = {**server_of(options, found, script, marks, port), **on_volume(options, found)}
        server |= {"name": spec.name, "tags": [self.tag()]}
        if options.availability_zones:
            zones = options.availability_zones
            server["availability_zone"] = zones[self._next_zone % len(zones)]
            self._next_zone += 1
        return server

    # -------------------------------------------------------------------------------------------- see

    async def machines(self) -> list[Machine]:
        if not self._installation():
            return []
        servers = [each for each in await self._rows() if each["status"] not in GONE]
        self._seen = {str(each["id"]): self._machine(each) for each in servers}
        for each in servers:
            if self._seen[str(each["id"])].is_full:
                self.flavors.fill(str(each.get("flavor", {}).get("original_name", "")))
        return list(self._seen.values())

    async def _rows(self) -> list[dict[str, Any]]:
        listed = await self._api.list_all("compute", "/servers/detail", "servers", tags=self.tag())
        return [each for each in listed if self._is_ours(each)]

    async def _borrowed(self) -> set[str]:
        """Ports that servers were asked for with."""
        return {str(each["metadata"].get(BORROWED, "")) for each in await self._rows()}

    def _is_ours(self, server: dict[str, Any]) -> bool:
        known = server.get("metadata") or {}
        return (
            known.get("repave_installation") == self._installation()
            and known.get("repave_region") == self._region
        )

    def _machine(self, server: dict[str, Any]) -> Machine:
        fault = (server.get("fault") or {}).get("message", "")
        state = _state(server)
        ended = f"is {server['status']}{f': {fault}' if fault else ''}" if state is State.ENDED else ""
        return Machine(
            str(server["id"]),
            Marks.read(server["metadata"]),
            state,
            datetime.fromisoformat(server["created"]).timestamp(),
            self._address(server),
            ended,
            is_full=any(words in fault.lower() for words in FULL),
            volumes=tuple(
                str(each["id"])
                for each in server.get("os-extended-volumes:volumes_attached") or ()
                if each.get("delete_on_termination")
            ),
            borrowed=str(server["metadata"].get(BORROWED, "")),
            public_address=self._floating.address_of(str(server["id"])),
        )

    def _address(self, server: dict[str, Any]) -> str:
        """A fixed one in our network, else the first one: of IPv4 where the network has that, if possible."""
        networks = server.get("addresses") or {}
        name = self._names.found.network_name if self._names.found is not None else ""
        listed = networks.get(name) or [each for listed in networks.values() for each in listed]
        fixed = [each for each in listed if each.get("OS-EXT-IPS:type") != "floating"]
        wanted = [each for each in fixed if each["version"] == (4 if self._has_ipv4 else 6)]
        return next((str(each["addr"]) for each in (*wanted, *fixed)), "")

    @property
    def _has_ipv4(self) -> bool:
        return self._names.found is None or self._names.found.has_ipv4

    async def accept(self, machine: Machine) -> None:
        if (":" in machine.address) == self._has_ipv4:
            raise RefusedError(
                f"the server of {machine.marks.host} has only {machine.address}, and the network "
                f"{self.network} has subnets of IPv{4 if self._has_ipv4 else 6}, by "
                "which repave reaches hosts there: is one of them full?"
            )
        if machine.volumes:
            await self._volumes.mark(machine.volumes, self.tag())
        found = self._names.known()
        if found.pool:
            await self._floating.give(machine.id, machine.marks.host, found.pool, found.network)

    async def look(self, machine: str) -> None:
        await self._api.call("compute", "GET", f"/servers/{machine}")

    async def console(self, machine: str, lines: int) -> str:
        body = {"os-getConsoleOutput": {"length": lines}}
        try:
            answer = await self._api.call("compute", "POST", f"/servers/{machine}/action", body)
        except GoneError:
            return ""
        return str(answer.get("output", ""))

    # -------------------------------------------------------------------------------------------- end

    async def delete(self, machine: str) -> None:
        if machine in self._seen:
            self._volumes.owe(self._seen[machine].volumes)
        with contextlib.suppress(GoneError):
            await self._api.call("compute", "DELETE", f"/servers/{machine}")

    async def clear(self, machine: Machine) -> None:
        """Nova makes and removes ports; it leaves them when Neutron was away just then."""
        for port in await self._api.list_all("network", "/ports", "ports", device_id=machine.id):
            if port["id"] == machine.borrowed:
                await self._ports.give_back(port["id"])
            elif str(port["device_owner"]).startswith("compute:"):
                log.warning("port.left", server=machine.id, port=port["id"])
                with contextlib.suppress(GoneError):
                    await self._api.call("network", "DELETE", f"/ports/{port['id']}")
        self._spread.one_left(machine.marks.group)

    async def tidy(self, group: GroupName, launching: Callable[[], Iterable[GroupName]]) -> None:
        """Server groups go with their last host, if the cloud lets them; else after the next host."""
        await self.sweep()
        if not self._spreads:
            return
        try:
            machines = [each for each in await self.machines() if each.state is not State.LEAVING]
            there = {each.marks.group for each in machines}
            if group not in there:
                await self._spread.forget_all_but(lambda: {*there, *launching()})
        except ProviderError as error:
            log.warning("group.not_tidied", group=group, because=str(error))

    async def sweep(self) -> None:
        """Removes floating addresses and volumes that outlived their server, and gives an address to one that
        was to have it: the agent ended just then, or the address was removed. Tells the log what can't be.
        Callers that wait at the same time share one look."""
        self._sweeps_asked += 1
        asked = self._sweeps_asked
        async with self._sweeping:
            if self._sweeps_done < asked:
                done = self._sweeps_asked
                await self._sweep()
                self._sweeps_done = done

    async def _sweep(self) -> None:
        found, options = self._names.found, self._options
        if not self._installation() or found is None:
            return  # nothing is known of it yet
        try:
            if found.pool:
                await self._floating.sweep(self._by_id)
                for server, row in (await self._by_id()).items():
                    if _state(row) is State.RUNNING and FLOATS in row["metadata"]:
                        await self._floating.give(server, row["name"], found.pool, found.network)
            if options.volume_size:
                await self._volumes.sweep(self.tag())
        except ProviderError as error:
            log.warning("leftovers.not_removed", because=str(error))

    async def short_of(self, hosts: int) -> list[str]:
        """Ports and volumes that so many more hosts lack. Raises ProviderError."""
        ports = self._names.known().ports
        lacks = []
        if ports and (free := len(await self._ports.free(ports))) < hosts:
            lacks.append(f"ports: {len(ports) - free} of {len(ports)} are used, {hosts} more are needed")
        if size := self._options.volume_size:
            lacks += await self._volumes.short_of(hosts, size)
        return lacks

    async def _by_id(self) -> dict[str, dict[str, Any]]:
        return {str(each["id"]): each for each in await self._rows()}


def tag_of(installation: str, region: RegionName) -> str:
    """One for all that is ours."""
    return f"repave-{owner_of(installation, region)}"


def _state(server: dict[str, Any]) -> State:
    if server.get("OS-EXT-STS:task_state") == "deleting":
        return State.LEAVING
    if server["status"] == "BUILD":
        return State.BUILDING
    return State.RUNNING if server["status"] in RUNNING else State.ENDED
