"""Secrets in Vault's or OpenBao's key-value engine. How it is called and logged in to: clients/vault.py."""

from repave_agent.clients.vault import Vault
from repave_agent.core.host_secrets import Lack, SecretError
from repave_agent.secrets.source import Found
from repave_protos.protocol.secret_places import VaultPlace, vault_place


class VaultSource:
    """Implements Source."""

    name = "vault"

    def __init__(self, vault: Vault, rules: tuple[str, ...]) -> None:
        self.rules = rules
        self._vault = vault

    def ruled(self, where: str) -> str:
        return _place(where).path

    async def find(self, where: str) -> Found:
        place = _place(where)
        content, version = await self._vault.read(place.path)
        value = content.get(place.key)
        if value is None:
            raise SecretError(Lack.MISSING, f"there is no key {place.key} at {place.path}")
        if not isinstance(value, str):
            raise SecretError(Lack.UNFIT, f"the key {place.key} holds no text")
        return Found(value.encode(), version)

    def trouble(self) -> str:
        return self._vault.trouble

    async def run(self) -> None:
        await self._vault.run()

    async def close(self) -> None:
        await self._vault.close()


def _place(where: str) -> VaultPlace:
    place = vault_place(where)
    assert place is not None, "looked at by the reader"
    return place
