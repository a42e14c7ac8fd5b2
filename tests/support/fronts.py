"""An application with a front of each kind as a test releases it, and real clients of them: they ask, and
hold streams open, until they are told to stop. Each request and each stream that is lost is noted, and none
is forgiven: a test says what may be lost.
"""

import asyncio
import shutil
import ssl
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import grpc.aio

from tests.fakes.waiting import until
from tests.support.certificates import TestAuthority
from tests.support.ports import free_ports
from tests.support.stage import Stage

PROGRAM = Path(__file__).with_name("front_app.py")
REGION = "paris"
PAUSE_SECONDS = 0.05  # of a client, between two of its requests
ANSWER_SECONDS = 20.0
ASKING = 2
ECHO = "/chat.Chat/Echo"
PORTS = ("web", "tls", "tcp", "grpc")
STREAMS, REQUESTS = ("websocket", "tcp", "grpc stream"), ("http", "https", "grpc call")

SPEC = """\
repave: 1
app: {name}
artifact: {{uri: ./{version}}}
host:
  run: [{python}, app.py]
  env: {{MISTAKE: "{mistake}"}}
health: {{http: {{port: 8080, path: /health}}, interval: 1s, min_healthy_time: 0s, launch_deadline: 30s}}
traffic:
  drain: {drain}
  fronts:
    - {{name: web, port: {web}, match: {{host: {host}}}}}
    - {{name: shop, port: {tls}, protocol: https, match: {{host: {host}}}, certificate: {{file: {pem}}}}}
    - {{name: chat, port: {tcp}, protocol: tcp, to: 9001}}
    - {{name: rpc, port: {grpc}, protocol: grpc, to: 9002}}
regions: [{{name: paris, size: {size}}}]
strategy: {strategy}
rollback: {{keep: {{for: 1h, groups: {keeps}}}}}
"""
AT_ONCE = "{blue_green: {warm: 1s}}"
CANARY = "{canary: {steps: [{traffic: 50%, hold: 1s}]}}"


def agent_settings(certificates: Path) -> dict[str, str]:
    """Hosts need the libraries of this Python, which no sandbox shows where they are below /tmp."""
    return {
        "REPAVE_AGENT_CERTIFICATES__FOLDER": str(certificates),
        "REPAVE_AGENT_LOCAL__ISOLATION": "none",
    }


@dataclass
class FrontApp:
    """Has ports of its own, but for those of HTTP and HTTPS, which others may share."""

    stage: Stage
    authority: TestAuthority
    certificates: Path
    name: str = "shop"
    ports: dict[str, int] = field(default_factory=lambda: dict(zip(PORTS, free_ports(4), strict=True)))
    host: str = ""
    spec: str = SPEC
    """As SPEC is formatted."""

    def __post_init__(self) -> None:
        self.host = self.host or f"{self.name}.example.com"

    @property
    def certificate(self) -> Path:
        return self.certificates / f"{self.name}.pem"

    def issue(self) -> None:
        """A new certificate, in the place of what there is."""
        aside = self.certificate.with_suffix(".new")
        aside.write_bytes(self.authority.combined(self.host))
        aside.replace(self.certificate)

    async def release(self, version: str, **options: Any) -> None:
        """Begins it."""
        await asyncio.to_thread(self._release, version, options)

    def _release(self, version: str, options: dict[str, Any]) -> None:
        if not self.certificate.exists():
            self.issue()
        package = self.stage.directory / f"{self.name}-{version}"
        package.mkdir()
        shutil.copy(PROGRAM, package / "app.py")
        (package / "version.txt").write_text(version)
        body = {
            "spec": self._spec(version, **options),
            "digest": self.stage.push(package),
            "version": version,
            "by": "test",
        }
        self.stage.call("POST", f"applications/{self.name}/releases", body)

    def _spec(
        self,
        version: str,
        *,
        strategy: str = AT_ONCE,
        size: int = 2,
        keeps: int = 1,
        drain: str = "1s",
        mistake: str = "",
    ) -> str:
        return self.spec.format(
            name=self.name,
            version=version,
            python=sys.executable,
            host=self.host,
            pem=self.certificate,
            strategy=strategy,
            size=size,
            keeps=keeps,
            drain=drain,
            mistake=mistake,
            **self.ports,
        )

    async def ended(self) -> dict[str, Any]:
        return await asyncio.to_thread(self.stage.ended, application=self.name)

    async def released(self, version: str, **options: Any) -> None:
        """Until all serve it. Raises AssertionError."""
        await self.release(version, **options)
        ended = await self.ended()
        assert ended["phase"] == "succeeded", f"{ended['outcome']}\n{self.stage.logs()}"


