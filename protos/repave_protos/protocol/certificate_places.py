"""How a reference to the certificate of a front is written: in a spec, to a region, and in what people read.

Says what is wrong with one in words; whether there is such a certificate, and who may show it, only the
region's agent knows. Neither a certificate nor its key travels.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from repave_protos.protocol.secret_places import file_fault, vault_fault

CERTIFICATE_SOURCES = ("file", "directory", "vault", "acme")
CHALLENGES = ("http-01", "dns-01")
CERTIFICATE_KINDS = ("file", "directory", "vault", *(f"acme-{challenge}" for challenge in CHALLENGES))
"""By which an ACME server is shown that a name is ours."""
NAMES_MAX = 100
"""In one certificate, as public authorities have it."""
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_NAME_LENGTH_MAX = 253


@dataclass(frozen=True, slots=True)
class CertificateReference:
    """Where a certificate and its key are. `where`: for `file` and `directory` an absolute path, for `vault`
    mount/path#key, for `acme` the challenge; each agent puts its region in for {region}. `names`: of acme,
    beside those that the front matches."""

    source: str
    where: str
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.source} {self.where}"

    @property
    def kind(self) -> str:
        """What an agent has to be able to, as its capabilities say it."""
        return f"acme-{self.where}" if self.source == "acme" else self.source


def certificate_fault(reference: CertificateReference) -> str:
    """What is wrong with it; "" when nothing is."""
    if reference.source not in _FAULTS:
        return f"name one of {', '.join(CERTIFICATE_SOURCES)}"
    if fault := _FAULTS[reference.source](reference.where.replace("{region}", "region")):
        return fault
    if reference.names and reference.source != "acme":
        return "names are of acme: those of a certificate that is there already are in it"
    if len(reference.names) > NAMES_MAX:
        return f"a certificate has {NAMES_MAX} names at most"
    for name in reference.names:
        if fault := name_fault(name):
            return fault
        if name.startswith("*.") and reference.where != "dns-01":
            return f"{name}: an ACME server gives names with * by dns-01 only"
    return ""


def name_fault(name: str) -> str:
    """What is wrong with a name that a certificate shall have; "" when nothing is."""
    labels = name.removeprefix("*.").split(".")
    is_name = len(name) <= _NAME_LENGTH_MAX and len(labels) > 1 and all(map(_LABEL.fullmatch, labels))
    return "" if is_name else f"{name!r} is no name such as shop.example.com, in small letters"


def _challenge_fault(text: str) -> str:
    return "" if text in CHALLENGES else f"name the challenge: {' or '.join(CHALLENGES)}"


_FAULTS: Mapping[str, Callable[[str], str]] = {
    "file": file_fault,
    "directory": file_fault,
    "vault": vault_fault,
    "acme": _challenge_fault,
}
