"""Whose signature the packages of an application need, as the settings of a controller or an agent say it.

The settings are files of operators: what a release says can't weaken them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

from repave_protos.package import bundles, signatures
from repave_protos.package.bundles import ROOT_LENGTH_MAX, ROOTS_MAX, Identity, is_bundle
from repave_protos.package.signatures import (
    KEYS_MAX,
    Fault,
    PublicKey,
    SignatureError,
    key_of,
    public_key,
    read_signature,
)

SUFFIXES = (".minisig", ".sig", bundles.SUFFIX)
"""What a signature's file is called after its package, the first one that is there."""

Signer = PublicKey | Identity

_SIGSTORE = "sigstore"
"""How the line of an identity begins. Agents that know keys alone find no key in it, and launch nothing."""


class IdentitySettings(BaseModel):
    """Who signs with sigstore. `trusted_root` is the path of a trusted_root.json."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    identity: str
    issuer: str
    trusted_root: str


def table(given: object) -> object:
    """A table, as TOML has it, may be JSON in the environment."""
    if not isinstance(given, str):
        return given
    try:
        return json.loads(given)
    except ValueError:
        raise ValueError('write a table as JSON, such as {"web-*": ["KEY"]}') from None


Rules = Mapping[str, Sequence[str | IdentitySettings]]


def _check(given: dict[str, list[str | IdentitySettings]]) -> dict[str, list[str | IdentitySettings]]:
    signing_of(given)
    return given


Signatures = Annotated[
    dict[str, list[str | IdentitySettings]], BeforeValidator(table), AfterValidator(_check)
]
"""By globs of applications: keys, each as its line or as the path of its .pub file, and identities."""


@dataclass(frozen=True, slots=True)
class Signing:
    """The first glob that an application's name matches says whose signature counts for it."""

    rules: tuple[tuple[str, tuple[Signer, ...]], ...] = ()

    def keys_for(self, application: str) -> tuple[Signer, ...]:
        """None at all: its packages need no signature."""
        for glob, keys in self.rules:
            if fnmatchcase(application, glob):
                return keys
        return ()


def signing_of(settings: Rules) -> Signing:
    """Reads the files of keys and roots. Raises ValueError, which names the key."""
    return Signing(tuple((glob, _signers(glob, given)) for glob, given in settings.items()))


def signer_of(package: Path | None, text: str, signers: Sequence[Signer]) -> Signer:
    """Which of them has signed the package; without one, which of them says so. Reads all of the package.

    Raises SignatureError, OSError.
    """
    identities = [each for each in signers if isinstance(each, Identity)]
    if is_bundle(text):
        if not identities:
            raise SignatureError(Fault.UNKNOWN_KEY, "it is a bundle of sigstore, of which none counts")
        return bundles.verify(package, text, identities)
    keys = [each for each in signers if isinstance(each, PublicKey)]
    if package is None:
        return key_of(read_signature(text), keys)
    return signatures.verify(package, text, keys)


def told(signers: Sequence[Signer]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """As lines for agents, and the roots that these count from 0."""
    roots = _roots(signers)
    return tuple(_line(each, roots) for each in signers), roots


def heard(lines: Sequence[str], roots: Sequence[str]) -> tuple[Signer, ...]:
    """What `told` told. Raises SignatureError."""
    return tuple(_heard(each, roots) for each in lines)


def _roots(signers: Sequence[Signer]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.root for each in signers if isinstance(each, Identity)))


def _line(signer: Signer, roots: Sequence[str]) -> str:
    if isinstance(signer, PublicKey):
        return signer.line
    return f"{_SIGSTORE} {roots.index(signer.root)} {signer.issuer} {signer.name}"


def _heard(line: str, roots: Sequence[str]) -> Signer:
    if not line.startswith(f"{_SIGSTORE} "):
        return public_key(line)
    number, _, rest = line.removeprefix(f"{_SIGSTORE} ").partition(" ")
    issuer, _, name = rest.partition(" ")
    if number not in map(str, range(len(roots))):
        raise SignatureError(Fault.UNREADABLE, "comes without its trusted root")
    return bundles.identity(name, issuer, roots[int(number)])


def _signers(glob: str, given: Sequence[str | IdentitySettings]) -> tuple[Signer, ...]:
    if not 1 <= len(given) <= KEYS_MAX:
        raise ValueError(f"{glob}: name 1 to {KEYS_MAX} keys; leave the line out if no signature is needed")
    signers = tuple(_key(each) if isinstance(each, str) else _identity(each) for each in given)
    if len(_roots(signers)) > ROOTS_MAX:
        raise ValueError(f"{glob}: name at most {ROOTS_MAX} different trusted roots")
    return signers


def _key(given: str) -> PublicKey:
    if not given.startswith(("/", "./", "../")):
        try:
            return public_key(given)
        except SignatureError as error:
            raise ValueError(f"{given[:60]!a} {error}, nor the absolute path of a .pub file") from None
    path = Path(given)
    try:
        return public_key(path.read_text(), path.stem)
    except OSError as error:
        raise ValueError(f"{path}: can't be read: {error.strerror}") from None
    except (SignatureError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} {error}") from None


def _identity(given: IdentitySettings) -> Identity:
    path = Path(given.trusted_root)
    try:
        with path.open("rb") as file:
            root = file.read(ROOT_LENGTH_MAX + 1).decode()
        return bundles.identity(given.identity, given.issuer, root)
    except OSError as error:
        raise ValueError(f"trusted_root {path}: can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"trusted_root {path} is no text") from None
    except SignatureError as error:
        raise ValueError(f"{error}; trusted_root: {path}") from None
