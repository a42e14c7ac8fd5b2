"""Asks git, as a subprocess without a shell: what a branch of a repository has in one folder.

Nothing of the repository is ever checked out or run, and no configuration of this machine's users counts.
"""

import asyncio
import base64
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from repave_controller.settings import GitOpsSettings

FETCH_SECONDS: Final = 120.0
ASK_SECONDS: Final = 30.0
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
    """A file of the folder. `why`: it can't be a spec."""

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
        """The specs of the folder, by name. Raises GitError."""
        folder = self._settings.path.strip("/")
        listed = await self._git(ASK_SECONDS, "ls-tree", "-z", commit, *([f"{folder}/"] if folder else []))
        found: list[Found] = []
        for line in listed.decode(errors="replace").split("\0"):
            about, _, path = line.partition("\t")
            if not path.endswith(SUFFIXES):
                continue
            mode, _, blob = about.split()
            if len(found) >= FILES_MAX:
                raise GitError(f"{folder} has more than {FILES_MAX} specs")
            found.append(await self._file(path, mode, blob))
        return found

    async def _file(self, path: str, mode: str, blob: str) -> Found:
        if not mode.startswith("100"):
            return Found(path, blob, why="it is no plain file: links are not followed")
        size = int(await self._git(ASK_SECONDS, "cat-file", "-s", blob))
        if size > SPEC_BYTES_MAX:
            return Found(path, blob, why=f"it is larger than {SPEC_BYTES_MAX:,} bytes")
        try:
            return Found(path, blob, (await self._git(ASK_SECONDS, "cat-file", "blob", blob)).decode())
        except UnicodeDecodeError:
            return Found(path, blob, why="it is not UTF-8 text")

    async def _git(self, seconds: float, *words: str) -> bytes:
        command = ("git", "--git-dir", str(self._folder), *words)
        process = await asyncio.create_subprocess_exec(
            *command,
            env=self._environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(seconds):
                out, err = await process.communicate()
        except TimeoutError:
            raise GitError(f"git {words[0]} took longer than {seconds:g} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode or len(out) > OUTPUT_BYTES_MAX:
            text = err.decode(errors="replace").strip().splitlines()
            raise GitError(f"git {words[0]}: {text[-1][:300] if text else 'it failed'}")
        return out

    def _environment(self) -> Mapping[str, str]:
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
                token = settings.token.read_text().strip()
            except (OSError, UnicodeDecodeError):
                raise GitError(f"{settings.token} can't be read") from None
            given |= {
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": "http.extraHeader",
                "GIT_CONFIG_VALUE_0": f"Authorization: Basic {_basic(token)}",
            }
        return given


def _basic(given: str) -> str:
    """GitHub, GitLab and Bitbucket take a token as a password; the first two with any name of a user."""
    words = given if ":" in given else f"{USER}:{given}"
    return base64.b64encode(words.encode()).decode()
