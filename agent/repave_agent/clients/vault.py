"""Vault's HTTP API, which OpenBao speaks too, as far as secrets of hosts need it: a log-in, its renewal, and
reads from key-value engines of both versions.

What Vault says is never part of an error: an answer may hold a secret. Its status says enough. Which secret
it is about, the caller knows.
"""

import asyncio
import contextlib
import json
import os
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import aiohttp
import structlog
from yarl import URL

from repave_agent.core.host_secrets import Lack, SecretError
from repave_agent.core.ports import Clock

log = structlog.get_logger()

TRIES_MAX = 4
PAUSE_SECONDS = 0.2
ANSWER_BYTES_MAX = 1024 * 1024
TOKEN_BYTES_MAX = 16 * 1024
RENEW_AT = 0.5
"""Of a token's life."""
KEEP_SECONDS, AGAIN_SECONDS = 30.0, 5.0
"""After so long it is looked how Vault is, and whether the token is to be renewed."""
PATHS_MAX = 10_000
"""Of which it is known how they are mounted."""
REPEATED = (412, 429, 500, 502, 503, 504)
"""412: a replica has not seen yet what another one has written."""

Method = Literal["token", "approle", "cert"]


@dataclass(frozen=True, slots=True)
class Access:
    """Where Vault is, and how the agent logs in. `certificate`: PEM of key and chain, asked for at each
    log-in by `cert`. `kv_version` 0: Vault is asked which one a mount has."""

    address: str
    ca: Path | None = None
    namespace: str = ""
    method: Method = "token"
    mount: str = ""
    token_file: Path | None = None
    role_id: str = ""
    secret_id_file: Path | None = None
    role: str = ""
    certificate: Callable[[], tuple[str, str] | None] = lambda: None
    kv_version: Literal[0, 1, 2] = 0
    timeout_seconds: float = 5.0


@dataclass(frozen=True, slots=True)
class _Token:
    text: str = field(repr=False)
    renew_at: float  # by the monotonic clock; inf: it has no end
    is_renewable: bool


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: dict[str, Any] = field(repr=False)

    def part(self, *names: str) -> dict[str, Any]:
        """{} where there is none."""
        found: Any = self.body
        for name in names:
            found = found.get(name) if isinstance(found, dict) else None
        return found if isinstance(found, dict) else {}


