"""A small cloud that speaks Keystone, Nova, Neutron and Glance as far as the provider does, over real HTTP,
and misbehaves when told to. Servers are rows; nothing runs in them."""

import asyncio
import base64
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
from aiohttp import web

from repave_agent.clients.openstack.login import Cloud
from repave_agent.providers.openstack.rights import NOTHING
from tests.fakes.clouds.octavia import FakeOctavia

CREATE_SERVER = json.loads(Path(__file__).with_name("nova_create_server.json").read_text())
"""Nova's own schema of POST /servers in version 2.67, without what is refused here because repave never sends
it. An id is any text there."""
FLOATING_IP = {
    "type": "object",
    "properties": {
        "floatingip": {
            "type": "object",
            "properties": {
                "floating_network_id": {"type": "string", "minLength": 1},
                "port_id": {"type": ["string", "null"], "minLength": 1},
                "description": {"type": "string", "maxLength": 255},
            },
            "required": ["floating_network_id"],
            "additionalProperties": False,
        }
    },
    "required": ["floatingip"],
    "additionalProperties": False,
}
"""As Neutron declares its attributes."""
FORMATS = jsonschema.FormatChecker(formats=())
PAGE = 3
"""So many servers are on a page."""
FLAVOR = {"id": "f1", "name": "small", "vcpus": 2, "ram": 512, "disk": 10}
IMAGES: tuple[dict[str, Any], ...] = (
    {
        "id": "i1",
        "name": "base",
        "status": "active",
        "os_hash_value": "abc",
        "owner": "admin",
        "min_ram": 256,
    },
    {"id": "i2", "name": "raw", "status": "queued", "os_hash_value": None, "owner": "admin"},
)


