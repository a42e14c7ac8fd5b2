"""Records of a name server that takes dynamic updates (RFC 2136) signed by a key (TSIG, RFC 8945): BIND,
PowerDNS, Knot, and others.

Each update names all that it was decided by as prerequisites, so that the server makes it whole or not at
all, however many regions change the same name at the same time. Over TCP, and each answer is signed too.
"""

import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from repave_agent.core.ports import ChangedMeanwhileError, RefusedError, TransientError
from repave_agent.core.records import Change, Seen, kind_of, mark_name, mark_text, read_mark
from repave_agent.dns.options import Rfc2136Options

try:
    import dns.asyncquery
    import dns.exception
    import dns.flags
    import dns.message
    import dns.name
    import dns.rcode
    import dns.rdataset
    import dns.rdatatype
    import dns.tsig
    import dns.tsigkeyring
    import dns.update
except ImportError as missing:  # pragma: no cover  # an agent without the extra
    raise RefusedError(
        "this agent can't speak with name servers: its extra is not installed. Do: pip install 'repave[dns]'"
    ) from missing

PORT = 53
ALGORITHMS = ("hmac-sha256", "hmac-sha384", "hmac-sha512")
"""Of keys; MD5 and SHA-1 are too weak to be taken."""
KEY_BYTES_MAX = 10_000
KEY = re.compile(
    r'\s*key\s+"?([A-Za-z0-9._-]{1,255})"?\s*\{\s*algorithm\s+"?([A-Za-z0-9-]+)"?\s*;'
    r'\s*secret\s+"([A-Za-z0-9+/=]+)"\s*;\s*\}\s*;?\s*'
)
CHANGED = (dns.rcode.YXDOMAIN, dns.rcode.YXRRSET, dns.rcode.NXRRSET, dns.rcode.NXDOMAIN)
"""Answers that say which prerequisite is not so."""
REFUSED = (dns.rcode.REFUSED, dns.rcode.NOTAUTH, dns.rcode.NOTZONE, dns.rcode.NOTIMP)
KINDS = ("A", "AAAA")


@dataclass(frozen=True, slots=True)
class Read:
    """What was found, as prerequisites of a change name it: a set that is not there is None."""

    sets: dict[str, dns.rdataset.Rdataset | None]  # by type: A, AAAA
    mark: dns.rdataset.Rdataset | None


