"""Reads the secrets of a host from where they are kept, and keeps none: each launch reads them anew.

What a spec names is looked at by the agent's own rules first: who may release an application can't read
another one's secrets, nor the agent's own, by naming them.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace

from repave_agent.core.host_secrets import (
    VALUE_BYTES_MAX,
    HostSecret,
    HostSecrets,
    Lack,
    SecretError,
    is_allowed,
)
from repave_agent.secrets.source import Found, Source
from repave_protos.protocol.secret_places import FAULTS
from repave_protos.protocol.values import ApplicationName, SecretReference

READS_IN_FLIGHT_MAX = 8
READ_SECONDS = 30.0
"""Of one host's secrets, with all attempts."""


class Reader:
    """Implements core.host_secrets.SecretReader over the sources that the settings name."""

    name = "secrets"

    def __init__(self, sources: Sequence[Source], region: str) -> None:
        self._sources = {source.name: source for source in sources}
        self._region = region
        self._slots = asyncio.Semaphore(READS_IN_FLIGHT_MAX)

    async def read(self, application: ApplicationName, references: Iterable[SecretReference]) -> HostSecrets:
        wanted = [self._admitted(application, each) for each in references]
        found: dict[str, HostSecret] = {}
        for source in self._sources.values():
            mine = [each for each in wanted if each.source == source.name]
            if mine:
                for reference, secret in zip(mine, await self._find(source, mine), strict=True):
                    found[reference.name] = _handed(reference, secret)
        return tuple(found[each.name] for each in wanted)

    async def troubles(self) -> list[str]:
        """Of the sources, for people."""
        found = (source.trouble() for source in self._sources.values())
        return [f"host.secrets: {trouble}" for trouble in found if trouble]

    async def run(self) -> None:
        await asyncio.gather(*(source.run() for source in self._sources.values()))

    async def close(self) -> None:
        for source in self._sources.values():
            await source.close()

    def _admitted(self, application: ApplicationName, reference: SecretReference) -> SecretReference:
        """With its region put in. Raises SecretError where a rule or the settings speak against it."""
        where = reference.where.replace("{region}", self._region)
        reference = replace(reference, where=where)
        source = self._sources.get(reference.source)
        if source is None:
            why = f"this agent reads no secrets from {reference.source}: its settings name none (secrets.*)"
            raise SecretError(Lack.NOT_ALLOWED, why).of(reference)
        if fault := FAULTS[reference.source](where):
            raise SecretError(Lack.NOT_ALLOWED, fault).of(reference)
        try:
            place = source.ruled(where)
        except SecretError as error:
            raise error.of(reference) from None
        if not is_allowed(source.rules, application, self._region, place):
            why = (
                f"{application} may not read it by this agent's settings: secrets.{source.name}.allow has "
                f"{', '.join(source.rules) or 'nothing'}"
            )
            raise SecretError(Lack.NOT_ALLOWED, why).of(reference)
        return reference

    async def _find(self, source: Source, references: list[SecretReference]) -> tuple[Found, ...]:
        """Raises SecretError."""
        late = references[0]
        try:
            async with self._slots, asyncio.timeout(READ_SECONDS):
                found = []
                for late in references:
                    found.append(await source.find(late.where))
                return tuple(found)
        except SecretError as error:
            raise error.of(late) from None
        except TimeoutError:
            raise SecretError(Lack.AWAY, f"no answer within {READ_SECONDS:g} s").of(late) from None


def _handed(reference: SecretReference, found: Found) -> HostSecret:
    """Raises SecretError where a host can't be handed it."""
    value = found.value
    if not reference.as_file:
        value = value.removesuffix(b"\n").removesuffix(b"\r")
        if b"\0" in value:
            why = "it holds a NUL character, which no variable can: hand it over as a file (as: file)"
            raise SecretError(Lack.UNFIT, why).of(reference)
    if not value:
        raise SecretError(Lack.UNFIT, "it is empty").of(reference)
    if len(value) > VALUE_BYTES_MAX:
        raise SecretError(Lack.UNFIT, f"it is larger than {VALUE_BYTES_MAX // 1024} KiB").of(reference)
    version = f", version {found.version}" if found.version else ""
    return HostSecret(reference.name, value, reference.as_file, f"{reference}{version}")
