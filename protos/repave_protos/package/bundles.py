"""Whether a package was signed by one of certain identities: bundles of sigstore, with the extra `sigstore`.

The library verifies: the chain of the certificate to the root at the time that the log signed, its timestamp
of certificate transparency, the log's proof and promise, the signature, and that all are of one another. What
is trusted is the content of a trusted_root.json; no server is asked.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.x509 import (
    Certificate,
    RFC822Name,
    SubjectAlternativeName,
    UniformResourceIdentifier,
)

from repave_protos.package.signatures import Fault, SignatureError

if TYPE_CHECKING:
    from sigstore.models import Bundle
    from sigstore.verify import Verifier

BUNDLE_LENGTH_MAX = 65_536
ROOT_LENGTH_MAX = 65_536
ROOTS_MAX = 4
"""So many different ones may count for an application: each release carries them."""

SUFFIX = ".sigstore.json"
REMEDY = "its extra is not installed. Do: pip install 'repave[sigstore]'"

_NAME = re.compile(r"[!-)+-~]{1,500}")
_NAMES_OF_REFS = re.compile(r"[!-)+-~]{1,400}@refs/(heads|tags)/[!-)+-~]{0,100}\*")
_ISSUER = re.compile(r"https://[!-~]{1,300}")
_SHOWN_MAX = 300


@dataclass(frozen=True, slots=True)
class Identity:
    """`name` is what the certificate is for, as a rule a workflow or an e-mail address; with a * at its end,
    all branches or tags that begin so. `issuer` vouched for it. `root` is the content of trusted_root.json.
    """

    name: str
    issuer: str
    root: str = field(repr=False)

    def verify(self, certificate: Certificate) -> None:
        """The library's VerificationPolicy. Raises VerificationError."""
        from sigstore.errors import VerificationError
        from sigstore.verify import policy

        policy.AnyOf([policy.OIDCIssuerV2(self.issuer), policy.OIDCIssuer(self.issuer)]).verify(certificate)
        if not any(map(self._matches, _names(certificate))):
            raise VerificationError(f"the certificate is not for {self.name}")

    def _matches(self, name: str) -> bool:
        if self.name.endswith("*"):
            return name.startswith(self.name[:-1])
        return name == self.name

    def __str__(self) -> str:
        return f"{self.name} (sigstore, {self.issuer})"


def identity(name: str, issuer: str, root: str) -> Identity:
    """One that may count. Raises SignatureError, also without the library, for then none can."""
    if _NAME.fullmatch(name) is None and _NAMES_OF_REFS.fullmatch(name) is None:
        raise SignatureError(
            Fault.UNREADABLE,
            f"identity {name[:80]!a} is none: all of what the certificate is for, such as "
            "https://github.com/acme/web/.github/workflows/release.yml@refs/heads/main; * is taken only as "
            "the end of a branch or tag, such as ...@refs/tags/v*",
        )
    if _ISSUER.fullmatch(issuer) is None:
        raise SignatureError(
            Fault.UNREADABLE,
            f"issuer {issuer[:80]!a} is none: an address, such as https://token.actions.githubusercontent.com",
        )
    _verifier(root)
    return Identity(name, issuer, root)


def is_bundle(text: str) -> bool:
    """Whether it is meant to be one: JSON."""
    return text.lstrip()[:1] == "{"


def can_verify() -> bool:
    """Whether the library is installed."""
    return find_spec("sigstore") is not None


def verify(package: Path | None, text: str, identities: Iterable[Identity]) -> Identity:
    """Whose bundle of the package it is; without one, whose it says it is. Reads all of the package.

    Raises SignatureError, OSError.
    """
    bundle = _bundle(text)
    meant = _meant(bundle.signing_certificate, tuple(identities))
    if package is None:
        return meant[0]
    with package.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
    faults = [_fault(bundle, digest, each) for each in meant]
    if all(faults):
        why = "; ".join(dict.fromkeys(faults))
        raise SignatureError(Fault.WRONG, f"it says that {meant[0]} made it, and is wrong: {why}")
    return meant[faults.index("")]


def _meant(certificate: Certificate, identities: Sequence[Identity]) -> list[Identity]:
    """Those that the certificate names, before anything is known of who made it."""
    found = [each for each in identities if _names_it(certificate, each)]
    if found:
        return found
    names = ", ".join(f"{name[:_SHOWN_MAX]!a}" for name in _names(certificate)[:3]) or "nothing"
    raise SignatureError(
        Fault.UNKNOWN_KEY,
        f"it is a bundle of {names}, which is no identity that counts, or has it from another issuer",
    )


def _names_it(certificate: Certificate, one: Identity) -> bool:
    try:
        one.verify(certificate)
    except Exception:  # whatever a forged certificate makes a reader raise: it is not this one's
        return False
    return True


def _names(certificate: Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
    except Exception:  # none, or one that can't be read
        return []
    return [*names.get_values_for_type(UniformResourceIdentifier), *names.get_values_for_type(RFC822Name)]


def _fault(bundle: "Bundle", digest: bytes, one: Identity) -> str:
    """ "": it counts."""
    from sigstore.hashes import Hashed
    from sigstore_models.common.v1 import HashAlgorithm

    try:
        hashed = Hashed(algorithm=HashAlgorithm.SHA2_256, digest=digest)
        _verifier(one.root).verify_artifact(hashed, bundle, one)
    except Exception as error:  # of the library and of all that it reads with: it was not verified
        return _shown(error)
    return ""


def _bundle(text: str) -> "Bundle":
    _library()
    from sigstore.models import Bundle

    if len(text) > BUNDLE_LENGTH_MAX:
        raise SignatureError(Fault.UNREADABLE, f"it is longer than {BUNDLE_LENGTH_MAX:,} characters")
    try:
        return Bundle.from_json(text)
    except Exception as error:  # as above
        raise SignatureError(
            Fault.UNREADABLE,
            f"it is no bundle of sigstore, which cosign sign-blob --bundle writes: {_shown(error)}",
        ) from None


@lru_cache(maxsize=4 * ROOTS_MAX)
def _verifier(root: str) -> "Verifier":
    """Raises SignatureError."""
    _library()
    from sigstore.models import TrustedRoot
    from sigstore.verify import Verifier
    from sigstore_models.trustroot.v1 import TrustedRoot as Content

    try:
        if len(root) > ROOT_LENGTH_MAX:
            raise ValueError(f"it is longer than {ROOT_LENGTH_MAX:,} characters")
        content = Content.from_json(root)
        if not content.ctlogs:
            raise ValueError("ctlogs: none")
        return Verifier(trusted_root=TrustedRoot(content))
    except Exception as error:  # as above
        raise SignatureError(
            Fault.UNREADABLE,
            "the trusted root is none of sigstore, with authorities, a log and a log of certificates as "
            f"trusted_root.json has them: {_shown(error)}",
        ) from None


def _library() -> None:
    if not can_verify():
        raise SignatureError(Fault.UNREADABLE, f"bundles of sigstore can't be verified here: {REMEDY}")


def _shown(error: Exception) -> str:
    return json.dumps(str(error) or type(error).__name__)[1:-1][:_SHOWN_MAX]
