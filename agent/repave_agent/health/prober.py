"""Asks hosts whether they are healthy, and remembers what they said.

`probe` asks once, `Prober` asks every host again and again. What is asked over HTTP is
`core/health_request.py`'s, and which answer is good `answer.py`'s. `core/host_health.py` counts the answers;
what follows from them is decided in `core/region.py`.
"""

import asyncio
import math
import zlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import assert_never

import structlog

from repave_agent.core.health_request import request_bytes, request_fault
from repave_agent.core.host_health import PASSED, Health, HealthRecord, ProbeResult, ProbeTarget
from repave_agent.core.ports import ProviderError
from repave_agent.health.answer import Answer
from repave_protos.daemon.endpoint import endpoint
from repave_protos.protocol.values import HostName, Probe

log = structlog.get_logger()

PROBES_IN_FLIGHT_MAX = 100
FIRST_INTERVAL_SECONDS = 0.02
INTERVAL_GROWTH = 1.5
SHORTEST_INTERVAL_SECONDS = 0.01
LISTENS_AFTER_SECONDS = 1.0
LISTENS_EVERY_SECONDS = 5.0
"""Looking where a host listens costs more than a probe."""

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
        where = endpoint(address, probe.port)
        text = f"connection refused: nothing listens on {where} (the host's $HOST:$PORT)"
        return ProbeResult(False, text, is_refused=True)
    except OSError as error:
        return ProbeResult(False, f"{_asked(probe, address)}: {error.strerror or error}")
    except ProviderError as error:
        return ProbeResult(False, str(error))


def _asked(probe: Probe, address: str) -> str:
    match probe.kind:
        case "http":
            return f"GET http://{endpoint(address, probe.port)}{probe.path}"
        case "tcp":
            return f"connection to {endpoint(address, probe.port)}"
        case "command":
            return f"command {' '.join(probe.command)!r}"
        case _:
            assert_never(probe.kind)


async def _probe_http(probe: Probe, address: str) -> ProbeResult:
    if fault := request_fault(probe):
        return ProbeResult(False, fault)
    answer = Answer(probe.expect_status)
    try:
        async with asyncio.timeout(probe.timeout_seconds):
            await _exchange(probe, address, answer)
    except TimeoutError:
        if not answer.is_begun:
            raise
        answer.time_out(probe.timeout_seconds)
    if not answer.fault:
        return PASSED
    body = f": {answer.excerpt}" if answer.excerpt else ""
    return ProbeResult(False, f"{_asked(probe, address)} {answer.fault}", body)


async def _exchange(probe: Probe, address: str, answer: Answer) -> None:
    """Returns when the answer is over."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()
    transport, _ = await loop.create_connection(
        lambda: _Exchange(over, request_bytes(probe), answer), address, probe.port
    )
    try:
        await over
    finally:
        transport.abort()


class _Exchange(asyncio.Protocol):
    """Sends one request and gives what comes back to `answer`, until that is over."""

    def __init__(self, over: asyncio.Future[None], request: bytes, answer: Answer) -> None:
        self._over, self._request, self._answer = over, request, answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._request)

    def data_received(self, received: bytes) -> None:
        self._answer.take(received)
        self._end_if_over()

    def connection_lost(self, error: Exception | None) -> None:
        self._answer.end("" if error is None else "and reset the connection")
        self._end_if_over()

    def _end_if_over(self) -> None:
        if self._answer.is_over and not self._over.done():
            self._over.set_result(None)


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


Listens = Callable[[HostName], Awaitable[str]]
"""Where a host's processes listen, in words that follow "nothing listens on ...". Raises ProviderError."""
Ask = Callable[[Probe, str, Execute], Awaitable[ProbeResult]]
"""One probe of the host at an address: `probe`, or that of a simulated fleet."""


# ------------------------------------------------------------------------------------------------ all hosts


@dataclass(slots=True)
class _Watched:
    """One host that is probed."""

    target: ProbeTarget
    record: HealthRecord
    began_at: float
    loop: asyncio.Task[None] | None = None
    listens: str = ""  # where its processes listen instead, in words
    looked_at: float = -math.inf  # when that was seen


class Prober:
    """Probes every watched host in its own rhythm. `clock` gives seconds and never goes back."""

    def __init__(
        self,
        clock: Callable[[], float],
        execute: Callable[[HostName, tuple[str, ...], float], Awaitable[int]],
        ask: Ask = probe,
        listens: Listens | None = None,
    ) -> None:
        self._clock = clock
        self._listens = listens
        self._execute = execute
        self._ask_once = ask
        self._watched: dict[HostName, _Watched] = {}
        self._targets: Mapping[HostName, ProbeTarget] | None = None
        self._slots = asyncio.Semaphore(PROBES_IN_FLIGHT_MAX)
        self._callbacks: list[Callable[[HostName], None]] = []
        self._leaving: set[asyncio.Task[None]] = set()

    def watch(self, host: HostName, address: str, probe: Probe) -> None:
        """Begins to probe a host. Repeatable; another address or probe begins with a fresh record."""
        self._watch(host, ProbeTarget(address, probe))

    def _watch(self, host: HostName, target: ProbeTarget) -> None:
        known = self._watched.get(host)
        if known is not None and known.target == target:
            known.target = target
            return
        self.forget(host)
        watched = self._watched[host] = _Watched(target, HealthRecord.of(target.probe), self._clock())
        watched.loop = asyncio.create_task(self._run(host, watched), name=f"probe {host}")

    def watch_only(self, targets: Mapping[HostName, ProbeTarget]) -> None:
        """Probes these hosts and no others. `targets` do not change: the same ones again are no work."""
        if targets is self._targets:
            return
        self._targets = targets
        for host in sorted(self._watched.keys() - targets.keys()):
            self.forget(host)
        for host, target in targets.items():
            known = self._watched.get(host)
            if known is None or known.target is not target:
                self._watch(host, target)

    def forget(self, host: HostName) -> None:
        """Ends the probing of a host. Repeatable."""
        self._targets = None
        watched = self._watched.pop(host, None)
        if watched is not None and watched.loop is not None:
            self._leaving.add(watched.loop)
            watched.loop.add_done_callback(self._leaving.discard)
            watched.loop.cancel()

    def record(self, host: HostName) -> HealthRecord | None:
        """What the host's probes have said; None when it is not watched."""
        watched = self._watched.get(host)
        return None if watched is None else watched.record

    def health(self, hosts: Iterable[HostName]) -> dict[HostName, Health]:
        """What the probes of those of these hosts that are watched have said so far."""
        watched = ((host, self._watched.get(host)) for host in hosts)
        return {host: Health(each.target, each.record) for host, each in watched if each is not None}

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
        if result.is_refused:
            result = replace(result, reason=result.reason + await self._elsewhere(host, watched))
        self._take(host, watched, result)

    async def _elsewhere(self, host: HostName, watched: _Watched) -> str:
        """Where a host that is silent listens instead, once it has had a moment, and not at every probe."""
        now = self._clock()
        is_due = now >= max(
            watched.began_at + LISTENS_AFTER_SECONDS, watched.looked_at + LISTENS_EVERY_SECONDS
        )
        if self._listens is not None and is_due:
            watched.looked_at = now
            try:
                watched.listens = await self._listens(host)
            except (ProviderError, TimeoutError) as error:
                log.info("host.listeners_not_seen", host=host, why=str(error))
        return watched.listens

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
