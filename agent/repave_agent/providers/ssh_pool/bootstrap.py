"""How a package gets onto a machine that is reached over SSH, and how its command is started, watched and
ended there. What happens on the machine is in machine.sh, which comes with each question as its input: only
a host leaves files there, and a machine whose disk is full still answers.

    ROOT/lease                 whose machine it is
    ROOT/packages/DIGEST/app   the unpacked package, read-only
    ROOT/hosts/NAME/           its process, its log, its exit code, where its secrets are

Secrets arrive as the input of a command, and lie in a folder in memory: providers/memory.py says how.
"""

import functools
import io
import re
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from repave_agent.clients.ssh import Shell, UnreachableError
from repave_agent.clients.ssh_answers import Ran
from repave_agent.core.host_secrets import HostSecrets
from repave_agent.core.ports import (
    HostSpec,
    OutOfCapacityError,
    ProviderError,
    RefusedError,
    TransientError,
)
from repave_agent.providers.listening import listeners_in
from repave_protos.protocol.values import Digest, HostName

SCRIPT = Path(__file__).with_name("machine.sh")
SHORT_SECONDS = 20.0
COPY_SECONDS = 900.0
UNPACK_SECONDS = 300.0
VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
CANNOT_RUN, BROKEN_PACKAGE, CUT, UNFIT, TAKEN, NO_PROGRAM = 64, 65, 66, 73, 75, 119
LOG_LINES = 10
BOOT_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
STATES = re.compile(r"running|ended|rebooted|absent|exited \d+( \d+\.\d)?")
IN_MEMORY = re.compile(r"/[A-Za-z0-9_./-]+/repave-secrets\.[A-Za-z0-9]+")
UNPACK_SECRETS = 'umask 077; exec tar -xf - -C "$1" --no-same-owner --no-same-permissions'
LOADER = (
    's=$(cat); n=$1; shift; [ "${#s}" = "$n" ] || exit 66; '
    'export REPAVE_SCRIPT="$s"; exec sh -c "$s" "$0" "$@"'
)
"""Runs the script that is its input, when all of it has come."""


class TakenError(ProviderError):
    """The machine is leased by another agent; the text is its name."""


class MachineUnfitError(RefusedError):
    """The machine is set up so that no host can run on it."""


