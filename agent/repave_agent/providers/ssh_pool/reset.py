"""How a machine is made anew, and how that is proved: nothing counts as fresh because a command said so."""

import asyncio
import contextlib
import os
import secrets
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from repave_agent.clients.ssh import DoorError, UnreachableError
from repave_agent.core.ports import Clock, ProviderError, RefusedError, TransientError
from repave_agent.providers.ssh_pool.bootstrap import Machine
from repave_agent.providers.ssh_pool.inventory import Listed
from repave_agent.providers.ssh_pool.options import ResetOptions

Seen = tuple[str, str, str]
"""Boot id, what stands in the marker, host key."""
VARIABLE = "REPAVE_VARIABLE"
"""Before the name of each variable of the inventory."""
SECRETS_OF_HOSTS = "REPAVE_SECRET_"
"""How variables of the agent begin that a reset command is not given."""
LOOK_SECONDS, LOOK_SECONDS_MAX = 0.5, 10.0
OUTPUT_CHARACTERS_MAX, OUTPUT_BYTES_MAX = 400, 4096
LAST_WORDS_SECONDS = 0.5
"""So long the end of what a reset command has said is waited for."""


class UnprovedError(RefusedError):
    """The reset ran, and the machine is not seen to be new."""


async def reset_machine(
    reset: ResetOptions, listed: Listed, connect: Callable[[], Machine], before: Seen | None, clock: Clock
) -> tuple[Machine, Seen]:
    """Resets the machine and waits until it answers and is seen to be new; returns what it then shows.

    `connect` makes a connection to it by the inventory as it is at that moment. `before`: what it showed
    before, None when it did not answer. Raises ProviderError; then it must not be used.
    """
    nonce = secrets.token_hex(16)
    if reset.proof != "marker" and before is None:
        raise UnprovedError(
            f"{listed.name} did not answer before its reset, so nothing could prove it afterwards: start it, "
            "or let the reset leave a marker (ssh_pool.reset.proof: marker)"
        )
    deadline = clock.monotonic() + reset.seconds
    if reset.command:
        await _run(reset, listed, nonce)
    if reset.remote:
        await _run_there(reset, connect(), nonce)
    last: ProviderError = TransientError(f"{listed.name}: its reset took longer than {reset.seconds:g} s")
    pause = LOOK_SECONDS
    while clock.monotonic() < deadline:
        machine = connect()
        try:
            seen = await machine.proof(reset.marker)
            unproved = _unproved(reset, listed, nonce, before, seen)
            if not unproved:
                return machine, seen
            last = UnprovedError(unproved)
        except (UnreachableError, DoorError, TransientError) as error:
            last = error
        await machine.shell.close()
        await clock.sleep(pause)
        pause = min(1.5 * pause, LOOK_SECONDS_MAX)
    raise last


def _unproved(reset: ResetOptions, listed: Listed, nonce: str, before: Seen | None, seen: Seen) -> str:
    """Why it is not seen to be new; "" when it is."""
    boot, mark, key = seen
    match reset.proof:
        case "marker":
            return (
                "" if mark == nonce else f"{listed.name}: {reset.marker} does not hold the word of this reset"
            )
        case "host-key":
            is_same = before is None or key == before[2]
            return f"{listed.name} still has the host key of before its reset" if is_same else ""
        case "boot-id":
            return f"{listed.name} was not started anew by its reset" if before and boot == before[0] else ""


async def _run(reset: ResetOptions, listed: Listed, nonce: str) -> None:
    variables = {f"{VARIABLE}_{name.upper()}": value for name, value in listed.variables.items()}
    agents = {name: value for name, value in os.environ.items() if not name.startswith(SECRETS_OF_HOSTS)}
    ours = {"REPAVE_MACHINE": listed.name, "REPAVE_ADDRESS": listed.address, "REPAVE_NONCE": nonce}
    async with _listening() as (output, said):
        try:
            process = await asyncio.create_subprocess_exec(
                *reset.command,
                env={**agents, **variables, **ours},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        except OSError as error:
            raise RefusedError(
                f"ssh_pool.reset.command: {reset.command[0]} can't be run: {error.strerror}"
            ) from error
        finally:
            os.close(output)
        try:
            async with asyncio.timeout(reset.seconds):
                await process.wait()
        except TimeoutError as late:
            raise TransientError(
                f"{listed.name}: its reset took longer than {reset.seconds:g} s, and was ended{await said()}"
            ) from late
        finally:
            if process.returncode is None:
                await _end(process)
        if process.returncode:
            code = process.returncode
            raise TransientError(f"{listed.name}: its reset failed with code {code}{await said()}")


async def _end(process: asyncio.subprocess.Process) -> None:
    """With all that it has started: what goes on would change a machine that is another host's by then."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


@asynccontextmanager
async def _listening() -> AsyncIterator[tuple[int, Callable[[], Awaitable[str]]]]:
    """Where a command may write, and what tells the end of what it has written. A command that has ended is
    not waited for any more, though something that it left in the background may still write."""
    source, output = os.pipe()
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(source, "rb")
    )
    kept = bytearray()

    async def keep() -> None:
        while some := await reader.read(OUTPUT_BYTES_MAX):
            kept.extend(some)
            del kept[:-OUTPUT_BYTES_MAX]

    reading = asyncio.create_task(keep(), name="reset output")

    async def said() -> str:
        await asyncio.wait([reading], timeout=LAST_WORDS_SECONDS)
        end = kept.decode(errors="replace").strip()[-OUTPUT_CHARACTERS_MAX:]
        return f": {end}" if end else ""

    try:
        yield output, said
    finally:
        reading.cancel()
        transport.close()


async def _run_there(reset: ResetOptions, machine: Machine, nonce: str) -> None:
    """The connection may break under it: what counts is the proof."""
    words = ["env", f"REPAVE_NONCE={nonce}", *reset.remote]
    with contextlib.suppress(UnreachableError, TimeoutError):
        done = await machine.shell.run(words, reset.seconds)
        if done.code and not machine.shell.is_closed:
            said = (done.error or done.out).strip()[-OUTPUT_CHARACTERS_MAX:]
            raise TransientError(f"{machine.name}: its reset failed with code {done.code}: {said}")
    await machine.shell.close()
