"""One managed zone of Google's Cloud DNS, over real HTTP: changes are made whole or not at all; a deletion
has to name a set exactly as it is."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

SET = {"name", "type", "ttl", "rrdatas", "routingPolicy"}
"""Fields of a ResourceRecordSet that may be written; without those that Google only gives."""
TYPES = {"A", "AAAA", "CNAME", "TXT"}

Set = dict[str, Any]


@dataclass
class FakeCloudDns:
    """`sets` by name and type."""

    sets: dict[tuple[str, str], Set] = field(default_factory=dict)
    url: str = ""

    def put(self, name: str, kind: str, *values: str) -> None:
        self.sets[name, kind] = {"name": name, "type": kind, "ttl": 300, "rrdatas": list(values)}

    async def rrsets(self, request: web.Request) -> web.Response:
        name, kind = request.query.get("name", ""), "dns#resourceRecordSet"
        found = [{"kind": kind, **each} for (of, _), each in self.sets.items() if of == name]
        return web.json_response({"kind": "dns#resourceRecordSetsListResponse", "rrsets": found})

    async def changes(self, request: web.Request) -> web.Response:
        body = await request.json()
        if unknown := set(body) - {"additions", "deletions"}:
            return _refused(400, "invalid", f"unknown fields {unknown}")
        after = dict(self.sets)
        for each in body["deletions"]:
            known = after.pop((each["name"], each["type"]), None)
            if known is None:
                return _refused(404, "notFound", f"{each['name']} is not there")
            if known != {name: value for name, value in each.items() if name != "kind"}:
                return _refused(412, "conditionNotMet", f"{each['name']} is otherwise")
        for each in body["additions"]:
            if why := _wrong(each):
                return _refused(400, "invalid", why)
            if (each["name"], each["type"]) in after:
                return _refused(409, "alreadyExists", f"{each['name']} is there")
            after[each["name"], each["type"]] = each
        for name, kind in after:
            if kind == "CNAME" and any(other == name for other, of in after if of != "CNAME"):
                return _refused(400, "cnameResourceRecordSetConflict", f"{name} is an alias")
        self.sets = after
        return web.json_response({"kind": "dns#change", "id": "1", "status": "pending"})


def _wrong(each: Set) -> str:
    if unknown := set(each) - SET:
        return f"unknown fields {unknown}"
    if not each["name"].endswith(".") or each["type"] not in TYPES or not isinstance(each["ttl"], int):
        return "name, type or ttl"
    items = each.get("routingPolicy", {}).get("wrr", {}).get("items", [])
    if bool(each.get("rrdatas")) == bool(items):
        return "either rrdatas or a routing policy"
    if any(set(item) != {"weight", "rrdatas"} or not item["rrdatas"] for item in items):
        return "an item of the policy"
    if each["type"] == "TXT" and not all(text.startswith('"') for text in each["rrdatas"]):
        return "texts are quoted"
    return ""


def _refused(status: int, reason: str, message: str) -> web.Response:
    error = {"code": status, "message": message, "errors": [{"reason": reason, "message": message}]}
    return web.json_response({"error": error}, status=status)


@asynccontextmanager
async def serving(fake: FakeCloudDns) -> AsyncIterator[FakeCloudDns]:
    app = web.Application()
    zone = "/dns/v1/projects/p1/managedZones/z1"
    app.router.add_get(f"{zone}/rrsets", fake.rrsets)
    app.router.add_post(f"{zone}/changes", fake.changes)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}{zone}"
    try:
        yield fake
    finally:
        await runner.cleanup()
