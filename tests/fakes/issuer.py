"""A little provider of OpenID Connect on loopback: it answers as RFCs 6749, 7636, 8628 and OpenID Connect
Core say, and wrongly where a test wants it to. Its person answers at once."""

import base64
import hashlib
import json
import secrets
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

KEY = rsa.generate_private_key(65_537, 2048)
OTHER_KEY = rsa.generate_private_key(65_537, 2048)
PEOPLE: dict[str, dict[str, Any]] = {
    "anna": {"email": "anna@acme.example", "email_verified": True, "groups": ["developers", "sre-oncall"]},
    "ben": {"email": "ben@acme.example", "email_verified": True, "groups": []},
    "root": {"email": "root@acme.example", "email_verified": True, "groups": ["platform"]},
}
CLIENTS = {
    "repave": "s3cret-of-the-client:+%",
    "repave-posting": "another-secret",
    "repave-public": "",
    "repave-ec": "",
}

Form = dict[str, str]
Answer = tuple[int, Mapping[str, Any] | bytes]


@dataclass
class Issuer:
    """`person` answers log-ins; "" denies, None has not yet answered."""

    url: str = ""
    keys: dict[str, Any] = field(default_factory=lambda: {"k1": KEY})
    asked: list[str] = field(default_factory=list)
    people: dict[str, dict[str, Any]] = field(default_factory=lambda: {**PEOPLE})
    person: str | None = "anna"
    described: dict[str, Any] = field(default_factory=dict)
    """What it says of itself otherwise; None: nothing."""
    says: dict[str, Any] = field(default_factory=dict)
    """Claims that its ID tokens have otherwise; None: not at all."""
    signs: Callable[[dict[str, Any]], str] | None = None
    """Instead of its key."""
    fails: dict[str, list[Answer]] = field(default_factory=dict)
    """What a path answers next, instead of what it should."""
    in_token: bool = False
    """Whether ID tokens have all claims, or userinfo alone."""
    interval: float | None = None
    _codes: dict[str, Form] = field(default_factory=dict)
    _devices: dict[str, Form] = field(default_factory=dict)
    _subjects: dict[str, str] = field(default_factory=dict)

    # ------------------------------------------------------------------------------------- tokens of jobs

    def claims(self, **changes: Any) -> dict[str, Any]:
        now = time.time()
        known = {"iss": self.url, "aud": "repave", "sub": "repo:acme/web", "repository": "acme/web"}
        times = {"iat": now, "nbf": now, "exp": now + 300, "ref": "refs/heads/main", "jti": str(now)}
        return {**known, **times, **changes}

    def token(self, key: Any = KEY, kid: str = "k1", alg: str = "RS256", **changes: Any) -> str:
        return jwt.encode(self.claims(**changes), key, alg, headers={"kid": kid})

    # --------------------------------------------------------------------------------------------- people

    def answer(self, person: str | None) -> None:
        self.person = person

    def respond(self, method: str, target: str, form: Form, basic: str) -> tuple[int, Any, str]:
        """Status, JSON, and where a browser goes on."""
        parts = urllib.parse.urlsplit(target)
        query = dict(urllib.parse.parse_qsl(parts.query))
        self.asked.append(parts.path)
        if self.fails.get(parts.path):
            return *self.fails[parts.path].pop(0), ""
        match method, parts.path:
            case "GET", "/.well-known/openid-configuration":
                return 200, self._description(), ""
            case "GET", "/keys":
                return 200, {"keys": [_jwk(name, key) for name, key in self.keys.items()]}, ""
            case "GET", "/auth":
                return 302, {}, self._authorized(query)
            case "GET", "/device":
                self._devices[query["user_code"]]["person"] = "-" if self.person == "" else self.person or ""
                return 200, {}, ""
            case "GET", "/me":
                subject = self._subjects.get(basic, "")
                return (200, {"sub": subject, **self.people[subject]}, "") if subject else (401, {}, "")
            case "POST", "/device/auth" | "/token":
                return *self._asked(parts.path, form, basic), ""
        return 404, {}, ""

    def _description(self) -> dict[str, Any]:
        own = {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/keys",
            "authorization_endpoint": f"{self.url}/auth",
            "token_endpoint": f"{self.url}/token",
            "device_authorization_endpoint": f"{self.url}/device/auth",
            "userinfo_endpoint": f"{self.url}/me",
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
        }
        return {name: each for name, each in {**own, **self.described}.items() if each is not None}

    def _authorized(self, query: Form) -> str:
        back = {"state": query["state"], "iss": self.url}
        if query.get("code_challenge_method") != "S256" or not query.get("nonce"):
            back |= {"error": "invalid_request"}
        elif not self.person:
            back |= {"error": "access_denied", "error_description": "the person said no"}
        else:
            code = secrets.token_urlsafe()
            self._codes[code] = {**query, "person": self.person}
            back |= {"code": code}
        return f"{query['redirect_uri']}?{urllib.parse.urlencode(back)}"

    def _asked(self, path: str, form: Form, basic: str) -> Answer:
        if not _is_client(form, basic):
            return 401, {"error": "invalid_client"}
        if path == "/device/auth":
            return 200, self._device(form)
        if form["grant_type"] == "authorization_code":
            flow = self._codes.pop(form["code"], None)
            if flow is None or not _is_proven(flow, form):
                return 400, {"error": "invalid_grant"}
            return 200, self._tokens(form["client_id"], flow["person"], flow["nonce"])
        flow = next((each for each in self._devices.values() if each["code"] == form["device_code"]), None)
        if flow is None:
            return 400, {"error": "invalid_grant"}
        if not flow["person"]:
            return 400, {"error": "authorization_pending"}
        if flow["person"] == "-":
            return 400, {"error": "access_denied", "error_description": "the person said no"}
        self._devices = {name: each for name, each in self._devices.items() if each is not flow}
        return 200, self._tokens(form["client_id"], flow["person"], "")

    def _device(self, form: Form) -> dict[str, Any]:
        code, user_code = secrets.token_urlsafe(), secrets.token_hex(4).upper()
        self._devices[user_code] = {"code": code, "person": "", "scope": form["scope"]}
        told = {
            "device_code": code,
            "user_code": user_code,
            "verification_uri": f"{self.url}/device",
            "verification_uri_complete": f"{self.url}/device?user_code={user_code}",
            "expires_in": 600,
        }
        return told if self.interval is None else {**told, "interval": self.interval}

    def _tokens(self, client: str, subject: str, nonce: str) -> dict[str, Any]:
        access, now = secrets.token_urlsafe(), int(time.time())
        self._subjects[access] = subject
        half = hashlib.sha256(access.encode()).digest()[:16]
        claims = {
            "iss": self.url,
            "aud": client,
            "sub": subject,
            "iat": now,
            "exp": now + 300,
            "at_hash": _plain(half),
            **({"nonce": nonce} if nonce else {}),
            **(self.people[subject] if self.in_token else {}),
            **self.says,
        }
        said = {name: each for name, each in claims.items() if each is not None}
        name, key = next(iter(self.keys.items()))
        kind = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
        signed = self.signs(said) if self.signs else jwt.encode(said, key, kind, headers={"kid": name})
        return {"access_token": access, "id_token": signed, "token_type": "Bearer", "expires_in": 300}


def _jwk(name: str, key: Any) -> dict[str, Any]:
    algorithms = jwt.algorithms
    kind = algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else algorithms.ECAlgorithm
    return {**json.loads(kind.to_jwk(key.public_key())), "kid": name, "use": "sig"}


def _is_client(form: Form, basic: str) -> bool:
    wanted = CLIENTS.get(form.get("client_id", ""))
    name, _, secret = basic.partition(":")
    shown = urllib.parse.unquote_plus(secret) if basic else form.get("client_secret", "")
    return shown == wanted and (not basic or name == form["client_id"])


def _is_proven(flow: Form, form: Form) -> bool:
    challenge = _plain(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
    return challenge == flow["code_challenge"] and form["redirect_uri"] == flow["redirect_uri"]


def _plain(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


@contextmanager
def an_issuer() -> Iterator[Issuer]:
    """Serves until the block is left."""
    made = Issuer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, _, shown = self.headers.get("Authorization", "").partition(" ")
            basic = base64.b64decode(shown).decode() if kind == "Basic" else shown
            text = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
            form = dict(urllib.parse.parse_qsl(text))
            status, told, location = made.respond(self.command, self.path, form, basic)
            body = told if isinstance(told, bytes) else json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if location:
                self.send_header("Location", location)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
