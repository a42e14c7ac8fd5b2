"""An application reads its own files and variables of the agent, and nothing else by whatever reference."""

from pathlib import Path

import pytest

from repave_agent.core.host_secrets import HostSecrets, Lack, SecretError
from repave_agent.secrets.building import make_sources
from repave_agent.secrets.options import EnvOptions, FileOptions, SecretsOptions, VaultOptions
from repave_agent.secrets.reader import Reader
from repave_protos.daemon.settings import SettingsError, load_settings
from repave_protos.protocol.values import ApplicationName, SecretReference
from tests.fakes.clock import QuickClock

ENVIRONMENT = {
    "REPAVE_SECRET_SHOP__URL": "postgres://shop",
    "REPAVE_SECRET_SHOP_EU__URL": "postgres://shop-eu",
    "REPAVE_AGENT_SSH_POOL__PASSPHRASE": "agent's own",
    "SHARED": "for all",
    "HOME": "/root",
}


async def read(options: SecretsOptions, application: str, *references: SecretReference) -> HostSecrets:
    reader = Reader(make_sources(options, ENVIRONMENT, QuickClock(), lambda: None), "paris")
    return await reader.read(ApplicationName(application), references)


async def fault(options: SecretsOptions, application: str, reference: SecretReference) -> SecretError:
    with pytest.raises(SecretError) as caught:
        await read(options, application, reference)
    return caught.value


def variable(name: str) -> SecretReference:
    return SecretReference("URL", "env", name)


ENV = SecretsOptions(env=EnvOptions(enabled=True))


async def test_a_variable_of_the_application_is_read() -> None:
    (found,) = await read(ENV, "shop", variable("REPAVE_SECRET_SHOP__URL"))
    assert (found.value, found.told) == (b"postgres://shop", "URL (env REPAVE_SECRET_SHOP__URL)")
    (found,) = await read(ENV, "shop-eu", variable("REPAVE_SECRET_SHOP_EU__URL"))
    assert found.value == b"postgres://shop-eu"


@pytest.mark.parametrize(
    ("application", "name", "lack"),
    [
        ("shop", "REPAVE_SECRET_SHOP_EU__URL", Lack.NOT_ALLOWED),
        ("shop-eu", "REPAVE_SECRET_SHOP__URL", Lack.NOT_ALLOWED),
        ("shop", "HOME", Lack.NOT_ALLOWED),
        ("shop", "REPAVE_AGENT_SSH_POOL__PASSPHRASE", Lack.NOT_ALLOWED),
        ("shop", "REPAVE_SECRET_SHOP__GONE", Lack.MISSING),
    ],
)
async def test_no_variable_of_another_one_is_read(application: str, name: str, lack: Lack) -> None:
    assert (await fault(ENV, application, variable(name))).lack is lack


async def test_a_rule_opens_what_applications_share_but_never_the_agent_s_own() -> None:
    wide = SecretsOptions(env=EnvOptions(enabled=True, allow=("shop=SHARED", "REPAVE_*")))
    (found,) = await read(wide, "shop", variable("SHARED"))
    assert found.value == b"for all"
    assert (await fault(wide, "cart", variable("SHARED"))).lack is Lack.NOT_ALLOWED
    refused = await fault(wide, "shop", variable("REPAVE_AGENT_SSH_POOL__PASSPHRASE"))
    assert "one of the agent's own settings" in str(refused)


@pytest.mark.parametrize("source", ["vault", "file", "env", "mycloud"])
async def test_a_source_that_is_not_set_up_reads_nothing(source: str) -> None:
    refused = await fault(SecretsOptions(), "shop", SecretReference("URL", source, "/etc/shadow"))
    assert refused.lack is Lack.NOT_ALLOWED
    assert f"this agent reads no secrets from {source}" in str(refused)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "secrets"
    (made / "shop").mkdir(parents=True)
    (made / "cart").mkdir()
    (made / "shop" / "url").write_bytes(b"postgres://shop\n")
    (made / "shop" / "key").write_bytes(b"\0\1\n")
    (made / "shop" / "none").touch()
    (made / "shop" / "large").write_bytes(b"x" * 70_000)
    (made / "shop" / "open").write_text("x")
    (made / "shop" / "open").chmod(0o666)
    (made / "cart" / "url").write_text("postgres://cart")
    (tmp_path / "outside").write_text("agent's own")
    (made / "shop" / "link").symlink_to(tmp_path / "outside")
    (made / "shop" / "down").symlink_to(tmp_path)
    return made


