"""Carries bytes between agent and controller over gRPC: options, addresses, reconnect delays, links.

Knows no message: sessions speak over any Link. Without TLS plaintext, and therefore only on loopback. With it
both ends show a certificate, and what the agent's says goes with its link.
"""

import asyncio
import ipaddress
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Protocol, TypeVar
from urllib.parse import unquote

import grpc
import grpc.aio

from repave_protos.daemon.peers import peer_of
from repave_protos.protocol import wire
from repave_protos.protocol.certificates import CONTROLLER_NAME

MESSAGE_BYTES_MAX = 16 * 1024 * 1024
PATIENCE_SECONDS = 5.0
"""How long an agent waits for an answer on a link that it knows nothing of."""
PATIENCE_MAX_SECONDS = 60.0
BEAT_SECONDS = 1.5
"""So often an agent is to say that it is there."""
PENDING_STREAMS_MAX = 20_000  # streams not yet taken up; at gRPC's own 1,000 a herd of agents is reset
PENDING_STREAMS_HARD_MAX = 40_000
STREAMS_OF_ONE_PEER_MAX = 1_000
"""Agents at one address that is not this machine's; behind a NAT, all of them."""

Options = tuple[tuple[str, int | str], ...]

_BOTH_OPTIONS: Options = (
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
)
CLIENT_OPTIONS: Options = (
    *_BOTH_OPTIONS,
    ("grpc.use_local_subchannel_pool", 1),  # each dial is a fresh connection, without another's backoff
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
)
SERVER_OPTIONS: Options = (
    *_BOTH_OPTIONS,
    # Agents of this version say Beat, and are missed much sooner; others are noticed after 20 + 10 s.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),  # without it gRPC 1.85 waits 60 s for a frozen peer (measured)
    # By default a client that pings more often than every 300 s is sent away with too_many_pings.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 1_000),
    # Pings that a busy machine held up arrive together; an agent is not sent away for that (seen).
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.server.max_pending_requests", PENDING_STREAMS_MAX),
    ("grpc.server.max_pending_requests_hard_limit", PENDING_STREAMS_HARD_MAX),
    # Connections that never speak HTTP/2, or hold no stream, give their descriptors back.
    ("grpc.server_handshake_timeout_ms", 60_000),
    ("grpc.max_connection_idle_ms", 60_000),
    ("grpc.so_reuseport", 0),  # a second controller on the port is an error, not half of the agents
)

Call = grpc.aio.StreamStreamCall[bytes, bytes]
Context = grpc.aio.ServicerContext[bytes, bytes]
Value = TypeVar("Value")


class InsecureAddressError(ValueError):
    """The address can be reached from elsewhere, and plaintext must not be spoken there."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A certificate with its chain and key, and the authorities that the other end is to be of. All PEM."""

    key: str
    chain: str
    authorities: str


class Link(Protocol):
    """One stream, bytes in and out: the same as the agent's port of this name."""

    async def send(self, message: bytes) -> None:
        """Raises ConnectionError when the stream is gone. Only one caller at a time."""

    def receive(self) -> AsyncIterator[bytes]:
        """Messages until the stream ends. Raises ConnectionError."""

    async def close(self) -> None: ...


# ------------------------------------------------------------------------------------------------ addresses


def loopback_only(address: str, setting: str) -> tuple[str, int]:
    """Host and port of `address` (host:port, [::1]:port), which must stay on this machine.

    `setting` names where the address came from. Raises InsecureAddressError when others could reach it,
    ValueError when it is no address.
    """
    host, port = split_address(address, setting)
    if host != "localhost" and not is_loopback(host):
        raise InsecureAddressError(
            f"{setting}: {address} is not a loopback address, and without TLS agents and controller speak "
            f"plaintext only on loopback; set tls.enabled = true at the controller and let agents join "
            f"(repave agents join), or use 127.0.0.1:{port} and reach it from elsewhere by an SSH tunnel "
            f"(ssh -L {port}:127.0.0.1:{port} HOST)"
        )
    return host, port


def address_of(address: str, setting: str, *, is_secured: bool) -> tuple[str, int]:
    """Host and port; without TLS as loopback_only. Raises ValueError."""
    return split_address(address, setting) if is_secured else loopback_only(address, setting)