class Rfc2136Records:
    """Implements ports.Records."""

    kind = "rfc2136"

    def __init__(
        self,
        region: str,
        installation: Callable[[], str],
        options: Rfc2136Options,
        zone: str,
        ttl_seconds: int,
    ) -> None:
        self._region, self._installation, self._options = region, installation, options
        self._zone, self._ttl = dns.name.from_text(zone), ttl_seconds
        self._host, self._port = _address_of(options.server)

    async def look(self, name: str) -> Seen:
        mark = await self._ask(mark_name(name, self._region), "TXT")
        sets, obstacle = {}, ""
        for kind in KINDS:
            answer = await self._ask(name, kind)
            sets[kind] = answer if answer is None or answer.rdtype != dns.rdatatype.CNAME else None
            if answer is not None and answer.rdtype == dns.rdatatype.CNAME:
                obstacle = f"{name} is an alias (CNAME): remove it, or name another in dns.names"
        found = [each for each in sets.values() if each is not None]
        ours, why = read_mark(_texts(mark), self._installation(), self._region)
        return Seen(
            addresses=frozenset(rdata.to_text() for rdataset in found for rdata in rdataset),
            mark=ours,
            ttl_seconds=max((each.ttl for each in found), default=0),
            obstacle=obstacle or why,
            version=Read(sets, mark),
        )

    async def change(self, seen: Seen, change: Change) -> None:
        assert isinstance(seen.version, Read)
        name, key = dns.name.from_text(change.name), self._key()
        mark = dns.name.from_text(mark_name(change.name, self._region))
        update = dns.update.UpdateMessage(self._zone, keyring=key)
        if change.add:
            update.absent(name, "CNAME")
        for kind, rdataset in seen.version.sets.items():
            _require(update, name, kind, rdataset)
        _require(update, mark, "TXT", seen.version.mark)
        for address in change.remove:
            update.delete(name, kind_of(address), address)
        for address in change.add:
            update.add(name, self._ttl, kind_of(address), address)
        update.delete(mark, "TXT")
        if change.mark is not None:
            update.add(mark, self._ttl, "TXT", f'"{mark_text(self._installation(), change.mark)}"')
        answer = await self._send(update)
        if answer.rcode() in CHANGED:
            raise ChangedMeanwhileError(f"{change.name}: {dns.rcode.to_text(answer.rcode())}")
        self._check(answer, f"update of {change.name}")

    async def set_text(self, name: str, text: str, *, is_there: bool) -> None:
        update = dns.update.UpdateMessage(self._zone, keyring=self._key())
        if is_there:
            update.add(dns.name.from_text(name), self._ttl, "TXT", f'"{text}"')
        else:
            update.delete(dns.name.from_text(name), "TXT", f'"{text}"')
        self._check(await self._send(update), f"update of {name}")

    async def close(self) -> None:
        """Nothing is open between two calls."""

    async def _ask(self, name: str, kind: str) -> dns.rdataset.Rdataset | None:
        question = dns.message.make_query(name, kind, flags=0)
        question.use_tsig(self._key())
        answer = await self._send(question)
        if answer.rcode() == dns.rcode.NXDOMAIN:
            return None
        self._check(answer, f"query of {name} {kind}")
        if not answer.flags & dns.flags.AA:
            raise RefusedError(
                f"{self._told} is not in charge of {name}: name the zone's primary in dns.rfc2136.server"
            )
        wanted = dns.rdatatype.from_text(kind)
        for rrset in answer.answer:
            if rrset.name == dns.name.from_text(name) and rrset.rdtype in (wanted, dns.rdatatype.CNAME):
                return rrset.to_rdataset()
        return None

    async def _send(self, message: dns.message.Message) -> dns.message.Message:
        try:
            return await dns.asyncquery.tcp(
                message, await self._resolved(), timeout=self._options.timeout_seconds, port=self._port
            )
        except dns.tsig.PeerError as error:
            raise RefusedError(f"{self._told} refuses the key of dns.rfc2136.key_file: {error}") from error
        except (dns.tsig.BadSignature, dns.tsig.BadTime, dns.message.UnknownTSIGKey) as error:
            raise RefusedError(f"{self._told}: its answer is not signed by the key: {error}") from error
        except (OSError, EOFError, dns.exception.DNSException) as error:
            told = str(error) or type(error).__name__
            raise TransientError(f"{self._told}: no answer: {told}") from error

    async def _resolved(self) -> str:
        """The server's address: its name may stand for another one by now."""
        import asyncio

        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        return str(found[0][4][0])

    def _check(self, answer: dns.message.Message, what: str) -> None:
        if answer.rcode() == dns.rcode.NOERROR:
            return
        text = f"{self._told}: {what}: {dns.rcode.to_text(answer.rcode())}"
        if answer.rcode() in REFUSED:
            raise RefusedError(
                f"{text}: it has no zone {self._zone}, or the key may not change it (update-policy)"
            )
        raise TransientError(text)

    def _key(self) -> dict[dns.name.Name, dns.tsig.Key]:
        """Read each time: a key that is renewed is used at once."""
        assert self._options.key_file is not None, "settings without a key are refused"
        name, algorithm, secret = read_key(self._options.key_file)
        return {name: dns.tsig.Key(name, secret, algorithm)}

    @property
    def _told(self) -> str:
        return f"name server {self._options.server}"


def read_key(file: Path) -> tuple[dns.name.Name, str, str]:
    """Name, algorithm and secret. Raises RefusedError, which never shows the secret."""
    try:
        with file.open() as opened:
            text = opened.read(KEY_BYTES_MAX)
    except (OSError, ValueError) as error:
        raise RefusedError(
            f"dns.rfc2136.key_file: {file} can't be read: {getattr(error, 'strerror', 'no text')}"
        ) from None
    found = KEY.fullmatch(text)
    if found is None:
        raise RefusedError(f"dns.rfc2136.key_file: {file} is no key as tsig-keygen prints it")
    name, algorithm, secret = found.groups()
    if algorithm.lower() not in ALGORITHMS:
        raise RefusedError(
            f"dns.rfc2136.key_file: {algorithm} is too weak: make a key of {', '.join(ALGORITHMS)}"
        )
    try:
        dns.tsig.Key(name, secret, algorithm.lower())
    except ValueError:
        raise RefusedError(f"dns.rfc2136.key_file: the secret in {file} is no base64") from None
    return dns.name.from_text(name), algorithm.lower(), secret


def _address_of(server: str) -> tuple[str, int]:
    host, colon, port = server.rpartition(":")
    if colon and port.isdecimal() and (host.endswith("]") or ":" not in host):
        return host.strip("[]"), int(port)
    return server.strip("[]"), PORT


def _texts(mark: dns.rdataset.Rdataset | None) -> list[str]:
    """An alias (CNAME) in the place of a mark is a text as well: one that repave has not written."""
    return [
        b"".join(rdata.strings).decode(errors="replace")
        if rdata.rdtype == dns.rdatatype.TXT
        else rdata.to_text()
        for rdata in mark or ()
    ]


def _require(
    update: dns.update.UpdateMessage, name: dns.name.Name, kind: str, rdataset: dns.rdataset.Rdataset | None
) -> None:
    """The set is exactly as it was read. Of prerequisites the time to live is 0 (RFC 2136, 2.4.2)."""
    if rdataset is None:
        update.absent(name, kind)
    else:
        update.present(name, *rdataset)
