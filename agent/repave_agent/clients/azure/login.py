"""Who calls Azure: a service principal by secret, certificate or another provider's token, or the machine's
managed identity. Microsoft's own tools find them by the same variables of the environment.
"""

import asyncio
import base64
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from repave_agent.clients.rest import Fetch, decoded
from repave_agent.core.ports import Clock, ProviderError, RefusedError, TransientError

AUTHORITY = "https://login.microsoftonline.com"
IMDS = "http://169.254.169.254"
RESOURCE = "https://management.azure.com"
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_SECONDS = 600
LOGIN_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Principal:
    """`kind`: secret, certificate, federated or managed. `proof`: the secret, or the file of the others."""

    kind: str
    tenant: str = ""
    client: str = ""
    proof: str = field(default="", repr=False)
    authority: str = AUTHORITY
    imds: str = IMDS


def find_principal(authority: str, environment: Mapping[str, str] = os.environ) -> Principal:
    """In the order of Microsoft's own tools. Raises RefusedError."""
    tenant, client = environment.get("AZURE_TENANT_ID", ""), environment.get("AZURE_CLIENT_ID", "")
    where = authority or environment.get("AZURE_AUTHORITY_HOST", AUTHORITY)
    if "://" not in where:
        where = f"https://{where}"
    imds = environment.get("AZURE_POD_IDENTITY_AUTHORITY_HOST", IMDS)
    proofs = {
        "secret": "AZURE_CLIENT_SECRET",
        "certificate": "AZURE_CLIENT_CERTIFICATE_PATH",
        "federated": "AZURE_FEDERATED_TOKEN_FILE",
    }
    for kind, variable in proofs.items():
        if environment.get(variable):
            if not tenant or not client:
                missing = " and ".join(
                    name
                    for name, value in (("AZURE_TENANT_ID", tenant), ("AZURE_CLIENT_ID", client))
                    if not value
                )
                raise RefusedError(f"{variable} is set without {missing}")
            return Principal(kind, tenant, client, environment[variable], where.rstrip("/"), imds)
    return Principal("managed", tenant, client, "", where.rstrip("/"), imds.rstrip("/"))


def fetch_of(principal: Principal, clock: Clock) -> Fetch:
    """How a token is had."""

    async def fetch() -> tuple[str, float]:
        timeout = aiohttp.ClientTimeout(total=LOGIN_SECONDS)
        try:
            async with aiohttp.ClientSession(timeout=timeout) as http:
                if principal.kind == "managed":
                    answer = await _managed(principal, http)
                else:
                    answer = await _granted(principal, http, clock)
            return str(answer["access_token"]), clock.wall() + float(answer["expires_in"])
        except KeyError as missing:
            raise TransientError(f"Azure's log-in: the answer has no {missing.args[0]}") from missing
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise TransientError(f"Azure's log-in: no answer: {error or type(error).__name__}") from error

    return fetch


async def _granted(principal: Principal, http: aiohttp.ClientSession, clock: Clock) -> Mapping[str, Any]:
    url = f"{principal.authority}/{principal.tenant}/oauth2/v2.0/token"
    form = {
        "grant_type": "client_credentials",
        "client_id": principal.client,
        "scope": f"{RESOURCE}/.default",
    }
    if principal.kind == "secret":
        form["client_secret"] = principal.proof
    else:
        text = await asyncio.to_thread(_read, Path(principal.proof))
        signed = _signed(principal, url, text, clock) if principal.kind == "certificate" else text.strip()
        form |= {"client_assertion_type": ASSERTION, "client_assertion": signed}
    async with http.post(url, data=form) as response:
        return _taken(f"principal {principal.client}", response.status, await decoded(response))


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError as error:
        raise RefusedError(f"Azure's log-in: {file}: {error.strerror}") from error


def _signed(principal: Principal, url: str, pem: str, clock: Clock) -> str:
    """A JWT by the certificate's key; the file has both, as Microsoft's tools want it."""
    try:
        key = serialization.load_pem_private_key(pem.encode(), None)
        certificate = x509.load_pem_x509_certificate(pem.encode())
    except (ValueError, TypeError) as error:
        raise RefusedError(
            f"{principal.proof} has not both a certificate and its key without a passphrase, as PEM: {error}"
        ) from error
    thumbprint = certificate.fingerprint(hashes.SHA1())  # noqa: S303  # x5t, as Entra asks for it
    print_ = base64.urlsafe_b64encode(thumbprint).decode().rstrip("=")
    now = int(clock.wall())
    claims = {
        "aud": url, "iss": principal.client, "sub": principal.client, "jti": str(uuid.uuid4()),
        "nbf": now, "exp": now + ASSERTION_SECONDS,
    }  # fmt: skip
    return jwt.encode(claims, key, "RS256", {"x5t": print_})  # type: ignore[arg-type]  # an RSA key, or it refuses


async def _managed(principal: Principal, http: aiohttp.ClientSession) -> Mapping[str, Any]:
    query = {"api-version": "2018-02-01", "resource": RESOURCE}
    if principal.client:
        query["client_id"] = principal.client
    url = f"{principal.imds}/metadata/identity/oauth2/token"
    async with http.get(url, params=query, headers={"Metadata": "true"}) as response:
        return _taken("this machine's identity", response.status, await decoded(response))


def _taken(whose: str, status: int, answer: Mapping[str, Any]) -> Mapping[str, Any]:
    if status < 400:
        return answer
    said = answer.get("error_description") or answer.get("error") or answer.get("message") or "no reason"
    kind: type[ProviderError] = (
        TransientError if status in (404, 408, 410, 429) or status >= 500 else RefusedError
    )
    raise kind(f"Azure does not take the credentials of {whose}: {status}: {said}")
