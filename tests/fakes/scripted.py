"""An HTTP server in this process that answers as a list says, and keeps what it was asked."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass
class Scripted:
    """`answers`: status, body and headers of the next ones; None breaks the connection off after the request
    was read. Then it answers 200 with {}."""

    url: str = ""
    answers: list[tuple[int, Any, dict[str, str]] | None] = field(default_factory=list)
    asked: list[tuple[str, str, dict[str, str], str]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        self.asked.append((request.method, request.path_qs, dict(request.headers), text))
        said = self.answers.pop(0) if self.answers else (200, {}, {})
        if said is None:
            assert isinstance(request.transport, asyncio.Transport)
            request.transport.abort()
            return web.Response()
        status, body, headers = said
        plain = body if isinstance(body, str) else json.dumps(body)
        return web.Response(status=status, text=plain, headers=headers)


@asynccontextmanager
async def scripted(*answers: tuple[int, Any, dict[str, str]] | None) -> AsyncIterator[Scripted]:
    server = Scripted(answers=list(answers))
    application = web.Application()
    application.router.add_route("*", "/{any:.*}", server.answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield server
    finally:
        await runner.cleanup()
