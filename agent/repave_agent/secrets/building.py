"""Makes the places that the agent's settings describe, which secrets and certificates are read from."""

from collections.abc import Callable, Mapping

from repave_agent.core.host_secrets import Lack, SecretError
from repave_agent.core.ports import Clock
from repave_agent.secrets.environment import EnvironmentSource
from repave_agent.secrets.files import FileSource
from repave_agent.secrets.options import SecretsOptions, VaultOptions
from repave_agent.secrets.source import Source

Certificate = tuple[str, str]
"""PEM of the chain, and of the key."""


def make_sources(
    options: SecretsOptions,
    environment: Mapping[str, str],
    clock: Clock,
    joined: Callable[[], Certificate | None],
) -> list[Source]:
    """`joined`: what the agent shows its controller, if it has joined."""
    sources: list[Source] = []
    if options.vault.address:
        sources.append(_vault(options.vault, clock, joined))
    if options.file.enabled:
        sources.append(FileSource(options.file))
    if options.env.enabled:
        sources.append(EnvironmentSource(options.env, environment))
    return sources


def _vault(options: VaultOptions, clock: Clock, joined: Callable[[], Certificate | None]) -> Source:
    # Only where there is a Vault: aiohttp takes a tenth of a second to import.
    from repave_agent.clients.vault import Access, Vault
    from repave_agent.secrets.vault import VaultSource

    def certificate() -> Certificate | None:
        if options.certificate is None or options.key is None:
            return joined()
        try:
            return options.certificate.read_text(), options.key.read_text()
        except (OSError, ValueError):
            why = f"secrets.vault: {options.certificate} or {options.key} can't be read"
            raise SecretError(Lack.DENIED, why) from None

    access = Access(
        address=options.address,
        ca=options.ca,
        namespace=options.namespace,
        method=options.auth,
        mount=options.auth_mount,
        token_file=options.token_file,
        role_id=options.role_id,
        secret_id_file=options.secret_id_file,
        role=options.role,
        certificate=certificate,
        kv_version=options.kv_version,
        timeout_seconds=options.timeout_seconds,
    )
    return VaultSource(Vault(access, clock), options.allow)
