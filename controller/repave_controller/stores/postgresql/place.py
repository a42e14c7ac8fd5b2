"""Which PostgreSQL a store is in, how it is reached, and what it is called in messages: no password there."""

import ssl
import urllib.parse
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from repave_controller.core.ports import StoreError


@dataclass(frozen=True, slots=True)
class Place:
    """`direct_url` leads past a pooler that `url` names. The password is in a file, or in the URL."""

    url: str
    direct_url: str = ""
    password_file: Path | None = None

    @property
    def past_poolers(self) -> str:
        return self.direct_url or self.url

    def __str__(self) -> str:
        return name_of(self.url)

    def options(self, url: str) -> dict[str, Any]:
        """For asyncpg.connect: beyond this machine only with TLS, the server's certificate checked, unless
        the URL says otherwise. Raises StoreError."""
        found: dict[str, Any] = {"dsn": url, "target_session_attrs": "primary"}
        if self.password_file is not None:
            found["password"] = self._password  # asked for each connection: it may be renewed
        if not _says_how(url) and not _is_here(url):
            found["ssl"] = ssl.create_default_context()
        return found

    def _password(self) -> str:
        assert self.password_file is not None
        try:
            return self.password_file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise StoreError(
                f"store.password_file: {self.password_file} can't be read: {error}. Make it readable for the "
                "controller's user, and for no other."
            ) from error


def name_of(url: str) -> str:
    """PostgreSQL at HOST, database NAME."""
    parts = urllib.parse.urlsplit(url)
    where = parts.netloc.rpartition("@")[2] or dict(urllib.parse.parse_qsl(parts.query)).get("host", "")
    return f"PostgreSQL at {where or 'the local socket'}, database {parts.path.strip('/')}"


def _says_how(url: str) -> bool:
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(url).query)
    return "sslmode" in query


def _is_here(url: str) -> bool:
    """Only sockets of this machine."""
    parts = urllib.parse.urlsplit(url)
    query = urllib.parse.parse_qs(parts.query)
    hosts = [*parts.netloc.rpartition("@")[2].split(","), *",".join(query.get("host", [])).split(",")]
    return all(_is_loopback(each) for each in hosts)


def _is_loopback(host: str) -> bool:
    if not host or host.startswith(("/", "%2F")):
        return True
    name = host[1:].partition("]")[0] if host[0] == "[" else host.partition(":")[0]
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or not name