@dataclass(frozen=True, slots=True)
class Lost:
    """A request without an answer, or a stream that ended while its client held it. Times are time.time()."""

    kind: str
    begun: float
    ended: float
    why: str
    answered_by: str = ""  # version and host of a stream's answers; "": it was never open

    @property
    def was_open(self) -> bool:
        return bool(self.answered_by)


Say = Callable[[], Awaitable[str]]
"""Sends a short message, and returns the answer's first two words: version and host."""
LOSSES = (OSError, EOFError, aiohttp.ClientError, grpc.RpcError, asyncio.InvalidStateError)
"""The last one is of gRPC: a message for a stream that has ended."""


class FrontClients:
    """Of all fronts of one application: ASKING clients of each kind of request, and so many streams of each
    kind."""

    def __init__(self, app: FrontApp, streams: int = 2, kinds: tuple[str, ...] = STREAMS + REQUESTS) -> None:
        self._app, self._kinds = app, kinds
        self._counts = {kind: streams if kind in STREAMS else ASKING for kind in kinds}
        self._streams = sum(self._counts[kind] for kind in STREAMS if kind in kinds)
        self._address = app.stage.traffic_address(REGION)
        self._trust = ssl.create_default_context(cadata=app.authority.pem)
        self._is_over = False
        self.asked: Counter[str] = Counter()  # by kind: requests, or messages on streams, that were answered
        self.opened: Counter[str] = Counter()  # streams
        self.lost: list[Lost] = []
        self.open: dict[tuple[str, int], str] = {}  # streams: kind and number, to who answers
        self.seen: dict[str, float] = {}  # by version: when the last request was begun that it answered
        self.serials: set[str] = set()  # of certificates that were shown

    @property
    def failed(self) -> list[Lost]:
        """Requests, and streams that could not be opened."""
        return [each for each in self.lost if not each.was_open]

    @property
    def cut(self) -> list[Lost]:
        return [each for each in self.lost if each.was_open]

    @asynccontextmanager
    async def running(self) -> AsyncIterator["FrontClients"]:
        """From the first answer of each kind on; all is noted when the block is left."""
        async with asyncio.TaskGroup() as tasks:
            for kind, count in self._counts.items():
                for number in range(count):
                    work = self._hold if kind in STREAMS else self._ask
                    tasks.create_task(work(kind, number))
            await self.more(1)
            try:
                yield self
            finally:
                self._is_over = True

    async def more(self, count: int = 5) -> None:
        """Until each kind has had some more answers, and all streams are open."""
        before = Counter(self.asked)
        await until(lambda: all(self.asked[kind] >= before[kind] + count for kind in self._kinds))
        await until(lambda: len(self.open) == self._streams)

    # ---------------------------------------------------------------------------------------- clients

    async def _ask(self, kind: str, number: int) -> None:
        """One request after the other, each on a way of its own but for gRPC's calls."""
        ask = self._http if kind == "http" else self._https
        async with self._channel() as channel:
            while not self._is_over:
                begun = time.time()
                try:
                    async with asyncio.timeout(ANSWER_SECONDS):
                        version = await (_called(channel) if kind == "grpc call" else ask())
                except (*LOSSES, TimeoutError) as error:
                    self.lost.append(Lost(kind, begun, time.time(), repr(error)))
                else:
                    self.asked[kind] += 1
                    self.seen[version] = max(begun, self.seen.get(version, 0.0))
                await asyncio.sleep(PAUSE_SECONDS)

    async def _hold(self, kind: str, number: int) -> None:
        """A stream on which it speaks all the time. When it ends, another one."""
        ways: dict[str, Callable[[], AbstractAsyncContextManager[Say]]] = {
            "websocket": self._websocket, "tcp": self._tcp, "grpc stream": self._grpc_stream,
        }  # fmt: skip
        while not self._is_over:
            begun, answered_by = time.time(), ""
            try:
                async with ways[kind]() as say:
                    while not self._is_over:
                        async with asyncio.timeout(ANSWER_SECONDS):
                            answer = await say()
                        if not answered_by:
                            self.opened[kind] += 1
                        elif answer != answered_by:
                            raise EOFError(f"it went on to {answer}")
                        self.asked[kind] += 1
                        self.open[kind, number] = answered_by = answer
                        await asyncio.sleep(PAUSE_SECONDS)
            except (*LOSSES, TimeoutError) as error:
                self.open.pop((kind, number), None)
                self.lost.append(Lost(kind, begun, time.time(), repr(error), answered_by))
                await asyncio.sleep(PAUSE_SECONDS)

    # ------------------------------------------------------------------------------------------- ways

    async def _http(self) -> str:
        return await self._answer(self._app.ports["web"], None)

    async def _https(self) -> str:
        return await self._answer(self._app.ports["tls"], self._trust)

    async def _answer(self, port: int, trust: ssl.SSLContext | None) -> str:
        host = self._app.host
        reader, writer = await asyncio.open_connection(
            self._address, port, ssl=trust, server_hostname=host if trust else None
        )
        try:
            if trust:
                self.serials.add(writer.get_extra_info("peercert")["serialNumber"])
            writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
        finally:
            writer.close()
        if not head.startswith("HTTP/1.1 200"):
            raise EOFError(head[:40] or "no answer")
        return body.strip()

    @asynccontextmanager
    async def _tcp(self) -> AsyncIterator[Say]:
        reader, writer = await asyncio.open_connection(self._address, self._app.ports["tcp"])

        async def say() -> str:
            writer.write(b"a\n")
            return _name((await reader.readline()).decode())

        try:
            yield say
        finally:
            writer.close()

    @asynccontextmanager
    async def _websocket(self) -> AsyncIterator[Say]:
        url = f"http://{self._address}:{self._app.ports['web']}/ws"
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(url, headers={"Host": self._app.host}) as socket,
        ):

            async def say() -> str:
                await socket.send_str("a")
                message = await socket.receive()
                return _name(message.data if message.type is aiohttp.WSMsgType.TEXT else "")

            yield say

    @asynccontextmanager
    async def _grpc_stream(self) -> AsyncIterator[Say]:
        async with self._channel() as channel:
            stream: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(ECHO)()

            async def say() -> str:
                await stream.write(b"a")
                return _name(_read(await stream.read()))

            yield say
            await stream.done_writing()

    def _channel(self) -> grpc.aio.Channel:
        """With a connection of its own."""
        options = (("grpc.use_local_subchannel_pool", 1),)
        return grpc.aio.insecure_channel(f"{self._address}:{self._app.ports['grpc']}", options)


async def _called(channel: grpc.aio.Channel) -> str:
    """A call of one message; returns the version that answered."""
    call: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(ECHO)()
    await call.write(b"a")
    answer = _name(_read(await call.read()))
    await call.done_writing()
    await call.read()  # its end
    return answer.split()[0]


def _read(message: Any) -> str:
    return message.decode() if isinstance(message, bytes) else ""


def _name(answer: str) -> str:
    """Raises EOFError where the stream has ended."""
    words = answer.split()
    if len(words) != 3:
        raise EOFError("it was closed")
    return " ".join(words[:2])
