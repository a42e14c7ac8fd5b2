"""Log-ins, tokens, roles and the audit log on the command line."""

import dataclasses
import io
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from repave_cli.transport.client import Client
from repave_cli.transport.credentials import Credentials, path
from repave_cli.transport.errors import CliError
from repave_cli.transport.trust import fingerprint
from repave_controller.api.web.tls import context_of
from repave_controller.core.domain.instants import Instant
from repave_controller.security.audit import Entry, text_of
from repave_protos.daemon.chain import link
from repave_protos.protocol.certificates import pin_of
from tests.fakes.controller.command_line import CommandLine, Ran
from tests.fakes.controller.scheduler import ServedController, served
from tests.support.certificates import TestAuthority, new_authority


@pytest.fixture(scope="module")
def authority() -> TestAuthority:
    return new_authority()


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[ServedController]:
    with served(tmp_path / "controller", has_accounts=True) as started:
        yield started


@pytest.fixture
def signed(repave: CommandLine, controller: ServedController, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """The CLI, logged in as admin."""
    assert typed(monkeypatch, repave, controller.admin, "login").code == 0
    return repave


def typed(monkeypatch: pytest.MonkeyPatch, run: CommandLine, text: str, *arguments: str) -> Ran:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{text}\n"))
    return run(*arguments)


def test_without_a_token_one_is_told_to_log_in(repave: CommandLine) -> None:
    ran = repave("apps")
    assert (ran.code, ran.out) == (4, "")
    assert "repave login" in ran.err
    ran = repave.release("v1")
    assert (ran.code, "repave login" in ran.err) == (4, True)


def test_a_login_is_kept_for_this_user_alone(
    repave: CommandLine, controller: ServedController, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = typed(monkeypatch, repave, controller.admin, "login")
    assert f"you are admin at {controller.url}" in ran.err
    assert controller.admin not in ran.out + ran.err
    assert stat.S_IMODE(path().stat().st_mode) == 0o600
    assert stat.S_IMODE(path().parent.stat().st_mode) == 0o700
    assert repave("whoami").out.startswith("admin (token ")
    assert repave("apps").code == 0


def test_a_wrong_token_is_not_kept(repave: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = typed(monkeypatch, repave, f"rpv_{'0' * 12}_{'0' * 64}", "login")
    assert (ran.code, path().exists()) == (4, False)


def test_logout_revokes_and_forgets(
    signed: CommandLine, controller: ServedController, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed("roles", "grant", "anna", "viewer")
    made = signed("tokens", "create", "anna")
    typed(monkeypatch, signed, made.out.strip(), "login")
    assert "revoked, and forgotten" in signed("logout").err
    assert json.loads(path().read_text())[controller.url]["token"] == ""
    monkeypatch.setenv("REPAVE_TOKEN", made.out.strip())
    assert signed("whoami").code == 4


def test_ci_needs_no_file(
    signed: CommandLine, controller: ServedController, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed("roles", "grant", "ci", "deployer", "--app", "hello")
    made = signed("tokens", "create", "ci", "--expires", "1h", "-o", "json").json
    path().unlink()
    monkeypatch.setenv("REPAVE_TOKEN", made["token"])
    ran = signed.release("v1")
    assert ran.code == 0, ran.err
    assert signed("delete", "hello", "--yes").code == 4
    events = signed("events", "-o", "json").json["items"]
    assert {each["by"] for each in events if each["by"]} == {"ci"}


@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_a_file_that_others_may_read_is_refused(signed: CommandLine, mode: int) -> None:
    path().chmod(mode)
    ran = signed("apps")
    assert (ran.code, "chmod 600" in ran.err) == (2, True)


def test_a_link_is_not_followed(signed: CommandLine, tmp_path: Path) -> None:
    real = path().rename(tmp_path / "elsewhere")
    path().symlink_to(real)
    assert signed("apps").code == 2
    path().unlink()
    os.mkfifo(path(), 0o600)
    assert signed("apps").code == 2


def test_tokens_and_roles_are_listed_and_taken_back(signed: CommandLine) -> None:
    signed("roles", "grant", "team:sre", "approver", "--app", "web-*")
    signed("roles", "join", "sre", "anna")
    made = signed(
        "tokens", "create", "anna", "--scope", "viewer:web-*", "--note", "laptop", "-o", "json"
    ).json
    listed = signed("roles", "list").out
    assert "team:sre  approver  web-*" in listed
    assert "team sre: anna" in listed
    tokens = signed("tokens", "list").out
    assert "viewer of web-*" in tokens
    assert made["token"].split("_")[2] not in tokens
    assert "revoked" in signed("tokens", "revoke", made["item"]["id"], "--reason", "lost").err
    assert signed("roles", "leave", "sre", "anna").code == 0
    assert signed("roles", "withdraw", "team:sre", "approver", "--app", "web-*").code == 0
    assert signed("roles", "withdraw", "anna", "admin").code == 2


def test_the_audit_log_says_who_and_why_and_holds(signed: CommandLine, tmp_path: Path) -> None:
    signed.release("v1", "--reason", "friday")
    listed = signed("audit", "list", "--app", "hello").out
    assert "POST applications/hello/releases" in listed
    assert "friday" in listed
    verified = signed("audit", "verify")
    assert verified.code == 0
    head = verified.out.strip()
    signed("freeze", "--all", "--reason", "x")
    assert signed("audit", "verify", "--head", head).code == 0
    file = tmp_path / "audit.jsonl"
    file.write_text(signed("audit", "export").out)
    assert signed("audit", "verify", "--file", str(file)).code == 0


def changed(rows: list[str]) -> list[str]:
    return [row.replace("friday", "monday") for row in rows]


def left_out(rows: list[str]) -> list[str]:
    return rows[:2] + rows[3:]


def swapped(rows: list[str]) -> list[str]:
    return [rows[1], rows[0], *rows[2:]]


def cut_off(rows: list[str]) -> list[str]:
    return rows[:-1]


@pytest.mark.parametrize("tamper", [changed, left_out, swapped, cut_off])
def test_a_row_that_was_tampered_with_is_found(signed: CommandLine, tmp_path: Path, tamper: object) -> None:
    signed.release("v1", "--reason", "friday")
    head = signed("audit", "verify").out.strip()
    rows = signed("audit", "export").out.splitlines()
    file = tmp_path / "audit.jsonl"
    file.write_text("\n".join(tamper(rows)))  # type: ignore[operator]  # one of those above
    ran = signed("audit", "verify", "--file", str(file), "--head", head)
    assert (ran.code, "does not hold" in ran.err) == (1, True)


def test_a_trimmed_log_holds_if_a_later_row_tells_of_it(
    signed: CommandLine, controller: ServedController
) -> None:
    signed("freeze", "--all", "--reason", "true")
    signed("unfreeze", "--all")
    rows = controller.store.shelf.audit
    assert len(rows) > 3
    old, known = f"{rows[0].number}:{rows[0].hash}", f"{rows[1].number}:{rows[1].hash}"
    facts = (("through", "2"), ("hash", rows[1].hash))
    entry = Entry(Instant(9.0), "repave", "local", "", "", "trim audit", outcome="done", facts=facts)
    rows.append(link(rows[-1].number + 1, text_of(entry), rows[-1].hash))
    first = rows[2]
    del rows[:2]
    ran = signed("audit", "verify", "--head", known)
    assert (ran.code, "rows 1 to 2 are no longer kept" in ran.err) == (0, True)
    assert "could not be compared" not in ran.err
    assert "could not be compared" in signed("audit", "verify", "--head", old).err
    del rows[:1]
    assert "no row tells of a trimming" in signed("audit", "verify").err
    rows.insert(0, dataclasses.replace(first, text=first.text.replace("asked", "done!")))
    assert "row 3 was changed" in signed("audit", "verify").err


def test_a_row_changed_in_the_store_is_found(signed: CommandLine, controller: ServedController) -> None:
    signed("freeze", "--all", "--reason", "true")
    rows = controller.store.shelf.audit
    rows[0] = dataclasses.replace(rows[0], text=rows[0].text.replace("asked", "done!"))
    assert "row 1 was changed" in signed("audit", "verify").err


# -------------------------------------------------------------------------------------------------------- TLS


@pytest.fixture
def tls(tmp_path: Path, authority: TestAuthority) -> Iterator[ServedController]:
    certificate = context_of(*authority.issue(tmp_path))
    trusted = authority.pem
    with served(tmp_path / "tls", has_accounts=True, certificate=certificate, authority=trusted) as started:
        yield started


@pytest.mark.parametrize("way", ["--ca", "--pin", "--pin as agents have it"])
def test_a_login_over_tls_trusts_one_authority(
    run: CommandLine,
    tls: ServedController,
    authority: TestAuthority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
) -> None:
    file = tmp_path / "authority.pem"
    file.write_text(authority.pem)
    trust = {
        "--ca": str(file),
        "--pin": f"sha256:{fingerprint(authority.der)}",
        "--pin as agents have it": pin_of(authority.certificate),
    }[way]
    flag = f"{way.split(' ')[0]}={trust}"
    assert typed(monkeypatch, run, tls.admin, "login", "--url", tls.url, flag).code == 0
    file.unlink()
    assert run("whoami", "--url", tls.url).code == 0


def test_no_other_certificate_gets_the_token(
    run: CommandLine, tls: ServedController, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = new_authority()
    ran = typed(monkeypatch, run, tls.admin, "login", "--url", tls.url)
    assert (ran.code, "not to be trusted" in ran.err) == (1, True)
    pin = f"sha256:{fingerprint(other.der)}"
    ran = typed(monkeypatch, run, tls.admin, "login", "--url", tls.url, "--pin", pin)
    assert (ran.code, "not the one of this pin" in ran.err) == (2, True)
    with pytest.raises(CliError, match="not to be trusted"):
        Client(tls.url, credentials=Credentials(tls.admin, other.pem)).get("whoami")
    name = tls.url.replace("127.0.0.1", "localhost")
    with pytest.raises(CliError, match="not to be trusted"):
        Client(name, credentials=Credentials(tls.admin)).get("whoami")


def test_a_token_never_goes_out_in_plaintext() -> None:
    with pytest.raises(CliError, match="plaintext"):
        Client("http://repave.example:7400", credentials=Credentials("rpv_x"))


# ------------------------------------------------------------------------------------------------------- jobs


def test_trusts_are_made_listed_and_removed(signed: CommandLine) -> None:
    made = signed(
        "tokens", "trust", "ci", "--issuer", "github", "--claim", "repository=acme/web", "-o", "json"
    ).json
    listed = signed("tokens", "trusts").out
    assert "https://token.actions.githubusercontent.com" in listed
    assert "repository=acme/web" in listed
    assert signed("tokens", "distrust", made["id"]).code == 0
    assert signed("tokens", "trust", "ci", "--issuer", "github").code == 2


def test_a_job_without_a_signed_token_is_told_how_to_get_one(
    repave: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CIRCLE_OIDC_TOKEN", "CIRCLE_OIDC_TOKEN_V2", "ACTIONS_ID_TOKEN_REQUEST_URL"):
        monkeypatch.delenv(name, raising=False)
    ran = repave("login", "--job")
    assert (ran.code, "id-token: write" in ran.err) == (2, True)
    monkeypatch.setenv("REPAVE_ID_TOKEN", "a.b.c")
    ran = repave("login", "--job")
    assert (ran.code, path().exists()) == (4, False)


def test_a_command_that_needs_no_controller_loads_nothing_of_tls() -> None:
    heavy = "{'http.client', 'ssl', 'cryptography', 'jwt'}"
    code = f"import sys, repave_cli.main; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "[]\n"