class Vault:
    """One Vault with one token."""

    def __init__(self, access: Access, clock: Clock) -> None:
        self._access, self._clock = access, clock
        self._http: aiohttp.ClientSession | None = None
        self._token: _Token | None = None
        self._lock = asyncio.Lock()
        self.trouble = ""  # when it was looked at last
        self._mounts: dict[str, tuple[str, int]] = {}  # by path

    async def read(self, path: str) -> tuple[dict[str, Any], str]:
        """What is kept at a path that begins with its mount, and which version it is, "" where there is none.
        Raises SecretError."""
        mount, version = await self._mount_of(path)
        try:
            if version == 1:
                return (await self._asked(path)).part("data"), ""
            answer = await self._asked(f"{mount}data/{path.removeprefix(mount)}")
        except SecretError:
            self._mounts.pop(path, None)  # it may be mounted in another way by now
            raise
        content = answer.part("data", "data")
        if not content:
            raise SecretError(Lack.MISSING, "its newest version is deleted")
        number = answer.part("data", "metadata").get("version", "")
        return content, str(number) if isinstance(number, int) else ""

    async def run(self) -> None:
        """Keeps the token alive, also while no host is launched, and looks how Vault is."""
        while True:
            trouble = await self._examined()
            if trouble and trouble != self.trouble:
                log.warning("vault.trouble", why=trouble)
            self.trouble = trouble
            await self._clock.sleep(AGAIN_SECONDS if trouble else KEEP_SECONDS)

    async def _examined(self) -> str:
        """Why hosts could get no secret from it now; "" when they could."""
        try:
            await self._current_token()
            answer = await self._call("GET", "sys/seal-status")
            if answer.body.get("sealed") is True:
                return f"{self._where} is sealed: unseal it"
        except SecretError as error:
            return str(error)
        return ""

    async def close(self) -> None:
        if self._http is not None:
            await self._http.close()
            self._http = None

    # ------------------------------------------------------------------------------------------- mounts

    async def _mount_of(self, path: str) -> tuple[str, int]:
        """With its last /, and the version of its engine."""
        if self._access.kv_version:
            mount, _, _ = path.partition("/")
            return f"{mount}/", self._access.kv_version
        if path not in self._mounts:
            if len(self._mounts) >= PATHS_MAX:
                self._mounts.clear()
            self._mounts[path] = await self._looked_up_mount(path)
        return self._mounts[path]

    async def _looked_up_mount(self, path: str) -> tuple[str, int]:
        answer = await self._asked(f"sys/internal/ui/mounts/{path}")
        mount: object = answer.part("data").get("path")
        kind: object = answer.part("data").get("type")
        if not isinstance(mount, str) or not mount.endswith("/") or not path.startswith(mount):
            raise SecretError(Lack.UNFIT, f"{self._where} does not say what is mounted there")
        if kind not in ("kv", "generic"):
            raise SecretError(Lack.UNFIT, f"{mount} is no key-value engine in {self._where}")
        return mount, 2 if answer.part("data", "options").get("version") == "2" else 1

    # -------------------------------------------------------------------------------------------- calls

    async def _asked(self, path: str) -> _Answer:
        """The answer to a read; one that is 200. Raises SecretError."""
        token = await self._current_token()
        answer = await self._call("GET", path, token=token.text)
        if answer.status == 403:  # its token may have ended, or been revoked
            self._forget(token)
            fresh = await self._current_token()
            if fresh.text != token.text:
                answer = await self._call("GET", path, token=fresh.text)
        if answer.status == 403:
            why = f"{self._where} denies it (403): the policy of the agent's token does not allow it"
            raise SecretError(Lack.DENIED, why)
        if answer.status == 404:
            deleted = answer.part("data", "metadata").get("deletion_time")
            more = "its newest version is deleted" if deleted else 'a path has no "data/" in it here'
            raise SecretError(Lack.MISSING, f"{self._where} has none there (404): {more}")
        return self._good(answer)

    def _good(self, answer: _Answer) -> _Answer:
        if answer.status in (200, 204):
            return answer
        raise SecretError(Lack.AWAY, f"{self._where} answers {answer.status}")

    async def _call(
        self, method: str, path: str, body: dict[str, str] | None = None, token: str = ""
    ) -> _Answer:
        """Any answer that is one, after a few attempts. Raises SecretError."""
        headers = {"X-Vault-Request": "true", "Accept": "application/json"}
        headers |= {"X-Vault-Token": token} if token else {}
        headers |= {"X-Vault-Namespace": self._access.namespace} if self._access.namespace else {}
        pause = PAUSE_SECONDS
        for attempt in range(TRIES_MAX):
            is_last = attempt == TRIES_MAX - 1
            try:
                answer = await self._once(method, path, body, headers)
            except aiohttp.ClientConnectorCertificateError as error:
                why = f"{self._where} shows a certificate that is not trusted: set secrets.vault.ca"
                raise SecretError(Lack.AWAY, why) from error
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                if is_last:
                    why = f"{self._where} does not answer ({type(error).__name__})"
                    raise SecretError(Lack.AWAY, why) from None
            else:
                if answer.status not in REPEATED:
                    return answer
                if is_last:
                    raise self._refusal(answer)
            await self._clock.sleep(pause)
            pause *= 2
        raise AssertionError("the last attempt answers or raises")

    def _refusal(self, answer: _Answer) -> SecretError:
        if answer.status == 503:
            return SecretError(Lack.SEALED, f"{self._where} is sealed, or not ready (503): unseal it")
        if answer.status == 429:
            return SecretError(Lack.AWAY, f"{self._where} is asked too often (429)")
        return SecretError(Lack.AWAY, f"{self._where} answers {answer.status}")

    async def _once(
        self, method: str, path: str, body: dict[str, str] | None, headers: dict[str, str]
    ) -> _Answer:
        url = URL(f"{self._access.address}/v1/{path}", encoded=True)
        async with self._session().request(
            method, url, json=body, headers=headers, allow_redirects=False
        ) as response:
            if 300 <= response.status < 400:
                why = (
                    f"{self._where} points to another address ({response.status}), to which no token is "
                    "shown: set secrets.vault.address to its active node"
                )
                raise SecretError(Lack.AWAY, why)
            raw = await response.content.read(ANSWER_BYTES_MAX + 1)
            while len(raw) <= ANSWER_BYTES_MAX and (more := await response.content.read(ANSWER_BYTES_MAX)):
                raw += more
        return _Answer(response.status, self._decoded(raw, response.status))

    def _decoded(self, raw: bytes, status: int) -> dict[str, Any]:
        with contextlib.suppress(ValueError):
            found = json.loads(raw) if raw and len(raw) <= ANSWER_BYTES_MAX else {}
            if isinstance(found, dict):
                return found
        if status == 200:
            raise SecretError(
                Lack.AWAY, f"{self._where} answers what is no JSON object: is it Vault?"
            ) from None
        return {}

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            timeout = aiohttp.ClientTimeout(total=self._access.timeout_seconds)
            self._http = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._context()), timeout=timeout, trust_env=False
            )
        return self._http

    def _context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self._access.ca)
            shown = self._access.certificate() if self._access.method == "cert" else None
            if shown is not None:
                with _in_memory(shown[0] + "\n" + shown[1]) as file:
                    context.load_cert_chain(file)
        except (OSError, ssl.SSLError) as error:
            why = f"secrets.vault.ca, certificate or key can't be used: {error.strerror or 'it is no PEM'}"
            raise SecretError(Lack.DENIED, why) from None
        return context

    @property
    def _where(self) -> str:
        return f"Vault at {self._access.address}"

    # -------------------------------------------------------------------------------------------- token

    def _forget(self, token: _Token) -> None:
        if self._token is token:
            self._token = None

    async def _current_token(self) -> _Token:
        """Raises SecretError."""
        async with self._lock:
            token = self._token
            if token is None:
                token = self._token = await self._log_in()
            elif self._clock.monotonic() >= token.renew_at:
                token = self._token = await self._renewed(token)
            return token

    async def _renewed(self, token: _Token) -> _Token:
        if token.is_renewable:
            answer = await self._call("POST", "auth/token/renew-self", {}, token.text)
            if answer.status == 200 and (renewed := self._of(answer.part("auth"))) is not None:
                return renewed
        return await self._log_in()

    async def _log_in(self) -> _Token:
        access = self._access
        mount, body = access.mount or access.method, dict[str, str]()
        match access.method:
            case "token":
                return await self._looked_up(_line_of(access.token_file, "token_file"))
            case "approle":
                secret_id = _line_of(access.secret_id_file, "secret_id_file")
                body = {"role_id": access.role_id, "secret_id": secret_id}
            case "cert":
                await self.close()  # its certificate may be a newer one by now
                body = {"name": access.role} if access.role else {}
        answer = await self._call("POST", f"auth/{mount}/login", body)
        if answer.status in (400, 401, 403):
            why = f"{self._where} does not accept the log-in of this agent by {mount} ({answer.status})"
            raise SecretError(Lack.DENIED, why)
        if answer.status == 404:
            raise SecretError(
                Lack.DENIED, f"{self._where} has no log-in {mount} (404): set secrets.vault.auth_mount"
            )
        made = self._of(self._good(answer).part("auth"))
        if made is None:
            raise SecretError(Lack.AWAY, f"{self._where} answers a log-in with no token: is it Vault?")
        return made

    def _of(self, auth: dict[str, Any]) -> _Token | None:
        text, lease = auth.get("client_token"), auth.get("lease_duration")
        if not isinstance(text, str) or not text or not isinstance(lease, int):
            return None
        return self._lasting(text, lease, is_renewable=auth.get("renewable") is True)

    async def _looked_up(self, text: str) -> _Token:
        answer = await self._call("GET", "auth/token/lookup-self", token=text)
        if answer.status in (401, 403):
            why = f"{self._where} does not accept the token in secrets.vault.token_file (403): it has ended"
            raise SecretError(Lack.DENIED, why)
        found = self._good(answer).part("data")
        ttl = found.get("ttl")
        seconds = ttl if isinstance(ttl, int) else 0
        return self._lasting(text, seconds, is_renewable=found.get("renewable") is True)

    def _lasting(self, text: str, seconds: int, *, is_renewable: bool) -> _Token:
        now = self._clock.monotonic()
        return _Token(text, now + RENEW_AT * seconds if seconds > 0 else float("inf"), is_renewable)


def _line_of(file: Path | None, setting: str) -> str:
    """What the file holds. Raises SecretError."""
    if file is None:
        raise SecretError(Lack.DENIED, f"secrets.vault.{setting} is not set")
    try:
        with file.open("rb") as opened:
            text = opened.read(TOKEN_BYTES_MAX).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", "") or "it is no text"
        raise SecretError(Lack.DENIED, f"secrets.vault.{setting}: {file} can't be read: {why}") from None
    if not text or not text.isprintable() or " " in text:
        raise SecretError(Lack.DENIED, f"secrets.vault.{setting}: {file} holds no single word")
    return text


@contextmanager
def _in_memory(text: str) -> Iterator[str]:
    """A path under which Python's ssl, which takes files only, can read a key that is on no disk."""
    descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