@dataclass
class FakeOpenstack:
    """`lost`: creations of servers that are done and never answered; `given_up`: that a gateway answers with
    504. `refusals`: statuses and messages that the next creations get. `faults`: messages with which the next
    servers end in ERROR. `builds_for`: listings that a server is seen BUILDing, `leaves_for`: that it is seen
    being deleted. `listings_refused`: so many fail once there is a server. `leaves_ports`: ports outlive
    their server. `console`: what every server prints, with its metadata; `image_status`: of images made.
    `crowded`: creations that were refused since their server group was full. `down`: services that answer
    503. `addresses`: what each server gets, by its version; the address of version 4 is its own. `roles`: of
    the login. `router`: none connects the servers to the external network when it is False. `lost_addresses`:
    floating ones that are made and never answered. `leaves_volumes`: disks outlive their server. `asked`:
    what servers were asked for with."""

    lost: int = 0
    given_up: int = 0
    refusals: list[tuple[int, str]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    builds_for: int = 1
    leaves_for: int = 0
    leaves_ports: bool = False
    listings_refused: int = 0
    console: str = "first\nsecond\nthird\n"
    image_status: str = "active"
    servers: dict[str, dict[str, Any]] = field(default_factory=dict)
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)
    logins: int = 0
    instances_max: int = -1
    cores_max: int = -1
    groups_max: int = 10
    members_max: int = 10
    crowded: int = 0
    images: list[dict[str, Any]] = field(default_factory=lambda: [dict(each) for each in IMAGES])
    ports: dict[str, dict[str, Any]] = field(default_factory=dict)
    flavors: list[dict[str, Any]] = field(default_factory=lambda: [dict(FLAVOR)])
    networks: list[dict[str, Any]] = field(default_factory=lambda: [{"id": "n1", "name": "fleet"}])
    subnets: list[dict[str, Any]] = field(default_factory=lambda: [{"network_id": "n1", "ip_version": 4}])
    security_groups: list[dict[str, Any]] = field(default_factory=lambda: [{"id": "s1", "name": "default"}])
    addresses: tuple[int, ...] = (4,)
    roles: tuple[str, ...] = ("member", "reader")
    router: bool = True
    floating: dict[str, dict[str, Any]] = field(default_factory=dict)
    lost_addresses: int = 0
    volumes: dict[str, dict[str, Any]] = field(default_factory=dict)
    leaves_volumes: bool = False
    volumes_max: int = -1
    has_volumes: bool = True
    asked: list[dict[str, Any]] = field(default_factory=list)
    down: set[str] = field(default_factory=set)
    octavia: FakeOctavia = field(default_factory=FakeOctavia)
    url: str = ""
    _numbers: Any = field(default_factory=lambda: itertools.count(1))

    def cloud(self, **more: Any) -> Cloud:
        auth = {"auth_url": f"{self.url}/v3", "username": "u", "password": "p", "project_name": "demo"}
        return Cloud(auth, **more)

    def expire_tokens(self) -> None:
        self.tokens.clear()

    def application(self) -> web.Application:
        made = web.Application(middlewares=[self._guard])
        router = made.router
        router.add_get("/v3", self._versions)
        router.add_post("/v3/auth/tokens", self._log_in)
        router.add_get("/compute/servers", self._list)
        router.add_get("/network/v2.0/subnets", self._subnets)
        router.add_get("/compute/servers/detail", self._list)
        router.add_post("/compute/servers", self._create)
        router.add_get("/compute/servers/{id}", self._show)
        router.add_delete("/compute/servers/{id}", self._delete)
        router.add_post("/compute/servers/{id}/action", self._act)
        router.add_get("/compute/flavors/detail", self._flavors)
        router.add_get("/compute/os-keypairs", self._keypairs)
        router.add_get("/compute/os-availability-zone", self._zones)
        router.add_get("/compute/flavors/{id}", self._flavor)
        router.add_get("/compute/limits", self._limits)
        router.add_get("/compute/os-server-groups", self._list_groups)
        router.add_post("/compute/os-server-groups", self._create_group)
        router.add_delete("/compute/os-server-groups/{id}", self._delete_group)
        router.add_get("/network/v2.0/networks", self._networks)
        router.add_get("/network/v2.0/security-groups", self._security_groups)
        router.add_get("/network/v2.0/ports", self._list_ports)
        router.add_delete("/network/v2.0/ports/{id}", self._delete_port)
        router.add_put("/network/v2.0/ports/{id}", self._change_port)
        router.add_get("/network/v2.0/floatingips", self._list_floating)
        router.add_post("/network/v2.0/floatingips", self._create_floating)
        router.add_put("/network/v2.0/floatingips/{id}/tags", self._tag_floating)
        router.add_delete("/network/v2.0/floatingips/{id}", self._delete_floating)
        router.add_get("/block-storage/types", self._volume_types)
        router.add_get("/block-storage/limits", self._volume_limits)
        router.add_get("/block-storage/volumes/detail", self._list_volumes)
        router.add_get("/block-storage/volumes/{id}", self._show_volume)
        router.add_post("/block-storage/volumes/{id}/metadata", self._mark_volume)
        router.add_delete("/block-storage/volumes/{id}", self._delete_volume)
        router.add_get("/image/v2/images", self._images)
        router.add_get("/image/v2/images/{id}", self._image)
        router.add_delete("/image/v2/images/{id}", self._delete_image)
        self.octavia.connect(router)
        return made

    # ---------------------------------------------------------------------------------------- identity

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        service = "identity" if request.path.startswith("/v3") else request.path.split("/")[1]
        if service in self.down:
            return _error(503, "Service Unavailable")
        if service != "identity" and request.headers.get("X-Auth-Token") not in self.tokens:
            return _error(401, "The request you have made requires authentication.")
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _versions(self, _: web.Request) -> web.Response:
        return web.json_response({"version": {"id": "v3"}})

    async def _log_in(self, request: web.Request) -> web.Response:
        given = (await request.json())["auth"]["identity"]
        self.logins += 1
        if given.get("password", {}).get("user", {}).get("password") == "wrong":
            return _error(401, "The request you have made requires authentication.")
        token = f"token-{next(self._numbers)}"
        self.tokens.add(token)
        until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        catalogue = [
            {
                "type": kind,
                "endpoints": [
                    {"interface": "public", "region_id": "one", "url": f"{self.url}/{kind}"},
                    {"interface": "public", "region_id": "two", "url": f"{self.url}/elsewhere/{kind}"},
                    {"interface": "internal", "region_id": "one", "url": f"{self.url}/inside/{kind}"},
                ],
            }
            for kind in ("compute", "network", "image", "load-balancer", "block-storage")
            if kind != "block-storage" or self.has_volumes
        ]
        roles = [{"id": f"role-{each}", "name": each} for each in self.roles]
        token_of = {"expires_at": until, "project": {"id": "p1"}, "roles": roles, "catalog": catalogue}
        body = {"token": token_of}
        return web.json_response(body, status=201, headers={"X-Subject-Token": token})

    # ----------------------------------------------------------------------------------------- compute

    async def _create(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        if wrong := _violation(asked, CREATE_SERVER):
            return _error(400, wrong)
        if "member" not in self.roles:
            return _error(403, "Policy doesn't allow os_compute_api:servers:create to be performed.")
        if asked["server"]["flavorRef"] == NOTHING:
            return _error(400, f"Flavor {NOTHING} could not be found.")
        if self.refusals:
            status, message = self.refusals.pop(0)
            return _error(status, message)
        if 0 <= self.instances_max <= len(self.servers):
            used = f"already used {len(self.servers)} of {self.instances_max} instances"
            return _error(403, f"Quota exceeded for instances: Requested 1, but {used}")
        wanted, group = asked["server"], asked.get("os:scheduler_hints", {}).get("group")
        if unknown := self._unknown(wanted):
            return _error(400, unknown)
        if group is not None and group not in self.groups:
            return _error(400, f"Instance group {group} could not be found.")
        if group is not None and len(self.groups[group]["members"]) >= self.members_max:
            self.crowded += 1
            return _error(403, "Quota exceeded, too many servers in group")
        if taken := self._taken(wanted):
            return _error(409, f"Port {taken} is still in use.")
        self.asked.append(asked)
        number = next(self._numbers)
        server = {
            "id": f"server-{number}",
            "image": {"id": wanted["imageRef"]} if wanted["imageRef"] else "",
            "flavor": {"original_name": self._flavor_name(wanted["flavorRef"])},
            "os-extended-volumes:volumes_attached": [],
            "name": wanted["name"],
            "status": "BUILD",
            "created": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "metadata": wanted["metadata"],
            "tags": wanted["tags"],
            "addresses": {},
            "user_data": wanted["user_data"],
            "seen": 0,
            "fault_to_come": self.faults.pop(0) if self.faults else "",
            "address": f"10.1.{number // 250}.{number % 250 + 1}",
        }
        self.servers[server["id"]] = server
        self._connect(server, wanted, number)
        for disk in wanted.get("block_device_mapping_v2", ()):
            self._attach(server, disk, number)
        if group is not None:
            self.groups[group]["members"].append(server["id"])
        if self.given_up:
            self.given_up -= 1
            return web.Response(status=504, text="<html>Gateway Timeout</html>")
        if self.lost:
            self.lost -= 1
            assert request.transport is not None
            request.transport.close()
            await asyncio.sleep(0)
        return web.json_response({"server": {"id": server["id"]}}, status=202)

    def _unknown(self, wanted: dict[str, Any]) -> str:
        """In Nova's words."""
        disks = [each["uuid"] for each in wanted.get("block_device_mapping_v2", ())]
        if (wanted["imageRef"] or disks[0]) not in [each["id"] for each in self.images]:
            return "Can not find requested image"
        if wanted["flavorRef"] not in [each["id"] for each in self.flavors]:
            return f"Flavor {wanted['flavorRef']} could not be found."
        known = [*(each["id"] for each in self.networks), *self.ports]
        for each in wanted["networks"]:
            (what,) = each.values()
            if what not in known:
                return f"{'Port' if 'port' in each else 'Network'} {what} could not be found."
        return ""

    def _flavor_name(self, flavor: str) -> str:
        return str(next(each["name"] for each in self.flavors if each["id"] == flavor))

    def _taken(self, wanted: dict[str, Any]) -> str:
        given = [each["port"] for each in wanted["networks"] if "port" in each]
        return next((each for each in given if self.ports[each]["device_id"]), "")

    def _connect(self, server: dict[str, Any], wanted: dict[str, Any], number: int) -> None:
        """Nova's own ports are called by the server's number, the first one of it plainly."""
        for place, each in enumerate(wanted["networks"]):
            name = each.get("port") or f"port-{number}{f'-{place}' if place else ''}"
            if "port" not in each:
                self.ports[name] = {"id": name, "name": "", "network_id": each["uuid"], "by_nova": True}
            self.ports[name] |= {"device_id": server["id"], "device_owner": "compute:nova"}

    def _attach(self, server: dict[str, Any], disk: dict[str, Any], number: int) -> None:
        volume = {
            "id": f"volume-{number}",
            "status": "in-use",
            "size": disk["volume_size"],
            "volume_type": disk.get("volume_type", "standard"),
            "metadata": {},
            "attachments": [{"server_id": server["id"]}],
        }
        self.volumes[volume["id"]] = volume
        ends = {"id": volume["id"], "delete_on_termination": disk["delete_on_termination"]}
        server["os-extended-volumes:volumes_attached"].append(ends)

    async def _list(self, request: web.Request) -> web.Response:
        if self.listings_refused and self.servers:
            self.listings_refused -= 1
            return _error(500, "Unexpected API Error")
        tag, marker = request.query.get("tags", ""), request.query.get("marker")
        rows = [each for each in self.servers.values() if tag in each["tags"]]
        ids = [each["id"] for each in rows]
        start = ids.index(marker) + 1 if marker in ids else 0
        page = rows[start : start + PAGE]
        for each in page:
            self._grow(each)
        body: dict[str, Any] = {"servers": [_shown(each) for each in page]}
        if start + PAGE < len(rows):
            body["servers_links"] = [{"rel": "next", "href": "..."}]
        return web.json_response(body)

    def _grow(self, server: dict[str, Any]) -> None:
        server["seen"] += 1
        if server.get("OS-EXT-STS:task_state") == "deleting":
            server["leaves_for"] -= 1
            if server["leaves_for"] < 0:
                self._end(server["id"])
            return
        if server["status"] == "BUILD" and server["seen"] > self.builds_for:
            fault = server["fault_to_come"]
            server["status"] = "ERROR" if fault else "ACTIVE"
            if fault:
                server["fault"] = {"code": 500, "message": fault}
            else:
                given = [(each, server["address"] if each == 4 else "fd00::1") for each in self.addresses]
                shown = [{"version": each, "addr": text, "OS-EXT-IPS:type": "fixed"} for each, text in given]
                server["addresses"] = {"fleet": shown} if shown else {}

    async def _delete(self, request: web.Request) -> web.Response:
        server = self.servers.get(request.match_info["id"])
        if server is None:
            return _error(404, "Instance could not be found.")
        if self.leaves_for:
            server.setdefault("leaves_for", self.leaves_for)
            server["OS-EXT-STS:task_state"] = "deleting"
        else:
            self._end(server["id"])
        return web.Response(status=204)

    def _end(self, server_id: str) -> None:
        del self.servers[server_id]
        for group in self.groups.values():
            group["members"] = [each for each in group["members"] if each != server_id]
        if not self.leaves_ports:
            own = {key for key, port in self.ports.items() if port["device_id"] == server_id}
            for key in own:
                self.ports[key] |= {"device_id": "", "device_owner": ""}
                if self.ports[key].get("by_nova"):
                    self._remove_port(key)
        for volume in list(self.volumes.values()):
            if volume["attachments"] == [{"server_id": server_id}]:
                volume |= {"status": "available", "attachments": []}
                if not self.leaves_volumes:
                    del self.volumes[volume["id"]]

    def _remove_port(self, port: str) -> None:
        del self.ports[port]
        for address in self.floating.values():
            if address["port_id"] == port:
                address |= {"port_id": None, "status": "DOWN"}

    async def _show(self, request: web.Request) -> web.Response:
        server = self.servers.get(request.match_info["id"])
        if server is None:
            return _error(404, "Instance could not be found.")
        self._grow(server)
        return web.json_response({"server": _shown(server)})

    async def _act(self, request: web.Request) -> web.Response:
        server = self.servers.get(request.match_info["id"])
        if server is None:
            return _error(404, "Instance could not be found.")
        ((action, asked),) = (await request.json()).items()
        if action == "os-getConsoleOutput":
            return web.json_response({"output": self.console.format(**server["metadata"])})
        if action == "os-stop":
            server["status"] = "SHUTOFF"
            return web.Response(status=202)
        assert action == "createImage"
        made = {
            "id": f"image-{next(self._numbers)}",
            "name": asked["name"],
            "owner": "p1",
            **asked["metadata"],
        }
        self.images.append({**made, "status": self.image_status, "created_at": "2026-01-01T00:00:00Z"})
        return web.json_response({"image_id": made["id"]}, status=202)

    async def _flavors(self, _: web.Request) -> web.Response:
        return web.json_response({"flavors": [{**each, "links": []} for each in self.flavors]})

    async def _flavor(self, request: web.Request) -> web.Response:
        found = next((each for each in self.flavors if each["id"] == request.match_info["id"]), None)
        return web.json_response({"flavor": found}) if found else _error(404, "Flavor could not be found.")

    async def _limits(self, _: web.Request) -> web.Response:
        instances, cores = self.instances_max, self.cores_max
        most = {"maxTotalInstances": instances, "maxTotalCores": cores, "maxTotalRAMSize": -1}
        used = {"totalInstancesUsed": len(self.servers), "totalCoresUsed": 0, "totalRAMUsed": 0}
        return web.json_response({"limits": {"absolute": {**most, **used}}})

    async def _list_groups(self, _: web.Request) -> web.Response:
        return web.json_response({"server_groups": list(self.groups.values())})

    async def _create_group(self, request: web.Request) -> web.Response:
        if len(self.groups) >= self.groups_max:
            return _error(403, "Quota exceeded, too many server groups.")
        number = next(self._numbers)
        group = {**(await request.json())["server_group"], "id": f"group-{number}", "members": []}
        self.groups[group["id"]] = group
        return web.json_response({"server_group": group})

    async def _delete_group(self, request: web.Request) -> web.Response:
        found = self.groups.pop(request.match_info["id"], None)
        return web.Response(status=204) if found else _error(404, "Group could not be found.")

    # ------------------------------------------------------------------------------------------ others

    async def _networks(self, _: web.Request) -> web.Response:
        return web.json_response({"networks": self.networks})

    async def _subnets(self, request: web.Request) -> web.Response:
        wanted = request.query["network_id"]
        return web.json_response({"subnets": [each for each in self.subnets if each["network_id"] == wanted]})

    async def _security_groups(self, _: web.Request) -> web.Response:
        return web.json_response({"security_groups": self.security_groups})

    async def _list_ports(self, request: web.Request) -> web.Response:
        query = {name: request.query.getall(name) for name in request.query}
        found = [each for each in self.ports.values() if all(each[name] in query[name] for name in query)]
        return web.json_response({"ports": found})

    async def _delete_port(self, request: web.Request) -> web.Response:
        if request.match_info["id"] not in self.ports:
            return _error(404, "Port could not be found.")
        self._remove_port(request.match_info["id"])
        return web.Response(status=204)

    async def _change_port(self, request: web.Request) -> web.Response:
        self.ports[request.match_info["id"]] |= (await request.json())["port"]
        return web.json_response({"port": self.ports[request.match_info["id"]]})

    # ------------------------------------------------------------------------------------- floating addresses

    async def _list_floating(self, _: web.Request) -> web.Response:
        return web.json_response({"floatingips": list(self.floating.values())})

    async def _create_floating(self, request: web.Request) -> web.Response:
        asked = await request.json()
        if wrong := _violation(asked, FLOATING_IP):
            return _error(400, wrong)
        wanted = asked["floatingip"]
        if not self.router:
            said = f"External network {wanted['floating_network_id']} is not reachable from subnet s1."
            return web.json_response({"NeutronError": {"message": said}}, status=404)
        assert wanted["port_id"] in self.ports
        number = next(self._numbers)
        made = {
            "id": f"floating-{number}",
            "floating_ip_address": f"203.0.113.{number}",
            "status": "ACTIVE",
            "tags": [],
            **wanted,
        }
        self.floating[str(made["id"])] = made
        if self.lost_addresses:
            self.lost_addresses -= 1
            assert request.transport is not None
            request.transport.close()
            await asyncio.sleep(0)
        return web.json_response({"floatingip": made}, status=201)

    async def _tag_floating(self, request: web.Request) -> web.Response:
        self.floating[request.match_info["id"]]["tags"] = (await request.json())["tags"]
        return web.json_response({"tags": []})

    async def _delete_floating(self, request: web.Request) -> web.Response:
        found = self.floating.pop(request.match_info["id"], None)
        return web.Response(status=204) if found else _error(404, "Floating IP could not be found.")

    # ----------------------------------------------------------------------------------------------- volumes

    async def _volume_types(self, _: web.Request) -> web.Response:
        return web.json_response({"volume_types": [{"id": "v1", "name": "ssd"}, {"id": "v2", "name": "hdd"}]})

    async def _volume_limits(self, _: web.Request) -> web.Response:
        most = {"maxTotalVolumes": self.volumes_max, "maxTotalVolumeGigabytes": 1000}
        gigabytes = sum(each["size"] for each in self.volumes.values())
        used = {"totalVolumesUsed": len(self.volumes), "totalGigabytesUsed": gigabytes}
        return web.json_response({"limits": {"absolute": {**most, **used}}})

    async def _list_volumes(self, request: web.Request) -> web.Response:
        wanted = json.loads(request.query["metadata"].replace("'", '"'))
        found = [each for each in self.volumes.values() if wanted.items() <= each["metadata"].items()]
        return web.json_response({"volumes": found})

    async def _show_volume(self, request: web.Request) -> web.Response:
        found = self.volumes.get(request.match_info["id"])
        return web.json_response({"volume": found}) if found else _error(404, "Volume could not be found.")

    async def _mark_volume(self, request: web.Request) -> web.Response:
        volume = self.volumes[request.match_info["id"]]
        volume["metadata"] |= (await request.json())["metadata"]
        return web.json_response({"metadata": volume["metadata"]})

    async def _delete_volume(self, request: web.Request) -> web.Response:
        found = self.volumes.get(request.match_info["id"])
        if found is None:
            return _error(404, "Volume could not be found.")
        if found["status"] == "in-use":
            return _error(400, "Invalid volume: Volume status must be available or error.")
        del self.volumes[found["id"]]
        return web.Response(status=202)

    async def _keypairs(self, _: web.Request) -> web.Response:
        return web.json_response({"keypairs": [{"keypair": {"name": "mine"}}]})

    async def _zones(self, _: web.Request) -> web.Response:
        known = {"az1": True, "az2": True, "az3": False}
        zones = [{"zoneName": name, "zoneState": {"available": is_up}} for name, is_up in known.items()]
        return web.json_response({"availabilityZoneInfo": zones})

    async def _images(self, request: web.Request) -> web.Response:
        """Filters by every property that is asked for, as Glance does."""
        found = [
            each
            for each in self.images
            if all(each.get(name) == asked for name, asked in request.query.items() if name != "limit")
        ]
        return web.json_response({"images": found})

    async def _image(self, request: web.Request) -> web.Response:
        found = next((each for each in self.images if each["id"] == request.match_info["id"]), None)
        if found is None:
            return _error(404, f"No image found with ID {request.match_info['id']}")
        return web.json_response(found)

    async def _delete_image(self, request: web.Request) -> web.Response:
        self.images = [each for each in self.images if each["id"] != request.match_info["id"]]
        return web.Response(status=204)


def _shown(server: dict[str, Any]) -> dict[str, Any]:
    hidden = ("seen", "fault_to_come", "address", "user_data", "leaves_for")
    return {name: value for name, value in server.items() if name not in hidden}


def _is_name(text: object) -> bool:
    return text == str(text).strip()


def _is_base64(text: object) -> bool:
    return bool(base64.b64decode(str(text), validate=True))


def _is_id(text: object) -> bool:
    """Any text: this cloud's ids are short."""
    return text is None or bool(text)


FORMATS.checks("name")(_is_name)
FORMATS.checks("base64", raises=ValueError)(_is_base64)
FORMATS.checks("uuid")(_is_id)


def _violation(asked: object, schema: dict[str, Any]) -> str:
    """In the words of all the services' validation."""
    checker = jsonschema.Draft4Validator(schema, format_checker=FORMATS)
    found = next(iter(checker.iter_errors(asked)), None)
    return "" if found is None else f"Invalid input for field/attribute {found.json_path}: {found.message}"


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"code": status, "message": message}}, status=status)


@asynccontextmanager
async def served(fake: FakeOpenstack) -> AsyncIterator[FakeOpenstack]:
    runner = web.AppRunner(fake.application(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield fake
    finally:
        await runner.cleanup()


async def main() -> None:
    """Serves until it is killed, and says where."""
    async with served(FakeOpenstack()) as fake:
        print(fake.url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
