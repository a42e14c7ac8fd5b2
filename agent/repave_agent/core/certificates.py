"""Certificates of fronts: which one is shown, when it ends, when a new one is due. Pure.

What is shown gives way only to what is no worse: a file that was spoilt, or that is not there any more, costs
no client anything while the last good certificate lasts.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from repave_agent.core.ports import Frontend
from repave_protos.protocol.certificate_places import CertificateReference
from repave_protos.protocol.values import ApplicationName

DAY = 86_400.0
NOTE_SECONDS, TROUBLE_SECONDS = 21 * DAY, 7 * DAY
"""Before its end a certificate is a note to people, then a trouble."""
NOTE_SHARE, TROUBLE_SHARE = 1 / 4, 1 / 12
"""Of a life that is shorter than those of public authorities: of 6 days the last 36 hours, then 12."""
RENEWAL_SHARE = 2 / 3
"""Of its life, after which a new one is asked for."""

NO_NAME = "an ACME server gives a certificate of names only: say match.host, or acme.names"


class CertificateError(Exception):
    """A certificate can't be shown. The text is for people: what is wrong and what to do; never a key."""

    def __init__(self, why: str, *, is_awaited: bool = False) -> None:
        """`is_awaited`: nothing speaks against it; where it is kept does not answer now."""
        super().__init__(why)
        self.is_awaited = is_awaited


@dataclass(frozen=True, slots=True)
class WantedCertificate:
    """What one front of an application shall show. `hosts`: the names that it matches; none: any."""

    application: ApplicationName
    front: str
    reference: CertificateReference
    hosts: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        """Its name below the folder of certificates. Neither an application nor a front has a dot."""
        return f"{self.application}.{self.front}.pem"

    @property
    def names(self) -> tuple[str, ...]:
        """Those that one from an ACME server is to have."""
        return tuple(dict.fromkeys((*self.hosts, *self.reference.names)))

    def __str__(self) -> str:
        return f"{self.application}: traffic.fronts: {self.front}: certificate ({self.reference})"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a certificate says. Instants are Unix times."""

    names: tuple[str, ...]
    begins_at: float
    ends_at: float
    fingerprint: str

    @property
    def life_seconds(self) -> float:
        return self.ends_at - self.begins_at

    @property
    def due_at(self) -> float:
        """When an ACME server is asked for the next one."""
        return self.begins_at + RENEWAL_SHARE * self.life_seconds

    def covers(self, host: str) -> bool:
        """As clients see it: * stands for one label."""
        return host in self.names or f"*.{host.partition('.')[2]}" in self.names


@dataclass(frozen=True, slots=True)
class Renewal:
    """What an ACME server says of a certificate (RFC 9773). `at`: when it is to be renewed, None: it says
    nothing; `ask_again_at`: when that may have changed."""

    at: float | None = None
    ask_again_at: float = 0.0


NOTHING_SAID = Renewal()


class CertificateKeeper(Protocol):
    """Where a balancer has the certificates of its fronts from, as files that are always there."""

    thumbprint: str
    """Of the account at the ACME server: with it a balancer answers HTTP-01."""

    folder: str
    """Where they are, each as `WantedCertificate.file` calls it."""

    async def fetch(self, wanted: Sequence[WantedCertificate]) -> None:
        """Reads those that are wanted and not there, for `provide`. A while at most, and not while anything
        else waits for the balancer: where they are kept may not answer."""

    async def provide(self, wanted: Sequence[WantedCertificate]) -> Mapping[ApplicationName, str]:
        """Before the balancer is made to show them: these are wanted from now on, and no others. Why fronts
        of some applications have none that can be shown. Waits for nothing but the disk."""

    async def lacks(self, wanted: Sequence[WantedCertificate]) -> str:
        """Why one of them could not be shown now; "" when all could. Changes nothing."""

    def arranged(self) -> None:
        """The balancer has those that were provided last."""


class NoCertificates:
    """Implements CertificateKeeper for agents whose balancer shows none."""

    thumbprint = ""
    folder = ""

    async def fetch(self, wanted: Sequence[WantedCertificate]) -> None:
        return

    async def provide(self, wanted: Sequence[WantedCertificate]) -> Mapping[ApplicationName, str]:
        return {each.application: f"{each}: this agent keeps no certificates" for each in wanted}

    async def lacks(self, wanted: Sequence[WantedCertificate]) -> str:
        return "".join((await self.provide(wanted)).values())

    def arranged(self) -> None:
        return


# ---------------------------------------------------------------------------------------------- which one


def wanted_of(frontends: Iterable[Frontend]) -> list[WantedCertificate]:
    """What the fronts of applications are to show."""
    return [
        WantedCertificate(
            each.application, front.name, front.certificate, (front.host,) if front.host else ()
        )
        for each in frontends
        for front in each.fronts
        if front.certificate is not None
    ]


def fault_of(wanted: WantedCertificate, facts: Facts, now: float) -> str:
    """Why clients would not take it, with what to do; "" when nothing is wrong with it."""
    if now >= facts.ends_at:
        return f"it has ended {_since(now - facts.ends_at)} ago: put a newer one there"
    if now < facts.begins_at:
        return f"it begins in {_since(facts.begins_at - now)}: put one there that is valid now"
    if missing := [host for host in wanted.hosts if not facts.covers(host)]:
        return (
            f"it is of {_listed(facts.names)} and not of {_listed(missing)}, which the front matches: put "
            "one with this name there, or change match.host"
        )
    return ""


def gives_way(wanted: WantedCertificate, present: Facts | None, newer: Facts, now: float) -> bool:
    """Whether the newer one is to be shown instead of what is shown now."""
    return not fault_of(wanted, newer, now) or present is None or bool(fault_of(wanted, present, now))


# ------------------------------------------------------------------------------------------------- its end


def ending(facts: Facts, now: float) -> tuple[bool, str]:
    """Whether its end is a trouble, and not yet only worth a note; and what to tell, "": nothing."""
    left = facts.ends_at - now
    if left <= 0:
        return True, f"it has ended {_since(-left)} ago, and clients refuse it"
    if left <= min(TROUBLE_SECONDS, TROUBLE_SHARE * facts.life_seconds):
        return True, f"it ends in {_since(left)}"
    is_near = left <= min(NOTE_SECONDS, NOTE_SHARE * facts.life_seconds)
    return False, f"it ends in {_since(left)}" if is_near else ""


def is_due(
    wanted: WantedCertificate, facts: Facts | None, now: float, renewal: Renewal = NOTHING_SAID
) -> bool:
    """Whether an ACME server is to be asked for a new one: when it says, or before its end is a trouble."""
    if facts is None or not all(map(facts.covers, wanted.names)):
        return True
    latest = facts.ends_at - TROUBLE_SHARE * facts.life_seconds
    return now >= (min(renewal.at, latest) if renewal.at is not None else facts.due_at)


def _since(seconds: float) -> str:
    for unit, size in (("days", DAY), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _listed(names: Iterable[str]) -> str:
    few = list(names)
    return f"{', '.join(few[:3])}{' ...' * (len(few) > 3)}" or "no name"