def split_address(address: str, setting: str) -> tuple[str, int]:
    """Host and port of host:port, [::1]:port. Raises ValueError."""
    host, colon, port = address.rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    if is_bracketed:
        host = host[1:-1]
    is_number = port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65_535
    if not colon or not host or not is_number or "/" in host or (":" in host and not is_bracketed):
        raise ValueError(
            f"{setting}: {address!r} is no address; give host:port, for example 127.0.0.1:7443 or [::1]:7443"
        )
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether an address stays on this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name: it may resolve elsewhere tomorrow


def join(host: str, port: int) -> str:
    """host:port as it is dialled and shown."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def full_jitter(attempt: int, chance: float, base_seconds: float = 0.1, cap_seconds: float = 5.0) -> float:
    """How long to wait before reconnect number `attempt` (from 0): a `chance` (0..1) of a growing delay.

    Spreads a herd evenly over the whole delay ("Exponential Backoff and Jitter", AWS Architecture Blog).
    """
    return chance * min(cap_seconds, base_seconds * 2.0 ** min(attempt, 60))


# ------------------------------------------------------------------------------------------- the agent's end


class Late(ConnectionError):
    """No answer in time: the other end is away, or the link is slower than was thought."""


async def dial(
    address: str,
    setting: str = "the controller's address",
    patience_seconds: float = PATIENCE_SECONDS,
    shown: Shown | None = None,
) -> Link:
    """A fresh connection and stream to the controller. Raises ConnectionError, or as address_of.

    `patience_seconds`: how long the controller may take to answer, now and later. One that is silent for
    longer has vanished, and the link ends. `shown`: the agent's certificate, for TLS.
    """
    target = join(*address_of(address, setting, is_secured=shown is not None))
    async with AsyncExitStack() as undo:
        channel = _open_channel(target, patience_seconds, shown)
        undo.push_async_callback(channel.close)
        call: Call = channel.stream_stream(wire.METHOD_PATH)()
        await _answered(call, target, patience_seconds)
        undo.pop_all()
    return _DialledLink(channel, call)


def _open_channel(target: str, patience_seconds: float, shown: Shown | None) -> grpc.aio.Channel:
    options = (*CLIENT_OPTIONS, *keepalive(patience_seconds))
    if shown is None:
        return grpc.aio.insecure_channel(target, options=options)
    credentials = grpc.ssl_channel_credentials(
        shown.authorities.encode(), shown.key.encode(), shown.chain.encode()
    )
    named = ("grpc.ssl_target_name_override", CONTROLLER_NAME)
    return grpc.aio.secure_channel(target, credentials, options=(*options, named))


def keepalive(patience_seconds: float) -> Options:
    """A peer that says nothing for that long, and answers no ping, is taken for gone: 5 s are a ping after
    2 s, and 3 s for its answer."""
    time_ms = int(patience_seconds * 400)
    timeout_ms = int(patience_seconds * 1000) - time_ms
    return (
        ("grpc.keepalive_time_ms", time_ms),
        ("grpc.keepalive_timeout_ms", timeout_ms),
        ("grpc.http2.ping_timeout_ms", timeout_ms),
    )


async def _answered(call: Call, target: str, timeout_seconds: float) -> None:
    """Waits for the controller's first headers: they prove that it is one, and that it listens."""
    try:
        async with asyncio.timeout(timeout_seconds):
            await call.initial_metadata()
            if call.done():
                raise await _ended(call)
    except TimeoutError as error:
        raise Late(f"no answer from {target} within {timeout_seconds:g} s") from error
    except grpc.aio.AioRpcError as error:
        raise ConnectionError(_reason(error.code(), error.details())) from error


async def _ended(call: Call) -> ConnectionError:
    return ConnectionError(_reason(await call.code(), await call.details()))


def _reason(code: grpc.StatusCode, details: str | None) -> str:
    if details is not None and "CERTIFICATE_VERIFY_FAILED" in details:
        return (
            "the controller there is not of the authority that this agent joined, or its certificate has "
            "expired: check the address and the clocks of both machines; if the authority was replaced, join "
            "again"
        )
    return f"{code.name.lower()}: {details}" if details else code.name.lower()


