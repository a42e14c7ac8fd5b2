"""Asks hosts whether they are healthy, and remembers what they said.

`probe` asks once, `Prober` asks every host again and again. `core/host_health.py` counts the answers; what
follows from them is decided in `core/region.py`.
"""

import asyncio
import urllib.parse
import zlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import assert_never

import structlog

from repave_agent.core.host_health import PASSED, Health, HealthRecord, ProbeResult, ProbeTarget
from repave_agent.core.ports import ProviderError
from repave_protos.protocol.values import HostName, Probe

log = structlog.get_logger()

PROBES_IN_FLIGHT_MAX = 100
STATUS_LINE_BYTES_MAX = 1024
LINGER_SECONDS = 0.5
"""How long a host may go on with its answer after its first line. Hanging up at once would fill its log."""
LINGER_BYTES_MAX = 64 * 1024
FIRST_INTERVAL_SECONDS = 0.02
INTERVAL_GROWTH = 1.5
SHORTEST_INTERVAL_SECONDS = 0.01

Execute = Callable[[tuple[str, ...], float], Awaitable[int]]
"""Runs a command inside the host that is probed: (command, timeout_seconds) -> exit code."""


# ------------------------------------------------------------------------------------------------ one probe


async def probe(probe: Probe, address: str, execute: Execute) -> ProbeResult:
    """Asks one host once. Never raises for what a host or the network does: that is the answer."""
    try:
        match probe.kind:
            case "http":
                return await _probe_http(probe, address)
            case "tcp":
                return await _probe_tcp(probe, address)
            case "command":
                return await _probe_command(probe, execute)
            case _:
                assert_never(probe.kind)
    except TimeoutError:
        return ProbeResult(False, f"{_asked(probe, address)}: no answer within {probe.timeout_seconds:g} s")
    except ConnectionRefusedError:
        return ProbeResult(
            False, f"connection refused: nothing listens on {address}:{probe.port} (the host's $HOST:$PORT)"
        )
    except OSError as error:
        return ProbeResult(False, f"{_asked(probe, address)}: {error.strerror or error}")
    except ProviderError as error:
        return ProbeResult(False, str(error))


def _asked(probe: Probe, address: str) -> str:
    match probe.kind:
        case "http":
            return f"GET http://{address}:{probe.port}{probe.path}"
        case "tcp":
            return f"connection to {address}:{probe.port}"
        case "command":
            return f"command {' '.join(probe.command)!r}"
        case _:
            assert_never(probe.kind)


async def _probe_http(probe: Probe, address: str) -> ProbeResult:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(probe.timeout_seconds):
        _, status = await loop.create_connection(
            lambda: _StatusLine(loop, _request(probe, address)), address, probe.port
        )
        try:
            line = await status.line
        finally:
            status.let_go()
    return _judge_status(line, probe, address)


def _request(probe: Probe, address: str) -> bytes:
    path = urllib.parse.quote(probe.path, safe="/?&=%:@+,;~!$'()*-._#")  # no blanks, no line ends
    return (
        f"GET {path} HTTP/1.1\r\nHost: {address}:{probe.port}\r\nUser-Agent: repave-agent\r\n"
        "Accept: */*\r\nConnection: close\r\n\r\n"
    ).encode("ascii")


def _judge_status(line: bytes, probe: Probe, address: str) -> ProbeResult:
    parts = line.split(None, 2)
    if len(parts) < 2 or not parts[0].startswith(b"HTTP/1.") or not parts[1].isdigit():
        what = f"{line[:40].decode('latin-1')!r}, which is not HTTP/1.1" if line else "nothing and hung up"
        return ProbeResult(False, f"{_asked(probe, address)} answered {what}")
    if int(parts[1]) == probe.expect_status:
        return PASSED
    answered = f"answered {int(parts[1])}, expected {probe.expect_status}"
    return ProbeResult(False, f"{_asked(probe, address)} {answered}")


class _StatusLine(asyncio.Protocol):
    """Sends one request and takes the first line of the answer; the rest is read and thrown away."""

    def __init__(self, loop: asyncio.AbstractEventLoop, request: bytes) -> None:
        self.line: asyncio.Future[bytes] = loop.create_future()
        self._loop = loop
        self._request = request
        self._received = b""
        self._thrown_away = 0
        self._transport: asyncio.Transport | None = None
        self._hang_up: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self.line.done():
            self._thrown_away += len(data)
            if self._thrown_away > LINGER_BYTES_MAX and self._transport is not None:
                self._transport.abort()
            return
        self._received += data
        if b"\n" in self._received or len(self._received) > STATUS_LINE_BYTES_MAX:
            self.line.set_result(self._received.partition(b"\n")[0].rstrip())

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self._hang_up is not None:
            self._hang_up.cancel()
        if self.line.done():
            return
        if error is None:
            self.line.set_result(self._received)
        else:
            self.line.set_exception(error)

    def let_go(self) -> None:
        """Hangs up: at once without an answer, else a little later so that the host can end its answer."""
        if self._transport is None:
            return
        if not self.line.done() or self.line.cancelled():
            self._transport.abort()
        else:
            self._hang_up = self._loop.call_later(LINGER_SECONDS, self._transport.abort)