class Machine:
    """One machine over its shell. Every method raises UnreachableError, DoorError, TransientError as well."""

    def __init__(self, name: str, shell: Shell, root: str) -> None:
        self.name = name
        self.shell = shell
        self._root = root

    # ---------------------------------------------------------------------------------------- lease

    async def take(self, owner: str) -> None:
        """Leases the machine; repeatable. Raises TakenError."""
        done = await self._do("take", owner)
        if done.code == TAKEN:
            raise TakenError(done.error.strip())
        self._expect(done, "lease the machine")

    async def give(self, owner: str) -> None:
        self._expect(await self._do("give", owner), "end the lease")

    async def holder(self) -> str:
        """Its owner; "" when it has none."""
        done = await self._do("holder")
        self._expect(done, "say whose it is")
        return done.out.strip()

    async def proof(self, marker: str) -> tuple[str, str, str]:
        """The id of its boot, what stands in the marker file ("" without one), and its host key."""
        done = await self._do("proof", marker)
        self._expect(done, "say which boot it is in")
        boot, _, mark = done.out.partition("\n")
        if BOOT_ID.fullmatch(boot.strip()) is None:
            raise TransientError(f"{self.name}: {boot[:80]!r} is no boot id: something spoils its answers")
        return boot.strip(), mark.strip(), await self.shell.host_key()

    async def is_used(self) -> bool:
        """Whether there is anything of a host on it."""
        done = await self._do("used")
        self._expect(done, "say whether it is used")
        return done.out.strip() != "no"

    # ----------------------------------------------------------------------------------------- host

    async def install(self, digest: Digest, package: Path, released_at: float) -> str:
        """Puts the package there; returns what it holds, for `difference`. Raises OutOfCapacityError (its
        disk is full), RefusedError (it is broken)."""
        arriving = f"{self._root}/incoming/{digest}.tar.gz"
        if not package.is_file():
            raise RefusedError(f"{package}: there is no such package")
        dating = ("date", digest, str(int(released_at)))
        try:
            self._expect(await self.shell.put(package, arriving, COPY_SECONDS), "take the package")
        except TimeoutError as late:
            raise TransientError(f"{self.name}: the package did not arrive in {COPY_SECONDS:g} s") from late
        try:
            self._expect(await self._do("unpack", digest, arriving, seconds=UNPACK_SECONDS), "unpack")
            self._expect(await self._do(*dating, seconds=UNPACK_SECONDS), "date what was unpacked")
        except TimeoutError as late:
            raise TransientError(f"{self.name}: unpacking took longer than {UNPACK_SECONDS:g} s") from late
        return await self.contents(digest)

    async def take_secrets(self, host: HostName, secrets: HostSecrets) -> str:
        """Puts them into memory there; returns in which folder. Raises MachineUnfitError: there is none."""
        done = await self._do("memory", host)
        self._expect(done, "make room for secrets in memory")
        folder = done.out.strip()
        if IN_MEMORY.fullmatch(folder) is None:
            raise TransientError(f"{self.name}: {folder[:80]!r} is no folder: something spoils its answers")
        words = ["sh", "-c", UNPACK_SECRETS, "sh", folder]
        try:
            done = await self.shell.run(words, SHORT_SECONDS, _packed(secrets))
        except TimeoutError as late:
            raise TransientError(f"{self.name}: secrets did not arrive in {SHORT_SECONDS:g} s") from late
        if done.code:  # what was said may quote what arrived
            raise TransientError(f"{self.name}: secrets did not arrive whole (exit code {done.code})")
        return folder

    async def start(self, spec: HostSpec, words: Sequence[str], environment: Mapping[str, str]) -> None:
        """Starts the command in the package's folder; returns when it runs. Raises RefusedError."""
        pairs = _pairs(environment)
        done = await self._do("start", spec.name, spec.digest, str(len(pairs)), *pairs, *words)
        if done.code:
            tail = await self.tail(spec.name, LOG_LINES)
            more = f"; its log ends: {tail}" if tail and tail not in done.error else ""
            raise self._error(done, "start the command", more)

    async def state(self, host: HostName) -> str:
        """ "running", "exited CODE SECONDS", "rebooted" (its machine was), "ended" (the exit code is not
        known) or "absent"."""
        done = await self._do("state", host)
        self._expect(done, "look at the host")
        state = done.out.strip()
        if STATES.fullmatch(state) is None:
            raise TransientError(f"{self.name}: {state[:80]!r} is no state: something spoils its answers")
        return state

    async def wait_until_ended(self, host: HostName) -> None:
        """Returns when the host's command has ended, and not before, unless the connection breaks."""
        await self._ask("await", host, seconds=None)

    async def stop(self, host: HostName, grace_seconds: float) -> None:
        """Ends all processes of the host and removes its files."""
        seconds = max(0, round(grace_seconds))
        done = await self._do("stop", host, str(seconds), seconds=SHORT_SECONDS + seconds + 10)
        self._expect(done, "end the host")

    async def execute(
        self,
        host: HostName,
        digest: Digest,
        words: Sequence[str],
        environment: Mapping[str, str],
        timeout_seconds: float,
    ) -> int:
        """Runs a command beside the host's own. Raises TimeoutError, RefusedError (no such program)."""
        pairs = _pairs(environment)
        done = await self._ask("run", host, digest, str(len(pairs)), *pairs, *words, seconds=timeout_seconds)
        if done.code == NO_PROGRAM:
            raise RefusedError(done.error.strip() or f"{words[0]!r} can't be run")
        return done.code

    async def tail(self, host: HostName, lines: int) -> str:
        return (await self._do("tail", host, str(max(0, lines)))).out.rstrip("\n") if lines > 0 else ""

    async def listeners(self, host: HostName) -> tuple[str, ...]:
        """Where its processes listen."""
        done = await self._do("listeners", host)
        self._expect(done, "look where the host listens")
        inodes, _, tables = done.out.partition("\n\n") if not done.out.startswith("\n") else ("", "", "")
        return listeners_in(tables.splitlines(), set(map(int, inodes.split())))

    async def contents(self, digest: Digest) -> str:
        """Kind, mode, target or SHA-256, and name of all that the package's folder holds, a line each."""
        done = await self._do("contents", digest, seconds=UNPACK_SECONDS)
        self._expect(done, "look at the package")
        return _joined(done.out)

    # ------------------------------------------------------------------------------------- the script

    async def _do(self, verb: str, *words: str, seconds: float = SHORT_SECONDS) -> Ran:
        try:
            return await self._ask(verb, *words, seconds=seconds)
        except TimeoutError as late:
            await self.shell.close()
            raise UnreachableError(
                f"{self.name}: no answer to {verb} within {seconds:g} s. If others answer: does its login "
                "shell wait for something (as in ~/.bashrc)?"
            ) from late

    async def _ask(self, verb: str, *words: str, seconds: float | None) -> Ran:
        """Raises TimeoutError as well."""
        script = _script()
        loaded = ["sh", "-c", LOADER, "machine.sh", str(len(script)), verb, self._root, *words]
        done = await self.shell.run(loaded, seconds, script)
        if done.code == CUT:
            raise TransientError(
                f"{self.name}: its login shell reads what is meant for the agent's command: look for read, "
                "or a program that reads its input, in ~/.bashrc and the like"
            )
        return done

    def _expect(self, done: Ran, task: str) -> None:
        if done.code:
            raise self._error(done, task)

    def _error(self, done: Ran, task: str, more: str = "") -> ProviderError:
        said = done.error.strip()[-400:] or f"exit code {done.code}"
        text = f"{self.name}: cannot {task}: {said}{more}"
        if done.code == UNFIT:
            return MachineUnfitError(f"{self.name}: {said}")
        if done.code in (CANNOT_RUN, BROKEN_PACKAGE):
            return RefusedError(f"{said}{more}")
        if "No space left" in done.error or "Disk quota" in done.error:
            return OutOfCapacityError(f"{text}. Free space on it.")
        return TransientError(text)


