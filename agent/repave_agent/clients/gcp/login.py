"""Who calls Google Cloud: application default credentials, as its own tools find them.

They are the key of a service account, a person's log-in by gcloud, another provider's identity (workload
identity federation), or the machine's own service account by its metadata server.
Google's library is synchronous and brings `requests`; what it does for these four kinds is one request each.
"""

import asyncio
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import jwt

from repave_agent.clients.rest import Fetch, decoded
from repave_agent.core.ports import Clock, ProviderError, RefusedError, TransientError

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"
WELL_KNOWN = Path("gcloud/application_default_credentials.json")
METADATA_HOST = "metadata.google.internal"
TOKEN_URL = "https://oauth2.googleapis.com/token"  # noqa: S105  # an address
JWT_SECONDS = 3600
LOGIN_SECONDS = 20.0
FLAVOR = {"Metadata-Flavor": "Google"}


@dataclass(frozen=True, slots=True)
class Credentials:
    """`raw`: of a credentials file, {} for the metadata server. `origin`: where they are from, for people."""

    raw: Mapping[str, Any] = field(repr=False)
    origin: str
    metadata_host: str = METADATA_HOST

    @property
    def kind(self) -> str:
        """As credentials files call it."""
        return str(self.raw.get("type", "metadata"))

    @property
    def project(self) -> str:
        """The one that they name, or ""."""
        return str(self.raw.get("project_id") or self.raw.get("quota_project_id") or "")


def find_credentials(file: Path | None, environment: Mapping[str, str] = os.environ) -> Credentials:
    """In the order of Google's own tools. Raises RefusedError."""
    named = file or (Path(environment[VARIABLE]) if environment.get(VARIABLE) else None)
    host = environment.get("GCE_METADATA_HOST", METADATA_HOST)
    if named is not None:
        return Credentials(_read(named), str(named), host)
    home = environment.get("CLOUDSDK_CONFIG")
    usual = Path(home) / WELL_KNOWN.name if home else Path("~/.config").expanduser() / WELL_KNOWN
    if usual.is_file():
        return Credentials(_read(usual), str(usual), host)
    return Credentials({}, f"the metadata server {host}", host)


def _read(file: Path) -> dict[str, Any]:
    try:
        raw = json.loads(file.read_text())
    except OSError as error:
        raise RefusedError(f"gcp.credentials: {file}: {error.strerror}") from error
    except ValueError as error:
        raise RefusedError(f"gcp.credentials: {file} is no JSON: {error}") from error
    if not isinstance(raw, dict) or raw.get("type") not in KINDS:
        kinds = ", ".join(KINDS)
        raise RefusedError(f"gcp.credentials: {file}: its type is none of {kinds}")
    return raw


def fetch_of(credentials: Credentials, clock: Clock) -> Fetch:
    """How a token is had with these credentials."""
    kind = KINDS.get(credentials.kind, _from_metadata)

    async def fetch() -> tuple[str, float]:
        timeout = aiohttp.ClientTimeout(total=LOGIN_SECONDS)
        try:
            async with aiohttp.ClientSession(timeout=timeout) as http:
                answer = await kind(credentials, http, clock)
        except KeyError as missing:
            raise RefusedError(f"{credentials.origin}: {missing.args[0]} is missing") from missing
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise TransientError(f"Google's log-in: no answer: {error or type(error).__name__}") from error
        token = str(answer.get("access_token") or answer["accessToken"])
        return token, clock.wall() + float(answer.get("expires_in", 300.0))

    return fetch


async def _from_key(credentials: Credentials, http: aiohttp.ClientSession, clock: Clock) -> Mapping[str, Any]:
    """RFC 7523: a JWT that the service account's key signs, for a token."""
    raw, now = credentials.raw, int(clock.wall())
    url = str(raw.get("token_uri", TOKEN_URL))
    email = raw["client_email"]
    claims = {"iss": email, "sub": email, "aud": url, "scope": SCOPE, "iat": now, "exp": now + JWT_SECONDS}
    try:
        signed = jwt.encode(claims, raw["private_key"], "RS256", {"kid": str(raw.get("private_key_id", ""))})
    except (ValueError, TypeError) as error:
        raise RefusedError(f"{credentials.origin}: its private_key can't sign: {error}") from error
    form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": signed}
    return await _asked(credentials, http, url, form)


