"""Applications with every kind of front on a real HAProxy, and real clients of each kind."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import grpc
import grpc.aio

from repave_agent.balancers.haproxy.balancer import HaproxyBalancer
from repave_agent.core.certificates import NoCertificates, WantedCertificate
from repave_agent.core.ports import Backend, Frontend, Route, Server, Structure
from repave_protos.protocol.certificate_places import CertificateReference
from repave_protos.protocol.fronts import TrafficFront
from repave_protos.protocol.values import BY_REQUEST, ApplicationName, GroupName, HostName, Probe, Split
from tests.fakes.agent.haproxy_rig import HaproxyRig
from tests.support.certificates import TestAuthority

ECHO = "/chat.Chat/Echo"
WEBSOCKET = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
KINDS = {"http": "http", "https": "http", "grpc": "grpc", "tcp": "tcp"}
PASSED_THROUGH = "passed"
"""The name of a front of TCP whose hosts speak TLS themselves."""
ON_FILE = CertificateReference("file", "/etc/tls/any.pem")


@dataclass
class Host:
    """Answers by its name at a port for each kind: HTTP/1.1 and health, lines of TCP, the same through TLS
    with a certificate of its own, and streams of gRPC."""

    name: str
    tls: ssl.SSLContext
    address: str = "127.0.0.1"
    ports: dict[str, int] = field(default_factory=dict)
    heads: list[bytes] = field(default_factory=list)
    waiting: int = 0
    _servers: list[asyncio.Server] = field(default_factory=list)
    _rpc: grpc.aio.Server | None = None

    async def start(self) -> None:
        """At ports that are free, but for those that it was made with."""
        for kind, answer in {"http": self._http, "tcp": self._tcp, "tls": self._tcp}.items():
            port, tls = self.ports.get(kind, 0), self.tls if kind == "tls" else None
            self._servers.append(await asyncio.start_server(answer, self.address, port, ssl=tls))
            self.ports[kind] = self._servers[-1].sockets[0].getsockname()[1]
        self._rpc = grpc.aio.server()
        handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(self._echo)
        handlers = grpc.method_handlers_generic_handler("chat.Chat", {"Echo": handler})
        self._rpc.add_generic_rpc_handlers((handlers,))
        port = self.ports.get("grpc", 0)
        self.ports["grpc"] = self._rpc.add_insecure_port(f"{self.address}:{port}")
        await self._rpc.start()

    async def stop(self) -> None:
        for server in self._servers:
            server.close()
        assert self._rpc is not None
        await self._rpc.stop(0)

    async def _http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A websocket's handshake opens a tunnel in which every line comes back with the host's name."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            writer.close()
            return
        if b" /health" not in head:
            self.heads.append(head)
        if b"upgrade: websocket" in head.lower():
            writer.write(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
            )
            await self._tcp(reader, writer)
            return
        body = f"{self.name}\n".encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
        writer.write(head + body)
        writer.close()

    async def _tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(f"{self.name} ".encode() + line)
        finally:
            writer.close()

    async def _echo(self, messages: AsyncIterator[bytes], _: object) -> AsyncIterator[bytes]:
        async for message in messages:
            yield f"{self.name} ".encode() + message


class Folder(NoCertificates):
    """Certificates that a test has put there."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    async def lacks(self, wanted: Sequence[WantedCertificate]) -> str:
        return ""

    async def provide(self, wanted: Sequence[WantedCertificate]) -> Mapping[ApplicationName, str]:
        return {}