@functools.cache
def _script() -> bytes:
    return SCRIPT.read_bytes().rstrip(b"\n")


def _packed(secrets: HostSecrets) -> bytes:
    """As a tar, which tells what has not arrived whole."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for each in secrets:
            member = tarfile.TarInfo(f"{'file' if each.as_file else 'env'}/{each.name}")
            member.size, member.mode = len(each.value), 0o400
            archive.addfile(member, io.BytesIO(each.value))
    return packed.getvalue()


def _pairs(environment: Mapping[str, str]) -> list[str]:
    for name in environment:
        if VARIABLE_NAME.fullmatch(name) is None:
            raise RefusedError(f"env: {name!r} can't be a variable: use letters, digits and '_'")
    return [f"{name}={value}" for name, value in environment.items()]


def difference(before: str, now: str, named_max: int = 3) -> str:
    """How two `contents` differ, in words; "" when they don't."""
    known, present = _members(before), _members(now)
    found = []
    for name in sorted(known.keys() | present.keys()):
        if name not in present:
            found.append(f"{name} was removed")
        elif name not in known:
            found.append(f"{name} was added")
        elif known[name][2] != present[name][2] or known[name][0] != present[name][0]:
            found.append(f"{name} has other content")
        elif known[name][1] != present[name][1]:
            found.append(f"{name} has mode {present[name][1]}, not {known[name][1]}")
    rest = f" and {len(found) - named_max} more" if len(found) > named_max else ""
    return ", ".join(found[:named_max]) + rest


def _joined(listing: str) -> str:
    """A line for each member, of the two listings that machine.sh makes in one pass each."""
    members, _, sums = listing.partition("\n\n") if not listing.startswith("\n") else ("", "", listing)
    hashes = dict(_sum_and_name(line) for line in sums.splitlines() if line)
    lines = []
    for line in members.splitlines():
        kind, _, rest = line.partition(" ")
        mode, _, rest = rest.partition(" ")
        lines.append(f"{kind} {mode} {hashes.pop(rest[1:], '') if kind == 'f' else ''}{rest}")
    lines += [f"f - {digest} {name!r}" for name, digest in hashes.items()]  # a name with a line end in it
    return "".join(f"{line}\n" for line in sorted(lines))


def _sum_and_name(line: str) -> tuple[str, str]:
    """sha256sum puts a backslash before a line whose name it had to escape."""
    digest, _, name = line.partition("  ./")
    if digest.startswith("\\"):
        name = name.replace("\\n", "\n").replace("\\\\", "\\")
    return name, digest.removeprefix("\\")


def _members(contents: str) -> dict[str, tuple[str, str, str]]:
    """Name to kind, mode, and what it holds."""
    members = {}
    for line in contents.splitlines():
        kind, _, rest = line.partition(" ")
        mode, _, rest = rest.partition(" ")
        held, _, name = rest.partition(" ")
        members[name] = (kind, mode, held)
    return members