async def _from_person(
    credentials: Credentials, http: aiohttp.ClientSession, clock: Clock
) -> Mapping[str, Any]:
    raw = credentials.raw
    form = {name: raw[name] for name in ("client_id", "client_secret", "refresh_token")}
    url = str(raw.get("token_uri", TOKEN_URL))
    return await _asked(credentials, http, url, {"grant_type": "refresh_token", **form})


async def _from_federation(
    credentials: Credentials, http: aiohttp.ClientSession, clock: Clock
) -> Mapping[str, Any]:
    """RFC 8693: another provider's token for Google's, and that for a service account's if so said."""
    raw = credentials.raw
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "audience": raw["audience"],
        "subject_token_type": raw["subject_token_type"],
        "subject_token": await _subject_token(credentials, http),
        "scope": SCOPE,
    }
    answer = await _asked(credentials, http, str(raw["token_url"]), form)
    url = raw.get("service_account_impersonation_url")
    if not url:
        return answer
    bearer = {"Authorization": f"Bearer {answer['access_token']}"}
    async with http.post(str(url), json={"scope": [SCOPE]}, headers=bearer) as response:
        return _taken(credentials, response.status, await decoded(response))


async def _subject_token(credentials: Credentials, http: aiohttp.ClientSession) -> str:
    source = credentials.raw["credential_source"]
    form = source.get("format") or {}
    if "file" in source:
        text = await asyncio.to_thread(Path(source["file"]).read_text)
    elif "url" in source:
        async with http.get(source["url"], headers=source.get("headers") or {}) as response:
            text = await response.text()
            if response.status >= 400:
                raise RefusedError(f"{credentials.origin}: {source['url']}: {response.status}: {text[:200]}")
    else:
        raise RefusedError(f"{credentials.origin}: credential_source has neither file nor url")
    if form.get("type") != "json":
        return text.strip()
    try:
        return str(json.loads(text)[form["subject_token_field_name"]])
    except ValueError as error:
        raise RefusedError(f"{credentials.origin}: its subject token is no JSON: {error}") from error


async def _from_metadata(
    credentials: Credentials, http: aiohttp.ClientSession, clock: Clock
) -> Mapping[str, Any]:
    url = f"http://{credentials.metadata_host}/computeMetadata/v1/instance/service-accounts/default/token"
    async with http.get(url, headers=FLAVOR) as response:
        if response.status == 404:
            raise RefusedError(
                "this machine has no service account, and there are no other credentials: set "
                f"gcp.credentials or {VARIABLE}, or give the machine a service account"
            )
        return _taken(credentials, response.status, await decoded(response))


async def project_of_metadata(credentials: Credentials) -> str:
    """The project of this machine. Raises ProviderError."""
    url = f"http://{credentials.metadata_host}/computeMetadata/v1/project/project-id"
    timeout = aiohttp.ClientTimeout(total=LOGIN_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as http,
            http.get(url, headers=FLAVOR) as response,
        ):
            return (await response.text()).strip() if response.status == 200 else ""
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise RefusedError(
            f"gcp.project is not set, and {credentials.origin} does not answer: {error}"
        ) from error


async def _asked(
    credentials: Credentials, http: aiohttp.ClientSession, url: str, form: Mapping[str, Any]
) -> Mapping[str, Any]:
    async with http.post(url, data=form) as response:
        return _taken(credentials, response.status, await decoded(response))


def _taken(credentials: Credentials, status: int, answer: Mapping[str, Any]) -> Mapping[str, Any]:
    if status < 400:
        return answer
    said = answer.get("error_description") or answer.get("error") or answer.get("message") or "no reason"
    text = f"Google does not take the credentials of {credentials.origin}: {status}: {said}"
    kind: type[ProviderError] = TransientError if status in (408, 429) or status >= 500 else RefusedError
    raise kind(text)


KINDS = {
    "service_account": _from_key,
    "authorized_user": _from_person,
    "external_account": _from_federation,
}
