"""Asks git, as a subprocess without a shell: what a branch of a repository has in one folder.

Nothing of the repository is ever checked out or run, and no configuration of this machine's users counts.
Each command has its time, and is ended with all that it has started.
"""

import asyncio
import base64
import os
import shlex
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from repave_controller.settings import GitOpsSettings

FETCH_SECONDS: Final = 120.0
ASK_SECONDS: Final = 30.0
END_SECONDS: Final = 5.0
"""So long one that was killed is waited for."""
TOKEN_BYTES_MAX: Final = 16 * 1024
OUTPUT_BYTES_MAX: Final = 16 << 20
FILES_MAX: Final = 2000
SPEC_BYTES_MAX: Final = 1 << 20
USER: Final = "x-access-token"
"""Of a token without a user; which one it is matters to few servers."""
HEAD: Final = "refs/heads/followed"
SUFFIXES: Final = (".yaml", ".yml")


class GitError(Exception):
    """git said no. The text is shown to people and has no credentials."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file of the folder, whose `text` is read once it matters. `why`: it can't be a spec."""

    path: str
    blob: str
    text: str = ""
    why: str = ""


class Git:
    """One repository, kept bare in `folder`."""

    def __init__(self, settings: GitOpsSettings, folder: Path) -> None:
        self._settings, self._folder = settings, folder

    async def fetch(self) -> str:
        """The commit that the branch has now. Raises GitError, OSError."""
        if not (self._folder / "HEAD").exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            await self._git(ASK_SECONDS, "init", "--quiet", "--bare", str(self._folder))
        source = f"+refs/heads/{self._settings.branch}:{HEAD}"
        await self._git(
            FETCH_SECONDS, "fetch", "--quiet", "--no-tags", "--force", "--", self._settings.repository, source
        )
        return (await self._git(ASK_SECONDS, "rev-parse", "--verify", f"{HEAD}^{{commit}}")).decode().strip()

    async def follows(self, former: str, commit: str) -> bool:
        """Whether `commit` comes after `former` in its history."""
        try:
            await self._git(ASK_SECONDS, "merge-base", "--is-ancestor", former, commit)
        except GitError:
            return False
        return True

    async def files(self, commit: str) -> list[Found]:
        """The specs of the folder, by name, without their texts. Raises GitError."""
        folder = self._settings.path.strip("/")
        within = [f"{folder}/"] if folder else []
        listed = await self._git(ASK_SECONDS, "ls-tree", "-z", "--long", commit, *within)
        found: list[Found] = []
        for line in listed.decode(errors="replace").split("\0"):
            about, _, path = line.partition("\t")
            if not path.endswith(SUFFIXES):
                continue
            mode, _, blob, size = about.split()
            if len(found) >= FILES_MAX:
                raise GitError(f"{folder} has more than {FILES_MAX} specs")
            found.append(Found(path, blob, why=_objection(mode, size)))
        return found

    async def read(self, found: Found) -> Found:
        """With its text. Raises GitError, OSError."""
        if found.why:
            return found
        content = await self._git(ASK_SECONDS, "cat-file", "blob", found.blob)
        try:
            return replace(found, text=content.decode())
        except UnicodeDecodeError:
            return replace(found, why="it is not UTF-8 text")

    async def _git(self, seconds: float, *words: str) -> bytes:
        command = ("git", "--git-dir", str(self._folder), *words)
        process = None
        try:
            async with asyncio.timeout(seconds):
                process = await asyncio.create_subprocess_exec(
                    *command,
                    env=await self._environment(),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                    start_new_session=True,  # what it starts, such as ssh, is ended with it
                )
                out, err = await process.communicate()
        except TimeoutError:
            raise GitError(f"git {words[0]} took longer than {seconds:g} s") from None
        finally:
            if process is not None and process.returncode is None:
                await _end(process)
        if process.returncode or len(out) > OUTPUT_BYTES_MAX:
            text = err.decode(errors="replace").strip().splitlines()
            raise GitError(f"git {words[0]}: {text[-1][:300] if text else 'it failed'}")
        return out

    async def _environment(self) -> Mapping[str, str]:
        """Credentials by files, read each time. Raises GitError."""
        given = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self._folder),
            "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ALLOW_PROTOCOL": "https:ssh:file",
        }
        settings = self._settings
        if settings.ssh_key is not None:
            options = ["IdentitiesOnly=yes", "BatchMode=yes", "StrictHostKeyChecking=yes"]
            if settings.known_hosts is not None:
                options.append(f"UserKnownHostsFile={settings.known_hosts}")
            words = ["ssh", "-i", str(settings.ssh_key), *(f"-o{each}" for each in options)]
            given["GIT_SSH_COMMAND"] = shlex.join(words)
        if settings.token is not None:
            try:
                token = await asyncio.to_thread(_token, settings.token)
            except (OSError, UnicodeDecodeError):
                raise GitError(f"{settings.token} can't be read") from None
            given |= {
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": "http.extraHeader",
                "GIT_CONFIG_VALUE_0": f"Authorization: Basic {_basic(token)}",
            }
        return given


def _objection(mode: str, size: str) -> str:
    """Why an entry of a folder can't be a spec; "" if it can."""
    if not mode.startswith("100"):
        return "it is no plain file: links are not followed"
    if int(size) > SPEC_BYTES_MAX:
        return f"it is larger than {SPEC_BYTES_MAX:,} bytes"
    return ""


async def _end(process: asyncio.subprocess.Process) -> None:
    """And all that it has started, also where that goes on without it."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(TimeoutError):  # it hangs in the kernel: goes on without us
        async with asyncio.timeout(END_SECONDS):
            await process.wait()


def _token(file: Path) -> str:
    with file.open("rb") as opened:
        return opened.read(TOKEN_BYTES_MAX).decode().strip()


def _basic(given: str) -> str:
    """GitHub, GitLab and Bitbucket take a token as a password; the first two with any name of a user."""
    words = given if ":" in given else f"{USER}:{given}"
    return base64.b64encode(words.encode()).decode()
