"""How a package gets onto a machine that is reached over SSH, and how its command is started, watched and
ended there. What happens on the machine is in machine.sh, which is put there first.

    ROOT/lease                 whose machine it is
    ROOT/machine-DIGEST.sh     this script, by its digest
    ROOT/packages/DIGEST/app   the unpacked package, read-only
    ROOT/hosts/NAME/           its process, its log, its exit code
"""

import functools
import hashlib
import re
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

from repave_agent.clients.ssh import Ran, Shell, UnreachableError
from repave_agent.core.ports import (
    HostSpec,
    OutOfCapacityError,
    ProviderError,
    RefusedError,
    TransientError,
)
from repave_protos.protocol.values import Digest, HostName

SCRIPT = Path(__file__).with_name("machine.sh")
SHORT_SECONDS = 20.0
COPY_SECONDS = 900.0
UNPACK_SECONDS = 300.0
VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
CANNOT_RUN, BROKEN_PACKAGE, TAKEN, NO_PROGRAM = 64, 65, 75, 119
LOG_LINES = 10


class TakenError(ProviderError):
    """The machine is leased by another agent; the text is its name."""


class Machine:
    """One machine over its shell. Every method raises UnreachableError and TransientError as well."""

    def __init__(self, name: str, shell: Shell, root: str) -> None:
        self.name = name
        self.shell = shell
        self._root = root
        self._is_prepared = False

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
        return (await self._do("holder")).out.strip()

    async def proof(self, marker: str) -> tuple[str, str, str]:
        """The id of its boot, what stands in the marker file ("" without one), and its host key."""
        boot, _, mark = (await self._do("proof", marker)).out.partition("\n")
        return boot.strip(), mark.strip(), await self.shell.host_key()

    async def is_used(self) -> bool:
        """Whether there is anything of a host on it."""
        return (await self.shell.run(["test", "-e", f"{self._root}/hosts"], SHORT_SECONDS)).code == 0

    # ----------------------------------------------------------------------------------------- host

    async def install(self, digest: Digest, package: Path, released_at: float) -> str:
        """Puts the package there; returns what it holds, for `difference`. Raises OutOfCapacityError (its
        disk is full), RefusedError (it is broken)."""
        arriving = f"{self._root}/incoming/{digest}.tar.gz"
        if not package.is_file():
            raise RefusedError(f"{package}: there is no such package")
        await self._put(package, arriving)
        dating = ("date", digest, str(int(released_at)))
        try:
            self._expect(await self._do("unpack", digest, arriving, seconds=UNPACK_SECONDS), "unpack")
            self._expect(await self._do(*dating, seconds=UNPACK_SECONDS), "date what was unpacked")
        except TimeoutError as late:
            raise TransientError(f"{self.name}: unpacking took longer than {UNPACK_SECONDS:g} s") from late
        return await self.contents(digest)

    async def start(self, spec: HostSpec, words: Sequence[str], environment: Mapping[str, str]) -> None:
        """Starts the command in the package's folder; returns when it runs. Raises RefusedError."""
        pairs = _pairs(environment)
        done = await self._do("start", spec.name, spec.digest, str(len(pairs)), *pairs, *words)
        if done.code:
            tail = await self.tail(spec.name, LOG_LINES)
            more = f"; its log ends: {tail}" if tail and tail not in done.error else ""
            raise self._error(done, "start the command", more)

    async def state(self, host: HostName) -> str:
        """ "running", "exited CODE", "ended" (the exit code is not known) or "absent"."""
        done = await self._do("state", host)
        self._expect(done, "look at the host")
        return done.out.strip()

    async def wait_until_ended(self, host: HostName) -> None:
        """Returns when the host's command has ended, and not before, unless the connection breaks."""
        await self._prepare()
        await self.shell.run(self._words("await", host), None)

    async def stop(self, host: HostName, grace_seconds: float) -> None:
        """Ends all processes of the host and removes its files."""
        seconds = max(0, round(grace_seconds))
        done = await self._do("stop", host, str(seconds), seconds=SHORT_SECONDS + seconds + 10)
        self._expect(done, "end the host")

    async def execute(
        self,
        digest: Digest,
        words: Sequence[str],
        environment: Mapping[str, str],
        timeout_seconds: float,
    ) -> int:
        """Runs a command beside the host's own. Raises TimeoutError, RefusedError (no such program)."""
        pairs = _pairs(environment)
        await self._prepare()
        done = await self.shell.run(
            self._words("run", digest, str(len(pairs)), *pairs, *words), timeout_seconds
        )
        if done.code == NO_PROGRAM:
            raise RefusedError(done.error.strip() or f"{words[0]!r} can't be run")
        return done.code

    async def tail(self, host: HostName, lines: int) -> str:
        return (await self._do("tail", host, str(max(0, lines)))).out.rstrip("\n") if lines > 0 else ""

    async def contents(self, digest: Digest) -> str:
        """Kind, mode, target or SHA-256, and name of all that the package's folder holds, a line each."""
        done = await self._do("contents", digest, seconds=UNPACK_SECONDS)
        self._expect(done, "look at the package")
        return _joined(done.out)

    # ------------------------------------------------------------------------------------- the script

    async def _do(self, verb: str, *words: str, seconds: float = SHORT_SECONDS) -> Ran:
        try:
            await self._prepare()
            return await self.shell.run(self._words(verb, *words), seconds)
        except TimeoutError as late:
            await self.shell.close()
            raise UnreachableError(f"{self.name}: no answer to {verb} within {seconds:g} s") from late

    def _words(self, verb: str, *words: str) -> list[str]:
        return ["sh", self._script, verb, self._root, *words]

    @property
    def _script(self) -> str:
        return f"{self._root}/machine-{_digest_of_script()}.sh"

    async def _prepare(self) -> None:
        """Puts the script there, once for each time that the machine was made anew."""
        if self._is_prepared:
            return
        if (await self.shell.run(["test", "-s", self._script], SHORT_SECONDS)).code:
            part = f"{self._script}.{secrets.token_hex(4)}"  # another agent may do the same just now
            await self._put(SCRIPT, part)
            moved = await self.shell.run(["mv", part, self._script], SHORT_SECONDS)
            self._expect(moved, "put its script in place")
        self._is_prepared = True

    async def _put(self, local: Path, remote: str) -> None:
        try:
            await self.shell.put(local, remote, COPY_SECONDS)
        except TimeoutError as late:
            raise TransientError(f"{self.name}: {remote} did not arrive in {COPY_SECONDS:g} s") from late

    def forget(self) -> None:
        """It was made anew: nothing of it is as it was."""
        self._is_prepared = False

    def _expect(self, done: Ran, task: str) -> None:
        if done.code:
            raise self._error(done, task)

    def _error(self, done: Ran, task: str, more: str = "") -> ProviderError:
        said = done.error.strip()[-400:] or f"exit code {done.code}"
        text = f"{self.name}: cannot {task}: {said}{more}"
        if done.code in (CANNOT_RUN, BROKEN_PACKAGE):
            return RefusedError(f"{said}{more}")
        if "No space left" in done.error or "Disk quota" in done.error:
            return OutOfCapacityError(f"{text}. Free space on it.")
        return TransientError(text)


@functools.cache
def _digest_of_script() -> str:
    return hashlib.sha256(SCRIPT.read_bytes()).hexdigest()[:16]


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
