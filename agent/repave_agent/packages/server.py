"""Where a region's hosts fetch their packages: from their agent, over HTTP, by digest. Read-only.

The way has a secret word in it, which is kept in the agent's state; hosts check what they got by its digest.
"""

import re
import secrets
from pathlib import Path

from aiohttp import web

from repave_agent.core.ports import RefusedError
from repave_protos.daemon import files
from repave_protos.daemon.endpoint import endpoint, host_of
from repave_protos.protocol.values import Digest

DIGEST = re.compile(r"[0-9a-f]{64}")


class Depot:
    """Serves files that were offered. `listen`: host:port; `url`: what hosts call it, when that differs."""

    def __init__(self, state: Path, listen: str, url: str = "") -> None:
        self._listen, self._url = listen, url.rstrip("/")
        self._word = _word(state / "depot-word")
        self._offered: dict[str, Path] = {}
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Raises RefusedError when the address can't be had."""
        if self._runner is not None:
            return
        application = web.Application()
        application.router.add_get("/packages/{word}/{digest}", self._serve)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        host, port = host_of(self._listen)
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            await runner.cleanup()
            raise RefusedError(f"packages.listen: {self._listen}: {error.strerror}") from error
        self._runner = runner
        if not self._url:
            self._url = f"http://{endpoint(host, runner.addresses[0][1])}"

    def offer(self, digest: Digest, package: Path) -> str:
        """Where hosts find the package from now on."""
        self._offered[digest] = package
        return f"{self._url}/packages/{self._word}/{digest}"

    async def close(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        digest, word = request.match_info["digest"], request.match_info["word"]
        known = self._offered.get(digest)
        is_welcome = secrets.compare_digest(word.encode(), self._word.encode())
        if not is_welcome or DIGEST.fullmatch(digest) is None or known is None or not known.is_file():
            raise web.HTTPNotFound(text="no such package\n")
        return web.FileResponse(known)


def _word(file: Path) -> str:
    try:
        return files.read_file(file).decode().strip()
    except FileNotFoundError:
        word = secrets.token_urlsafe(24)
        files.replace(file, word.encode())
        return word
