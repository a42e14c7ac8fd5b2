"""A small web application: answers its version, and its health at /health. Standard library only.

The version is in version.txt beside this file. HOST and PORT say where to listen. The other variables make
it misbehave on purpose: HEALTH is what /health answers, FLAPS lets it fail every other time, ILL_AFTER lets
it fail once so many requests were answered, DELAY_SECONDS is how late it starts, ANSWER_SECONDS how long it
takes to answer, of ERROR_EVERY answers one is an error.
"""

import asyncio
import os
from pathlib import Path

VERSION = Path(__file__).with_name("version.txt").read_text().strip()
HEALTH = os.environ.get("HEALTH", "200 OK")
DELAY_SECONDS = float(os.environ.get("DELAY_SECONDS", "0"))
ANSWER_SECONDS = float(os.environ.get("ANSWER_SECONDS", "0"))
FLAPS = "FLAPS" in os.environ
ERROR_EVERY = int(os.environ.get("ERROR_EVERY", "0"))
ILL_AFTER = int(os.environ.get("ILL_AFTER", "-1"))
ILL = "503 Service Unavailable"


class Application(asyncio.Protocol):
    """One client connection; keeps it open unless the client asks otherwise."""

    answered = 0
    looked_at = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        while b"\r\n\r\n" in self.received:
            head, self.received = self.received.split(b"\r\n\r\n", 1)
            self.answer(head)

    def answer(self, head: bytes) -> None:
        is_health = head.split(b" ", 2)[1] == b"/health"
        Application.answered += not is_health
        status, body = (self.health(), "health\n") if is_health else (self.status(), VERSION)
        closes = b"connection: close" in head.lower()
        connection = "close" if closes else "keep-alive"
        lines = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: {connection}\r\n\r\n{body}"
        if ANSWER_SECONDS and not is_health:
            asyncio.get_running_loop().call_later(ANSWER_SECONDS, self.send, lines.encode(), closes)
        else:
            self.send(lines.encode(), closes)

    def status(self) -> str:
        is_error = ERROR_EVERY and Application.answered % ERROR_EVERY == 0
        return "500 Internal Server Error" if is_error else "200 OK"

    def health(self) -> str:
        Application.looked_at += 1
        is_ill = (FLAPS and self.looked_at % 2 == 0) or 0 <= ILL_AFTER <= self.answered
        return ILL if is_ill else HEALTH

    def send(self, answer: bytes, closes: bool) -> None:
        self.transport.write(answer)
        if closes:
            self.transport.close()


async def main() -> None:
    await asyncio.sleep(DELAY_SECONDS)
    server = await asyncio.get_running_loop().create_server(
        Application, os.environ["HOST"], int(os.environ["PORT"]), backlog=256
    )
    print(f"{VERSION} listens on {os.environ['HOST']}:{os.environ['PORT']}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
