"""How a machine is made anew, and how that is proved: nothing counts as fresh because a command said so."""

import asyncio
import contextlib
import os
import secrets
from collections.abc import Callable

from repave_agent.clients.ssh import DoorError, UnreachableError
from repave_agent.core.ports import Clock, ProviderError, RefusedError, TransientError
from repave_agent.providers.ssh_pool.bootstrap import Machine
from repave_agent.providers.ssh_pool.inventory import Listed
from repave_agent.providers.ssh_pool.options import ResetOptions

Seen = tuple[str, str, str]
"""Boot id, what stands in the marker, host key."""
VARIABLE = "REPAVE_VARIABLE"
"""Before the name of each variable of the inventory."""
LOOK_SECONDS, LOOK_SECONDS_MAX = 0.5, 10.0
OUTPUT_CHARACTERS_MAX = 400


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
    ours = {"REPAVE_MACHINE": listed.name, "REPAVE_ADDRESS": listed.address, "REPAVE_NONCE": nonce}
    try:
        process = await asyncio.create_subprocess_exec(
            *reset.command,
            env={**os.environ, **variables, **ours},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
    except OSError as error:
        raise RefusedError(
            f"ssh_pool.reset.command: {reset.command[0]} can't be run: {error.strerror}"
        ) from error
    try:
        async with asyncio.timeout(reset.seconds):
            out, _ = await process.communicate()
    except TimeoutError as late:
        raise TransientError(f"{listed.name}: its reset took longer than {reset.seconds:g} s") from late
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode:
        said = out.decode(errors="replace").strip()[-OUTPUT_CHARACTERS_MAX:]
        raise TransientError(f"{listed.name}: its reset failed with code {process.returncode}: {said}")


async def _run_there(reset: ResetOptions, machine: Machine, nonce: str) -> None:
    """The connection may break under it: what counts is the proof."""
    words = ["env", f"REPAVE_NONCE={nonce}", *reset.remote]
    with contextlib.suppress(UnreachableError, TimeoutError):
        done = await machine.shell.run(words, reset.seconds)
        if done.code and not machine.shell.is_closed:
            said = (done.error or done.out).strip()[-OUTPUT_CHARACTERS_MAX:]
            raise TransientError(f"{machine.name}: its reset failed with code {done.code}: {said}")
    await machine.shell.close()
