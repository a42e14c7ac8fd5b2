"""Google's four kinds of credentials, each as its own tools find and use it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from repave_agent.clients.gcp.login import Credentials, fetch_of, find_credentials
from repave_agent.core.ports import RefusedError, TransientError
from tests.fakes.clock import QuickClock
from tests.fakes.scripted import scripted

GIVEN: tuple[int, Any, dict[str, str]] = (200, {"access_token": "ya29.x", "expires_in": 3599}, {})
PERSON = {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r"}


def form_of(text: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(text).items()}


async def token_of(raw: Mapping[str, Any], host: str = "127.0.0.1:9") -> str:
    token, ends_at = await fetch_of(Credentials(raw, "here", host), QuickClock())()
    assert ends_at > 0
    return token


async def test_a_service_account_s_key_signs_for_its_token() -> None:
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    async with scripted(GIVEN) as server:
        raw = {
            "type": "service_account",
            "client_email": "a@p",
            "private_key": pem.decode(),
            "private_key_id": "7",
            "token_uri": f"{server.url}/token",
        }
        assert await token_of(raw) == "ya29.x"
    form = form_of(server.asked[0][3])
    assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    claims = jwt.decode(form["assertion"], key.public_key(), ["RS256"], audience=raw["token_uri"])
    assert (claims["iss"], claims["exp"] - claims["iat"]) == ("a@p", 3600)
    assert jwt.get_unverified_header(form["assertion"])["kid"] == "7"


async def test_a_person_s_log_in_is_refreshed() -> None:
    async with scripted(GIVEN) as server:
        await token_of({**PERSON, "token_uri": f"{server.url}/token"})
    assert form_of(server.asked[0][3]) == {
        "grant_type": "refresh_token", "client_id": "c", "client_secret": "s", "refresh_token": "r"
    }  # fmt: skip


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("source", ["file", "url"])
async def test_another_provider_s_identity_is_exchanged_and_may_act_for_a_service_account(
    tmp_path: Path, source: str, form: str
) -> None:
    text = json.dumps({"id_token": "theirs"}) if form == "json" else "theirs\n"
    file = tmp_path / "subject"
    file.write_text(text)
    acting = {"accessToken": "ya29.acting", "expireTime": "2026-01-01T00:00:00Z"}
    answers = [GIVEN, (200, acting, {})]
    async with scripted(*([(200, text, {})] if source == "url" else []), *answers) as server:
        where = {"file": str(file)} if source == "file" else {"url": server.url, "headers": {"X": "1"}}
        raw = {
            "type": "external_account",
            "audience": "//iam/pool",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": f"{server.url}/sts",
            "credential_source": {
                **where,
                "format": {"type": form, "subject_token_field_name": "id_token"},
            },
            "service_account_impersonation_url": f"{server.url}/acting:generateAccessToken",
        }
        assert await token_of(raw) == "ya29.acting"
    exchanged, acted = server.asked[-2:]
    assert form_of(exchanged[3])["subject_token"] == "theirs"
    assert acted[2]["Authorization"] == "Bearer ya29.x"


async def test_a_machine_s_own_service_account_is_asked_of_the_metadata_server() -> None:
    async with scripted(GIVEN, (404, "", {})) as server:
        host = server.url.removeprefix("http://")
        assert await token_of({}, host) == "ya29.x"
        with pytest.raises(RefusedError, match="this machine has no service account"):
            await token_of({}, host)
    assert server.asked[0][2]["Metadata-Flavor"] == "Google"


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        ((400, {"error": "invalid_grant", "error_description": "revoked"}, {}), RefusedError, "400: revoked"),
        ((503, "busy", {}), TransientError, "503: busy"),
        (None, TransientError, "Google's log-in: no answer"),
    ],
)
async def test_what_google_refuses_is_told_by_its_kind(answer: Any, kind: type[Exception], said: str) -> None:
    async with scripted(answer) as server:
        with pytest.raises(kind, match=said):
            await token_of({**PERSON, "token_uri": server.url})


async def test_what_is_missing_is_named() -> None:
    with pytest.raises(RefusedError, match="here: refresh_token is missing"):
        await token_of({name: value for name, value in PERSON.items() if name != "refresh_token"})


def test_credentials_are_found_as_google_s_own_tools_find_them(tmp_path: Path) -> None:
    key, usual = tmp_path / "key.json", tmp_path / "application_default_credentials.json"
    key.write_text(json.dumps({"type": "service_account", "project_id": "named"}))
    usual.write_text(json.dumps({**PERSON, "quota_project_id": "usual"}))
    home = {"CLOUDSDK_CONFIG": str(tmp_path)}
    assert find_credentials(key, home).project == "named"
    assert find_credentials(None, {**home, "GOOGLE_APPLICATION_CREDENTIALS": str(key)}).project == "named"
    assert find_credentials(None, home).project == "usual"
    usual.unlink()
    found = find_credentials(None, {**home, "GCE_METADATA_HOST": "127.0.0.1:1"})
    assert (found.kind, found.origin) == ("metadata", "the metadata server 127.0.0.1:1")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "No such file or directory"),
        ("{", "is no JSON"),
        ("[]", "its type is none of service_account, authorized_user, external_account"),
        ('{"type": "gdch_service_account"}', "its type is none of"),
    ],
)
def test_a_credentials_file_that_is_of_no_use_is_named(tmp_path: Path, text: str | None, said: str) -> None:
    file = tmp_path / "key.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(RefusedError, match=f"gcp.credentials: {file}.* {said}"):
        find_credentials(file, {})
