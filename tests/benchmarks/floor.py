"""The least that a blue/green release of one region can cost: fresh processes, health-checked, behind
HAProxy, one flip. A plain asyncio script with nothing of repave in it: no controller, no journal, no
packages, no sandbox, no verification over time, no way back. What repave is measured against.

    python -m tests.benchmarks.floor DIRECTORY COUNT APP_DIRECTORY COMMAND...

With FLOOR=whole in the environment each host also has what a host of repave can't be without: a folder of
its own that is unpacked from a package, a record on disk, a sandbox, a log that a process of its own writes;
and the group has a backend of its own, which takes a reload, and whose checks have passed before the flip.
"""

import asyncio
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tarfile
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


async def make(directory: Path, number: int, application: Path, command: list[str]) -> None:
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
    LAUNCHED.append(process)
    await healthy(address)
    await ask(directory, f"add server new/h{number} {address}:{PORT}; enable server new/h{number}")


BOX = (
    "--ro-bind / / --dev /dev --proc /proc --tmpfs /tmp --unshare-pid --new-session --die-with-parent"
    " --cap-drop ALL"
)
LAUNCHES = asyncio.Semaphore(4)
LAUNCHED: list[subprocess.Popen[bytes]] = []
"""What is to end with this program, however that ends."""


async def make_whole(directory: Path, number: int, command: list[str]) -> None:
    """One fresh process with all that a host has, healthy."""
    address = ADDRESS.format(number // 250, number % 250 + 1)
    async with LAUNCHES:
        LAUNCHED.append(await asyncio.to_thread(start_whole, directory, number, command, address))
    await healthy(address)


def start_whole(directory: Path, number: int, command: list[str], address: str) -> subprocess.Popen[bytes]:
    folder = directory / f"h{number}"
    with tarfile.open(directory / "package.tgz") as package:
        package.extractall(folder / "app", filter="data")
    (folder / "host.json.part").write_text(json.dumps({"host": number, "address": address}))
    (folder / "host.json.part").rename(folder / "host.json")
    reader, output = os.pipe()
    subprocess.Popen(["dd", "of=log", "status=none"], cwd=folder, stdin=reader, start_new_session=True)
    app = str(folder / "app")
    box = ["bwrap", *BOX.split(), "--ro-bind", app, app, "--chdir", app, "--", *command]
    process = subprocess.Popen(
        box,
        cwd=app,
        env={"HOST": address, "PORT": str(PORT), "PATH": os.defpath},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
    )
    os.close(reader)
    os.close(output)
    (folder / "process.json").write_text(json.dumps({"pid": process.pid}))
    return process


async def put_behind(directory: Path, count: int) -> None:
    """All of them as a backend of their own, by a reload, and up by HAProxy's checks."""
    checks = "option httpchk GET /health\n  default-server check inter 1s fastinter 50ms downinter 50ms"
    servers = "".join(
        f"  server h{number} {ADDRESS.format(number // 250, number % 250 + 1)}:{PORT}\n"
        for number in range(count)
    )
    text = (directory / "cfg").read_text()
    (directory / "cfg").write_text(f"{text}backend fresh\n  {checks}\n{servers}")
    await asyncio.to_thread(reload, directory)
    while True:
        try:
            rows = (await ask(directory, "show stat -1 4 -1")).splitlines()
        except OSError:
            rows = []
        if sum(row.startswith("fresh,") and ",L7OK," in row for row in rows) == count:
            return
        await asyncio.sleep(POLL_SECONDS)


def reload(directory: Path) -> None:
    with socket.socket(socket.AF_UNIX) as master:
        master.connect(f"{directory}/master")
        master.sendall(b"reload\n")
        master.shutdown(socket.SHUT_WR)
        while master.recv(4096):
            pass


async def run(directory: Path, count: int, application: Path, command: list[str]) -> dict[str, float]:
    is_whole = os.environ.get("FLOOR") == "whole"
    began = time.perf_counter()
    await asyncio.gather(
        *(
            make_whole(directory, number, command)
            if is_whole
            else make(directory, number, application, command)
            for number in range(count)
        )
    )
    if is_whole:
        await put_behind(directory, count)
    made = time.perf_counter()
    await ask(directory, f"set map {directory}/map web {'fresh' if is_whole else 'new'}")
    ended = time.perf_counter()
    await ask(directory, f"set map {directory}/map web old")
    back = time.perf_counter()
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
    with tarfile.open(place / "package.tgz", "w:gz") as package:
        package.add(application, ".")
    (place / "socket").unlink(missing_ok=True)  # of a round before: this one's is ready when it is there
    haproxy = subprocess.Popen(
        [program, "-W", "-q", "-S", f"{place}/master", "-f", f"{place}/cfg"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while not (place / "socket").exists():
        time.sleep(0.01)
    try:
        before = resource.getrusage(resource.RUSAGE_SELF)
        result = asyncio.run(run(place, int(count), Path(application), command))
        after = resource.getrusage(resource.RUSAGE_SELF)
    finally:
        for process in LAUNCHED:
            process.kill()
            process.wait()
        os.killpg(haproxy.pid, signal.SIGKILL)  # a master alone leaves its workers
        haproxy.wait()
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({**result, "cpu_seconds": spent, "hosts": int(count)}))


if __name__ == "__main__":
    main()
