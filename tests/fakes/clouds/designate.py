"""One zone of OpenStack's Designate and the Keystone before it, over real HTTP. It compares nothing."""

import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from repave_agent.clients.openstack.login import Cloud

CREATE = {"name", "type", "ttl", "records", "description"}
UPDATE = {"ttl", "records", "description"}

Set = dict[str, Any]


@dataclass
class FakeDesignate:
    """`sets` by their ids."""

    zone: str
    sets: dict[str, Set] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    base: str = ""

    @property
    def cloud(self) -> Cloud:
        auth = {"auth_url": f"{self.base}/v3", "username": "u", "password": "p", "project_name": "shop"}
        return Cloud(auth)

    def put(self, name: str, kind: str, *records: str) -> None:
        number = str(next(self.numbers))
        self.sets[number] = {"id": number, "name": name, "type": kind, "ttl": 300, "records": list(records)}

    def of(self, name: str, kind: str) -> Set | None:
        found = (each for each in self.sets.values() if (each["name"], each["type"]) == (name, kind))
        return next(found, None)

    async def log_in(self, _: web.Request) -> web.Response:
        endpoint = {"interface": "public", "region_id": "r1", "url": self.base}
        token = {
            "expires_at": "2999-01-01T00:00:00Z",
            "project": {"id": "p1"},
            "catalog": [{"type": "dns", "endpoints": [endpoint]}],
        }
        return web.json_response({"token": token}, status=201, headers={"X-Subject-Token": "t"})

    async def zones(self, request: web.Request) -> web.Response:
        zones = [{"id": "z1", "name": self.zone}] if request.query.get("name") == self.zone else []
        return web.json_response({"zones": zones})

    async def listed(self, request: web.Request) -> web.Response:
        name = request.query.get("name")
        found = [each for each in self.sets.values() if each["name"] == name]
        return web.json_response({"recordsets": found})

    async def create(self, request: web.Request) -> web.Response:
        body = await request.json()
        if set(body) - CREATE or not body["name"].endswith(f".{self.zone}") or not body["records"]:
            return _refused(400, "invalid_object")
        names = [(each["name"], each["type"]) for each in self.sets.values()]
        if (body["name"], body["type"]) in names:
            return _refused(409, "duplicate_recordset")
        if any(name == body["name"] and "CNAME" in (kind, body["type"]) for name, kind in names):
            return _refused(400, "invalid_recordset_location")
        number = str(next(self.numbers))
        self.sets[number] = {"id": number, **body}
        return web.json_response(self.sets[number], status=202)

    async def update(self, request: web.Request) -> web.Response:
        body, known = await request.json(), self.sets.get(request.match_info["id"])
        if known is None:
            return _refused(404, "recordset_not_found")
        if set(body) - UPDATE or not body["records"]:
            return _refused(400, "invalid_object")
        known.update(body)
        return web.json_response(known, status=202)

    async def delete(self, request: web.Request) -> web.Response:
        if self.sets.pop(request.match_info["id"], None) is None:
            return _refused(404, "recordset_not_found")
        return web.Response(status=202)


def _refused(status: int, kind: str) -> web.Response:
    return web.json_response({"code": status, "type": kind, "message": kind}, status=status)


@asynccontextmanager
async def serving(fake: FakeDesignate) -> AsyncIterator[FakeDesignate]:
    app = web.Application()
    sets = "/v2/zones/z1/recordsets"
    app.router.add_post("/v3/auth/tokens", fake.log_in)
    app.router.add_get("/v2/zones", fake.zones)
    app.router.add_get(sets, fake.listed)
    app.router.add_post(sets, fake.create)
    app.router.add_put(f"{sets}/{{id}}", fake.update)
    app.router.add_delete(f"{sets}/{{id}}", fake.delete)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    fake.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield fake
    finally:
        await runner.cleanup()
