"""Asks hosts whether they are healthy, and remembers what they said.

`probe` asks once, `Prober` asks every host again and again, without a task for each. What is asked over HTTP
is `core/health_request.py`'s, over which socket `exchange.py`'s, and which answer is good `answer.py`'s.
`core/host_health.py` counts the answers; what follows from them is decided in `core/region.py`.
"""

import asyncio
import math
import socket
import zlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice

import structlog

from repave_agent.core.host_health import (
    PASSED,
    SAMPLES_MAX,
    Health,
    HealthRecord,
    ProbeResult,
    ProbeTarget,
    Sample,
)
from repave_agent.core.ports import ProviderError
from repave_agent.health.exchange import (
    Exchange,
    Exchanges,
    Question,
    asked,
    failure,
    is_numeric,
    question_of,
    too_late,
)
from repave_protos.protocol.values import HostName, Probe, ProbeSample

log = structlog.get_logger()

PROBES_IN_FLIGHT_MAX = 100
FIRST_INTERVAL_SECONDS = 0.02
INTERVAL_GROWTH = 1.5
SHORTEST_INTERVAL_SECONDS = 0.01
LISTENS_AFTER_SECONDS = 1.0
LISTENS_EVERY_SECONDS = 5.0
"""Looking where a host listens costs more than a probe."""
GRID_SECONDS = 0.02
"""Steady hosts fall due at multiples of it, many at once: a tenth of their interval at most."""

Execute = Callable[[tuple[str, ...], float], Awaitable[int]]
"""Runs a command inside the host that is probed: (command, timeout_seconds) -> exit code."""


# ------------------------------------------------------------------------------------------------ one probe


async def probe(probe: Probe, address: str, execute: Execute) -> ProbeResult:
    """Asks one host once. Never raises for what a host or the network does: that is the answer."""
    try:
        if probe.kind == "command":
            return await _probe_command(probe, execute)
        return await _probe_named(probe, address)
    except TimeoutError:
        return too_late(probe, address)
    except OSError as error:
        return failure(error, probe, address)
    except ProviderError as error:
        return ProbeResult(False, str(error))


async def _probe_named(probe: Probe, address: str) -> ProbeResult:
    """At each of the addresses that the name has, until one is reached."""
    if is_numeric(address):
        return await _probe_at(probe, address)
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(probe.timeout_seconds):
        found = await loop.getaddrinfo(address, probe.port, type=socket.SOCK_STREAM)
    result = ProbeResult(False, f"{asked(probe, address)}: the name has no address")
    for *_, place in found:
        result = await _probe_at(probe, str(place[0]))
        if not result.is_refused:
            return result
    return result


async def _probe_at(probe: Probe, address: str) -> ProbeResult:
    loop = asyncio.get_running_loop()
    result: asyncio.Future[ProbeResult] = loop.create_future()
    exchanges = Exchanges(loop)
    try:
        exchanges.begin(question_of(probe, address), result.set_result)
        return await result
    finally:
        exchanges.close()


async def _probe_command(probe: Probe, execute: Execute) -> ProbeResult:
    code = await execute(probe.command, probe.timeout_seconds)
    if code == 0:
        return PASSED
    return ProbeResult(False, f"{asked(probe, '')} ended with exit code {code}, expected 0")


Listens = Callable[[HostName], Awaitable[str]]
"""Where a host's processes listen, in words that follow "nothing listens on ...". Raises ProviderError."""
Ask = Callable[[Probe, str, Execute], Awaitable[ProbeResult]]
"""One probe of the host at an address: `probe`, or that of a simulated fleet."""


# ------------------------------------------------------------------------------------------------ all hosts