@dataclass
class FrontSite:
    """A balancer, and applications with a blue and a green host each."""

    rig: HaproxyRig
    balancer: HaproxyBalancer
    certificates: Path
    authority: TestAuthority
    hosts: dict[str, Host] = field(default_factory=dict)
    structure: Structure = field(default_factory=Structure)
    routes: tuple[Route, ...] = ()

    async def add(
        self,
        application: str,
        *fronts: TrafficFront,
        has_certificates: bool = True,
        split: Split = BY_REQUEST,
        blue: int = 1,
    ) -> None:
        """`to` of each front is replaced by the port of its kind. `blue`: hosts of the first group."""
        backends = []
        for version, side, count in ((1, "blue", blue), (2, "green", 1)):
            hosts = [host async for host in self._started(application, side, count)]
            ports = hosts[0].ports
            own = tuple(replace(each, to=ports[_kind(each)]) for each in fronts)
            servers = tuple(Server(HostName(each.name), each.address, ports["http"]) for each in hosts)
            probe = Probe("http", ports["http"], "/health")
            backends.append(Backend(GroupName(f"{application}-v{version:03}"), servers, probe, fronts=own))
        frontend = Frontend(ApplicationName(application), fronts[0].port, split, fronts=fronts)
        for front in fronts:
            if front.certificate is not None and has_certificates:
                self.issue(application, front)
        wanted = Structure((*self.structure.frontends, frontend), (*self.structure.backends, *backends))
        await self.balancer.arrange(wanted)
        self.structure = wanted
        await self.switch(application, 1)

    async def _started(self, application: str, side: str, count: int) -> AsyncIterator[Host]:
        """Hosts of one group have addresses of their own, and the same ports."""
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(
            *self.authority.issue(
                self.certificates, name=f"{application}-{side}", dns=f"{application}.example"
            )
        )
        ports: dict[str, int] = {}
        for number in range(1, count + 1):
            name = f"{application}-{side}" + (f"-{number}" if count > 1 else "")
            host = self.hosts[name] = Host(name, tls, f"127.0.0.{number}", dict(ports))
            await host.start()
            ports = host.ports
            yield host

    def issue(self, application: str, front: TrafficFront) -> None:
        files = self.authority.issue(self.certificates, name=f"{application}.{front.name}", dns=front.host)
        files[0].write_text(files[0].read_text() + files[1].read_text())

    async def switch(self, application: str, version: int) -> None:
        await self.steer(Route(ApplicationName(application), GroupName(f"{application}-v{version:03}")))

    async def steer(self, route: Route) -> None:
        """The application's; others stay."""
        self.routes = (*(each for each in self.routes if each.application != route.application), route)
        await self.balancer.route(self.routes)

    async def remove(self, group: str) -> None:
        kept = tuple(each for each in self.structure.backends if each.group != group)
        self.structure = replace(self.structure, backends=kept)
        await self.balancer.arrange(self.structure)

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self.authority.pem)


@asynccontextmanager
async def connected(
    port: int, host: str = "", trust: ssl.SSLContext | None = None, source: str = "127.0.0.1"
) -> AsyncIterator["Line"]:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1",
        port,
        ssl=trust,
        server_hostname=host if trust is not None else None,
        local_addr=(source, 0),
    )
    try:
        yield Line(reader, writer)
    finally:
        writer.close()


def _kind(front: TrafficFront) -> str:
    return "tls" if front.name == PASSED_THROUGH else KINDS[front.protocol]


def call(channel: grpc.aio.Channel) -> grpc.aio.StreamStreamCall[bytes, bytes]:
    made: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(ECHO)()
    return made


@dataclass
class Line:
    """A connection on which each line has its answer."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def say(self, text: str) -> str:
        self.writer.write(f"{text}\n".encode())
        return (await self.reader.readline()).decode().strip()

    async def ask(self, path: str = "/", host: str = "test", headers: str = "") -> tuple[int, str, str]:
        """Status, head and body of the answer to one request."""
        self.writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n".encode())
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        lengths = [
            line.split(":")[1] for line in head.lower().splitlines() if line.startswith("content-length")
        ]
        body = await self.reader.readexactly(int(lengths[0])) if lengths else b""
        return int(head.split()[1]), head, body.decode().strip()


async def get(
    port: int, path: str = "/", host: str = "test", trust: ssl.SSLContext | None = None, headers: str = ""
) -> str:
    """The body, or the status where that is not 200."""
    async with connected(port, host, trust) as line:
        status, _, body = await line.ask(path, host, headers)
        return body if status == 200 else str(status)