async def _probe_tcp(probe: Probe, address: str) -> ProbeResult:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(probe.timeout_seconds):
        transport, _ = await loop.create_connection(asyncio.Protocol, address, probe.port)
    transport.close()
    return PASSED


async def _probe_command(probe: Probe, execute: Execute) -> ProbeResult:
    code = await execute(probe.command, probe.timeout_seconds)
    if code == 0:
        return PASSED
    return ProbeResult(False, f"{_asked(probe, '')} ended with exit code {code}, expected 0")


Ask = Callable[[Probe, str, Execute], Awaitable[ProbeResult]]
"""One probe of the host at an address: `probe`, or that of a simulated fleet."""


# ------------------------------------------------------------------------------------------------ all hosts


@dataclass(slots=True)
class _Watched:
    """One host that is probed."""

    target: ProbeTarget
    record: HealthRecord
    loop: asyncio.Task[None] | None = None


class Prober:
    """Probes every watched host in its own rhythm. `clock` gives seconds and never goes back."""

    def __init__(
        self,
        clock: Callable[[], float],
        execute: Callable[[HostName, tuple[str, ...], float], Awaitable[int]],
        ask: Ask = probe,
    ) -> None:
        self._clock = clock
        self._execute = execute
        self._ask_once = ask
        self._watched: dict[HostName, _Watched] = {}
        self._slots = asyncio.Semaphore(PROBES_IN_FLIGHT_MAX)
        self._callbacks: list[Callable[[HostName], None]] = []
        self._leaving: set[asyncio.Task[None]] = set()

    def watch(self, host: HostName, address: str, probe: Probe) -> None:
        """Begins to probe a host. Repeatable; another address or probe begins with a fresh record."""
        target = ProbeTarget(address, probe)
        known = self._watched.get(host)
        if known is not None and known.target == target:
            return
        self.forget(host)
        watched = self._watched[host] = _Watched(target, HealthRecord.of(probe))
        watched.loop = asyncio.create_task(self._run(host, watched), name=f"probe {host}")

    def watch_only(self, targets: Mapping[HostName, ProbeTarget]) -> None:
        """Probes these hosts and no others."""
        for host in sorted(self._watched.keys() - targets.keys()):
            self.forget(host)
        for host, target in targets.items():
            self.watch(host, target.address, target.probe)

    def forget(self, host: HostName) -> None:
        """Ends the probing of a host. Repeatable."""
        watched = self._watched.pop(host, None)
        if watched is not None and watched.loop is not None:
            self._leaving.add(watched.loop)
            watched.loop.add_done_callback(self._leaving.discard)
            watched.loop.cancel()

    def record(self, host: HostName) -> HealthRecord | None:
        """What the host's probes have said; None when it is not watched."""
        watched = self._watched.get(host)
        return None if watched is None else watched.record

    def health(self) -> dict[HostName, Health]:
        """What the probes of every watched host have said so far."""
        return {host: Health(watched.target, watched.record) for host, watched in self._watched.items()}

    def on_change(self, callback: Callable[[HostName], None]) -> None:
        """Calls `callback` whenever a host turns healthy or unhealthy, or its reason is another one."""
        self._callbacks.append(callback)

    async def close(self) -> None:
        """Ends all probing."""
        for host in tuple(self._watched):
            self.forget(host)
        await asyncio.gather(*self._leaving, return_exceptions=True)

    async def _run(self, host: HostName, watched: _Watched) -> None:
        """The life of one probed host: soon and often until it was healthy once, then in even intervals."""
        interval = max(SHORTEST_INTERVAL_SECONDS, watched.target.probe.interval_seconds)
        phase = phase_of(host)
        pause = min(FIRST_INTERVAL_SECONDS, interval) * phase
        was_steady = False
        while True:
            await asyncio.sleep(pause)
            await self._ask(host, watched)
            if watched.record.was_ever_healthy:  # the first even pause is cut short: hosts drift apart
                pause = interval if was_steady else interval * phase
                was_steady = True
            else:
                pause = min(interval, max(FIRST_INTERVAL_SECONDS, pause * INTERVAL_GROWTH))

    async def _ask(self, host: HostName, watched: _Watched) -> None:
        async def execute(command: tuple[str, ...], timeout_seconds: float) -> int:
            return await self._execute(host, command, timeout_seconds)

        try:
            async with self._slots:
                result = await self._ask_once(watched.target.probe, watched.target.address, execute)
        except Exception as error:  # the root of this host's task: a bug here must not end the probing
            log.exception("probe.crashed", host=host)
            result = ProbeResult(False, f"the agent could not probe: {type(error).__name__}: {error}")
        self._take(host, watched, result)

    def _take(self, host: HostName, watched: _Watched, result: ProbeResult) -> None:
        before, watched.record = watched.record, watched.record.after(result, self._clock())
        after = watched.record
        if before.is_healthy != after.is_healthy:
            log.info("host.healthy" if after.is_healthy else "host.unhealthy", host=host, reason=after.reason)
        if (before.is_healthy, before.reason) == (after.is_healthy, after.reason):
            return
        for callback in self._callbacks:
            callback(host)


def phase_of(host: HostName) -> float:
    """A host's place in the interval, 0..1, from its name: a thousand hosts do not probe at once."""
    return zlib.crc32(host.encode()) / 2**32
