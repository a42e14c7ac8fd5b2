"""The provider whose hosts are servers of an OpenStack project.

Which cloud: login.py; how it is spoken with: api.py; what a server does at its first
boot: user_data.py. Nova has no idempotency key and takes a name twice: a server is found again by
its tag and name, the oldest of a name counts and the others go. One listing is shared by all who wait.
"""

import asyncio
import contextlib
import functools
import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

from repave_agent.clients.openstack.api import Api, GoneError, LostError
from repave_agent.core.ports import (
    HOST_NAME,
    Clock,
    Host,
    HostSpec,
    OutOfCapacityError,
    ProviderError,
    RefusedError,
    TransientError,
)
from repave_agent.packages.inspection import Inspector
from repave_agent.packages.server import Depot
from repave_agent.providers.command import environment_of, substitute
from repave_agent.providers.openstack.bake import Oven
from repave_agent.providers.openstack.lookup import Found, look_up, look_up_image, remade, server_of
from repave_agent.providers.openstack.options import OpenstackOptions
from repave_agent.providers.openstack.spread import Spread
from repave_agent.providers.openstack.user_data import ANY_IPV4, ANY_IPV6, ON_SERVER, user_data
from repave_agent.providers.single_flight import Work
from repave_protos.protocol.queries import BakedImage, BakeOrder
from repave_protos.protocol.values import ApplicationName, Digest, GroupName, HostName, RegionName

log = structlog.get_logger()

LOOK_SECONDS, LOOK_SECONDS_MAX = 1.0, 5.0
LOST_SECONDS = 20.0
"""For so long a server is looked for whose creation was never answered."""
BUILD_SECONDS = 1200.0
ADDRESS_SECONDS = 60.0
"""A server that is ACTIVE gets its address within moments, or not at all."""
REMADE_SECONDS = 3600.0
"""So long it is told that something was made anew under its name."""
LOOK_UP_SECONDS = 60.0
"""From one look whether what the settings name is there to the next."""
SERVICES = {
    "compute": ("Nova", "/servers"),
    "image": ("Glance", "/images"),
    "network": ("Neutron", "/networks"),
}
SERVICE_SECONDS = 8.0
DESTROY_SECONDS = 300.0
MISSES_MAX = 5
"""So many listings may leave a server out until it is asked for by its id."""
RUNNING = ("ACTIVE", "PASSWORD", "VERIFY_RESIZE", "MIGRATING", "UNKNOWN")
"""UNKNOWN: its hypervisor does not answer Nova now; a server may well serve, and its health tells."""
BUILDING = ("BUILD", "REBUILD", "REBOOT", "HARD_REBOOT")
FULL = ("no valid host", "quota", "no more ip addresses", "exceeded")
QUOTAS = {"Instances": "instances", "Cores": "cores", "RAMSize": "MiB of RAM"}
HALF_MADE = "is still being built: the agent ended while it made this host"


