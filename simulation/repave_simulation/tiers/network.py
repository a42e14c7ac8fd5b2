"""The streams of the second tier: bytes between an agent and the controller, late, twice, or not at all."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from repave_protos.protocol.channel import Link
from repave_protos.protocol.values import RegionName
from repave_simulation.kernel.loop import SimulatedLoop
from repave_simulation.kernel.timeline import KEEPALIVE_SECONDS, Life
from repave_simulation.tiers.figures import LATE_SECONDS_MAX, LATENCY_SECONDS, SENT_KEPT
from repave_simulation.world.world import FREEZE_SECONDS, World

DIAL_SECONDS = 5.0
KINDS = {(True, 0x1A): "desired", (False, 0x12): "report"}
"""The messages that faults strike, by (goes down, first byte on the wire)."""


@dataclass(slots=True, eq=False)
class _End:
    """One end of a stream: implements Link."""

    stream: "_Stream"
    goes_down: bool  # what is sent here
    inbox: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)

    async def send(self, message: bytes) -> None:
        await asyncio.sleep(0)
        if not self.stream.is_open:
            raise ConnectionError("the stream is gone")
        self.stream.network.carry(self.stream, message, goes_down=self.goes_down)

    async def receive(self) -> AsyncIterator[bytes]:
        while (message := await self.inbox.get()) is not None:
            yield message
        raise ConnectionError("the stream was cut")

    async def close(self) -> None:
        self.stream.network.cut(self.stream.region, self.stream)


class _Stream:
    """Both ends of one connection."""

    def __init__(self, network: "Network", region: RegionName, agent: Life, controller: Life) -> None:
        self.network, self.region, self.controller = network, region, controller.name
        self.lives = {True: agent, False: controller}  # who hears what goes down, or up
        self.is_open = True
        self.lower, self.upper = _End(self, False), _End(self, True)


class Network:
    """All streams of a world."""

    def __init__(
        self, world: World, loop: SimulatedLoop, serve: Callable[[str, Link], Awaitable[None]]
    ) -> None:
        self._world, self._loop, self._serve = world, loop, serve
        self._streams: dict[RegionName, _Stream] = {}
        self._sent: dict[RegionName, list[bytes]] = {}
        self._dialed = 0

    async def dial(self, region: RegionName, life: Life) -> Link:
        """As the agent's port of that name."""
        controller = self._next_controller()
        if controller.is_frozen or self._world.places[region].cut_until > self._world.now:
            await asyncio.sleep(DIAL_SECONDS)
            raise ConnectionError("no answer")
        await asyncio.sleep(LATENCY_SECONDS)
        if controller.is_over:
            raise ConnectionError("connection refused")
        stream = self._streams[region] = _Stream(self, region, life, controller)

        async def serve() -> None:
            await self._serve(controller.name, stream.upper)

        self._loop.after(LATENCY_SECONDS, lambda: self._accepted(controller, serve), controller)
        return stream.lower

    def _next_controller(self) -> Life:
        """An agent tries one after the other."""
        self._dialed += 1
        names = self._world.controllers
        return self._world.lives[names[self._dialed % len(names)]]

    def regions_at(self, controller: str) -> tuple[RegionName, ...]:
        """Those whose newest stream ends there."""
        streams = self._streams.items()
        return tuple(region for region, each in streams if each.controller == controller and each.is_open)

    def _accepted(self, controller: Life, serve: Callable[[], Awaitable[None]]) -> None:
        self._loop.spawn(controller, serve(), "stream")  # type: ignore[arg-type]  # a coroutine function

    def cut(self, region: RegionName, only: _Stream | None = None) -> None:
        """Ends the region's newest stream, or that one; both ends hear of it."""
        stream = only or self._streams.get(region)
        if stream is None or not stream.is_open:
            return
        stream.is_open = False
        for end in (stream.lower, stream.upper):
            life = stream.lives[not end.goes_down]
            self._loop.after(LATENCY_SECONDS, lambda end=end: end.inbox.put_nowait(None), life)  # type: ignore[misc]

    def carry(self, stream: _Stream, message: bytes, *, goes_down: bool) -> None:
        """One message on its way to the other end."""
        world, region = self._world, stream.region
        kind = KINDS.get((goes_down, message[0])) if message else None
        sender = stream.controller if goes_down else region
        fate, key = world.fate(kind, region, sender) if kind else ("", "")
        if kind == "desired":
            self._sent.setdefault(region, []).append(message)
            del self._sent[region][:-SENT_KEPT]
        if fate == "crash-before":
            world.kill(sender)
            return
        wait = max(0.0, world.places[region].cut_until - world.now)
        if fate == "cut" or wait >= KEEPALIVE_SECONDS:
            if fate == "cut":
                self.cut(region, stream)
            return
        seconds = wait + LATENCY_SECONDS
        if fate.startswith("pause"):
            world.freeze(sender, world.chance.between(*FREEZE_SECONDS, "freeze", key))
        elif fate == "late":
            seconds += world.chance.between(0.0, LATE_SECONDS_MAX, "late", key)
        end, life = (stream.lower if goes_down else stream.upper), stream.lives[goes_down]

        def arrive() -> None:
            if stream.is_open:
                end.inbox.put_nowait(message)

        self._loop.after(seconds, arrive, life)
        if fate == "repeated":
            again = world.chance.between(0.0, LATE_SECONDS_MAX, "again", key)
            self._loop.after(seconds + again, arrive, life)
        if fate == "crash-after":
            world.kill(sender)

    def replay_old(self, region: RegionName) -> None:
        """An old desired state comes once more."""
        stream, sent = self._streams.get(region), self._sent.get(region)
        if stream is None or not stream.is_open or not sent:
            return
        number = self._world.chance.number(0, len(sent) - 1, "old", len(self._world.story.lines))
        message, life = sent[number], stream.lives[True]
        self._loop.after(LATENCY_SECONDS, lambda: stream.lower.inbox.put_nowait(message), life)
