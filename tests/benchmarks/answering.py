"""Many trivial hosts in one process: answers every GET on every loopback address with 200.

python -m tests.benchmarks.answering PORT
"""

import selectors
import socket
import sys

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


def main() -> None:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("0.0.0.0", int(sys.argv[1])))  # all of 127/8
    listener.listen(4096)
    ready = selectors.DefaultSelector()
    ready.register(listener, selectors.EVENT_READ)
    print("ready", flush=True)
    while True:
        for key, _ in ready.select():
            if key.fileobj is listener:
                connection, _ = listener.accept()
                ready.register(connection, selectors.EVENT_READ)
            else:
                connection = key.fileobj  # type: ignore[assignment]
                ready.unregister(connection)
                _answer(connection)


def _answer(connection: socket.socket) -> None:
    try:
        if connection.recv(4096):
            connection.sendall(ANSWER)
    except ConnectionError:
        pass  # a check that has seen enough
    finally:
        connection.close()


if __name__ == "__main__":
    main()