class _DialledLink:
    """A stream that this end opened; the connection is its own."""

    def __init__(self, channel: grpc.aio.Channel, call: Call) -> None:
        self._channel = channel
        self._call = call

    async def send(self, message: bytes) -> None:
        await self._guarded(self._call.write(message))

    async def receive(self) -> AsyncIterator[bytes]:
        while isinstance(message := await self._guarded(self._call.read()), bytes):  # else: grpc.aio.EOF
            yield message

    async def close(self) -> None:
        self._call.cancel()
        await self._channel.close()

    async def _guarded(self, operation: Awaitable[Value]) -> Value:
        """gRPC tells of an ended stream in three ways; one of them looks like a cancelled task."""
        try:
            return await operation
        except grpc.aio.AioRpcError as error:
            raise ConnectionError(_reason(error.code(), error.details())) from error
        except asyncio.InvalidStateError as error:
            raise await _ended(self._call) from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise ConnectionError("the stream was closed at this end") from None


# -------------------------------------------------------------------------------------- the controller's end


Serve = Callable[[Link, bytes | None], Awaitable[None]]


def bind(
    serve: Serve, address: str, setting: str, shown: Callable[[], Shown] | None = None
) -> tuple[grpc.aio.Server, int]:
    """A server that runs `serve` for each stream, not yet started, and its port (asked with 0: a free one).

    `serve` gets the agent's certificate (PEM), None over plaintext; the stream ends when it returns. `shown`
    is asked for the controller's certificate at each connection. Raises OSError when the port is taken, or as
    address_of.
    """
    target = join(*address_of(address, setting, is_secured=shown is not None))
    server = grpc.aio.server(options=SERVER_OPTIONS)

    streams: Counter[str] = Counter()

    async def connect(_: object, context: Context) -> None:
        certificates = list(context.auth_context().get("x509_pem_cert", ()))
        if shown is not None and len(certificates) != 1:  # gRPC asks for one: this is never reached
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "show the certificate of an agent")
        peer = _peer_of(context.peer())
        if peer and streams[peer] >= STREAMS_OF_ONE_PEER_MAX:
            text = f"{peer} has {STREAMS_OF_ONE_PEER_MAX} streams already; that is the limit of one address"
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, text)
        streams[peer] += 1
        try:
            await context.send_initial_metadata(())
            await serve(_ServedLink(context), certificates[0] if certificates else None)
        finally:
            streams.subtract([peer])
            if not streams[peer]:
                del streams[peer]

    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(connect)
    service = grpc.method_handlers_generic_handler(wire.SERVICE_NAME, {wire.METHOD_NAME: handler})
    server.add_generic_rpc_handlers((service,))
    try:
        port = _listen(server, target, shown)
    except RuntimeError as error:
        raise OSError(f"{setting}: can't listen on {target}; is another controller running there?") from error
    return server, port


def _peer_of(said: str) -> str:
    """gRPC says `ipv4:10.0.0.1:5555` and `ipv6:%5B2001:db8::1%5D:5555`."""
    address = unquote(said.partition(":")[2]).rpartition(":")[0]
    return peer_of(address.removeprefix("[").removesuffix("]"))


def _listen(server: grpc.aio.Server, target: str, shown: Callable[[], Shown] | None) -> int:
    if shown is None:
        return server.add_insecure_port(target)

    known = shown()
    credentials = grpc.dynamic_ssl_server_credentials(
        _configuration(known),
        changes_of(shown, known),  # type: ignore[arg-type]  # None is documented there, and not in its types
        require_client_authentication=True,
    )
    return server.add_secure_port(target, credentials)


def changes_of(
    shown: Callable[[], Shown], known: Shown
) -> Callable[[], grpc.ServerCertificateConfiguration | None]:
    """Asked at each connection: what is shown from now on, None while that is the same.

    gRPC 1.85 replaces what it has without a lock. When that was done at each connection, twenty clients that
    left in the middle of their handshakes ended the process ("Check failed: prior > 0").
    """

    def changed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal known
        now = shown()
        if now == known:
            return None
        known = now
        return _configuration(now)

    return changed


def _configuration(shown: Shown) -> grpc.ServerCertificateConfiguration:
    pair = (shown.key.encode(), shown.chain.encode())
    return grpc.ssl_server_certificate_configuration([pair], shown.authorities.encode())


class _ServedLink:
    """A stream that the other end opened."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def send(self, message: bytes) -> None:
        try:
            await self._context.write(message)
        except (grpc.RpcError, grpc.aio.BaseError, asyncio.InvalidStateError) as error:
            raise ConnectionError(f"the stream is gone: {error}") from error

    async def receive(self) -> AsyncIterator[bytes]:
        while isinstance(message := await self._context.read(), bytes):  # else: grpc.aio.EOF
            yield message

    async def close(self) -> None:
        """Nothing to do: the stream ends when its handler returns."""
