"""An application with three fronts on the real thing: released, released again and rolled back under load."""

import os
import socket
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import new_authority
from tests.support.load import Load
from tests.support.ports import free_ports
from tests.support.stage import Stage, staged

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

APP = """\
import asyncio, os

VERSION = open("version.txt").read().strip()
HOST, PORT = os.environ["HOST"], int(os.environ["PORT"])

async def http(reader, writer):
    try:
        while True:
            await reader.readuntil(b"\\r\\n\\r\\n")
            body = VERSION + "\\n"
            writer.write(f"HTTP/1.1 200 OK\\r\\nContent-Length: {len(body)}\\r\\n\\r\\n{body}".encode())
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()

async def echo(reader, writer):
    try:
        while line := await reader.readline():
            writer.write(VERSION.encode() + b" " + line)
    except ConnectionError:
        pass
    writer.close()

async def main():
    servers = [await asyncio.start_server(http, HOST, PORT), await asyncio.start_server(echo, HOST, 9001)]
    await asyncio.gather(*(server.serve_forever() for server in servers))

asyncio.run(main())
"""

SPEC = """\
repave: 1
app: {app}
artifact: {{uri: ./{version}}}
host: {{run: [{python}, -S, -E, app.py]}}
health: {{http: {{port: 8080}}, interval: 1s, min_healthy_time: 0s, launch_deadline: 30s}}
traffic:
  drain: 1s
  fronts:
    - {{name: web, port: {web}, balance: leastconn}}
    - name: shop
      port: {tls}
      protocol: https
      match: {{host: {app}.example}}
      certificate: {{file: {pem}}}
    - {{name: echo, port: {echo}, protocol: tcp, to: 9001}}
regions: [{{name: paris, size: 2}}]
strategy: {{blue_green: {{warm: 1s}}}}
rollback: {{keep: {{groups: 1}}}}
"""


@pytest.fixture
def folder(directory: Path) -> Path:
    made = directory / "certificates"
    made.mkdir()
    return made


@pytest.fixture
def stage(directory: Path, folder: Path) -> Iterator[Stage]:
    settings = {"REPAVE_AGENT_CERTIFICATES__FOLDER": str(folder)}
    with staged(directory / "stage", regions=("paris",), agent_environment=settings) as started:
        yield started


@contextmanager
def connected(stage: Stage, port: int) -> Iterator[socket.socket]:
    with socket.create_connection((stage.traffic_address("paris"), port), timeout=20) as connection:
        yield connection


def say(connection: socket.socket) -> str:
    connection.sendall(b"hello\n")
    return connection.recv(100).decode().strip()


def release(stage: Stage, app: str, version: str, ports: list[int], pem: Path) -> Any:
    package = stage.directory / version
    package.mkdir(exist_ok=True)
    (package / "app.py").write_text(APP)
    (package / "version.txt").write_text(version)
    web, tls, echo = ports
    python = os.path.realpath(sys.executable)
    text = SPEC.format(app=app, version=version, python=python, web=web, tls=tls, echo=echo, pem=pem)
    body = {"spec": text, "digest": stage.push(package), "version": version, "by": "test"}
    return stage.call("POST", f"applications/{app}/releases", body)


async def test_fronts_switch_together_and_what_is_open_is_closed_after_the_drain(
    stage: Stage, folder: Path
) -> None:
    ports, authority = free_ports(3), new_authority()
    files = authority.issue(folder, name="shop", dns="shop.example")
    files[0].write_text(files[0].read_text() + files[1].read_text())
    trust = ssl.create_default_context(cadata=authority.pem)

    def answers_over_tls() -> str:
        with (
            connected(stage, ports[1]) as plain,
            trust.wrap_socket(plain, server_hostname="shop.example") as connection,
        ):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")
            return connection.recv(4096).decode().splitlines()[-1]

    release(stage, "shop", "1.0", ports, files[0])
    assert stage.ended(application="shop")["phase"] == "succeeded", stage.logs()
    assert answers_over_tls() == "1.0"
    load = Load(f"http://{stage.traffic_address('paris')}:{ports[0]}/", rate=100)
    await load.start()
    with connected(stage, ports[2]) as held:
        assert say(held) == "1.0 hello"
        release(stage, "shop", "2.0", ports, files[0])
        assert stage.ended(application="shop")["phase"] == "succeeded", stage.logs()
        with connected(stage, ports[2]) as fresh:
            assert say(fresh) == "2.0 hello"
            assert answers_over_tls() == "2.0"
            assert say(held) == "1.0 hello"
            stage.call("POST", "applications/shop/rollback", {"by": "test"})
            assert stage.ended(application="shop")["phase"] == "succeeded", stage.logs()
            assert answers_over_tls() == "1.0"
            assert say(fresh) == "2.0 hello"  # its group is kept
            release(stage, "shop", "3.0", ports, files[0])
            assert stage.ended(application="shop")["phase"] == "succeeded", stage.logs()
            assert fresh.recv(100) == b""  # 1.0 is kept in its place
        assert say(held) == "1.0 hello"
    result = await load.stop()
    assert result.failures == ()
    closed = next(each for each in stage.events() if each["kind"] == "traffic.closed")
    assert closed["group"] == "shop-v002"
    with pytest.raises(AssertionError, match=f"port {ports[2]} is that of shop"):
        release(stage, "blog", "3.0", [*free_ports(2), ports[2]], files[0])