class OpenstackProvider:
    """Implements ports.Provider. `installation` is asked again at every call."""

    name = "openstack"

    def __init__(
        self,
        region: RegionName,
        installation: Callable[[], str],
        api: Api,
        options: OpenstackOptions,
        depot: Depot,
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._region, self._installation = region, installation
        self._api, self._options, self._depot = api, options, depot
        self._found: Found | None = None
        self._images: dict[str, str] = {}  # those that specs name, to their ids
        self._remade: dict[str, float] = {}  # what was made anew under its name, and when that was seen
        self._looked_at = float("-inf")
        self._launches, self._destructions = Work(), Work()
        self._inspector = Inspector()
        self._listing: asyncio.Task[list[dict[str, Any]]] | None = None
        self._spread = Spread(api, self._tag)
        self._oven = Oven(api, options, depot, self._tag, clock)
        self._launching: dict[HostName, GroupName] = {}
        self._next_zone = 0

    async def start(self) -> str:
        """Looks whether the cloud has what the settings name. Raises ProviderError with all that is wrong."""
        await self._depot.start()
        if self._found is None:
            self._found = await look_up(self._api, self._options)
            await self._oven.tidy()
        return f"servers of project {self._api.project_id}"

    def on_change(self, callback: Callable[[], None]) -> None:
        """Servers don't tell; the listing does."""

    async def close(self) -> None:
        await self._launches.settle()
        await self._destructions.settle()
        await self._depot.close()
        await self._api.close()

    # -------------------------------------------------------------------------------------------- launch

    async def launch(self, spec: HostSpec, package: Path) -> Host:
        if HOST_NAME.fullmatch(spec.name) is None:
            raise RefusedError(f"{spec.name!r} cannot name a host: use letters, digits, '.', '_', '-'")
        await self._destructions.settle(spec.name)
        host = await self._launches.join(spec.name, functools.partial(self._launch, spec, package))
        assert host is not None
        return host

    async def _launch(self, spec: HostSpec, package: Path) -> Host:
        if not self._installation():
            raise TransientError("no host is made before the agent has met its controller for the first time")
        await self._inspector.check(spec.digest, package)
        await self.start()
        self._launching[spec.name] = spec.group
        try:
            return await self._create_and_wait(spec, package)
        except (ProviderError, asyncio.CancelledError):
            del self._launching[spec.name]
            await self._tidy(spec.group)
            raise
        finally:
            self._launching.pop(spec.name, None)

    async def _create_and_wait(self, spec: HostSpec, package: Path) -> Host:
        server = await self._server_of(spec.name)
        if server is None:
            server = await self._create(spec, package)
        try:
            ready = await self._wait_until_active(spec.name, str(server["id"]))
        except (ProviderError, asyncio.CancelledError):
            await self._try_to_delete(spec.name, str(server["id"]))
            raise
        log.info("host.launched", group=spec.group, host=spec.name, server=server["id"])
        return self._host(ready)

    async def _create(self, spec: HostSpec, package: Path) -> dict[str, Any]:
        server = {"server": await self._server(spec, package)}
        hints = await self._spread.hints(spec.group) if self._options.spreads else {}
        try:
            return await self._post(spec.name, {**server, **hints})
        except (OutOfCapacityError, RefusedError, GoneError) as error:
            if hints and self._spread.is_to_blame(spec.group, error):
                hints = {}
            elif isinstance(error, OutOfCapacityError) or not await self._looks_up_anew():
                raise
            else:
                server = {"server": await self._server(spec, package)}
        return await self._post(spec.name, {**server, **hints})

    async def _looks_up_anew(self) -> bool:
        """Whether what the settings or a spec name has another id than before: it was made anew under its
        name. Raises RefusedError with what is gone."""
        known, images = self._found, dict(self._images)
        self._found = await look_up(self._api, self._options)
        for name in images:
            try:
                self._images[name] = await look_up_image(self._api, name)
            except RefusedError:
                del self._images[name]  # whose spec names it is told by its launch
        told = remade(known, self._found, self._options)
        told += [f"host.image: {name}" for name, found in self._images.items() if images[name] != found]
        for each in told:
            log.warning("openstack.remade", what=each)
            self._remade[each] = self._clock.monotonic()
        return bool(told) or len(self._images) < len(images)

    async def _post(self, name: HostName, body: dict[str, Any]) -> dict[str, Any]:
        try:
            return dict((await self._api.call("compute", "POST", "/servers", body))["server"])
        except LostError as lost:
            return await self._find_again(name, lost)

    async def _find_again(self, name: HostName, lost: LostError) -> dict[str, Any]:
        """The server whose creation was not answered, if it was made after all."""
        deadline = self._clock.monotonic() + LOST_SECONDS
        while self._clock.monotonic() < deadline:
            server = await self._server_of(name)
            if server is not None:
                return server
            await self._clock.sleep(LOOK_SECONDS)
        raise lost

    async def _server(self, spec: HostSpec, package: Path) -> dict[str, Any]:
        options, found = self._options, await self._base(spec.template.machine_image)
        environment = environment_of(spec, ON_SERVER, self._region)
        words = substitute(spec.template.run, environment)
        url = self._depot.offer(spec.digest, package)
        listen = ANY_IPV4 if self._has_ipv4 else ANY_IPV6
        script = user_data(
            spec.name, spec.digest, url, words, environment, options.prepare, spec.released_at, listen
        )
        server = server_of(options, found, script, self._metadata(spec))
        server |= {"name": spec.name, "tags": [self._tag()]}
        if baked := await self._oven.image_for(spec.digest, found):
            server["imageRef"] = baked
        if options.availability_zones:
            zones = options.availability_zones
            server["availability_zone"] = zones[self._next_zone % len(zones)]
            self._next_zone += 1
        return server

    async def _base(self, image: str) -> Found:
        """What the settings name, with the image that the spec names instead, if it does."""
        assert self._found is not None, "the provider was started"
        if not image:
            return self._found
        if image not in self._images:
            self._images[image] = await look_up_image(self._api, image)
        return replace(self._found, image=self._images[image])

    async def _wait_until_active(self, name: HostName, server_id: str) -> dict[str, Any]:
        """Waits until it is ACTIVE with an address. Raises ProviderError when it will never be."""
        deadline, pause, misses = self._clock.monotonic() + BUILD_SECONDS, LOOK_SECONDS, 0
        active_at = float("inf")
        while self._clock.monotonic() < deadline:
            try:
                server = next((each for each in await self._servers() if each["id"] == server_id), None)
                misses = misses + 1 if server is None else 0
                if misses == MISSES_MAX:
                    await self._api.call("compute", "GET", f"/servers/{server_id}")
                    misses = 0
            except GoneError as gone:
                raise TransientError(f"the server of {name} was deleted, and not by repave") from gone
            except TransientError:
                server = None  # the cloud does not answer now; the server is built all the same
            status = server["status"] if server is not None else "BUILD"
            if server is not None and status in RUNNING:
                if address := self._address(server):
                    if (":" in address) == self._has_ipv4:
                        raise RefusedError(
                            f"the server of {name} has only {address}, and the network "
                            f"{self._options.network} has subnets of IPv{4 if self._has_ipv4 else 6}, by "
                            "which repave reaches hosts there: is one of them full?"
                        )
                    return server
                active_at = min(active_at, self._clock.monotonic())
                if self._clock.monotonic() >= active_at + ADDRESS_SECONDS:
                    raise TransientError(
                        f"the server of {name} is {status} and has no address for {ADDRESS_SECONDS:g} s: has "
                        f"the network {self._options.network} a subnet with free addresses?"
                    )
            if status not in (*RUNNING, *BUILDING):
                raise _failure(name, server or {})
            await self._clock.sleep(pause)
            pause = min(pause * 1.3, LOOK_SECONDS_MAX)
        raise TransientError(f"{name} is not ACTIVE after {BUILD_SECONDS:g} s")

    # -------------------------------------------------------------------------------------------- list

    async def list_hosts(self) -> list[Host]:
        if not self._installation():
            return []
        servers = await self._oldest()
        return [self._host(server) for name, server in servers.items() if name not in self._launches.tasks]

    async def _oldest(self) -> dict[HostName, dict[str, Any]]:
        """Our servers by host; of two with one name the older one, and the other goes."""
        chosen: dict[HostName, dict[str, Any]] = {}
        for server in sorted(await self._servers(), key=lambda each: (each["created"], each["id"])):
            name = HostName(server["metadata"]["repave_host"])
            if name in chosen:
                log.warning("host.twice", host=name, server=server["id"])
                await self._try_to_delete(name, str(server["id"]))
            else:
                chosen[name] = server
        return chosen

    async def _server_of(self, host: HostName) -> dict[str, Any] | None:
        return (await self._oldest()).get(host)

    async def _servers(self) -> list[dict[str, Any]]:
        """Our servers, without those that are just being deleted. Strangers are not among them."""
        return [each for each in await self._everything() if not _is_leaving(each)]

    async def _everything(self) -> list[dict[str, Any]]:
        """All that is ours: one listing for all who ask at the same time."""
        if self._listing is None or self._listing.done():
            self._listing = asyncio.create_task(self._list(), name="list servers")
        return await asyncio.shield(self._listing)

    async def _list(self) -> list[dict[str, Any]]:
        servers = await self._api.list_all("compute", "/servers/detail", "servers", tags=self._tag())
        return [each for each in servers if self._is_ours(each)]

    def _is_ours(self, server: dict[str, Any]) -> bool:
        known = server.get("metadata") or {}
        return (
            known.get("repave_installation") == self._installation()
            and known.get("repave_region") == self._region
        )

    def _host(self, server: dict[str, Any]) -> Host:
        known, launched_at = server["metadata"], _instant(server["created"])
        ended = _how_it_ended(server)
        return Host(
            name=HostName(known["repave_host"]),
            group=GroupName(known["repave_group"]),
            application=ApplicationName(known["repave_application"]),
            digest=Digest(known["repave_digest"]),
            address=self._address(server),
            port=int(known["repave_port"]),
            launched_at=launched_at,
            is_running=not ended,
            ended=ended,
            age_seconds=max(0.0, self._clock.wall() - launched_at),
        )

    def _address(self, server: dict[str, Any]) -> str:
        """A fixed one in our network, else the first one: of IPv4 where the network has that, if possible."""
        networks = server.get("addresses") or {}
        name = self._found.network_name if self._found is not None else ""
        listed = networks.get(name) or [each for listed in networks.values() for each in listed]
        fixed = [each for each in listed if each.get("OS-EXT-IPS:type") != "floating"]
        wanted = [each for each in fixed if each["version"] == (4 if self._has_ipv4 else 6)]
        return next((str(each["addr"]) for each in (*wanted, *fixed)), "")

    @property
    def _has_ipv4(self) -> bool:
        return self._found is None or self._found.has_ipv4

    # -------------------------------------------------------------------------------------------- destroy

    async def destroy(self, host: HostName) -> None:
        await self._launches.settle(host)
        if self._installation():
            await self._destructions.join(host, functools.partial(self._destroy, host))

    async def _destroy(self, host: HostName) -> None:
        servers = [each for each in await self._everything() if each["metadata"]["repave_host"] == host]
        for server in servers:
            await self._delete(str(server["id"]))
        for server in servers:
            await self._wait_until_gone(host, str(server["id"]))
            await self._delete_ports(str(server["id"]))
            self._spread.one_left(GroupName(server["metadata"]["repave_group"]))
            log.info("host.destroyed", group=server["metadata"]["repave_group"], host=host)
        for group in {GroupName(each["metadata"]["repave_group"]) for each in servers}:
            await self._tidy(group)

    async def _delete(self, server_id: str) -> None:
        try:
            await self._api.call("compute", "DELETE", f"/servers/{server_id}")
        except GoneError:
            pass

    async def _try_to_delete(self, host: HostName, server_id: str) -> None:
        """For where another error is raised: a server that stays is found by the next listing."""
        try:
            await self._delete(server_id)
        except ProviderError as error:
            log.warning("host.not_deleted", host=host, server=server_id, because=str(error))

    async def _wait_until_gone(self, host: HostName, server_id: str) -> None:
        deadline, pause = self._clock.monotonic() + DESTROY_SECONDS, LOOK_SECONDS
        while self._clock.monotonic() < deadline:
            try:
                everything = await self._everything()
            except TransientError:
                everything = [{"id": server_id, "status": "UNKNOWN"}]
            server = next((each for each in everything if each["id"] == server_id), None)
            if server is None or server["status"] in ("DELETED", "SOFT_DELETED"):
                return
            if server["status"] == "ERROR" and not server.get("OS-EXT-STS:task_state"):
                await self._delete(server_id)
            await self._clock.sleep(pause)
            pause = min(pause * 1.3, LOOK_SECONDS_MAX)
        raise TransientError(f"the server of {host} is still there {DESTROY_SECONDS:g} s after its deletion")

    async def _delete_ports(self, server_id: str) -> None:
        """Nova makes and removes them; it leaves them when Neutron was away just then."""
        for port in await self._api.list_all("network", "/ports", "ports", device_id=server_id):
            if str(port["device_owner"]).startswith("compute:"):
                log.warning("port.left", server=server_id, port=port["id"])
                with contextlib.suppress(GoneError):
                    await self._api.call("network", "DELETE", f"/ports/{port['id']}")

    async def _tidy(self, group: GroupName) -> None:
        """Server groups go with their last host, if the cloud lets them; else after the next host."""
        if not self._options.spreads:
            return
        try:
            servers = await self._servers()
            if any(each["metadata"]["repave_group"] == group for each in servers):
                return
            there = {GroupName(each["metadata"]["repave_group"]) for each in servers}
            await self._spread.forget_all_but(lambda: {*there, *self._launching.values()})
        except ProviderError as error:
            log.warning("group.not_tidied", group=group, because=str(error))

    # -------------------------------------------------------------------------------------------- ask

    async def execute(self, host: HostName, command: tuple[str, ...], timeout_seconds: float) -> int:
        raise RefusedError(
            "health.command: nothing can be run inside servers of OpenStack: use health.http or health.tcp"
        )

    async def log_tail(self, host: HostName, lines: int) -> str:
        server = await self._server_of(host) if lines > 0 else None
        if server is None:
            return ""
        body = {"os-getConsoleOutput": {"length": lines}}
        try:
            answer = await self._api.call("compute", "POST", f"/servers/{server['id']}/action", body)
        except GoneError:
            return ""
        return "\n".join(str(answer.get("output", "")).splitlines()[-lines:])[-16_384:]

    async def inspect(self, host: HostName) -> str:
        """What a server's files are can't be seen from outside."""
        if await self._server_of(host) is None:
            raise TransientError(f"host {host} does not run: it can't be looked at")
        return ""

    async def troubles(self) -> list[str]:
        """Services that do not answer, what the settings name and is gone, and what was made anew."""
        asked = [self._api.greet_identity(), *(self._ask_service(service) for service in SERVICES)]
        lines = [line for line in await asyncio.gather(*asked) if line]
        now = self._clock.monotonic()
        if not lines and now >= self._looked_at + LOOK_UP_SECONDS:
            self._looked_at = now
            await self._looks_up_anew()
        self._remade = {each: at for each, at in self._remade.items() if now < at + REMADE_SECONDS}
        return lines + [
            f"note: {each} was made anew under its name: hosts made from now on have the new one"
            for each in self._remade
        ]

    async def _ask_service(self, service: str) -> str:
        """Why it is no use; "" when it answers."""
        name, path = SERVICES[service]
        try:
            async with asyncio.timeout(SERVICE_SECONDS):
                await self._api.call(service, "GET", path, limit=1)
        except TimeoutError:
            return f"{name} ({service}) does not answer within {SERVICE_SECONDS:g} s"
        except ProviderError as error:
            return f"{name}: {error}"
        return ""

    async def room(self, hosts: int) -> str:
        """By the project's quota. Whether the cloud itself has room only a creation tells."""
        await self.start()
        try:
            await self._looks_up_anew()
        except RefusedError as error:
            return str(error)
        assert self._found is not None, "the provider was started"
        limits = (await self._api.call("compute", "GET", "/limits"))["limits"]["absolute"]
        flavor = (await self._api.call("compute", "GET", f"/flavors/{self._found.flavor}"))["flavor"]
        wanted = {"Instances": hosts, "Cores": hosts * flavor["vcpus"], "RAMSize": hosts * flavor["ram"]}
        short = []
        for name, more in wanted.items():
            most = limits[f"maxTotal{name}"]
            used = limits["totalRAMUsed" if name == "RAMSize" else f"total{name}Used"]
            if most >= 0 and used + more > most:
                short.append(f"{QUOTAS[name]}: {used} of {most} are used, {more} more are needed")
        return "; ".join(short)

    async def bake(self, order: BakeOrder, package: Path, report: Callable[[str], None]) -> BakedImage:
        await self.start()
        await self._looks_up_anew()
        assert self._found is not None, "the provider was started"
        return await self._oven.bake(order, package, self._found, report)

    async def baked(self) -> list[BakedImage]:
        await self.start()
        with contextlib.suppress(RefusedError):  # what is gone keeps no image from being listed
            await self._looks_up_anew()
        assert self._found is not None, "the provider was started"
        return await self._oven.images(self._found)

    # -------------------------------------------------------------------------------------------- names

    def _metadata(self, spec: HostSpec) -> dict[str, str]:
        return {
            "repave_installation": self._installation(),
            "repave_region": self._region,
            "repave_application": spec.application,
            "repave_group": spec.group,
            "repave_host": spec.name,
            "repave_digest": spec.digest,
            "repave_port": str(spec.port),
        }

    def _tag(self) -> str:
        """One tag for all that is ours; tags have no room for every name."""
        owner = hashlib.sha256(f"{self._installation()}/{self._region}".encode()).hexdigest()[:24]
        return f"repave-{owner}"


def _is_leaving(server: dict[str, Any]) -> bool:
    return server.get("OS-EXT-STS:task_state") == "deleting" or server["status"] in (
        "DELETED",
        "SOFT_DELETED",
    )


def _how_it_ended(server: dict[str, Any]) -> str:
    """ "" while it runs."""
    status = server["status"]
    if status in RUNNING:
        return ""
    if status in BUILDING:
        return HALF_MADE if status == "BUILD" else ""
    fault = (server.get("fault") or {}).get("message", "")
    return f"its server is {status}{f': {fault}' if fault else ''}"


def _failure(name: HostName, server: dict[str, Any]) -> ProviderError:
    fault = (server.get("fault") or {}).get("message") or "no reason was given"
    text = f"the server of {name} is {server.get('status', 'gone')}: {fault}"
    if any(words in fault.lower() for words in FULL):
        return OutOfCapacityError(f"{text}. Raise the quota, or add capacity to the cloud.")
    return TransientError(text)


def _instant(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
