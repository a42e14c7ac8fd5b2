"""Makes what keeps the certificates of fronts, as the agent's settings describe it."""

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

from repave_agent.certificates.account import account_key, thumbprint
from repave_agent.certificates.keeper import Keeper, Orders
from repave_agent.certificates.options import AcmeOptions, CertificatesOptions
from repave_agent.certificates.reading import CertificateReader
from repave_agent.certificates.sources import FilesBelow
from repave_agent.core.certificates import CertificateError
from repave_agent.core.ports import Clock, Records, RefusedError
from repave_agent.secrets.source import Source

VAULT = "vault"


def make_certificates(
    options: CertificatesOptions,
    region: str,
    folder: Path,
    sources: Sequence[Source],
    records: Records | None,
    clock: Clock,
    check: Callable[[], None],
) -> Keeper:
    """`folder`: where those that are shown lie. `sources`: of secrets; Vault is asked for certificates too.
    `records`: what keeps the region's names in DNS. Raises ProviderError: the settings can't work."""
    acme = options.acme
    account = acme.account_key or folder / "account" / "key.pem"
    shown = ""
    if acme.agrees_to_terms:
        try:
            shown = thumbprint(account_key(account, may_make=acme.account_key is None))
        except CertificateError as error:
            raise RefusedError(str(error)) from None
    files = (
        FilesBelow(options.folder, options.allow),
        FilesBelow(options.folder, options.allow, is_directory=True),
    )
    reader = CertificateReader((*files, *(each for each in sources if each.name == VAULT)), region)

    def orders() -> Orders:
        """Only when one is needed: the library takes a moment to import."""
        if not acme.agrees_to_terms:
            raise CertificateError(
                f"this agent asks no ACME server before it agrees to the terms of {acme.server}: set "
                "certificates.acme.agrees_to_terms"
            )
        from repave_agent.certificates.acme import AcmeServer

        return AcmeServer(acme, account, records, clock)

    return Keeper(folder, reader, clock, check, orders, shown)


def certificate_kinds(
    options: CertificatesOptions, sources: Sequence[str], *, has_records: bool
) -> tuple[str, ...]:
    """Kinds of references (CertificateReference.kind) that an agent with these settings can show."""
    kinds = ["file", "directory"]
    kinds += [VAULT] * (VAULT in sources)
    if is_usable(options.acme):
        kinds += ["acme-http-01"]
        kinds += ["acme-dns-01"] * has_records
    return tuple(kinds)


def is_usable(acme: AcmeOptions) -> bool:
    """Whether its server may be asked, and can be."""
    return acme.agrees_to_terms and importlib.util.find_spec("acme") is not None
