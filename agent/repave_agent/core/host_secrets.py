"""Secrets on their way from where they are kept to a host, and which application may read which. Pure.

A value is never saved and never shown: no `repr`, no error and no log has it.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from repave_protos.protocol.values import ApplicationName, SecretReference

VALUE_BYTES_MAX = 64 * 1024
"""Of one secret: Linux takes 128 KiB as one variable."""


class Lack(StrEnum):
    """Why a secret can't be had."""

    NOT_ALLOWED = "not allowed"  # by the agent's own settings
    DENIED = "denied"  # by where it is kept
    MISSING = "missing"
    SEALED = "sealed"
    AWAY = "away"  # no answer, or not now
    UNFIT = "unfit"  # it is there and can't be handed over


AWAITED = (Lack.SEALED, Lack.AWAY)
"""What speaks neither against the application nor against its secret: it is waited for."""


class SecretError(Exception):
    """A secret can't be had. The text is shown to people: which one, why, and what to do; never a value."""

    def __init__(self, lack: Lack, why: str) -> None:
        super().__init__(why)
        self.lack = lack

    @property
    def is_awaited(self) -> bool:
        return self.lack in AWAITED

    def of(self, reference: SecretReference) -> "SecretError":
        """The same, with the secret's name and place before it."""
        verb = "waits for" if self.is_awaited else "has no"
        return SecretError(self.lack, f"it {verb} secret {reference.name} ({reference}): {self}")


@dataclass(frozen=True, slots=True)
class HostSecret:
    """One secret as a host is handed it. `origin`: for people, with the version where there is one."""

    name: str
    value: bytes = field(repr=False)
    as_file: bool
    origin: str

    @property
    def told(self) -> str:
        return f"{self.name} ({self.origin})"


HostSecrets = tuple[HostSecret, ...]


class SecretReader(Protocol):
    """Reads secrets where they are kept, each time anew."""

    async def read(self, application: ApplicationName, references: Iterable[SecretReference]) -> HostSecrets:
        """All of them, or SecretError."""


class NoSecrets:
    """Implements SecretReader for agents that hand out none."""

    async def read(self, application: ApplicationName, references: Iterable[SecretReference]) -> HostSecrets:
        for reference in references:
            raise SecretError(Lack.NOT_ALLOWED, "this agent hands no secrets to hosts").of(reference)
        return ()


# ------------------------------------------------------------------------------------------------- rules


@dataclass(frozen=True, slots=True)
class Rule:
    """`kv/{application}/*`, or `checkout=kv/shared/db` for one application only.

    As in Vault's policies `+` is one part of a path, and `*` at the end is any rest. What takes the place of
    {application} and {region} has neither.
    """

    text: str

    def allows(self, application: str, region: str, place: str) -> bool:
        name, sign, pattern = self.text.rpartition("=")
        if sign and name != application:
            return False
        variable = application.upper().replace("-", "_")
        for mark, value in (
            ("{application}", application),
            ("{APPLICATION}", variable),
            ("{region}", region),
        ):
            pattern = pattern.replace(mark, value)
        return _regex(pattern).fullmatch(place) is not None


def _regex(pattern: str) -> re.Pattern[str]:
    rest = pattern.endswith("*")
    parts = pattern.removesuffix("*").split("/")
    return re.compile("/".join("[^/]+" if part == "+" else re.escape(part) for part in parts) + ".+" * rest)


def is_allowed(rules: Iterable[str], application: str, region: str, place: str) -> bool:
    return any(Rule(text).allows(application, region, place) for text in rules)
