"""A real OpenID provider (npm oidc-provider, as tests/support/oidc locks it), and its person's browser."""

import http.cookiejar
import json
import re
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import which

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.support.paths import ROOT

PLACE = ROOT / "tests" / "support" / "oidc"
PAGES_MAX = 15
FORMS_MAX = 2
"""The code, and that it is the right one: a third asks for another code."""
FORM = re.compile(r"<form[^>]*action=\"([^\"]+)\"[^>]*>(.*?)</form>", re.S)
INPUT = re.compile(r"<input[^>]*name=\"([^\"]+)\"[^>]*value=\"([^\"]*)\"")


def why_no_provider() -> str:
    """ "" when it can be started."""
    if which("node") is None:
        return "no real OpenID provider: there is no node on this machine"
    if not (PLACE / "node_modules" / "oidc-provider").is_dir():
        return "no real OpenID provider: make tools has not installed it (npm ci in tests/support/oidc)"
    return ""


@dataclass
class RealIssuer:
    """Its person answers as told."""

    url: str

    def answer(self, person: str) -> None:
        with urllib.request.urlopen(f"{self.url}/answer?person={person}", timeout=10):
            pass


@contextmanager
def real_issuer() -> Iterator[RealIssuer]:
    """Runs until the block is left."""
    rsa_key, ec_key = rsa.generate_private_key(65_537, 2048), ec.generate_private_key(ec.SECP256R1())
    listed = [
        {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(rsa_key)), "kid": "r1", "use": "sig"},
        {**json.loads(jwt.algorithms.ECAlgorithm.to_jwk(ec_key)), "kid": "e1", "use": "sig"},
    ]
    environment = {"OIDC_KEYS": json.dumps(listed), "PATH": str(Path(which("node") or "").parent)}
    command = ["node", "provider.mjs"]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=PLACE, env=environment, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:"), url
        yield RealIssuer(url)
        process.stdin.close()  # then it ends


class _Stay(urllib.request.HTTPRedirectHandler):
    """Redirects are followed by hand."""

    def redirect_request(self, *_: object, **__: object) -> None:
        return None


class Browser:
    """Of a person who follows every redirect and submits the first forms, as far as `stops_at`."""

    def __init__(self) -> None:
        jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._opener = urllib.request.build_opener(jar, _Stay())

    def visit(self, url: str, stops_at: str = "") -> str:
        """Where it ends up."""
        body: bytes | None = None
        forms = 0
        for _ in range(PAGES_MAX):
            if stops_at and url.startswith(stops_at):
                return url
            location, page = self._open(url, body)
            form = FORM.search(page)
            if location:
                url, body = urllib.parse.urljoin(url, location), None
            elif form is not None and forms < FORMS_MAX:
                forms += 1
                fields = {**dict(INPUT.findall(form[2])), "confirm": "yes"}
                url, body = urllib.parse.urljoin(url, form[1]), urllib.parse.urlencode(fields).encode()
            else:
                return url
        raise AssertionError(f"went round in circles, at {url}")

    def _open(self, url: str, body: bytes | None) -> tuple[str, str]:
        try:
            with self._opener.open(url, body, timeout=10) as response:
                return response.headers.get("Location", ""), response.read().decode()
        except urllib.error.HTTPError as error:
            if error.code in (301, 302, 303, 307):
                return error.headers.get("Location", ""), ""
            return "", error.read().decode()