def options(folder: Path, *allow: str) -> SecretsOptions:
    rules = allow or FileOptions().allow
    return SecretsOptions(file=FileOptions(enabled=True, folder=folder, allow=rules))


def file(path: Path | str, *, as_file: bool = False) -> SecretReference:
    return SecretReference("URL", "file", str(path), as_file)


async def test_a_file_is_read_and_the_end_of_its_line_is_no_part_of_a_variable(folder: Path) -> None:
    (found,) = await read(options(folder), "shop", file(folder / "shop" / "url"))
    assert found.value == b"postgres://shop"
    (found,) = await read(options(folder), "shop", file(folder / "shop" / "url", as_file=True))
    assert found.value == b"postgres://shop\n"
    (found,) = await read(options(folder), "shop", file(folder / "shop" / "key", as_file=True))
    assert found.value == b"\0\1\n"


@pytest.mark.parametrize(
    ("path", "lack"),
    [
        ("cart/url", Lack.NOT_ALLOWED),
        ("shop/../cart/url", Lack.NOT_ALLOWED),
        ("shop", Lack.NOT_ALLOWED),
        ("../outside", Lack.NOT_ALLOWED),
        ("shop/link", Lack.NOT_ALLOWED),
        ("shop/down/outside", Lack.NOT_ALLOWED),
        ("shop/gone", Lack.MISSING),
        ("shop/none", Lack.UNFIT),
        ("shop/large", Lack.UNFIT),
        ("shop/open", Lack.UNFIT),
        ("shop/key", Lack.UNFIT),
    ],
)
async def test_no_file_outside_of_the_application_s_folder_is_read(
    folder: Path, path: str, lack: Lack
) -> None:
    assert (await fault(options(folder), "shop", file(f"{folder}/{path}"))).lack is lack


async def test_links_lead_nowhere_even_where_all_is_allowed(folder: Path) -> None:
    wide = options(folder, "*")
    assert (await fault(wide, "shop", file(folder / "shop" / "link"))).lack is Lack.NOT_ALLOWED
    assert (await fault(wide, "shop", file("/etc/passwd"))).lack is Lack.NOT_ALLOWED
    (found,) = await read(wide, "shop", file(folder / "cart" / "url"))
    assert found.value == b"postgres://cart"


def test_settings_say_what_is_used_and_what_no_host_may_see(tmp_path: Path) -> None:
    assert SecretsOptions().sources == ()
    environment = {
        "X_VAULT__ADDRESS": "https://vault.paris:8200/",
        "X_VAULT__TOKEN_FILE_FILE": "",
        "X_FILE__ENABLED": "true",
        "X_VAULT__ALLOW": "kv/{application}/* shop=kv/shared",
    }
    del environment["X_VAULT__TOKEN_FILE_FILE"]
    found, _ = load_settings(SecretsOptions, None, environment, "X_")
    assert found.sources == ("vault", "file")
    assert found.vault.address == "https://vault.paris:8200"
    assert found.vault.allow == ("kv/{application}/*", "shop=kv/shared")
    assert found.private == (Path("/etc/repave/secrets"),)
    held = SecretsOptions(vault=VaultOptions(token_file=tmp_path / "token"))
    assert held.private == (tmp_path / "token",)


@pytest.mark.parametrize(
    "address", ["http://vault.paris:8200", "vault:8200", "https://u:p@vault", "https://"]
)
def test_a_vault_is_reached_over_tls_only(address: str) -> None:
    with pytest.raises(SettingsError, match="address"):
        load_settings(SecretsOptions, None, {"X_VAULT__ADDRESS": address}, "X_")
    load_settings(SecretsOptions, None, {"X_VAULT__ADDRESS": "http://127.0.0.1:8200"}, "X_")
