"""Reads the certificate that a front names from where it is kept, each time anew.

What a spec names is looked at by the agent's own rules first, as with secrets of hosts: who may release an
application can't show another one's certificate by naming it.
"""

import asyncio
from collections.abc import Sequence

from repave_agent.certificates.pem import Pem, read_pem
from repave_agent.core.certificates import CertificateError, WantedCertificate
from repave_agent.core.host_secrets import SecretError, is_allowed
from repave_agent.secrets.source import Source
from repave_protos.protocol.certificate_places import certificate_fault

READ_SECONDS = 15.0


class CertificateReader:
    """Over the places that the settings name."""

    def __init__(self, sources: Sequence[Source], region: str) -> None:
        self._sources = {source.name: source for source in sources}
        self._region = region

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(self._sources)

    async def read(self, wanted: WantedCertificate) -> Pem:
        """Raises CertificateError."""
        source, where = self._admitted(wanted)
        try:
            async with asyncio.timeout(READ_SECONDS):
                found = await source.find(where)
        except SecretError as error:
            raise CertificateError(str(error), is_awaited=error.is_awaited) from None
        except TimeoutError:
            raise CertificateError(f"no answer within {READ_SECONDS:g} s", is_awaited=True) from None
        return read_pem(found.value)

    def _admitted(self, wanted: WantedCertificate) -> tuple[Source, str]:
        """Where it is asked for, with its region put in. Raises CertificateError."""
        reference, application = wanted.reference, wanted.application
        where = reference.where.replace("{region}", self._region)
        source = self._sources.get(reference.source)
        if source is None:
            raise CertificateError(
                f"this agent reads no certificates from {reference.source}: its settings name none "
                f"(secrets.{reference.source})"
            )
        if fault := certificate_fault(type(reference)(reference.source, where)):
            raise CertificateError(fault)
        try:
            place = source.ruled(where)
        except SecretError as error:
            raise CertificateError(str(error)) from None
        if not is_allowed(source.rules, application, self._region, place):
            setting = "secrets.vault.allow" if source.name == "vault" else "certificates.allow"
            raise CertificateError(
                f"{application} may not show it by this agent's settings: {setting} has "
                f"{', '.join(source.rules) or 'nothing'}"
            )
        return source, where
