"""Three real controllers on a real database, agents that obey any of them, people who ask any of them, and
what goes wrong meanwhile: kills, pauses, cuts. What everyone saw becomes a history (see history.py).
"""

import asyncio
import contextlib
import itertools
import random
import signal
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp

from repave_controller.stores.postgresql.connection import Database
from repave_controller.stores.postgresql.place import Place
from repave_controller.stores.postgresql.store import PostgresStore
from repave_protos.package.archive import pack
from repave_protos.protocol.channel import dial
from repave_protos.protocol.values import ApplicationName, Applied, DesiredState, fingerprint_of_state
from tests.fakes.controller.api_rig import ObedientAgent
from tests.fakes.processes import begun
from tests.fakes.waiting import until_async
from tests.support.history import FOREVER, Asked, Read, Write
from tests.support.peers import Cut, cuttable
from tests.support.ports import free_port
from tests.support.preloaded import Forked

NAMES = ("ann", "ben", "cleo")
REGIONS = ("oslo", "paris", "rome")
APPLICATIONS = ("cart", "mail", "shop", "till", "wiki")
ASKED_SECONDS = 3.0
"""After so long a person asks another controller."""
PAUSE_SECONDS = 0.05
LOOK_SECONDS = 0.01
MOVING = ("running", "undoing")
CALM_SECONDS = 60.0
"""In which everything that was asked ends, once nothing goes wrong any more."""

SPEC = """\
repave: 1
app: {application}
artifact: {{uri: ./app}}
host: {{image: local, run: ./serve}}
health: {{http: {{port: 8080, path: /}}, min_healthy_time: 0s, launch_deadline: 10m}}
traffic: {{frontend: {application}, port: {port}}}
regions: [{regions}]
strategy: {{blue_green: {{warm: 0s}}}}
"""

Line = dict[str, Any]