@dataclass(slots=True, eq=False)
class _Watched:
    """One host that is probed: it waits for its timer, or is being asked."""

    host: HostName
    target: ProbeTarget
    record: HealthRecord
    began_at: float
    pause: float
    question: Question | None  # what it can be asked without a task
    was_steady: bool = False
    is_over: bool = False
    timer: asyncio.TimerHandle | None = None
    exchange: Exchange | None = None
    task: asyncio.Task[None] | None = None
    listens: str = ""  # where its processes listen instead, in words
    looked_at: float = -math.inf  # when that was seen
    asked_at: float = 0.0
    samples: deque[Sample] = field(default_factory=partial(deque, maxlen=SAMPLES_MAX))

    @property
    def interval(self) -> float:
        return max(SHORTEST_INTERVAL_SECONDS, self.target.probe.interval_seconds)


class Prober:
    """Probes every watched host in its own rhythm. `clock` gives seconds and never goes back. `ask`: another
    way than by sockets of its own. `heard` is told of every probe."""

    def __init__(
        self,
        clock: Callable[[], float],
        execute: Callable[[HostName, tuple[str, ...], float], Awaitable[int]],
        ask: Ask | None = None,
        listens: Listens | None = None,
        heard: Callable[[Probe, ProbeResult], object] = lambda *_: None,
    ) -> None:
        self._clock = clock
        self._listens = listens
        self._execute = execute
        self._ask_otherwise = ask
        self._heard = heard
        self._watched: dict[HostName, _Watched] = {}
        self._targets: Mapping[HostName, ProbeTarget] | None = None
        self._exchanges: Exchanges | None = None  # once there is one
        self._in_flight = 0
        self._waiting: deque[_Watched] = deque()  # for their turn
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
        record, question = HealthRecord.of(target.probe), None
        if self._ask_otherwise is None and target.probe.kind != "command" and is_numeric(target.address):
            question = question_of(target.probe, target.address)
        watched = _Watched(host, target, record, self._clock(), 0.0, question)
        watched.pause = min(FIRST_INTERVAL_SECONDS, watched.interval) * phase_of(host)
        self._watched[host] = watched
        self._wait(watched)

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
        if watched is None:
            return
        watched.is_over = True
        if watched.timer is not None:
            watched.timer.cancel()
        if watched.exchange is not None and self._exchanges is not None:
            self._exchanges.cancel(watched.exchange)
            watched.exchange = None
            self._give_turn()
        if watched.task is not None:
            self._leaving.add(watched.task)
            watched.task.add_done_callback(self._leaving.discard)
            watched.task.cancel()

    def record(self, host: HostName) -> HealthRecord | None:
        """What the host's probes have said; None when it is not watched."""
        watched = self._watched.get(host)
        return None if watched is None else watched.record

    def health(self, hosts: Iterable[HostName]) -> dict[HostName, Health]:
        """What the probes of those of these hosts that are watched have said so far."""
        watched = ((host, self._watched.get(host)) for host in hosts)
        return {host: Health(each.target, each.record) for host, each in watched if each is not None}

    def samples(self, host: HostName, count: int) -> tuple[ProbeSample, ...]:
        """The last ones of a host that is watched, the newest first."""
        watched, now = self._watched.get(host), self._clock()
        if watched is None or count <= 0:
            return ()
        newest = islice(reversed(watched.samples), count)
        return tuple(each.told(watched.target.probe, now) for each in newest)

    def on_change(self, callback: Callable[[HostName], None]) -> None:
        """Calls `callback` whenever a host turns healthy or unhealthy, or its reason is another one."""
        self._callbacks.append(callback)

    async def close(self) -> None:
        """Ends all probing."""
        for host in tuple(self._watched):
            self.forget(host)
        if self._exchanges is not None:
            self._exchanges.close()
            self._exchanges = None
        await asyncio.gather(*self._leaving, return_exceptions=True)

    # ---------------------------------------------------------------------------------- one host's rhythm

    def _wait(self, watched: _Watched) -> None:
        """For its turn. Steady hosts fall due at common moments, so that one wake of the loop begins many."""
        pause = watched.pause
        if watched.was_steady and pause >= GRID_SECONDS * 10:
            due_at = self._clock() + pause
            pause += math.ceil(due_at / GRID_SECONDS) * GRID_SECONDS - due_at
        watched.timer = asyncio.get_running_loop().call_later(pause, self._fall_due, watched)

    def _fall_due(self, watched: _Watched) -> None:
        watched.timer = None
        if self._in_flight < PROBES_IN_FLIGHT_MAX:
            self._begin(watched)
        else:
            self._waiting.append(watched)

    def _begin(self, watched: _Watched) -> None:
        self._in_flight += 1
        watched.asked_at = self._clock()
        if watched.question is None:
            watched.task = asyncio.create_task(self._ask(watched), name=f"probe {watched.host}")
            return
        if self._exchanges is None:
            self._exchanges = Exchanges(asyncio.get_running_loop())
        try:
            watched.exchange = self._exchanges.begin(watched.question, partial(self._answered, watched))
        except Exception as error:  # the root of this probe: a bug here must not end the probing
            self._answered(watched, _crashed(watched.host, error))

    def _give_turn(self) -> None:
        """One is no longer being asked: the next one that waits is."""
        self._in_flight -= 1
        while self._waiting and self._in_flight < PROBES_IN_FLIGHT_MAX:
            watched = self._waiting.popleft()
            if not watched.is_over:
                self._begin(watched)

    def _answered(self, watched: _Watched, result: ProbeResult) -> None:
        watched.exchange = None
        self._give_turn()
        if result.is_refused and self._listens is not None:
            watched.task = asyncio.create_task(self._take_refused(watched, result))
        else:
            self._take(watched, result)

    async def _ask(self, watched: _Watched) -> None:
        async def execute(command: tuple[str, ...], timeout_seconds: float) -> int:
            return await self._execute(watched.host, command, timeout_seconds)

        ask = self._ask_otherwise or probe
        try:
            result = await ask(watched.target.probe, watched.target.address, execute)
        except Exception as error:  # the root of this host's task: a bug here must not end the probing
            result = _crashed(watched.host, error)
        finally:
            self._give_turn()
        await self._take_refused(watched, result)

    async def _take_refused(self, watched: _Watched, result: ProbeResult) -> None:
        if result.is_refused:
            result = replace(result, reason=result.reason + await self._elsewhere(watched.host, watched))
        watched.task = None
        self._take(watched, result)

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

    def _take(self, watched: _Watched, result: ProbeResult) -> None:
        now = self._clock()
        if result.aside and not watched.target.is_quoted:
            result = replace(result, aside="")
        watched.samples.append(Sample(watched.asked_at, now, result))
        before, watched.record = watched.record, watched.record.after(result, now)
        watched.pause = self._next_pause(watched)
        self._wait(watched)
        self._heard(watched.target.probe, result)
        self._tell(watched.host, before, watched.record)

    def _next_pause(self, watched: _Watched) -> float:
        """Soon and often until the host was healthy once, then in even intervals. The first even pause is cut
        short: hosts drift apart."""
        if not watched.record.was_ever_healthy:
            grown = max(FIRST_INTERVAL_SECONDS, watched.pause * INTERVAL_GROWTH)
            return min(watched.interval, grown)
        was_steady, watched.was_steady = watched.was_steady, True
        return watched.interval if was_steady else watched.interval * phase_of(watched.host)

    def _tell(self, host: HostName, before: HealthRecord, after: HealthRecord) -> None:
        if before.is_healthy != after.is_healthy:
            log.info("host.healthy" if after.is_healthy else "host.unhealthy", host=host, reason=after.reason)
        if (before.is_healthy, before.reason) != (after.is_healthy, after.reason):
            for callback in self._callbacks:
                callback(host)


def _crashed(host: HostName, error: Exception) -> ProbeResult:
    log.error("probe.crashed", host=host, exc_info=error)
    return ProbeResult(False, f"the agent could not probe: {type(error).__name__}: {error}")


def phase_of(host: HostName) -> float:
    """A host's place in the interval, 0..1, from its name: a thousand hosts do not probe at once."""
    return zlib.crc32(host.encode()) / 2**32
