"""Azure's kinds of credentials, each as Microsoft's own tools find and use it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from repave_agent.clients.azure.login import Principal, fetch_of, find_principal
from repave_agent.core.ports import RefusedError, TransientError
from tests.fakes.clock import QuickClock
from tests.fakes.scripted import scripted

GIVEN: tuple[int, Any, dict[str, str]] = (200, {"access_token": "eyJ0", "expires_in": 3599}, {})
NAMED = {"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c"}


def form_of(text: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(text).items()}


async def token_of(principal: Principal) -> str:
    return (await fetch_of(principal, QuickClock())())[0]


async def test_a_secret_is_sent_to_the_tenant_s_own_address() -> None:
    async with scripted(GIVEN) as server:
        found = find_principal(server.url, {**NAMED, "AZURE_CLIENT_SECRET": "s"})
        assert await token_of(found) == "eyJ0"
    method, path, _, text = server.asked[0]
    assert (method, path) == ("POST", "/t/oauth2/v2.0/token")
    assert form_of(text) == {
        "grant_type": "client_credentials", "client_id": "c", "client_secret": "s",
        "scope": "https://management.azure.com/.default",
    }  # fmt: skip


async def test_a_certificate_s_key_signs_and_its_fingerprint_names_it(tmp_path: Path) -> None:
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "agent")])
    begin = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "both.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    async with scripted(GIVEN) as server:
        await token_of(find_principal(server.url, {**NAMED, "AZURE_CLIENT_CERTIFICATE_PATH": str(pem)}))
        audience = f"{server.url}/t/oauth2/v2.0/token"
    form = form_of(server.asked[0][3])
    claims = jwt.decode(form["client_assertion"], key.public_key(), ["RS256"], audience=audience)
    assert (claims["iss"], claims["sub"]) == ("c", "c")
    assert len(jwt.get_unverified_header(form["client_assertion"])["x5t"]) == 27
    assert "client_secret" not in form


async def test_another_provider_s_token_is_read_anew_each_time(tmp_path: Path) -> None:
    file = tmp_path / "token"
    async with scripted(GIVEN, GIVEN) as server:
        found = find_principal(server.url, {**NAMED, "AZURE_FEDERATED_TOKEN_FILE": str(file)})
        for text in ("first\n", "second\n"):
            file.write_text(text)
            await token_of(found)
    assert [form_of(each[3])["client_assertion"] for each in server.asked] == ["first", "second"]


@pytest.mark.parametrize("client", ["", "chosen"])
async def test_a_machine_s_own_identity_is_asked_of_its_metadata_service(client: str) -> None:
    async with scripted((200, {"access_token": "eyJ0", "expires_in": "86400"}, {})) as server:
        named = {"AZURE_POD_IDENTITY_AUTHORITY_HOST": server.url, "AZURE_CLIENT_ID": client}
        assert await token_of(find_principal("", named)) == "eyJ0"
    _, path, headers, _ = server.asked[0]
    query = {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}
    assert headers["Metadata"] == "true"
    assert query["resource"] == "https://management.azure.com"
    assert query.get("client_id", "") == client


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (
            (401, {"error": "invalid_client", "error_description": "AADSTS7000215: Invalid secret"}, {}),
            RefusedError,
            "does not take the credentials of principal c: 401: AADSTS7000215: Invalid secret",
        ),
        ((503, "busy", {}), TransientError, "503: busy"),
        ((200, {}, {}), TransientError, "the answer has no access_token"),
        (None, TransientError, "Azure's log-in: no answer"),
    ],
)
async def test_what_azure_refuses_is_told_by_its_kind(answer: Any, kind: type[Exception], said: str) -> None:
    async with scripted(answer) as server:
        with pytest.raises(kind, match=said):
            await token_of(Principal("secret", "t", "c", "s", server.url))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"AZURE_CLIENT_SECRET": "s"},
            "AZURE_CLIENT_SECRET is set without AZURE_TENANT_ID and AZURE_CLIENT_ID",
        ),
        ({"AZURE_CLIENT_SECRET": "s", "AZURE_TENANT_ID": "t"}, "is set without AZURE_CLIENT_ID"),
    ],
)
def test_half_of_the_credentials_is_refused_with_what_is_missing(given: dict[str, str], said: str) -> None:
    with pytest.raises(RefusedError, match=said):
        find_principal("", given)


def test_no_secret_is_shown_with_its_principal() -> None:
    assert "sesame" not in repr(find_principal("", {**NAMED, "AZURE_CLIENT_SECRET": "sesame"}))


async def test_a_certificate_s_file_without_its_key_is_named(tmp_path: Path) -> None:
    pem = tmp_path / "half.pem"
    pem.write_text("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n")
    with pytest.raises(RefusedError, match=r"half\.pem has not both a certificate and its key"):
        await token_of(Principal("certificate", "t", "c", str(pem)))
    with pytest.raises(RefusedError, match=r"gone\.pem: No such file"):
        await token_of(Principal("certificate", "t", "c", str(tmp_path / "gone.pem")))
