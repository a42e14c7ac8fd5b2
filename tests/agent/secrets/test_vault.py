"""Vault is read as its API is documented; what is wrong with it is told by its kind, never by its words."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from repave_agent.clients.vault import Access
from repave_agent.clients.vault import Vault as Client
from repave_agent.core.host_secrets import Lack, SecretError
from repave_agent.secrets.reader import Reader
from repave_agent.secrets.vault import VaultSource
from repave_protos.protocol.values import ApplicationName, SecretReference
from tests.fakes.clock import QuickClock
from tests.support.vault import Token, Vault, served

SHOP = ApplicationName("shop")
RULES = ("kv/{application}", "kv/{application}/*", "old/{application}", "deep/kv/{application}")


def reference(where: str = "kv/shop#url", *, as_file: bool = False) -> SecretReference:
    return SecretReference("URL", "vault", where, as_file)


class World:
    """A Vault, and readers of it."""

    def __init__(self, vault: Vault, folder: Path) -> None:
        self.vault, self.folder = vault, folder
        self.clock = QuickClock()
        self.opened: list[Client] = []
        self.hold(vault.token("kv/", "old/", "deep/"))

    def hold(self, token: str) -> None:
        (self.folder / "token").write_text(f"{token}\n")

    def reader(self, **access: object) -> Reader:
        said = {"address": self.vault.address, "token_file": self.folder / "token", "timeout_seconds": 0.5}
        client = Client(Access(**{**said, **access}), self.clock)  # type: ignore[arg-type]
        self.opened.append(client)
        return Reader([VaultSource(client, RULES)], "paris")

    async def value(self, where: str = "kv/shop#url", reader: Reader | None = None) -> str:
        (found,) = await (reader or self.reader()).read(SHOP, [reference(where)])
        return found.value.decode()

    async def fault(self, where: str = "kv/shop#url", reader: Reader | None = None) -> SecretError:
        with pytest.raises(SecretError) as caught:
            await self.value(where, reader)
        return caught.value


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    vault = Vault(kv1={"old": {"shop": {"url": "v1"}}, "deep/kv": {"shop": {"url": "deep"}}})
    vault.put("kv/shop", url="postgres://one")
    vault.put("kv/shop", url="postgres://two", number=3)
    vault.put("kv/shop/paris", url="of paris")
    async with AsyncExitStack() as undo:
        made = World(await undo.enter_async_context(served(vault)), tmp_path)
        yield made
        for each in made.opened:
            await each.close()


async def test_both_versions_of_the_engine_are_read_wherever_they_are_mounted(world: World) -> None:
    reader = world.reader()
    assert await world.value("kv/shop#url", reader) == "postgres://two"
    assert await world.value("old/shop#url", reader) == "v1"
    assert await world.value("deep/kv/shop#url", reader) == "deep"
    (found,) = await reader.read(SHOP, [reference()])
    assert found.told == "URL (vault kv/shop#url, version 2)"
    assert "postgres" not in repr(found)
    world.vault.put("kv/shop", url="postgres://three")
    assert await world.value("kv/shop#url", reader) == "postgres://three"


async def test_where_vault_may_not_be_asked_for_mounts_the_version_is_set(world: World) -> None:
    assert await world.value(reader=world.reader(kv_version=2)) == "postgres://two"
    assert await world.value("old/shop#url", world.reader(kv_version=1)) == "v1"
    assert not [each for each in world.vault.asked if "mounts" in each]


async def test_a_region_is_put_into_the_path(world: World) -> None:
    assert await world.value("kv/shop/{region}#url") == "of paris"


@pytest.mark.parametrize(
    ("where", "lack", "text"),
    [
        ("kv/shop#nothing", Lack.MISSING, "there is no key nothing at kv/shop"),
        ("kv/shop/more#url", Lack.MISSING, "has none there (404)"),
        ("kv/shop#number", Lack.UNFIT, "the key number holds no text"),
        ("kv/other#url", Lack.NOT_ALLOWED, "shop may not read it"),
        ("kv/shopping#url", Lack.NOT_ALLOWED, "shop may not read it"),
        ("sys/raw#url", Lack.NOT_ALLOWED, "shop may not read it"),
        ("kv/shop/../other#url", Lack.NOT_ALLOWED, "none is . or .."),
        ("kv/shop/%2e%2e/other#url", Lack.NOT_ALLOWED, "parts of a path"),
    ],
)
async def test_what_can_not_be_had_is_told(world: World, where: str, lack: Lack, text: str) -> None:
    fault = await world.fault(where)
    assert (fault.lack, fault.is_awaited) == (lack, False)
    assert str(fault).startswith(f"it has no secret URL (vault {where}): ")
    assert text in str(fault)


async def test_a_deleted_version_is_missing(world: World) -> None:
    world.vault.kv2["kv"]["shop"].append(None)
    assert "its newest version is deleted" in str(await world.fault())


async def test_what_the_policy_of_the_token_does_not_allow_is_denied(world: World) -> None:
    world.hold(world.vault.token("kv/elsewhere"))
    fault = await world.fault()
    assert fault.lack is Lack.DENIED
    assert "(403)" in str(fault)


def _seal(vault: Vault) -> None:
    vault.sealed = True


def _slow(vault: Vault) -> None:
    vault.slow = True


def _garble(vault: Vault) -> None:
    vault.garbled = True


def _redirect(vault: Vault) -> None:
    vault.redirects = True


def _overload(vault: Vault) -> None:
    vault.busy = 100


@pytest.mark.parametrize(
    ("ill", "lack", "text"),
    [
        (_seal, Lack.SEALED, "is sealed, or not ready (503)"),
        (_slow, Lack.AWAY, "does not answer (TimeoutError)"),
        (_garble, Lack.AWAY, "is no JSON object"),
        (_redirect, Lack.AWAY, "points to another address (307)"),
        (_overload, Lack.AWAY, "asked too often (429)"),
    ],
)
async def test_a_vault_that_is_ill_is_waited_for(
    world: World, ill: Callable[[Vault], None], lack: Lack, text: str
) -> None:
    ill(world.vault)
    reader = world.reader()
    fault = await world.fault(reader=reader)
    assert (fault.lack, fault.is_awaited) == (lack, True)
    assert str(fault).startswith("it waits for secret URL (vault kv/shop#url): ")
    assert text in str(fault)
    assert "s3cret-in-it" not in str(fault)
    for name in ("sealed", "slow", "garbled", "redirects"):
        setattr(world.vault, name, False)
    world.vault.busy = 0
    assert await world.value(reader=reader) == "postgres://two"


async def test_a_vault_that_is_busy_for_a_moment_is_asked_again(world: World) -> None:
    world.vault.busy = 2
    assert await world.value() == "postgres://two"


async def test_a_vault_that_is_not_there_is_waited_for(world: World) -> None:
    fault = await world.fault(reader=world.reader(address="http://127.0.0.1:1"))
    assert fault.lack is Lack.AWAY


async def test_an_approle_logs_in_renews_and_logs_in_again(world: World) -> None:
    world.vault.roles["role-1", "secret-1"] = Token(("kv/",), ttl=60)
    (world.folder / "secret_id").write_text("secret-1")
    reader = world.reader(method="approle", role_id="role-1", secret_id_file=world.folder / "secret_id")
    assert await world.value(reader=reader) == "postgres://two"
    await world.clock.sleep(31)
    assert await world.value(reader=reader) == "postgres://two"
    assert world.vault.asked.count("POST auth/token/renew-self") == 1
    world.vault.tokens.clear()  # revoked
    assert await world.value(reader=reader) == "postgres://two"
    assert world.vault.asked.count("POST auth/approle/login") == 2


async def test_a_log_in_that_is_not_accepted_is_denied(world: World) -> None:
    (world.folder / "secret_id").write_text("wrong")
    access = {"method": "approle", "role_id": "role-1", "secret_id_file": world.folder / "secret_id"}
    fault = await world.fault(reader=world.reader(**access))
    assert fault.lack is Lack.DENIED
    assert "does not accept the log-in of this agent by approle (400)" in str(fault)
    fault = await world.fault(reader=world.reader(**access, mount="ci"))
    assert "has no log-in ci (404): set secrets.vault.auth_mount" in str(fault)


async def test_a_token_is_read_again_from_its_file_once_it_has_ended(world: World) -> None:
    reader = world.reader()
    assert await world.value(reader=reader) == "postgres://two"
    world.vault.tokens.clear()
    fault = await world.fault(reader=reader)
    assert "does not accept the token in secrets.vault.token_file" in str(fault)
    world.hold(world.vault.token("kv/"))
    assert await world.value(reader=reader) == "postgres://two"


@pytest.mark.parametrize("content", [None, "", "two words", "tok\x00en"])
async def test_a_token_file_that_is_no_use_is_named(world: World, content: str | None) -> None:
    file = world.folder / "token"
    file.unlink() if content is None else file.write_text(content)
    fault = await world.fault()
    assert fault.lack is Lack.DENIED
    assert f"secrets.vault.token_file: {file}" in str(fault)
    assert "tok" not in str(fault).replace("token", "")


async def test_a_namespace_is_said(world: World) -> None:
    world.vault.namespace = "team-1"
    assert (await world.fault()).lack is Lack.AWAY
    assert await world.value(reader=world.reader(namespace="team-1")) == "postgres://two"


async def test_a_token_is_kept_alive_and_vault_is_looked_at_while_no_host_is_launched(world: World) -> None:
    world.hold(world.vault.token("kv/", ttl=40))
    reader = world.reader()
    client = world.opened[-1]
    assert await client._examined() == ""
    await world.clock.sleep(21)
    assert await client._examined() == ""
    assert world.vault.asked.count("POST auth/token/renew-self") == 1
    world.vault.sealed = True
    client.trouble = await client._examined()
    assert await reader.troubles() == [f"host.secrets: Vault at {world.vault.address} is sealed: unseal it"]
