"""The examples of docs/examples.md, from empty folders and by that page alone: built, released, and released
again while clients ask. All at once, on one controller and one agent, for a release mostly waits."""

import asyncio
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import grpc
import pytest

from tests.fakes.waiting import until
from tests.support.load import Load
from tests.support.paths import ROOT
from tests.support.stage import Stage, kept

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

PAGE = (ROOT / "docs" / "examples.md").read_text()
FILE = re.compile(
    r"^`(?P<name>[\w./-]+)`(?:, [\w ]+)?:\n\n```\w+\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
COMMANDS = re.compile(r"^```sh\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
SHOWN_ADDRESS, REGION = "127.0.81.1", "local-1"
QUICKER = (("min_healthy_time: 3s", "min_healthy_time: 0s"), ("warm: 10s", "warm: 1s"))
"""What the page has for people to watch."""
PIP = re.compile(r"^python3 -m pip install --quiet --target (?P<folder>\S+) (?P<packages>.+)$")
ASKS = ("repave", "curl", "env", "bash")
"""Commands that build nothing."""
RATE = 25.0
PAUSE_SECONDS = 1 / RATE
AT_ONCE = 4
"""More commands only wait for each other."""


@dataclass(frozen=True, slots=True)
class Example:
    heading: str
    files: dict[str, str]
    commands: tuple[str, ...]

    def __str__(self) -> str:
        return self.heading

    @property
    def spec(self) -> str:
        return self.files["repave.yaml"]

    @property
    def port(self) -> int:
        """Where clients come in; of a worker, where its queue is."""
        (found,) = set(re.findall(r"\b80(?!80)\d\d\b", self.spec))
        return int(found)

    @property
    def building(self) -> list[str]:
        return [line for line in self.commands if line.split()[0] not in ASKS]

    def lacks(self) -> str:
        """A program that builds or runs it, and is not installed; "" when all are."""
        run = re.search(r"^  run: \[?([\w./-]+)", self.spec, re.MULTILINE)
        assert run is not None, self.heading
        programs = {*(line.split()[0] for line in self.building), *({run[1]} - {"./serve"})}
        missing = next((each for each in sorted(programs) if shutil.which(each) is None), "")
        return missing or ("pip" if any(map(PIP.match, self.commands)) and not PYTHON_WITH_PIP else "")


def examples() -> list[Example]:
    sections = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
    return [
        Example(
            text.split("\n", 1)[0],
            {found["name"]: found["text"] for found in FILE.finditer(text)},
            tuple(line for found in COMMANDS.finditer(text) for line in found["text"].splitlines()),
        )
        for text in sections
    ]


def has_pip(python: str | None) -> bool:
    return python is not None and (
        subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0
    )


EXAMPLES = examples()
# A virtual environment's Python has no pip: the examples are built by the one that users have.
PYTHON_WITH_PIP = next(filter(has_pip, ("/usr/bin/python3", shutil.which("python3"))), None)


# --------------------------------------------------------------------------------------------- clients

Clients = Callable[[str, int], AbstractAsyncContextManager[None]]
"""They ask at an address and a port while the block is under way, and fail if anything was lost."""


@asynccontextmanager
async def asking(address: str, port: int) -> AsyncIterator[None]:
    load = Load(f"http://{address}:{port}/", RATE, keepalive=2, closing=2)
    await load.start()
    yield
    result = await load.stop()
    assert result.failures == (), result.summary()
    assert len(result.requests) > 10


@asynccontextmanager
async def repeating(ask: Callable[[], Awaitable[str]]) -> AsyncIterator[list[str]]:
    """What each call has said so far; none may fail."""
    said: list[str] = []

    async def go_on() -> None:
        while True:
            said.append(await ask())
            await asyncio.sleep(PAUSE_SECONDS)

    task = asyncio.ensure_future(go_on())
    await until(lambda: said or task.done())
    yield said
    said.append(await ask())
    is_well = not task.done()
    task.cancel()
    (ended,) = await asyncio.gather(task, return_exceptions=True)
    assert is_well, f"a call failed: {ended!r}"
    assert said[-1] != said[0], "the second release was never seen"


@asynccontextmanager
async def calling(address: str, port: int) -> AsyncIterator[None]:
    """Calls on one channel; and a stream on it that is open all the time, at the host where it began."""
    async with grpc.aio.insecure_channel(f"{address}:{port}") as channel:
        ask: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/Shop/Ask")
        open_stream: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream("/Shop/Watch")
        stream = open_stream(b"")
        heard: list[str] = []

        async def watch() -> None:
            async for message in stream:
                heard.append(message.decode())

        async def call() -> str:
            said: bytes = await ask(b"", timeout=10)
            return said.decode()

        watching = asyncio.ensure_future(watch())
        async with repeating(call) as said:
            yield
        before = len(heard)
        await until(lambda: len(heard) > before or watching.done())
        assert not watching.done(), "the stream has ended"
        assert set(heard) == {said[0]}
        stream.cancel()
        await asyncio.gather(watching, return_exceptions=True)


@asynccontextmanager
async def saying(address: str, port: int) -> AsyncIterator[None]:
    """On a new connection each time; and on one that is open all the time, at the host where it began."""

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        writer.write(b"hello\n")
        async with asyncio.timeout(10):
            said = (await reader.readline()).decode()
        assert said.endswith(": hello\n"), said
        return said

    async def once() -> str:
        reader, writer = await asyncio.open_connection(address, port)
        try:
            return await say(reader, writer)
        finally:
            writer.close()

    held = await asyncio.open_connection(address, port)
    first = await say(*held)
    async with repeating(once):
        yield
    assert await say(*held) == first
    held[1].close()


@asynccontextmanager
async def giving_work(address: str, port: int) -> AsyncIterator[None]:
    """Jobs for the queue: each is done once, by one release or the other."""
    numbers = itertools.count(100)

    def ask(job: str = "") -> str:
        with urlopen(f"http://{address}:{port}/", job.encode() or None, timeout=30) as answer:
            return str(answer.read().decode())

    async def give() -> str:
        job = f"job {next(numbers)}"
        await asyncio.to_thread(ask, job)
        return job

    async with repeating(give) as given:
        yield
    done = [line.partition(" by ") for line in (await asyncio.to_thread(ask)).splitlines()]
    mine = [(job, release) for job, _, release in done if job in given]
    assert sorted(job for job, _ in mine) == sorted(given)
    assert len({release for _, release in mine}) == 2
    assert mine[-1][1] == "release again"


def clients_of(example: Example) -> Clients:
    if "traffic: none" in example.spec:
        return giving_work
    if "protocol: grpc" in example.spec:
        return calling
    return saying if "protocol: tcp" in example.spec else asking


# ------------------------------------------------------------------------------------------- all at once


class Shown:
    """What came of the examples; each is there or its failure is raised."""

    def __init__(self, stage: Stage, directory: Path) -> None:
        self.said: dict[str, str | BaseException] = {}
        self._stage = stage
        self._address = stage.traffic_address(REGION)
        self._directory = directory
        self._free = asyncio.Semaphore(AT_ONCE)
        self._installed: dict[str, asyncio.Task[Path]] = {}
        self._begun: list[int] = []

    async def show(self, chosen: list[Example]) -> None:
        each = (self._show(example) for example in chosen)
        results = await asyncio.gather(*each, return_exceptions=True)
        self.said = {example.heading: said for example, said in zip(chosen, results, strict=True)}

    def end(self) -> None:
        """What commands of the page have left running."""
        for group in self._begun:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)

    async def _show(self, example: Example) -> str:
        place = self._directory / str(example.port)
        for name, text in example.files.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(text.replace(SHOWN_ADDRESS, self._address))
        spec = place / "repave.yaml"
        for shown, quicker in QUICKER:
            assert shown in example.spec
            spec.write_text(spec.read_text().replace(shown, quicker))
        said = await self._type(
            place, *[await self._with_libraries(place, each) for each in example.commands]
        )
        async with clients_of(example)(self._address, example.port):
            await self._type(place, "repave release --version again")
        return said

    async def _with_libraries(self, place: Path, line: str) -> str:
        """The same libraries are installed once, and copied into each folder that wants them."""
        wanted = PIP.match(line)
        if wanted is None:
            return line
        packages = wanted["packages"]
        if packages not in self._installed:
            self._installed[packages] = asyncio.ensure_future(self._install(packages))
        made = await self._installed[packages]
        return f"mkdir -p {wanted['folder']} && cp -r {made}/. {wanted['folder']}"

    async def _install(self, packages: str) -> Path:
        made = self._directory / f"libraries-{len(self._installed)}"
        await self._type(
            self._directory, f"{PYTHON_WITH_PIP} -m pip install --quiet --target {made} {packages}"
        )
        return made

    async def _type(self, place: Path, *lines: str) -> str:
        """As typed, with this checkout's commands; what was printed."""
        text = "\n".join(("set -e", *lines)).replace(SHOWN_ADDRESS, self._address)
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        async with self._free:
            process = await asyncio.create_subprocess_exec(
                *("bash", "-c", text),
                cwd=place,
                env={**os.environ, "PATH": path, "REPAVE_URL": f"http://127.0.0.1:{self._stage.http_port}"},
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
            self._begun.append(process.pid)
            async with asyncio.timeout(240):
                said, complaint = await process.communicate()
        assert process.returncode == 0, f"{said.decode()}\n{complaint.decode()}\n{self._stage.logs()}"
        return said.decode()


@pytest.fixture(scope="module")
def shown(request: pytest.FixtureRequest) -> Iterator[Shown]:
    if shutil.which("haproxy") is None and not Path("/usr/sbin/haproxy").exists():
        pytest.skip("haproxy is not installed: apt install haproxy")
    names = [item.name for item in request.session.items if item.path == Path(__file__)]
    chosen = [each for each in EXAMPLES if any(name.endswith(f"[{each}]") for name in names)]
    with tempfile.TemporaryDirectory(prefix="rp") as directory, ExitStack() as undo:
        stage = Stage(Path(directory), regions=(REGION,))
        found = Shown(stage, Path(directory) / "examples")
        undo.callback(found.end)
        undo.enter_context(kept(stage))
        asyncio.run(found.show([each for each in chosen if not each.lacks()]))
        yield found


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_an_example_is_released_by_its_page_and_again_without_a_lost_request(
    example: Example, shown: Shown
) -> None:
    if lacking := example.lacks():
        pytest.skip(f"{lacking} is not installed")
    said = shown.said[example.heading]
    if isinstance(said, BaseException):
        raise said
    assert re.search(r"^shop .+|^chat .+|^echo .+|^job 1 by .+|weekdays", said, re.MULTILINE), said


def test_every_example_is_read_whole() -> None:
    assert len(EXAMPLES) >= 10
    for example in EXAMPLES:
        assert "repave.yaml" in example.files, example.heading
        assert "repave release" in example.commands, example.heading
    assert len({example.port for example in EXAMPLES}) == len(EXAMPLES)
