"""A small web application: answers its version, and its health at /health. Of the standard library it loads
little, so that a host starts at once.

The version is in version.txt beside this file. HOST and PORT say where to listen. The other variables make
it misbehave on purpose: HEALTH is what /health answers, FLAPS lets it fail every other time, ILL_AFTER lets
it fail once so many requests were answered, DELAY_SECONDS is how late it starts, ANSWER_SECONDS how long it
takes to answer, of ERROR_EVERY answers one is an error.
"""

import os
import socket
import threading
import time

with open(f"{__file__.rpartition('/')[0] or '.'}/version.txt") as file:
    VERSION = file.read().strip()
HEALTH = os.environ.get("HEALTH", "200 OK")
DELAY_SECONDS = float(os.environ.get("DELAY_SECONDS", "0"))
ANSWER_SECONDS = float(os.environ.get("ANSWER_SECONDS", "0"))
FLAPS = "FLAPS" in os.environ
ERROR_EVERY = int(os.environ.get("ERROR_EVERY", "0"))
ILL_AFTER = int(os.environ.get("ILL_AFTER", "-1"))
ILL = "503 Service Unavailable"


class Application:
    """Answers each connection in a thread of its own; keeps it open unless the client asks otherwise."""

    def __init__(self) -> None:
        self.answered = 0
        self.looked_at = 0

    def serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                self.answer_all(connection)
            except OSError:
                pass  # the client has gone

    def answer_all(self, connection: socket.socket) -> None:
        received = b""
        while read := connection.recv(65536):
            received += read
            while b"\r\n\r\n" in received:
                head, received = received.split(b"\r\n\r\n", 1)
                closes = b"connection: close" in head.lower()
                connection.sendall(self.answer(head, closes))
                if closes:
                    return

    def answer(self, head: bytes, closes: bool) -> bytes:
        if head.split(b" ", 2)[1] == b"/health":
            status, body = self.health(), "health\n"
        else:
            status, body = self.status(), VERSION
            time.sleep(ANSWER_SECONDS)
        connection = "close" if closes else "keep-alive"
        lines = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: {connection}\r\n\r\n{body}"
        return lines.encode()

    def status(self) -> str:
        number = self.answered = self.answered + 1
        is_error = ERROR_EVERY and number % ERROR_EVERY == 0
        return "500 Internal Server Error" if is_error else "200 OK"

    def health(self) -> str:
        self.looked_at += 1
        is_ill = (FLAPS and self.looked_at % 2 == 0) or 0 <= ILL_AFTER <= self.answered
        return ILL if is_ill else HEALTH


def main() -> None:
    time.sleep(DELAY_SECONDS)
    application = Application()
    with socket.create_server((os.environ["HOST"], int(os.environ["PORT"])), backlog=256) as server:
        print(f"{VERSION} listens on {os.environ['HOST']}:{os.environ['PORT']}", flush=True)
        while True:
            connection, _ = server.accept()
            threading.Thread(target=application.serve, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()
