"""A store of the kind of S3 in this process: buckets by path, presigned addresses only. What was signed is
computed anew by botocore: a wrong signature, another method or an old address is refused as by AWS."""

import base64
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from aiohttp import web
from aiohttp.test_utils import TestServer
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from yarl import URL

ACCESS, SECRET, REGION = "AKREPAVE", "s3cret-of-the-bucket", "eu-1"
KEYS = f"[default]\naws_access_key_id = {ACCESS}\naws_secret_access_key = {SECRET}\n"


class S3:
    """`objects` by bucket and key. The next `busy` requests are answered 503; with `cuts`, answers end in the
    middle; what is put is kept one byte wrong with `loses`."""

    def __init__(self, now: float) -> None:
        self.objects: dict[tuple[str, str], bytes] = {}
        self.asked: list[str] = []
        self.now, self.busy = now, 0
        self.cuts = self.loses = False
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        name, _, key = request.path.lstrip("/").partition("/")
        self.asked.append(request.method)
        body = await request.read()
        if self.busy:
            self.busy -= 1
            return _error(503, "SlowDown")
        if fault := self._fault(request):
            return _error(403, fault)
        match request.method:
            case "PUT":
                return self._put(name, key, body[:-1] if self.loses else body, request)
            case "DELETE":
                self.objects.pop((name, key), None)
                return web.Response(status=204)
        found = self.objects.get((name, key))
        if found is None:
            return _error(404, "NoSuchKey")
        if request.method == "HEAD" or not self.cuts:
            return web.Response(body=found)
        response = web.StreamResponse(headers={"Content-Length": str(len(found))})
        await response.prepare(request)
        await response.write(found[: len(found) // 2])
        assert request.transport is not None
        request.transport.close()
        return response

    def _put(self, name: str, key: str, body: bytes, request: web.Request) -> web.Response:
        if "Content-Length" not in request.headers:
            return _error(411, "MissingContentLength")
        md5 = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
        if request.headers.get("Content-MD5", md5) != md5:
            return _error(400, "BadDigest")
        self.objects[name, key] = body
        return web.Response()

    def _fault(self, request: web.Request) -> str:
        asked = {name: request.query.get(f"X-Amz-{name}", "") for name in ("Date", "Expires", "Signature")}
        if not all(asked.values()):
            return "AccessDenied"
        signed_at = datetime.strptime(asked["Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        if not signed_at - 900 <= self.now <= signed_at + int(asked["Expires"]):
            return "AccessDenied: Request has expired"
        query = "&".join(
            each for each in request.rel_url.raw_query_string.split("&") if "X-Amz-Signature" not in each
        )
        url = f"{request.url.origin()}{request.rel_url.raw_path}?{query}"
        again = AWSRequest(method=request.method, url=url)
        again.context["timestamp"] = asked["Date"]
        auth = S3SigV4QueryAuth(Credentials(ACCESS, SECRET), "s3", REGION, int(asked["Expires"]))
        expected = auth.signature(auth.string_to_sign(again, auth.canonical_request(again)), again)
        return "" if asked["Signature"] == expected else "SignatureDoesNotMatch"


@asynccontextmanager
async def s3_store(now: float) -> AsyncIterator[S3]:
    store = S3(now)
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{rest:.*}", store.handle)
    async with TestServer(app) as server:
        store.url = str(URL(str(server.make_url("/"))).origin())
        yield store


def _error(status: int, code: str) -> web.Response:
    text = f"<Error><Code>{code}</Code></Error>"
    return web.Response(status=status, text=text, content_type="application/xml")
