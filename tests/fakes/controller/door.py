"""The agents' HTTPS API of a controller, open on loopback by the real clock, and a client for it."""

import asyncio
import hashlib
import http.client
import json
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repave_controller.api.door import DOOR_BOUNDS, Belongs, DoorBounds, make_door
from repave_controller.api.web.server import CONNECTIONS_MAX, serve
from repave_controller.core.domain.instants import Instant
from repave_controller.fleet.packages import ImageDirectory
from repave_protos.protocol.certificates import CONTROLLER_NAME
from repave_protos.protocol.channel import Shown
from tests.fakes.controller.enrolled import Enrolled

PACKAGE = b"the package"
DIGEST = hashlib.sha256(PACKAGE).hexdigest()


@dataclass
class Asked:
    status: int
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Now(Enrolled):
    def clock(self) -> float:
        return time.time() + self.ahead

    ahead = 0.0


@dataclass
class Standing:
    """A door that is open."""

    enrolled: Now
    port: int
    directory: Path

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        shown: Shown | None = None,
        host: str = CONTROLLER_NAME,
    ) -> Asked:
        content = json.dumps(body) if body is not None else None
        return await asyncio.to_thread(self._ask, method, path, content, shown, host)

    def _ask(self, method: str, path: str, content: str | None, shown: Shown | None, host: str) -> Asked:
        context = ssl.create_default_context(cadata=self.enrolled.authority.authorities)
        if shown is not None:
            file = self.directory / "shown.pem"
            file.write_text(shown.key + shown.chain)
            context.load_cert_chain(file)
        connection = _Named("127.0.0.1", self.port, context=context, timeout=10)
        connection.name = host
        try:
            connection.request(method, path, content, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return Asked(response.status, response.read())
        finally:
            connection.close()


class _Named(http.client.HTTPSConnection):
    """Expects a name that is not the address."""

    name = CONTROLLER_NAME

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        context: ssl.SSLContext = self._context  # type: ignore[attr-defined]  # there is no other way to it
        self.sock = context.wrap_socket(self.sock, server_hostname=self.name)


@asynccontextmanager
async def standing(
    directory: Path,
    bounds: DoorBounds = DOOR_BOUNDS,
    connections_max: int = CONNECTIONS_MAX,
    is_of_region: Belongs = lambda region, digest: True,
) -> AsyncIterator[Standing]:
    enrolled = Now(directory / "state", now=time.time())
    await enrolled.open()
    images = ImageDirectory(directory / "images", lambda: Instant(time.time()))
    (directory / "images" / f"{DIGEST}.tar.gz").write_bytes(PACKAGE)
    door = make_door(enrolled.enrolment, images, lambda: 7443, lambda: enrolled.ahead, is_of_region, bounds)
    tls = enrolled.authority.http_context()
    async with serve(door, "127.0.0.1", 0, connections_max, tls) as port:
        yield Standing(enrolled, port, directory)
