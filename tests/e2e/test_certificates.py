"""A front that speaks TLS, through real releases: its certificate is replaced while clients are there, then
spoilt; its key is found in no other file than its own and what HAProxy reads."""

import asyncio
import json
import ssl
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.certificates import new_authority
from tests.support.stage import Stage, staged

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
HOST, PORT = "hello.example.com", 8443
AUTHORITY = new_authority()
TRUST = ssl.create_default_context(cadata=AUTHORITY.pem)


@dataclass
class Clients:
    """Each asks on a new connection, again and again; the first error ends the test."""

    address: str
    seen: list[tuple[str, str]] = field(default_factory=list)  # the version, and the certificate's serial
    is_over: bool = False

    async def run(self) -> None:
        while not self.is_over:
            reader, writer = await asyncio.open_connection(
                self.address, PORT, ssl=TRUST, server_hostname=HOST
            )
            serial = writer.get_extra_info("peercert")["serialNumber"]
            writer.write(f"GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
            head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
            writer.close()
            assert head.startswith("HTTP/1.1 200"), head
            self.seen.append((body.split()[0], serial))

    @property
    def serials(self) -> set[str]:
        return {serial for _, serial in self.seen}


def put(file: Path) -> str:
    """A new certificate; returns a line of its key."""
    text = AUTHORITY.combined(HOST)
    aside = file.with_suffix(".new")
    aside.write_bytes(text)
    aside.replace(file)
    return text[text.index(b"BEGIN PRIVATE") :].splitlines()[1].decode()


def fronts(file: Path) -> str:
    match = f"match: {{host: {HOST}}}, certificate: {{file: {file}}}"
    return f"[{{name: web, port: {PORT}, protocol: https, {match}}}]"


async def released(stage: Stage, version: str, file: Path) -> None:
    await asyncio.to_thread(stage.release, version, size=1, fronts=fronts(file))
    ended = await asyncio.to_thread(stage.ended)
    assert ended["phase"] == "succeeded", ended["outcome"]


async def serve_and_replace(stage: Stage, file: Path) -> None:
    keys = [put(file)]
    await released(stage, "v1", file)
    other = fronts(file.with_name("other.pem")).replace(HOST, "other.example.com")
    with pytest.raises(AssertionError, match="there is no such file"):
        await asyncio.to_thread(stage.release, "v0", application="other", size=1, fronts=other)
    clients = Clients(stage.traffic_address("paris"))
    async with asyncio.TaskGroup() as tasks:
        for _ in range(2):
            tasks.create_task(clients.run())
        keys.append(put(file))
        await released(stage, "v2", file)
        await asyncio.to_thread(stage.wait, lambda: len(clients.serials) == 2, "the new certificate")
        file.write_text("spoilt")
        fault = "there is no certificate in it"
        await asyncio.to_thread(stage.wait, lambda: fault in json.dumps(stage.get("doctor")), "word of it")
        last = clients.seen[-1]
        begun = len(clients.seen)
        await asyncio.to_thread(stage.wait, lambda: len(clients.seen) > begun + 2, "more answers")
        clients.is_over = True
    assert clients.seen[-1] == last == ("v2", last[1])
    shown = stage.directory / "paris" / "certificates" / "hello.web.pem"
    assert holding(stage.directory, keys) == {shown}
    assert shown.stat().st_mode & 0o777 == 0o600


def holding(folder: Path, keys: list[str]) -> set[Path]:
    """Files that hold one of the keys: no log, no journal, no configuration."""
    found = (each for each in folder.rglob("*") if each.is_file() and not each.is_symlink())
    return {each for each in found if any(key.encode() in each.read_bytes() for key in keys)}


async def test_a_certificate_is_replaced_through_releases_and_its_key_stays_where_it_is(
    directory: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    settings = {"REPAVE_AGENT_CERTIFICATES__FOLDER": str(folder)}
    with staged(directory, regions=("paris",), agent_environment=settings) as stage:
        await serve_and_replace(stage, folder / "hello.pem")