@dataclass
class Controller:
    """One of them, which is started again and again. `said`: what an answer has, or the error's rule."""

    name: str
    http_port: int
    grpc_port: int
    process: Forked | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}/v1/"

    async def start(self, folder: Path, database: str) -> None:
        settings = {
            "NAME": self.name,
            "STATE": str(folder / self.name),
            "HTTP__LISTEN": f"127.0.0.1:{self.http_port}",
            "GRPC__LISTEN": f"127.0.0.1:{self.grpc_port}",
            "AGENTS__LISTEN": f"127.0.0.1:{free_port()}",
            "STORE__URL": database,
        }
        with (folder / f"{self.name}.log").open("ab") as log:
            named = {f"REPAVE_CONTROLLER_{name}": each for name, each in settings.items()}
            self.process = begun("repave_controller", log, **named)

    async def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        await asyncio.to_thread(self.process.wait)

    def signal(self, how: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(how)


class Agent(ObedientAgent):
    """One region's agent: refuses older epochs, as the real one, and remembers when it accepted what."""

    def __init__(self, region: str, writes: list[Write]) -> None:
        super().__init__(region)
        self.writes = writes

    def _obey(self, state: DesiredState) -> None:
        known, begin = self._desired.get(state.application), time.monotonic()
        if known is not None and state.epoch <= known.epoch:
            return
        super()._obey(state)
        epoch = (state.epoch.incarnation, state.epoch.term, state.epoch.rev)
        name = f"{self.region}/{state.application}"
        self.writes.append(Write(name, epoch, serving_in(state), begin, time.monotonic()))

    def serves(self, application: str) -> str:
        state = self._desired.get(application)
        return "" if state is None else serving_in(state)

    async def run(self, ports: list[int], chance: random.Random) -> None:
        """Dials one after the other, for ever."""
        for port in itertools.cycle(ports):
            with contextlib.suppress(ConnectionError):
                async with asyncio.timeout(20.0):
                    link = await dial(f"127.0.0.1:{port}", patience_seconds=3.0)
                await self._talk(link)
            await asyncio.sleep(chance.uniform(0.0, 2 * PAUSE_SECONDS))

    async def _talk(self, link: Any) -> None:
        applied = tuple(
            Applied(state.application, state.epoch, fingerprint_of_state(state))
            for state in self._desired.values()
        )
        fresh = ObedientAgent(self.region, *applied)
        self._incoming = fresh._incoming  # its Hello waits there
        sending = asyncio.create_task(self._send(link))
        try:
            async for message in link.receive():
                await self.send(message)
        finally:
            sending.cancel()
            await link.close()

    async def _send(self, link: Any) -> None:
        async for message in self.receive():
            await link.send(message)


def serving_in(state: DesiredState) -> str:
    return next((str(group.name) for group in state.groups if group.weight_bp == 10_000), "")


class World:
    """All of it. `writes` and `reads` are of each region as its agent obeys; `served` are the rollouts that
    were told to have succeeded, as writes of what the region serves from then on."""

    def __init__(
        self, folder: Path, url: str, cuts: dict[str, Cut], client: aiohttp.ClientSession, seed: int
    ) -> None:
        self.folder, self.cuts, self.client = folder, cuts, client
        self.chance = random.Random(seed)
        self.controllers = {name: Controller(name, free_port(), free_port()) for name in NAMES}
        self.urls = {name: url.replace(f":{port_of(url)}/", f":{cuts[name].port}/") for name in NAMES}
        self.writes: list[Write] = []
        self.reads: list[Read] = []
        self.served: list[Write] = []
        self.asked: list[Asked] = []
        self.agents = [Agent(region, self.writes) for region in REGIONS]
        self.struck: list[str] = []
        self.is_over = False

    async def start(self, name: str) -> None:
        await self.controllers[name].start(self.folder, self.urls[name])

    async def ask(self, name: str, method: str, path: str, body: Line | None, key: str = "") -> Line | None:
        """None: no answer in time, or none that says what became of it."""
        headers = {"Idempotency-Key": key} if key else {}
        try:
            async with self.client.request(
                method, self.controllers[name].url + path, json=body, headers=headers
            ) as answer:
                told: Line = await answer.json()
                return told if answer.status < 500 else None
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return None

    async def answers(self, name: str) -> bool:
        return await self.ask(name, "GET", "regions", None) is not None

    # ------------------------------------------------------------------------------------------ people

    async def person(self, application: str, digest: str) -> None:
        """Asks for one rollout after the other, and waits for the end of each."""
        for number in itertools.count(1):
            if self.is_over:
                return
            key = f"{application}-{number}"
            path, body = f"applications/{application}/releases", release_of(application, digest, key)
            if number > 2 and self.chance.random() < 0.3:
                path, body = f"applications/{application}/rollback", {"by": key}
            begin = time.monotonic()
            told = await self._until_answered(path, body, key)
            rollout = told.get("rollout")
            end = time.monotonic() if rollout else FOREVER
            self.asked.append(Asked(application, key, begin, end, rollout))
            if rollout:
                await self._until_ended(application, rollout, told["group"], begin)

    async def _until_answered(self, path: str, body: Line, key: str) -> Line:
        names = self.chance.sample(NAMES, len(NAMES))
        for name in itertools.cycle(names):
            told = await self.ask(name, "POST", path, body, key)
            if told is not None:
                return told
            await asyncio.sleep(PAUSE_SECONDS)
        raise AssertionError

    async def _until_ended(self, application: str, rollout: int, group: str, begin: float) -> None:
        for name in itertools.cycle(NAMES):
            told = await self.ask(name, "GET", f"applications/{application}", None)
            current = (told or {}).get("current_rollout") or {"number": 0}
            if current["number"] >= rollout and current["phase"] not in MOVING:
                assert (current["number"], current["phase"]) == (rollout, "succeeded"), current
                break
            await asyncio.sleep(PAUSE_SECONDS)
        names = (f"{region}/{application}" for region in REGIONS)
        self.served += [Write(name, (0, 0, rollout), group, begin, time.monotonic()) for name in names]

    async def client_of_all(self) -> None:
        """Sees what each region serves."""
        while not self.is_over:
            for agent, application in itertools.product(self.agents, APPLICATIONS):
                begin = time.monotonic()
                value = agent.serves(application)
                if value:
                    self.reads.append(Read(f"{agent.region}/{application}", value, begin, time.monotonic()))
            await asyncio.sleep(LOOK_SECONDS)

    # ---------------------------------------------------------------------------------------- troubles

    async def trouble(self, seconds: float) -> None:
        """One after the other, for so long."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            await asyncio.sleep(self.chance.uniform(0.3, 1.5))
            name = self.chance.choice(NAMES)
            what = self.chance.choice(("kill", "pause", "cut", "pause all but one"))
            self.struck.append(f"{what} {name}")
            await self._strike(what, name, self.chance.choice((0.3, 1.0, 2.5)))

    async def _strike(self, what: str, name: str, seconds: float) -> None:
        match what:
            case "kill":
                await self.controllers[name].kill()
                await asyncio.sleep(seconds / 2)
                await self.start(name)
                await until_async(partial(self.answers, name), CALM_SECONDS)
            case "cut":
                self.cuts[name].cut()
                await asyncio.sleep(seconds)
                self.cuts[name].mend()
            case _:
                names = [name] if what == "pause" else [each for each in NAMES if each != name]
                for each in names:
                    self.controllers[each].signal(signal.SIGSTOP)
                await asyncio.sleep(seconds)
                for each in names:
                    self.controllers[each].signal(signal.SIGCONT)


def release_of(application: str, digest: str, version: str) -> Line:
    spec = SPEC.format(
        application=application,
        port=8000 + APPLICATIONS.index(application),
        regions=", ".join(f"{{name: {region}, size: 2}}" for region in REGIONS),
    )
    return {"spec": spec, "digest": digest, "version": version, "by": version}


async def lived(folder: Path, url: str, seconds: float, seed: int) -> World:
    """What came of so many seconds of trouble."""
    async with AsyncExitStack() as stack:
        cuts = {name: await stack.enter_async_context(cuttable(port_of(url))) for name in NAMES}
        timeout = aiohttp.ClientTimeout(total=ASKED_SECONDS)
        client = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
        world = World(folder, url, cuts, client, seed)
        for name in NAMES:
            await world.start(name)
            stack.push_async_callback(world.controllers[name].kill)
        for name in NAMES:
            await until_async(partial(world.answers, name), CALM_SECONDS)
        digest = await _pushed(world)
        ports = [each.grpc_port for each in world.controllers.values()]
        agents = [asyncio.create_task(each.run(ports, world.chance)) for each in world.agents]
        stack.callback(lambda: [each.cancel() for each in agents])
        people = [asyncio.create_task(world.person(each, digest)) for each in APPLICATIONS]
        clients = asyncio.create_task(world.client_of_all())
        await world.trouble(seconds)
        world.is_over = True
        async with asyncio.timeout(CALM_SECONDS):
            await asyncio.gather(*people, clients)
    return world


async def _pushed(world: World) -> str:
    """The digest of a package."""
    (world.folder / "app").mkdir()
    (world.folder / "app" / "page.html").write_text("hello")
    pack(world.folder / "app", world.folder / "app.tgz")
    content = (world.folder / "app.tgz").read_bytes()
    async with world.client.post(world.controllers[NAMES[0]].url + "images", data=content) as answer:
        return str((await answer.json())["digest"])


async def rollouts_in(url: str) -> dict[str, list[tuple[int, str]]]:
    """Of each application, with who began them, as the database holds them."""
    store = PostgresStore(Database(Place(url)))
    await store.open()
    try:
        found = {name: await store.rollouts(ApplicationName(name), limit=100_000) for name in APPLICATIONS}
        return {name: [(each.number, each.started_by) for each in history] for name, history in found.items()}
    finally:
        await store.close()


def port_of(url: str) -> int:
    return int(url.rpartition("/")[0].rpartition(":")[2])
