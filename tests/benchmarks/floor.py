"""The least that a blue/green release of one region can cost: fresh processes, health-checked, behind
HAProxy, one flip. A plain asyncio script with nothing of repave in it: no controller, no journal, no
packages, no sandbox, no verification over time, no way back. What repave is measured against.

    python -m tests.benchmarks.floor DIRECTORY COUNT APP_DIRECTORY COMMAND...
"""

import asyncio
import json
import os
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path

ADDRESS = "127.90.{0}.{1}"
PORT = 8080
POLL_SECONDS = 0.005
HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
CONFIGURATION = """
global
  stats socket {directory}/socket level admin
  stats maxconn 100
defaults
  mode http
  timeout connect 1s
  timeout client 10s
  timeout server 10s
frontend web
  bind 127.90.255.1:8000
  use_backend %[str(web),map({directory}/map)]
backend old
  server none 127.0.0.1:1 disabled
backend new
  balance roundrobin
"""


SOCKET = asyncio.Semaphore(5)  # asyncio hangs on a Unix socket whose backlog is full


async def ask(directory: Path, command: str) -> str:
    async with SOCKET:
        reader, writer = await asyncio.open_unix_connection(f"{directory}/socket")
        writer.write(command.encode() + b"\n")
        answer = await reader.read()
        writer.close()
        return answer.decode()


async def healthy(address: str) -> None:
    while True:
        try:
            reader, writer = await asyncio.open_connection(address, PORT)
            writer.write(HEALTH)
            answer = await reader.read()
            writer.close()
            if b" 200 " in answer.split(b"\r\n", 1)[0]:
                return
        except OSError:
            pass
        await asyncio.sleep(POLL_SECONDS)


async def make(
    directory: Path, number: int, application: Path, command: list[str]
) -> subprocess.Popen[bytes]:
    """One fresh process on its own address, behind HAProxy as soon as it is healthy."""
    address = ADDRESS.format(number // 250, number % 250 + 1)
    process = subprocess.Popen(  # noqa: ASYNC220  # a millisecond, and a floor has no threads
        command,
        cwd=application,
        env={"HOST": address, "PORT": str(PORT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    await healthy(address)
    await ask(directory, f"add server new/h{number} {address}:{PORT}; enable server new/h{number}")
    return process


async def run(directory: Path, count: int, application: Path, command: list[str]) -> dict[str, float]:
    began = time.perf_counter()
    processes = await asyncio.gather(
        *(make(directory, number, application, command) for number in range(count))
    )
    made = time.perf_counter()
    await ask(directory, f"set map {directory}/map web new")
    ended = time.perf_counter()
    await ask(directory, f"set map {directory}/map web old")
    back = time.perf_counter()
    for process in processes:
        process.kill()
        process.wait()
    return {
        "wall_seconds": ended - began,
        "flip_seconds": ended - made,
        "rollback_seconds": back - ended,
    }


def main() -> None:
    directory, count, application, *command = sys.argv[1:]
    with socket.socket() as trial:  # a process left over would be found healthy at once
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        trial.bind((ADDRESS.format(0, 1), PORT))
    place = Path(directory)
    place.mkdir(parents=True, exist_ok=True)
    (place / "map").write_text("web old\n")
    (place / "cfg").write_text(CONFIGURATION.format(directory=place))
    program = os.environ.get("HAPROXY", "haproxy")
    haproxy = subprocess.Popen([program, "-db", "-f", f"{place}/cfg"], stderr=subprocess.DEVNULL)
    while not (place / "socket").exists():
        time.sleep(0.01)
    try:
        before = resource.getrusage(resource.RUSAGE_SELF)
        result = asyncio.run(run(place, int(count), Path(application), command))
        after = resource.getrusage(resource.RUSAGE_SELF)
    finally:
        haproxy.kill()
        haproxy.wait()
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({**result, "cpu_seconds": spent, "hosts": int(count)}))


if __name__ == "__main__":
    main()
