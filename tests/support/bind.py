"""A real BIND on loopback with one zone that two regions may change, and what resolvers get of it."""

import asyncio
import base64
import contextlib
import hashlib
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import dns.asyncquery
import dns.exception
import dns.message
import dns.rdatatype
import pytest

from tests.support.ports import free_port

NAMED = shutil.which("named") or "/usr/sbin/named"
needs_bind = pytest.mark.skipif(not Path(NAMED).exists(), reason="BIND is not installed: make tools")
ZONE = "example.test"
NAMES = ("hello", "shop", "web", "alias")
"""Which the regions' keys may change."""
START_SECONDS = 20.0
STRANGERS = """
www      300 IN A   203.0.113.80
shop     60  IN A   203.0.113.7
alias    60  IN CNAME www
odd      60  IN TXT "not of repave"
"""


@dataclass(frozen=True, slots=True)
class Bind:
    port: int
    directory: Path

    @property
    def server(self) -> str:
        return f"127.0.0.1:{self.port}"

    def key_file(self, region: str) -> Path:
        return self.directory / f"{region}.key"

    async def addresses(self, name: str, kind: str = "A") -> set[str]:
        """What a client that resolves `name` gets now."""
        question = dns.message.make_query(f"{name}.{ZONE}", kind)
        answer = await dns.asyncquery.tcp(question, "127.0.0.1", timeout=5.0, port=self.port)
        return {
            rdata.to_text()
            for rrset in answer.answer
            if rrset.rdtype == dns.rdatatype.from_text(kind)
            for rdata in rrset
        }


@asynccontextmanager
async def bind(directory: Path, regions: tuple[str, ...] = ("paris", "oslo")) -> AsyncIterator[Bind]:
    """Its keys may change the addresses of NAMES, and each the marks of its own region."""
    directory.mkdir(exist_ok=True)
    found = Bind(free_port(), directory)
    for region in regions:
        found.key_file(region).write_text(a_key(region))
    (directory / "zone").write_text(
        f"$ORIGIN {ZONE}.\n$TTL 60\n@ IN SOA ns hostmaster 1 3600 600 86400 1\n@ IN NS ns\n"
        f"ns IN A 127.0.0.1\n{STRANGERS}"
    )
    (directory / "named.conf").write_text(_configuration(found, regions))
    log = (directory / "log").open("wb")
    process = await asyncio.create_subprocess_exec(
        NAMED, "-g", "-4", "-n", "1", "-c", str(directory / "named.conf"), stdout=log, stderr=log
    )
    try:
        async with asyncio.timeout(START_SECONDS):
            await _until_it_answers(found, process)
        yield found
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        log.close()


async def _until_it_answers(found: Bind, process: asyncio.subprocess.Process) -> None:
    while True:
        assert process.returncode is None, (found.directory / "log").read_text()
        with contextlib.suppress(OSError, EOFError, dns.exception.DNSException):
            if await found.addresses("www"):
                return
        await asyncio.sleep(0.02)


def a_key(region: str, algorithm: str = "hmac-sha256") -> str:
    """As tsig-keygen prints it."""
    secret = base64.b64encode(hashlib.sha256(region.encode()).digest()).decode()
    return f'key "repave-{region}" {{\n\talgorithm {algorithm};\n\tsecret "{secret}";\n}};\n'


def _configuration(found: Bind, regions: tuple[str, ...]) -> str:
    grants = "".join(
        f"grant repave-{region} name {name}.{ZONE} A AAAA;\n"
        f"grant repave-{region} name _repave-{region}.{name}.{ZONE} TXT;\n"
        f"grant repave-{region} name _acme-challenge.{name}.{ZONE} TXT;\n"
        for region in regions
        for name in NAMES
    )
    keys = "".join(f'include "{found.key_file(region)}";\n' for region in regions)
    return f"""{keys}
options {{
    directory "{found.directory}";
    pid-file "{found.directory}/named.pid";
    session-keyfile "{found.directory}/session.key";
    listen-on port {found.port} {{ 127.0.0.1; }};
    listen-on-v6 {{ none; }};
    recursion no;
    dnssec-validation no;
    notify no;
    empty-zones-enable no;
}};
controls {{ }};
zone "{ZONE}" {{ type primary; file "zone"; update-policy {{ {grants} }}; }};
"""
