"""A Vault for tests: a real HTTP server that speaks as much of Vault's API as repave uses, with the status
codes and shapes of its documentation (KV 1 and 2, AppRole, cert, token, seal status, the mounts of the UI).

It holds policies: a token may read what begins with one of its prefixes. Tests make it ill: `sealed`, `slow`,
`garbled`, `redirects`, `busy`.
"""

import asyncio
import json
import secrets
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

NOW = "2026-11-27T10:00:00.000000Z"


@dataclass
class Token:
    prefixes: tuple[str, ...]
    ttl: int = 3600
    renewable: bool = True
    renewals: int = 0


@dataclass
class Vault:
    """`kv1` and `kv2`: by mount, then by path; of kv2 all versions, None: deleted."""

    kv1: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    kv2: dict[str, dict[str, list[dict[str, Any] | None]]] = field(default_factory=dict)
    tokens: dict[str, Token] = field(default_factory=dict)
    roles: dict[tuple[str, str], Token] = field(default_factory=dict)  # role_id and secret_id
    certificates: dict[str, Token] = field(default_factory=dict)  # by the role of cert
    namespace: str = ""
    sealed: bool = False
    slow: bool = False
    garbled: bool = False
    redirects: bool = False
    busy: int = 0  # so many requests more get 429
    asked: list[str] = field(default_factory=list)
    address: str = ""
    shown: list[str] = field(default_factory=list)  # subjects of client certificates

    # ---------------------------------------------------------------------------------------------- tests

    def put(self, path: str, **values: Any) -> None:
        """A new version below a mount of version 2."""
        mount, _, below = path.partition("/")
        self.kv2.setdefault(mount, {}).setdefault(below, []).append(dict(values))

    def token(self, *prefixes: str, ttl: int = 3600, renewable: bool = True) -> str:
        text = f"hvs.{secrets.token_urlsafe(24)}"
        self.tokens[text] = Token(prefixes, ttl, renewable)
        return text

    # --------------------------------------------------------------------------------------------- answers

    async def answer(self, request: web.Request) -> web.Response:
        path = request.match_info["path"]
        self.asked.append(f"{request.method} {path}")
        if self.slow:
            await asyncio.sleep(30)
        if self.redirects:
            return web.Response(status=307, headers={"Location": "http://127.0.0.1:1/v1/elsewhere"})
        if self.garbled:
            return web.Response(
                text="<html>a proxy's page with s3cret-in-it</html>", content_type="text/html"
            )
        if self.busy:
            self.busy -= 1
            return _errors(429)
        if path == "sys/seal-status":
            return _json({"type": "shamir", "initialized": True, "sealed": self.sealed, "t": 3, "n": 5})
        if self.sealed:
            return _errors(503, "Vault is sealed")
        if request.headers.get("X-Vault-Namespace", "") != self.namespace:
            return _errors(404)
        if path.startswith("auth/") and path.endswith("/login"):
            return self._log_in(path, await request.json(), request)
        token = self.tokens.get(request.headers.get("X-Vault-Token", ""))
        if token is None:
            return _errors(403, "permission denied")
        if path == "auth/token/renew-self" and request.method == "POST":
            return self._renew(request.headers["X-Vault-Token"], token)
        if path == "auth/token/lookup-self":
            return _json({"data": {"ttl": token.ttl, "renewable": token.renewable, "policies": ["x"]}})
        if path.startswith("sys/internal/ui/mounts/"):
            return self._mount(path.removeprefix("sys/internal/ui/mounts/"), token)
        return self._read(path, token)

    def _log_in(self, path: str, body: dict[str, str], request: web.Request) -> web.Response:
        if path == "auth/approle/login":
            role = self.roles.get((body.get("role_id", ""), body.get("secret_id", "")))
            if role is None:
                return _errors(400, "invalid role or secret ID")
        elif path == "auth/cert/login":
            transport = request.transport
            shown = transport.get_extra_info("peercert") if transport is not None else None
            role = self.certificates.get(body.get("name", ""))
            if not shown or role is None:
                return _errors(400, "invalid certificate or no client certificate supplied")
            self.shown.append(str(shown["subject"]))
        else:
            return _errors(404, "no handler for route")
        text = self.token(*role.prefixes, ttl=role.ttl, renewable=role.renewable)
        return self._auth(text, role)

    def _renew(self, text: str, token: Token) -> web.Response:
        if not token.renewable:
            return _errors(400, "lease is not renewable")
        token.renewals += 1
        return self._auth(text, token)

    def _auth(self, text: str, token: Token) -> web.Response:
        auth = {
            "client_token": text,
            "accessor": "a",
            "policies": ["default"],
            "lease_duration": token.ttl,
            "renewable": token.renewable,
        }
        return _json({"request_id": "r", "lease_id": "", "data": None, "auth": auth})

    def _mount(self, path: str, token: Token) -> web.Response:
        mounts = {**dict.fromkeys(self.kv1, "1"), **dict.fromkeys(self.kv2, "2")}
        found = max((name for name in mounts if path.startswith(f"{name}/")), key=len, default=None)
        if found is None or not any(
            each.startswith(found) or found.startswith(each) for each in token.prefixes
        ):
            return _errors(403, f"preflight capability check returned 403, for {path}")
        options = {"version": "2"} if mounts[found] == "2" else None
        return _json({"data": {"path": f"{found}/", "type": "kv", "options": options, "local": False}})

    def _read(self, path: str, token: Token) -> web.Response:
        if not any(path.replace("/data/", "/", 1).startswith(prefix) for prefix in token.prefixes):
            return _errors(403, "1 error occurred:\n\t* permission denied\n\n")
        for mount, paths in self.kv1.items():
            if path.startswith(f"{mount}/"):
                content = paths.get(path.removeprefix(f"{mount}/"))
                return _json({"lease_duration": 2764800, "data": content}) if content else _errors(404)
        for mount, versions in self.kv2.items():
            if path.startswith(f"{mount}/data/"):
                return _newest(versions.get(path.removeprefix(f"{mount}/data/"), []))
        return _errors(404)


def _newest(versions: list[dict[str, Any] | None]) -> web.Response:
    if not versions:
        return _errors(404)
    content, number = versions[-1], len(versions)
    metadata = {
        "created_time": NOW,
        "custom_metadata": None,
        "deletion_time": "" if content is not None else NOW,
        "destroyed": False,
        "version": number,
    }
    answer = {"request_id": "r", "lease_id": "", "data": {"data": content, "metadata": metadata}}
    return _json(answer, 200 if content is not None else 404)


def _json(content: dict[str, Any], status: int = 200) -> web.Response:
    return web.Response(text=json.dumps(content), status=status, content_type="application/json")


def _errors(status: int, *texts: str) -> web.Response:
    return _json({"errors": list(texts)}, status)


@asynccontextmanager
async def served(vault: Vault, tls: ssl.SSLContext | None = None) -> AsyncIterator[Vault]:
    """On a port of loopback until the end of the block."""
    app = web.Application()
    app.router.add_route("*", "/v1/{path:.*}", vault.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    port = runner.addresses[0][1]
    vault.address = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    try:
        yield vault
    finally:
        await runner.cleanup()
